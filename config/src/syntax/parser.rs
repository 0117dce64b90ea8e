//! Tokens to commands by recursive descent, one token of lookahead.
//!
//! The grammar is nft's; each function names what it parses. A function that fails has already queued its
//! complaint and returns [`Stop`]; the innermost block then skips to the next separator and goes on, as nft
//! does, until ten complaints. Limits: nesting of 128 (an expression's operators count), include depth 16.

mod block;
mod command;
mod common;
mod dynamic;
mod expr;
mod header;
mod ipset;
mod nat;
mod object;
mod primary;
mod query;
mod set;
mod stateful;
mod stmt;
mod value;

pub use set::is_data_type;

use std::sync::Arc;

use super::ast::{Command, Name, Text};
use super::diagnostic::Diagnostic;
use super::keyword::{Kw, Scope};
use super::lexer::{Lexer, Tok, Token};
use super::loader::Loader;
use super::source::{Source, SourceId, SourceKind, SourceMap, Span, Spanned};
use super::symbols::Symbols;

/// How deep blocks, parentheses, sets and variables may be nested, and how many operators may be chained.
pub const MAX_NESTING: usize = 128;
/// How deep files may include each other.
pub const MAX_INCLUDE_DEPTH: usize = 16;
/// After so many complaints the parser gives up.
pub const MAX_ERRORS: usize = 10;
const ONCE: &str = "You can only specify this once. This statement is duplicated.";
const MAX_COMMENT_BYTES: usize = 128;

/// A complaint has been queued.
#[derive(Debug)]
enum Stop {
    /// The innermost block goes on behind the next separator.
    Here,
    /// The innermost block is given up too, and the one around it goes on.
    Outer,
}

type Parse<T> = Result<T, Stop>;

/// What the parser needs to know beside the text.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Folders for included files that name none (`-I`).
    pub include_paths: Vec<String>,
    /// Variables (`-D name=value`).
    pub defines: Vec<(String, String)>,
}

/// What is parsed.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file, read through the loader. `-` is standard input, `/dev/stdin`.
    File(String),
    /// Arguments of a command line, already joined by spaces.
    CommandLine(String),
}

/// The outcome of a parse. Commands that were understood are there even if others were not: nft checks
/// them too, so that one run shows as many mistakes as possible.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Commands in order.
    pub commands: Vec<Command>,
    /// Complaints in order. Any error: nothing must be executed.
    pub diagnostics: Vec<Diagnostic>,
    /// What the spans count in.
    pub sources: SourceMap,
}

/// Parses a ruleset or commands.
pub fn parse(input: &Input, options: &Options, loader: &mut dyn Loader) -> Parsed {
    let mut parser = Parser::new(options, loader);
    let define = |(name, value): &(String, String)| format!("define {name}={value}; ");
    let defines: String = options.defines.iter().map(define).collect();
    if !defines.is_empty() {
        parser.run(SourceKind::CommandLine, "<cmdline>", &defines);
        if !parser.diagnostics.is_empty() {
            return parser.finish();
        }
    }
    match input {
        Input::CommandLine(text) => {
            parser.run(SourceKind::CommandLine, "<cmdline>", &format!("{text}\n"))
        }
        Input::File(path) => {
            let path = if path == "-" { "/dev/stdin" } else { path };
            match parser.loader.read(path) {
                Ok(text) => parser.run(SourceKind::File, path, &text),
                Err(reason) => {
                    let span = parser.internal();
                    parser.diagnostics.push(Diagnostic::error(
                        span,
                        format!("Could not open file \"{path}\": {reason}\n"),
                    ));
                }
            }
        }
    }
    parser.finish()
}

