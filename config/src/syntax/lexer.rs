//! Text to tokens, as nft's scanner cuts it: the longest match wins.
//!
//! Words may contain `/`, `-` and dots, so `mbytes/second` is one word; addresses are words. Invariant:
//! tokens are returned in order and cover everything but blanks and comments; the end is returned for ever.

use std::sync::Arc;

use super::keyword::Kw;
use super::source::{SourceId, Span};
pub(super) use super::token::{Tok, Token};

/// Cuts one source.
pub(super) struct Lexer {
    text: Arc<str>,
    source: SourceId,
    at: usize,
}

impl Lexer {
    pub(super) fn new(source: SourceId, text: Arc<str>) -> Self {
        Self {
            text,
            source,
            at: 0,
        }
    }

    /// The next token. At the end of the text: [`Tok::Eof`].
    pub(super) fn next(&mut self) -> Token {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        let (kind, length) = loop {
            let Some(&byte) = bytes.get(at) else {
                break (Tok::Eof, 1);
            };
            match byte {
                b' ' | b'\t' => at += 1,
                // A comment needs the end of its line; without one nft does not take it for a comment.
                b'#' => match bytes[at..].iter().position(|&b| b == b'\n') {
                    Some(length) => at += length,
                    None => break (Tok::Junk, 1),
                },
                b'\\' if bytes.get(at + 1) == Some(&b'\n') => at += 2,
                _ => break scan(bytes, at),
            }
        };
        self.at = (at + length).min(bytes.len());
        let span = Span {
            source: self.source,
            start: offset(at),
            end: offset(at + length),
        };
        Token { kind, span }
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The token at `at`, which is not a blank, and its length.
fn scan(bytes: &[u8], at: usize) -> (Tok, usize) {
    let rest = &bytes[at..];
    let byte = rest[0];
    let follows = |b: u8| rest.get(1) == Some(&b);
    match byte {
        b'\n' => (Tok::Newline, 1),
        b',' => (Tok::Comma, 1),
        b';' => (Tok::Semicolon, 1),
        b'{' => (Tok::LeftBrace, 1),
        b'}' => (Tok::RightBrace, 1),
        b']' => (Tok::RightBracket, 1),
        b'(' => (Tok::LeftParen, 1),
        b')' => (Tok::RightParen, 1),
        b'^' => (Tok::Caret, 1),
        b'&' => (Tok::Ampersand, 1),
        b'|' => (Tok::Pipe, 1),
        b'/' => (Tok::Slash, 1),
        b'-' => (Tok::Dash, 1),
        b'*' => (Tok::Asterisk, 1),
        b'@' => (Tok::At, 1),
        b'$' => (Tok::Dollar, 1),
        b'+' => (Tok::Plus, 1),
        b'=' if follows(b'=') => (Tok::Eq, 2),
        b'=' => (Tok::Assign, 1),
        b'!' if follows(b'=') => (Tok::Ne, 2),
        b'!' => (Tok::Not, 1),
        b'<' if follows(b'=') => (Tok::Le, 2),
        b'<' if follows(b'<') => (Tok::ShiftLeft, 2),
        b'<' => (Tok::Lt, 1),
        b'>' if follows(b'=') => (Tok::Ge, 2),
        b'>' if follows(b'>') => (Tok::ShiftRight, 2),
        b'>' => (Tok::Gt, 1),
        b':' => match address(rest) {
            0 => (Tok::Colon, 1),
            length => (Tok::Str, length),
        },
        b'[' => match address(&rest[1..]) {
            length
                if length > 0
                    && is_ip6(&rest[1..=length])
                    && rest.get(1 + length) == Some(&b']') =>
            {
                (Tok::Str, length + 2)
            }
            _ => (Tok::LeftBracket, 1),
        },
        b'"' => match rest[1..].iter().position(|&b| b == b'"') {
            Some(length) => (Tok::Quoted, length + 2),
            None => (Tok::Junk, 1),
        },
        b'\\' if follows(b'*') => (Tok::Wildcard, 2),
        b'0'..=b'9' => scan_number(rest),
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' => scan_word(rest),
        _ => (Tok::Junk, 1),
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.')
}

fn word_length(rest: &[u8]) -> usize {
    if !rest
        .first()
        .is_some_and(|&b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'.'))
    {
        return 0;
    }
    rest.iter()
        .position(|&b| !is_word_byte(b))
        .unwrap_or(rest.len())
}

/// A word: keyword, name, wildcard, or an address that begins with a letter.
fn scan_word(rest: &[u8]) -> (Tok, usize) {
    let word = word_length(rest);
    let wildcard = match (rest.get(word), rest.get(word + 1)) {
        (Some(b'*'), _) => word + 1,
        (Some(b'\\'), Some(b'*')) => word + 2 + word_length(&rest[word + 2..]),
        _ => 0,
    };
    let address = if rest.get(
        rest.iter()
            .take(5)
            .position(|b| !b.is_ascii_hexdigit())
            .unwrap_or(5),
    ) == Some(&b':')
    {
        address(rest).max(class_length(rest).saturating_sub(1))
    } else {
        0
    };
    if wildcard > word && wildcard > address {
        return (Tok::Wildcard, wildcard);
    }
    if address > word {
        return (Tok::Str, address);
    }
    if word == 1 && rest[0] == b'.' {
        return (Tok::Dot, 1);
    }
    let kind = Kw::find(&rest[..word]).map_or(Tok::Str, word_token);
    (kind, word)
}

/// Operators have names too.
fn word_token(kw: Kw) -> Tok {
    match kw {
        Kw::Eq => Tok::Eq,
        Kw::Ne => Tok::Ne,
        Kw::Lt => Tok::Lt,
        Kw::Gt => Tok::Gt,
        Kw::Ge => Tok::Ge,
        Kw::Le => Tok::Le,
        Kw::Lshift => Tok::ShiftLeft,
        Kw::Rshift => Tok::ShiftRight,
        Kw::And => Tok::Ampersand,
        Kw::Xor => Tok::Caret,
        Kw::Or => Tok::Pipe,
        Kw::Not => Tok::Not,
        _ => Tok::Word(kw),
    }
}

/// What begins with a digit: number, time, address, class, `8021q`.
fn scan_number(rest: &[u8]) -> (Tok, usize) {
    let digits = rest
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(rest.len());
    let hex = match rest.get(1) {
        Some(b'x' | b'X') if rest[0] == b'0' => {
            let length = rest[2..]
                .iter()
                .position(|b| !b.is_ascii_hexdigit())
                .unwrap_or(rest.len() - 2);
            if length > 0 { length + 2 } else { 0 }
        }
        _ => 0,
    };
    let number = digits.max(hex);
    let time = time_length(rest);
    let class = class_length(rest);
    let vlan = if rest.starts_with(b"8021ad") {
        6
    } else if rest.starts_with(b"8021q") {
        5
    } else {
        0
    };
    let address = if digits < 5 { address(rest) } else { 0 };
    let word = address.max(time).max(vlan);
    // The class takes the byte behind it into account when lengths are compared, as nft's scanner does.
    if class > word.max(number) {
        return (Tok::Str, class - 1);
    }
    if word > number {
        return (Tok::Str, word);
    }
    let text = std::str::from_utf8(&rest[..number]).unwrap_or("");
    (parse_number(text).map_or(Tok::Str, Tok::Number), number)
}

/// A number as C reads it: `0x` is hexadecimal, a leading 0 octal up to the first other digit.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        let octal = text.find(|c| !matches!(c, '0'..='7')).unwrap_or(text.len());
        return u64::from_str_radix(&text[..octal], 8).ok();
    }
    text.parse().ok()
}

