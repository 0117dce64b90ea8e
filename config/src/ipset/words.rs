//! Cutting a line of `restore` or of the interactive mode into words.

/// Bytes of a line that are read; the rest counts as the next line, as in the original.
pub const LINE: usize = 1023;

/// The words of a line. `"` begins and ends a part in which blanks do not separate; a quote that is
/// not closed leaves the word out, and so does one without anything in it.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    if !line.contains('"') {
        words.extend(line.split_ascii_whitespace().map(str::to_owned));
        return words;
    }
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_ascii_whitespace() && !quoted => words.extend(whole(word.take())),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(whole(word.filter(|_| !quoted)));
    words
}

fn whole(word: Option<String>) -> Option<String> {
    word.filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quotes_keep_blanks_and_an_open_one_loses_its_word() {
        assert_eq!(
            words("add a 1.1.1.1  comment \"a b\"c\n"),
            ["add", "a", "1.1.1.1", "comment", "a bc"]
        );
        assert_eq!(words("x comment \"a b"), ["x", "comment"]);
        assert_eq!(words("x comment \"\" y"), ["x", "comment", "y"]);
        assert_eq!(words("x 'a b'"), ["x", "'a", "b'"]);
    }
}