struct Parser<'a> {
    options: &'a Options,
    loader: &'a mut dyn Loader,
    sources: SourceMap,
    /// The file being read and, below it, those that included it.
    lexers: Vec<Lexer>,
    peeked: Option<Token>,
    /// What comes behind `peeked` when a word had to be put back.
    pushed: Option<Token>,
    /// Where the last token stood.
    last: Span,
    /// Scopes that decide which words are keywords.
    scope: Scope,
    /// The scope that was open when the token at hand was read.
    trailing: Scope,
    symbols: Symbols,
    depth: usize,
    /// The deepest that `depth` has been since a definition began.
    deepest: usize,
    errors: usize,
    /// No more complaints: the input has ended, or there were too many.
    given_up: bool,
    commands: Vec<Command>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Parser<'a> {
    fn new(options: &'a Options, loader: &'a mut dyn Loader) -> Self {
        Self {
            options,
            loader,
            sources: SourceMap::new(),
            lexers: Vec::new(),
            peeked: None,
            pushed: None,
            last: Span::default(),
            scope: Scope::NONE,
            trailing: Scope::NONE,
            symbols: Symbols::new(),
            depth: 0,
            deepest: 0,
            errors: 0,
            given_up: false,
            commands: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    fn finish(self) -> Parsed {
        Parsed {
            commands: self.commands,
            diagnostics: self.diagnostics,
            sources: self.sources,
        }
    }

    fn run(&mut self, kind: SourceKind, name: &str, text: &str) {
        let source = self.add_source(kind, name, text.into(), None);
        self.last = Span {
            source,
            start: 0,
            end: 0,
        };
        self.peeked = None;
        self.commands();
        self.lexers.clear();
    }

    fn add_source(
        &mut self,
        kind: SourceKind,
        name: &str,
        text: Arc<str>,
        from: Option<Span>,
    ) -> SourceId {
        let source = Source {
            name: name.to_owned(),
            text: Arc::clone(&text),
            kind,
            included_from: from,
        };
        let id = self.sources.add(source);
        self.lexers.push(Lexer::new(id, text));
        id
    }

    /// A place for what is in no text.
    fn internal(&mut self) -> Span {
        let source = Source {
            name: "internal".to_owned(),
            text: "".into(),
            kind: SourceKind::Internal,
            included_from: None,
        };
        Span {
            source: self.sources.add(source),
            start: 0,
            end: 0,
        }
    }
}

/// Tokens.
impl Parser<'_> {
    fn token(&mut self) -> Token {
        if let Some(token) = self.peeked {
            return token;
        }
        if let Some(token) = self.pushed.take() {
            self.peeked = Some(token);
            return token;
        }
        let token = loop {
            let Some(lexer) = self.lexers.last_mut() else {
                break Token {
                    kind: Tok::Eof,
                    span: self.last,
                };
            };
            let token = lexer.next();
            // The end of an included file is no token: its text is as if it stood in the other file.
            if token.kind != Tok::Eof || self.lexers.len() == 1 {
                break token;
            }
            self.lexers.pop();
        };
        self.peeked = Some(token);
        token
    }

    fn peek(&mut self) -> Tok {
        self.token().kind
    }

    fn next(&mut self) -> Token {
        let token = self.token();
        if token.kind != Tok::Eof {
            self.peeked = None;
            self.trailing = Scope::NONE;
            self.last = token.span;
        }
        token
    }

    fn eat(&mut self, kind: Tok) -> bool {
        let found = self.peek() == kind;
        if found {
            self.next();
        }
        found
    }

    fn at(&mut self, kw: Kw) -> bool {
        self.peek() == Tok::Word(kw)
    }

    fn eat_kw(&mut self, kw: Kw) -> bool {
        self.eat(Tok::Word(kw))
    }

    /// The word at hand, if it is one of the language's.
    fn peek_kw(&mut self) -> Option<Kw> {
        match self.peek() {
            Tok::Word(kw) => Some(kw),
            _ => None,
        }
    }

    fn expect(&mut self, kind: Tok) -> Parse<Span> {
        self.expect_or(kind, &[kind])
    }

    fn expect_or(&mut self, kind: Tok, wanted: &[Tok]) -> Parse<Span> {
        if self.peek() == kind {
            Ok(self.next().span)
        } else {
            self.fail(wanted)
        }
    }

    fn expect_kw(&mut self, kw: Kw) -> Parse<Span> {
        self.expect(Tok::Word(kw))
    }

    fn number(&mut self) -> Parse<Spanned<u64>> {
        self.number_or(&[Tok::Number(0)])
    }

    fn number_or(&mut self, wanted: &[Tok]) -> Parse<Spanned<u64>> {
        match self.peek() {
            Tok::Number(value) => Ok(Spanned {
                value,
                span: self.next().span,
            }),
            _ => self.fail(wanted),
        }
    }

    /// Whether the token at hand may be a name: a word that is no keyword here.
    fn at_name(&mut self) -> bool {
        match self.peek() {
            Tok::Str => true,
            Tok::Word(kw) => !self.reserved(kw),
            _ => false,
        }
    }

    /// A name without quotes.
    fn name(&mut self) -> Parse<Name> {
        self.name_or(&[Tok::Str])
    }

    fn name_or(&mut self, wanted: &[Tok]) -> Parse<Name> {
        if !self.at_name() {
            return self.fail(wanted);
        }
        let token = self.next();
        Ok(Name {
            value: self.text(token),
            span: token.span,
        })
    }

    /// Whether the token at hand is a string: a name, something in quotes, a word with an asterisk.
    fn at_string(&mut self) -> bool {
        self.at_name() || matches!(self.peek(), Tok::Quoted | Tok::Wildcard)
    }

    fn string(&mut self) -> Parse<Name> {
        if !self.at_string() {
            return self.fail(&[Tok::Str, Tok::Quoted, Tok::Wildcard]);
        }
        let token = self.next();
        Ok(Name {
            value: self.text(token),
            span: token.span,
        })
    }

    fn quoted(&mut self) -> Parse<Name> {
        let span = self.expect(Tok::Quoted)?;
        Ok(Name {
            value: self.text(Token {
                kind: Tok::Quoted,
                span,
            }),
            span,
        })
    }

    /// The text of a token, without quotes and brackets.
    fn text(&self, token: Token) -> Text {
        let text = self.sources.slice(token.span);
        match token.kind {
            Tok::Quoted => text
                .get(1..text.len().saturating_sub(1))
                .unwrap_or("")
                .into(),
            Tok::Str if text.starts_with('[') => text.get(1..text.len() - 1).unwrap_or("").into(),
            _ => text.into(),
        }
    }

    /// Where the next token begins.
    fn start(&mut self) -> Span {
        self.token().span
    }

    /// From there to the last token.
    fn since(&self, start: Span) -> Span {
        start.to(self.last)
    }

    fn separator(&mut self) -> bool {
        matches!(self.peek(), Tok::Newline | Tok::Semicolon)
    }

    fn expect_separator(&mut self, more: &[Tok]) -> Parse<()> {
        if self.separator() {
            self.next();
            return Ok(());
        }
        let mut wanted = vec![Tok::Newline, Tok::Semicolon];
        wanted.extend_from_slice(more);
        self.fail(&wanted)
    }

    fn skip_newline(&mut self) {
        self.eat(Tok::Newline);
    }
}