/// `1d2h3m4s5ms`, any of them, in that order.
fn time_length(rest: &[u8]) -> usize {
    let mut at = 0;
    for unit in [&b"d"[..], b"h", b"m", b"s", b"ms"] {
        let digits = rest[at..]
            .iter()
            .position(|b| !b.is_ascii_digit())
            .unwrap_or(rest.len() - at);
        if digits == 0 {
            break;
        }
        let behind = &rest[at + digits..];
        if unit == b"m" && behind.starts_with(b"ms") {
            continue;
        }
        if behind.starts_with(unit) {
            at += digits + unit.len();
        }
    }
    at
}

/// `1:a0` if a blank, `:`, `-`, `}` or `,` follows; its length and the byte behind it, or 0.
fn class_length(rest: &[u8]) -> usize {
    let run = |at: usize| {
        rest[at..]
            .iter()
            .take(4)
            .take_while(|b| b.is_ascii_hexdigit())
            .count()
    };
    let major = run(0);
    if major == 0 || rest.get(major) != Some(&b':') {
        return 0;
    }
    let minor = run(major + 1);
    let end = major + 1 + minor;
    match rest.get(end) {
        Some(b' ' | b'\t' | b'\n' | b':' | b'-' | b'}' | b',') if minor > 0 => end + 1,
        _ => 0,
    }
}

