//! What need not be the same of two answers: seeds, sizes in memory, time that passes between both, and
//! the order of what has none.

use super::sides::Said;

/// An answer without what differs by nature. Elements that were not asked for in order are sorted.
pub fn normal(said: &Said, sorted: bool) -> Said {
    Said {
        output: text(&said.output, sorted),
        errors: said.errors.clone(),
        code: said.code,
    }
}

fn text(output: &str, sorted: bool) -> String {
    let mut lines: Vec<String> = output.lines().map(line).collect();
    if !sorted {
        sort_elements(&mut lines);
    }
    lines.join("\n")
}

fn line(line: &str) -> String {
    let mut line = line.to_owned();
    for (before, behind) in [
        ("initval 0x", ' '),
        ("<initval>0x", '<'),
        ("Size in memory: ", ' '),
        ("<memsize>", '<'),
    ] {
        line = mask(&line, before, behind);
    }
    if !line.starts_with("Header:") && !line.starts_with("create ") && !line.contains("<header>") {
        // Some seconds may have passed on one side.
        line = round(&round(&line, "timeout ", ' '), "<timeout>", '<');
    }
    line
}

/// The number behind a word.
fn number<'a>(line: &'a str, before: &str, behind: char) -> Option<(usize, &'a str)> {
    let at = line.find(before)? + before.len();
    let end = line[at..].find(behind).map_or(line.len(), |end| at + end);
    Some((at, &line[at..end]))
}

fn mask(line: &str, before: &str, behind: char) -> String {
    match number(line, before, behind) {
        Some((at, number)) => format!("{}?{}", &line[..at], &line[at + number.len()..]),
        None => line.to_owned(),
    }
}

/// Timeouts to a multiple of 100 that is not smaller; 0 stays.
fn round(line: &str, before: &str, behind: char) -> String {
    match number(line, before, behind) {
        Some((at, number)) => {
            let rounded = number
                .parse::<u64>()
                .map_or(0, |seconds| seconds.next_multiple_of(100));
            format!("{}{rounded}{}", &line[..at], &line[at + number.len()..])
        }
        None => line.to_owned(),
    }
}

/// Sorts each run of elements of a set that is not a list.
fn sort_elements(lines: &mut [String]) {
    let mut from = 0;
    let mut list = false;
    let mut inside = false;
    for at in 0..=lines.len() {
        let now = lines.get(at).cloned().unwrap_or_default();
        let element = now.starts_with("add ")
            || now.starts_with("<member>")
            || (inside && !now.is_empty() && !now.starts_with("Name: ") && now != "Members:");
        if element {
            continue;
        }
        if !list {
            lines[from..at].sort();
        }
        from = at + 1;
        // `save -terse` leaves the heading out.
        inside = now == "Members:" || now.starts_with("Number of entries: ");
        list = match now.as_str() {
            now if now.starts_with("Type: ") || now.starts_with("<type>") => {
                now.contains("list:set")
            }
            now if now.starts_with("create ") => now.split(' ').nth(2) == Some("list:set"),
            _ => list,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_by_nature_is_taken_away() {
        let said = |output: &str| Said {
            output: output.to_owned(),
            ..Said::default()
        };
        let one = said(
            "Name: a\nType: hash:ip\nHeader: timeout 50 initval 0x1234\nSize in memory: 5\nMembers:\n\
             2.2.2.2 timeout 49\n1.1.1.1 timeout 0\n\nName: l\nType: list:set\nMembers:\nb\na\n",
        );
        let wanted = "Name: a\nType: hash:ip\nHeader: timeout 50 initval 0x?\nSize in memory: ?\n\
                      Members:\n1.1.1.1 timeout 0\n2.2.2.2 timeout 100\n\nName: l\nType: list:set\n\
                      Members:\nb\na";
        assert_eq!(normal(&one, false).output, wanted);
        let save = said("create a hash:ip\nadd a 2.2.2.2\nadd a 1.1.1.1\n");
        assert_eq!(
            normal(&save, false).output,
            "create a hash:ip\nadd a 1.1.1.1\nadd a 2.2.2.2"
        );
        assert_eq!(normal(&save, true).output, save.output.trim_end());
        let before_a_list =
            said("create a hash:ip\nadd a 2\nadd a 1\ncreate l list:set\nadd l b\nadd l a\n");
        assert_eq!(
            normal(&before_a_list, false).output,
            "create a hash:ip\nadd a 1\nadd a 2\ncreate l list:set\nadd l b\nadd l a"
        );
    }
}
