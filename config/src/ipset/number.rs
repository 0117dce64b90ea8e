//! Numbers as the original reads them: decimal, `0x` hexadecimal, `0` octal, with a sign.

use super::refusal::Refusal;

/// What `strtoull` makes of a word: the number (a negative one wraps), and what is left of the word;
/// `None` when it does not begin with a number. `Err` when it is too large.
fn scan(word: &str) -> Option<(Result<u64, ()>, &str)> {
    let text = word.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit()));
    let (radix, digits) = match hex {
        Some(rest) => (16, rest),
        None if text.starts_with('0') => (8, text),
        None => (10, text),
    };
    let end = digits
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let number = u64::from_str_radix(&digits[..end], radix).map_err(|_| ());
    let number = number.map(|number| {
        if negative {
            number.wrapping_neg()
        } else {
            number
        }
    });
    Some((number, &digits[end..]))
}

/// A number of a range.
///
/// # Errors
/// With the original's words.
pub fn number(word: &str, least: u64, most: u64) -> Result<u64, Refusal> {
    let range = || Refusal::syntax(format_args!("'{word}' is out of range {least}-{most}"));
    match scan(word) {
        Some((number, "")) => number
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(range),
        _ => Err(Refusal::syntax(format_args!(
            "'{word}' is invalid as number"
        ))),
    }
}

/// A number of 32 bits.
///
/// # Errors
/// As [`number`].
pub fn u32(word: &str) -> Result<u32, Refusal> {
    number(word, 0, u64::from(u32::MAX)).map(|number| number as u32)
}

/// `0xMARK[/0xMASK]`, read as `sscanf` does it: what does not fit is ignored.
pub fn mark_and_mask(word: &str) -> Option<(u32, u32)> {
    let (mark, rest) = hexadecimal(word.strip_prefix("0x")?)?;
    let mask = rest
        .strip_prefix("/0x")
        .and_then(hexadecimal)
        .map_or(u32::MAX, |(mask, _)| mask);
    Some((mark, mask))
}

/// `MAJOR:MINOR`, both hexadecimal.
pub fn class(word: &str) -> Option<u32> {
    let (major, rest) = hexadecimal(word)?;
    let (minor, _) = hexadecimal(rest.strip_prefix(':')?)?;
    Some(major << 16 | minor & 0xffff)
}

/// The lowest 32 bits of leading hexadecimal digits, and the rest.
fn hexadecimal(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(text.len());
    if end == 0 {
        return None;
    }
    let last = &text[end.saturating_sub(8)..end];
    Some((u32::from_str_radix(last, 16).ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_c_library_reads_them() {
        assert_eq!(number("0x400", 0, 5000), Ok(1024));
        assert_eq!(number("010", 0, 5000), Ok(8));
        assert_eq!(number("+8", 0, 32), Ok(8));
        for (word, text) in [
            ("08", "Syntax error: '08' is invalid as number"),
            ("", "Syntax error: '' is invalid as number"),
            ("5x", "Syntax error: '5x' is invalid as number"),
            ("-1", "Syntax error: '-1' is out of range 0-32"),
            ("33", "Syntax error: '33' is out of range 0-32"),
            (
                "18446744073709551616",
                "Syntax error: '18446744073709551616' is out of range 0-32",
            ),
        ] {
            assert_eq!(number(word, 0, 32), Err(Refusal::Failed(text.to_owned())));
        }
    }

    #[test]
    fn marks_and_classes_are_read_as_the_original_reads_them() {
        assert_eq!(mark_and_mask("0x10/0xff"), Some((0x10, 0xff)));
        assert_eq!(mark_and_mask("0x10"), Some((0x10, u32::MAX)));
        assert_eq!(mark_and_mask("0x10/"), Some((0x10, u32::MAX)));
        assert_eq!(mark_and_mask("0x100000000"), Some((0, u32::MAX)));
        assert_eq!(mark_and_mask("16"), None);
        assert_eq!(mark_and_mask("0x/0x"), None);
        assert_eq!(class("1:10"), Some(0x1_0010));
        assert_eq!(class("10000:1"), Some(1));
        assert_eq!(class("10"), None);
    }
}
