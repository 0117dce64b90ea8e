//! Tokens: their kinds, how complaints call them, and where they stand in the grammar.

use super::keyword::{BEFORE_LITERALS, Kw};
use super::source::Span;

/// A token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Tok,
    pub(super) span: Span,
}

/// Kinds of tokens. The order is that of nft's grammar where complaints need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tok {
    /// The end of all input.
    Eof,
    /// A character that begins no token.
    Junk,
    Newline,
    Colon,
    Semicolon,
    Comma,
    Dot,
    Eq,
    Ne,
    Lt,
    Gt,
    Ge,
    Le,
    ShiftLeft,
    ShiftRight,
    Ampersand,
    Caret,
    Not,
    Slash,
    Asterisk,
    Dash,
    At,
    Plus,
    /// A word of the language, which may still be a name.
    Word(Kw),
    Number(u64),
    /// Any other word, addresses included.
    Str,
    /// `"..."`; the span includes the quotes.
    Quoted,
    /// `eth*`.
    Wildcard,
    Assign,
    LeftBrace,
    RightBrace,
    LeftParen,
    RightParen,
    Pipe,
    Dollar,
    LeftBracket,
    RightBracket,
}

impl Tok {
    /// How complaints call it.
    pub(super) fn display(self) -> &'static str {
        match self {
            Tok::Eof => "end of file",
            Tok::Junk => "junk",
            Tok::Newline => "newline",
            Tok::Colon => "colon",
            Tok::Semicolon => "semicolon",
            Tok::Comma => "comma",
            Tok::Dot => ".",
            Tok::Eq => "==",
            Tok::Ne => "!=",
            Tok::Lt => "<",
            Tok::Gt => ">",
            Tok::Ge => ">=",
            Tok::Le => "<=",
            Tok::ShiftLeft => "<<",
            Tok::ShiftRight => ">>",
            Tok::Ampersand => "&",
            Tok::Caret => "^",
            Tok::Not => "!",
            Tok::Slash => "/",
            Tok::Asterisk => "*",
            Tok::Dash => "-",
            Tok::At => "@",
            Tok::Plus => "+",
            Tok::Word(kw) => kw.display(),
            Tok::Number(_) => "number",
            Tok::Str => "string",
            Tok::Quoted => "quoted string",
            Tok::Wildcard => "string with a trailing asterisk",
            Tok::Assign => "'='",
            Tok::LeftBrace => "'{'",
            Tok::RightBrace => "'}'",
            Tok::LeftParen => "'('",
            Tok::RightParen => "')'",
            Tok::Pipe => "'|'",
            Tok::Dollar => "'$'",
            Tok::LeftBracket => "'['",
            Tok::RightBracket => "']'",
        }
    }

    /// Place in the order of declaration of nft's grammar.
    pub(super) fn rank(self) -> (u8, u16) {
        const PUNCTUATION: [Tok; 23] = [
            Tok::Eof,
            Tok::Junk,
            Tok::Newline,
            Tok::Colon,
            Tok::Semicolon,
            Tok::Comma,
            Tok::Dot,
            Tok::Eq,
            Tok::Ne,
            Tok::Lt,
            Tok::Gt,
            Tok::Ge,
            Tok::Le,
            Tok::ShiftLeft,
            Tok::ShiftRight,
            Tok::Ampersand,
            Tok::Caret,
            Tok::Not,
            Tok::Slash,
            Tok::Asterisk,
            Tok::Dash,
            Tok::At,
            Tok::Plus,
        ];
        match self {
            Tok::Word(kw) if kw <= BEFORE_LITERALS => (1, kw as u16),
            Tok::Word(kw) => (3, kw as u16),
            Tok::Number(_) => (2, 0),
            Tok::Str => (2, 1),
            Tok::Quoted => (2, 2),
            Tok::Wildcard => (2, 3),
            Tok::Assign => (4, 0),
            Tok::LeftBrace => (4, 1),
            Tok::RightBrace => (4, 2),
            Tok::LeftParen => (4, 3),
            Tok::RightParen => (4, 4),
            Tok::Pipe => (4, 5),
            Tok::Dollar => (4, 6),
            Tok::LeftBracket => (4, 7),
            Tok::RightBracket => (4, 8),
            other => (
                0,
                PUNCTUATION.iter().position(|&t| t == other).unwrap_or(0) as u16,
            ),
        }
    }
}