/// Length of the longest address at the beginning, 0 if there is none.
fn address(rest: &[u8]) -> usize {
    // The longest IPv6 address has 39 bytes; one that ends in an IPv4 address has less.
    let run = rest
        .iter()
        .take(45)
        .take_while(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        .count();
    if !rest[..run].iter().any(|b| matches!(b, b':' | b'.')) {
        return 0;
    }
    (2..=run)
        .rev()
        .find(|&length| is_address(&rest[..length]))
        .unwrap_or(0)
}

fn is_address(bytes: &[u8]) -> bool {
    if bytes.contains(&b':') {
        is_ip6(bytes) || is_mac(bytes)
    } else {
        is_ip4(bytes)
    }
}

fn is_ip4(bytes: &[u8]) -> bool {
    let mut parts = 0;
    bytes.split(|&b| b == b'.').all(|part| {
        parts += 1;
        (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit)
    }) && parts == 4
}

fn is_mac(bytes: &[u8]) -> bool {
    let mut parts = 0;
    bytes.split(|&b| b == b':').all(|part| {
        parts += 1;
        (1..=2).contains(&part.len()) && part.iter().all(u8::is_ascii_hexdigit)
    }) && parts == 6
}

/// IPv6 as nft's scanner knows it: an IPv4 tail only behind `::` and `::ffff:`.
fn is_ip6(bytes: &[u8]) -> bool {
    if let Some(tail) = bytes.strip_prefix(b"::") {
        let ip4 = match tail.get(..5) {
            Some(mapped) if mapped.eq_ignore_ascii_case(b"ffff:") => &tail[5..],
            _ => tail,
        };
        if is_ip4(ip4) {
            return true;
        }
    }
    let groups = |part: &[u8]| {
        if part.is_empty() {
            return Some(0);
        }
        part.split(|&b| b == b':').try_fold(0, |n, g| {
            ((1..=4).contains(&g.len()) && g.iter().all(u8::is_ascii_hexdigit)).then_some(n + 1)
        })
    };
    match bytes.windows(2).position(|w| w == b"::") {
        Some(at) => match (groups(&bytes[..at]), groups(&bytes[at + 2..])) {
            (Some(before), Some(after)) => before + after <= 7,
            _ => false,
        },
        None => groups(bytes) == Some(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Tok, &str)> {
        let mut lexer = Lexer::new(SourceId(0), text.into());
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next();
            if token.kind == Tok::Eof {
                return tokens;
            }
            tokens.push((
                token.kind,
                &text[token.span.start as usize..token.span.end as usize],
            ));
        }
    }

    #[test]
    fn the_longest_match_wins() {
        assert_eq!(
            kinds("10.0.0.1/24"),
            [
                (Tok::Str, "10.0.0.1"),
                (Tok::Slash, "/"),
                (Tok::Number(24), "24")
            ]
        );
        assert_eq!(
            kinds("10 mbytes/second"),
            [(Tok::Number(10), "10"), (Tok::Str, "mbytes/second")]
        );
        assert_eq!(
            kinds("1d2h5ms 5m"),
            [(Tok::Str, "1d2h5ms"), (Tok::Str, "5m")]
        );
        assert_eq!(
            kinds("fe80::1-fe80::2"),
            [
                (Tok::Str, "fe80::1"),
                (Tok::Dash, "-"),
                (Tok::Str, "fe80::2")
            ]
        );
        assert_eq!(
            kinds("[::1]:80"),
            [
                (Tok::Str, "[::1]"),
                (Tok::Colon, ":"),
                (Tok::Number(80), "80")
            ]
        );
        assert_eq!(
            kinds("aa:bb:cc:00:11:22 ::"),
            [(Tok::Str, "aa:bb:cc:00:11:22"), (Tok::Str, "::")]
        );
        assert_eq!(
            kinds("eth* \\* a\\*b"),
            [
                (Tok::Wildcard, "eth*"),
                (Tok::Wildcard, "\\*"),
                (Tok::Wildcard, "a\\*b")
            ]
        );
        assert_eq!(
            kinds("0x1f 010"),
            [(Tok::Number(31), "0x1f"), (Tok::Number(8), "010")]
        );
        assert_eq!(
            kinds("a . b"),
            [(Tok::Str, "a"), (Tok::Dot, "."), (Tok::Str, "b")]
        );
        assert_eq!(kinds("8021q"), [(Tok::Str, "8021q")]);
        assert_eq!(
            kinds("99999999999999999999"),
            [(Tok::Str, "99999999999999999999")]
        );
    }

    #[test]
    fn a_class_needs_its_delimiter() {
        assert_eq!(kinds("1:2 "), [(Tok::Str, "1:2")]);
        assert_eq!(
            kinds("1 : 2"),
            [
                (Tok::Number(1), "1"),
                (Tok::Colon, ":"),
                (Tok::Number(2), "2")
            ]
        );
        assert_eq!(
            kinds("80:accept"),
            [
                (Tok::Number(80), "80"),
                (Tok::Colon, ":"),
                (Tok::Word(Kw::Accept), "accept")
            ]
        );
    }

    #[test]
    fn comments_end_with_their_line() {
        assert_eq!(
            kinds("a #b\nc"),
            [(Tok::Str, "a"), (Tok::Newline, "\n"), (Tok::Str, "c")]
        );
        assert_eq!(kinds("#b")[0], (Tok::Junk, "#"));
        assert_eq!(kinds("a \\\nb"), [(Tok::Str, "a"), (Tok::Str, "b")]);
    }
}