/// Complaints.
impl Parser<'_> {
    /// The token at hand is wrong. nft names what it expected if that is at most four things.
    fn fail<T>(&mut self, wanted: &[Tok]) -> Parse<T> {
        let token = self.token();
        let found = match token.kind {
            Tok::Word(kw) if !self.reserved(kw) => Tok::Str.display(),
            kind => kind.display(),
        };
        let mut message = format!("syntax error, unexpected {found}");
        let mut wanted: Vec<Tok> = wanted.to_vec();
        wanted.sort_by_key(|tok| tok.rank());
        if wanted.len() <= 4 {
            for (index, tok) in wanted.iter().enumerate() {
                message.push_str(if index == 0 { ", expecting " } else { " or " });
                message.push_str(tok.display());
            }
        }
        self.error(token.span, message)
    }

    fn error<T>(&mut self, span: Span, message: impl Into<String>) -> Parse<T> {
        self.diagnostics.push(Diagnostic::error(span, message));
        Err(Stop::Here)
    }

    /// Skips to behind the next separator. `false`: there is none, or that was one complaint too many.
    fn recover(&mut self) -> bool {
        if self.given_up {
            return false;
        }
        while !self.separator() {
            if self.peek() == Tok::Eof {
                self.given_up = true;
                return false;
            }
            self.next();
        }
        self.next();
        self.errors += 1;
        self.given_up = self.errors >= MAX_ERRORS;
        !self.given_up
    }

    /// Runs a part of the grammar one level deeper.
    fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        self.deeper(1)?;
        let result = part(self);
        self.depth -= 1;
        result
    }

    /// Counts levels; they stay counted.
    fn deeper(&mut self, levels: usize) -> Parse<()> {
        if self.depth + levels > MAX_NESTING {
            let span = self.token().span;
            return self.error(span, format!("nested too deeply, max {MAX_NESTING} levels"));
        }
        self.depth += levels;
        self.deepest = self.deepest.max(self.depth);
        Ok(())
    }

    /// Runs a part of the grammar with more keywords.
    fn within<T>(&mut self, scope: Scope, part: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        let before = self.scope;
        self.scope = before.or(scope);
        let result = part(self);
        self.scope = before;
        result
    }

    /// Runs a statement of which more might have followed: nft has read the word behind it with the
    /// statement's keywords in mind.
    fn statement<T>(&mut self, scope: Scope, part: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        let result = self.within(scope, part);
        self.token();
        self.trailing = scope;
        result
    }

    /// Whether a word is a keyword here.
    fn reserved(&self, kw: Kw) -> bool {
        kw.reserved(self.scope.or(self.trailing))
    }

    /// `comment "..."`, the word included.
    fn comment(&mut self) -> Parse<Name> {
        self.expect_kw(Kw::Comment)?;
        let comment = self.string()?;
        if comment.value.len() > MAX_COMMENT_BYTES {
            let message =
                format!("comment too long, {MAX_COMMENT_BYTES} characters maximum allowed");
            return self.error(comment.span, message);
        }
        Ok(comment)
    }

    /// A comment where there may be one.
    fn comment_into(&mut self, slot: &mut Option<Name>) -> Parse<()> {
        let start = self.start();
        let comment = self.comment()?;
        self.once(slot, comment, start)
    }

    /// A comment of a chain, set or object. A second one costs the whole block, as in nft; `separated`
    /// is what stands behind the comment first.
    fn block_comment(
        &mut self,
        slot: &mut Option<Name>,
        separated: impl FnOnce(&mut Self) -> Parse<()>,
    ) -> Parse<()> {
        let start = self.start();
        let comment = self.comment()?;
        let span = self.since(start);
        separated(self)?;
        if slot.is_some() {
            self.diagnostics.push(Diagnostic::error(span, ONCE));
            return Err(Stop::Outer);
        }
        *slot = Some(comment);
        Ok(())
    }

    fn once<T>(&mut self, slot: &mut Option<T>, value: T, start: Span) -> Parse<()> {
        if slot.is_some() {
            let span = self.since(start);
            return self.error(span, ONCE);
        }
        *slot = Some(value);
        Ok(())
    }

    /// A duration as one word (`1d2h`), in milliseconds.
    fn time(&mut self) -> Parse<u64> {
        let word = self.name()?;
        match parse_time(&word.value) {
            Some(ms) => Ok(ms),
            None => self.error(word.span, "value too large"),
        }
    }
}

/// `1d2h3m4s5ms`; letters without a number count nothing, as in nft.
fn parse_time(word: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut digits = 0..0;
    let bytes = word.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at].is_ascii_digit() {
            at += 1;
            digits.end = at;
            continue;
        }
        let (unit_ms, length) = match bytes[at] {
            b'm' if bytes.get(at + 1) == Some(&b's') => (1, 2),
            b'd' => (86_400_000, 1),
            b'h' => (3_600_000, 1),
            b'm' => (60_000, 1),
            b's' => (1_000, 1),
            _ => return Some(total),
        };
        if !digits.is_empty() {
            // nft keeps each part in 32 bits of its unit.
            let value: u32 = word.get(digits.clone())?.parse().ok()?;
            total = total.checked_add(u64::from(value).checked_mul(unit_ms)?)?;
        }
        at += length;
        digits = at..at;
    }
    Some(total)
}
