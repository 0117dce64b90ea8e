//! Variables and includes, which stand in every block.

use std::sync::Arc;

use super::{MAX_INCLUDE_DEPTH, Parse, Parser};
use crate::syntax::ast::{Expr, ExprKind, Name, Text, Variable};
use crate::syntax::keyword::Kw;
use crate::syntax::lexer::Tok;
use crate::syntax::source::{SourceKind, Span};
use crate::syntax::symbols::Symbol;

/// The folder that is always searched for includes, and first.
const DEFAULT_INCLUDE_PATH: &str = "/etc";

impl Parser<'_> {
    /// `$name`.
    pub(super) fn variable(&mut self) -> Parse<Expr> {
        let start = self.start();
        self.expect(Tok::Dollar)?;
        let name = self.name()?;
        let span = self.since(start);
        let symbol = self.lookup(&name)?;
        // The value counts as nested here; deep trees break whoever walks them.
        self.deeper(symbol.depth)?;
        self.depth -= symbol.depth;
        let kind = ExprKind::Variable(Box::new(Variable {
            name: name.value,
            value: symbol.value,
        }));
        Ok(Expr { kind, span })
    }

    pub(super) fn lookup(&mut self, name: &Name) -> Parse<Symbol> {
        if let Some(symbol) = self.symbols.get(&name.value) {
            return Ok(symbol.clone());
        }
        let mut message = format!("unknown identifier '{}'", name.value);
        if let Some(similar) = self.symbols.similar(&name.value) {
            message.push_str(&format!("; did you mean identifier ‘{similar}’?"));
        }
        self.error(name.span, message)
    }

    /// Puts variables into a log prefix.
    pub(super) fn interpolate(&mut self, text: Name) -> Parse<Name> {
        if !text.value.contains('$') {
            return Ok(text);
        }
        let mut parts = text.value.split('$');
        let mut value = Text::from(parts.next().unwrap_or(""));
        for part in parts {
            let end = part
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(part.len());
            let symbol = self.lookup(&Name {
                value: part[..end].into(),
                span: text.span,
            })?;
            match &symbol.value.value().kind {
                ExprKind::Number(number) => value.push_str(&number.to_string()),
                ExprKind::Symbol(word) | ExprKind::Quoted(word) => value.push_str(word),
                _ => return self.error(text.span, "log prefix takes words and numbers only"),
            }
            value.push_str(&part[end..]);
        }
        Ok(Name {
            value,
            span: text.span,
        })
    }

    /// `include`, `define`, `redefine` or `undefine`; `false` if none of them is at hand.
    pub(super) fn common(&mut self) -> Parse<bool> {
        match self.peek_kw() {
            Some(Kw::Include) => self.include()?,
            Some(Kw::Define) => self.define(false)?,
            Some(Kw::Redefine) => self.define(true)?,
            Some(Kw::Undefine) => self.undefine()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn define(&mut self, again: bool) -> Parse<()> {
        self.next();
        let name = self.name()?;
        self.expect(Tok::Assign)?;
        let outer = std::mem::replace(&mut self.deepest, self.depth);
        let value = self.initializer();
        let depth = self.deepest - self.depth + 1;
        self.deepest = self.deepest.max(outer);
        let value = value?;
        self.expect_separator(&[])?;
        if !again && self.symbols.get(&name.value).is_some() {
            return self.error(
                name.span,
                format!("redefinition of symbol '{}'", name.value),
            );
        }
        self.symbols.bind(
            name.value,
            Symbol {
                value: Arc::new(value),
                depth,
            },
        );
        Ok(())
    }

    fn undefine(&mut self) -> Parse<()> {
        self.next();
        let name = self.name()?;
        self.expect_separator(&[])?;
        // nft forgets what it never knew without a word.
        self.symbols.unbind(&name.value);
        Ok(())
    }

    pub(super) fn include(&mut self) -> Parse<()> {
        let start = self.next().span;
        let path = self.quoted()?;
        self.expect_separator(&[])?;
        let span = self.since(start);
        let path = path.value;
        let in_paths =
            !path.starts_with("./") && !path.starts_with("../") && !path.starts_with('/');
        if !in_paths {
            if !self.include_pattern(&path, span)? {
                return self.error(span, format!("File not found: {path}"));
            }
            return Ok(());
        }
        let given = self.options.include_paths.iter().map(String::as_str);
        let folders = std::iter::once(DEFAULT_INCLUDE_PATH).chain(given);
        let patterns: Vec<String> = folders.map(|folder| format!("{folder}/{path}")).collect();
        let mut found = false;
        for pattern in patterns {
            found |= self.include_pattern(&pattern, span)?;
            if found && !has_wildcard(&path) {
                break;
            }
        }
        if !found && !has_wildcard(&path) {
            return self.error(span, format!("File not found: {path}"));
        }
        Ok(())
    }

    /// `true` if that settles it: a file was there, or none needs to be. Files are put on the stack
    /// in reverse, so that the first is read first.
    fn include_pattern(&mut self, pattern: &str, span: Span) -> Parse<bool> {
        let paths = self.loader.glob(pattern);
        let any = !paths.is_empty() || has_wildcard(pattern);
        for path in paths.iter().rev().filter(|path| !path.ends_with('/')) {
            // Files of one pattern hang below each other in nft too, but share the depth of the first.
            if self.sources.depth(span.source) >= MAX_INCLUDE_DEPTH {
                let message = format!("Include nested too deeply, max {MAX_INCLUDE_DEPTH} levels");
                return self.error(span, message);
            }
            match self.loader.read(path) {
                Ok(text) => self.add_source(SourceKind::File, path, text, Some(span)),
                Err(reason) => {
                    return self.error(span, format!("Could not open file \"{path}\": {reason}\n"));
                }
            };
        }
        Ok(any)
    }
}

fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}
