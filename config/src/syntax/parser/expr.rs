//! Expressions: operators, ranges, prefixes, concatenations, lists, sets and maps.
//!
//! nft has three kinds of places, with different primaries: the left side of a match, its right side
//! (values), and the argument of a statement.

use super::{Parse, Parser};
use crate::syntax::ast::{
    BinaryOp, Element, ElementExtra, Expr, ExprKind, FlagCompare, Map, RelationalOp, Stmt, StmtKind,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;
use crate::syntax::source::Span;

/// Where an expression stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Left side of a match, key of a map.
    Left,
    /// Right side of a match, element of a set.
    Right,
    /// Argument of a statement.
    Argument,
}

/// How tightly an operator binds; higher is tighter.
fn operator(kind: Tok) -> Option<(BinaryOp, u8)> {
    Some(match kind {
        Tok::Pipe => (BinaryOp::Or, 1),
        Tok::Caret => (BinaryOp::Xor, 2),
        Tok::Ampersand => (BinaryOp::And, 3),
        Tok::ShiftLeft => (BinaryOp::ShiftLeft, 4),
        Tok::ShiftRight => (BinaryOp::ShiftRight, 4),
        _ => return None,
    })
}

fn relational(kind: Tok) -> Option<RelationalOp> {
    Some(match kind {
        Tok::Eq => RelationalOp::Eq,
        Tok::Ne => RelationalOp::Ne,
        Tok::Lt => RelationalOp::Lt,
        Tok::Gt => RelationalOp::Gt,
        Tok::Le => RelationalOp::Le,
        Tok::Ge => RelationalOp::Ge,
        Tok::Not => RelationalOp::Not,
        _ => return None,
    })
}

impl Parser<'_> {
    fn primary(&mut self, side: Side) -> Parse<Expr> {
        match side {
            Side::Left => self.primary_left(),
            Side::Right => self.primary_right(),
            Side::Argument => self.primary_argument(),
        }
    }

    /// A value with operators: nft's basic expression.
    pub(super) fn basic(&mut self, side: Side) -> Parse<Expr> {
        let first = self.primary(side)?;
        self.operators(first, side, 1)
    }

    /// What follows a first operand. The operands behind an operator on the left side are values.
    pub(super) fn operators(&mut self, first: Expr, side: Side, least: u8) -> Parse<Expr> {
        let before = self.depth;
        let result = self.operator_chain(first, side, least);
        self.depth = before;
        result
    }

    fn operator_chain(&mut self, mut left: Expr, side: Side, least: u8) -> Parse<Expr> {
        let right_side = if side == Side::Argument {
            Side::Argument
        } else {
            Side::Right
        };
        while let Some((op, tightness)) = operator(self.peek()) {
            if tightness < least {
                break;
            }
            self.deeper(1)?;
            self.next();
            let operand = self.primary(right_side)?;
            let right = self.operators(operand, right_side, tightness + 1)?;
            let span = left.span.to(self.last);
            left = Expr {
                kind: ExprKind::Binary(op, Box::new((left, right))),
                span,
            };
        }
        Ok(left)
    }

    /// `a . b . c` of values without ranges: keys of maps, left sides.
    pub(super) fn concat(&mut self, side: Side) -> Parse<Expr> {
        let first = self.basic(side)?;
        self.concat_rest(first, side)
    }

    pub(super) fn concat_rest(&mut self, first: Expr, side: Side) -> Parse<Expr> {
        if self.peek() != Tok::Dot {
            return Ok(first);
        }
        let start = first.span;
        let mut parts = vec![first];
        while self.eat(Tok::Dot) {
            let part = match side {
                Side::Argument => self.primary_argument()?,
                _ => self.basic(side)?,
            };
            parts.push(part);
        }
        Ok(Expr {
            kind: ExprKind::Concat(parts),
            span: self.since(start),
        })
    }

    /// Left side of a match: a concatenation, a set or a map.
    pub(super) fn left(&mut self) -> Parse<Expr> {
        if self.peek() == Tok::LeftBrace {
            return self.set_expr(false);
        }
        let key = self.concat(Side::Left)?;
        self.map_rest(key)
    }

    /// `map ...` behind a key, if it is there.
    pub(super) fn map_rest(&mut self, key: Expr) -> Parse<Expr> {
        if !self.eat_kw(Kw::Map) {
            return Ok(key);
        }
        let start = key.span;
        let map = self.right()?;
        Ok(Expr {
            kind: ExprKind::Map(Box::new(Map {
                key,
                map,
                verdict: false,
            })),
            span: self.since(start),
        })
    }

    /// `vmap ...` behind a key.
    pub(super) fn verdict_map(&mut self, key: Expr) -> Parse<Map> {
        self.expect_kw(Kw::Vmap)?;
        let map = match self.peek() {
            Tok::LeftBrace => self.set_expr(true)?,
            Tok::At => self.set_ref()?,
            Tok::Dollar => self.variable()?,
            _ => return self.fail(&[Tok::At, Tok::LeftBrace, Tok::Dollar]),
        };
        Ok(Map {
            key,
            map,
            verdict: true,
        })
    }

    /// Right side: a concatenation of values, a set, or a reference to a set.
    pub(super) fn right(&mut self) -> Parse<Expr> {
        match self.peek() {
            Tok::LeftBrace => self.set_expr(false),
            Tok::At => self.set_ref(),
            _ => self.concat_right(),
        }
    }

    /// `a . b-c . d/8`.
    pub(super) fn concat_right(&mut self) -> Parse<Expr> {
        let first = self.value_or_range()?;
        self.concat_right_rest(first)
    }

    fn concat_right_rest(&mut self, first: Expr) -> Parse<Expr> {
        if self.peek() != Tok::Dot {
            return Ok(first);
        }
        let start = first.span;
        let mut parts = vec![first];
        while self.eat(Tok::Dot) {
            parts.push(self.value_or_range()?);
        }
        Ok(Expr {
            kind: ExprKind::Concat(parts),
            span: self.since(start),
        })
    }

    fn value_or_range(&mut self) -> Parse<Expr> {
        let value = self.basic(Side::Right)?;
        match self.peek() {
            Tok::Slash => {
                self.next();
                self.prefix(value)
            }
            Tok::Dash => self.range(value, Side::Right),
            _ => Ok(value),
        }
    }

    fn prefix(&mut self, value: Expr) -> Parse<Expr> {
        let length = self.number()?;
        let span = self.since(value.span);
        Ok(Expr {
            kind: ExprKind::Prefix(Box::new(value), length.value),
            span,
        })
    }

    fn range(&mut self, from: Expr, side: Side) -> Parse<Expr> {
        self.expect(Tok::Dash)?;
        let to = self.basic(side)?;
        let span = self.since(from.span);
        Ok(Expr {
            kind: ExprKind::Range(Box::new((from, to))),
            span,
        })
    }

    /// What stands behind the left side of a match, to the end of the condition.
    pub(super) fn condition(&mut self, left: Expr) -> Parse<Expr> {
        let start = left.span;
        let operator = relational(self.peek());
        let operator_span = operator.map(|_| self.next().span);
        let op = operator.unwrap_or(RelationalOp::Implicit);
        let right = match self.peek() {
            Tok::LeftBrace | Tok::At => self.right()?,
            _ => {
                let first = self.basic(Side::Right)?;
                match self.peek() {
                    Tok::Comma | Tok::Slash => {
                        return self.flags_or_prefix(left, op, operator_span, first);
                    }
                    Tok::Dash => {
                        let range = self.range(first, Side::Right)?;
                        self.concat_right_rest(range)?
                    }
                    _ => self.concat_right_rest(first)?,
                }
            }
        };
        let span = operator_span.unwrap_or_else(|| self.since(start));
        Ok(Expr {
            kind: ExprKind::Relational(op, Box::new((left, right))),
            span,
        })
    }

    /// `a/8`, `a,b`, `a / b,c` or `a,b / c,d`.
    fn flags_or_prefix(
        &mut self,
        left: Expr,
        op: RelationalOp,
        operator_span: Option<Span>,
        first: Expr,
    ) -> Parse<Expr> {
        let start = left.span;
        let value = if self.peek() == Tok::Comma {
            self.list(first)?
        } else {
            first
        };
        let is_list = matches!(value.kind, ExprKind::List(_));
        let relational = |this: &Self, left, right| {
            let span = operator_span.unwrap_or_else(|| this.since(start));
            Expr {
                kind: ExprKind::Relational(op, Box::new((left, right))),
                span,
            }
        };
        if !self.eat(Tok::Slash) {
            return Ok(relational(self, left, value));
        }
        let mask = if let (false, Tok::Number(length)) = (is_list, self.peek()) {
            let span = self.next().span;
            if self.peek() != Tok::Comma && operator(self.peek()).is_none() {
                let prefix_span = self.since(value.span);
                let prefix = Expr {
                    kind: ExprKind::Prefix(Box::new(value), length),
                    span: prefix_span,
                };
                let right = self.concat_right_rest(prefix)?;
                return Ok(relational(self, left, right));
            }
            self.operators(
                Expr {
                    kind: ExprKind::Number(length),
                    span,
                },
                Side::Right,
                1,
            )?
        } else {
            self.basic(Side::Right)?
        };
        let mask = self.list(mask)?;
        let op = if op == RelationalOp::Implicit {
            RelationalOp::Eq
        } else {
            op
        };
        let compare = FlagCompare {
            op,
            expr: left,
            value,
            mask,
        };
        Ok(Expr {
            kind: ExprKind::FlagCompare(Box::new(compare)),
            span: self.since(start),
        })
    }

    /// The rest of `a, b, c`; there must be a comma.
    fn list(&mut self, first: Expr) -> Parse<Expr> {
        let start = first.span;
        let mut parts = vec![first];
        self.expect(Tok::Comma)?;
        loop {
            parts.push(self.basic(Side::Right)?);
            if !self.eat(Tok::Comma) {
                return Ok(Expr {
                    kind: ExprKind::List(parts),
                    span: self.since(start),
                });
            }
        }
    }

    /// `@name`.
    pub(super) fn set_ref(&mut self) -> Parse<Expr> {
        let start = self.start();
        self.expect(Tok::At)?;
        let name = self.within(Scope::AT, Self::name)?;
        Ok(Expr {
            kind: ExprKind::SetRef(name.value),
            span: self.since(start),
        })
    }

    /// `@name` or `$name`.
    pub(super) fn set_ref_or_variable(&mut self) -> Parse<Expr> {
        match self.peek() {
            Tok::At => self.set_ref(),
            Tok::Dollar => self.variable(),
            _ => self.fail(&[Tok::At, Tok::Dollar]),
        }
    }

    /// `{ ... }`. With `verdicts`, each element has one.
    pub(super) fn set_expr(&mut self, verdicts: bool) -> Parse<Expr> {
        let start = self.expect(Tok::LeftBrace)?;
        self.nested(|this| this.set_rest(start, verdicts))
    }

    fn set_rest(&mut self, start: Span, verdicts: bool) -> Parse<Expr> {
        let mut elements = Vec::new();
        loop {
            self.skip_newline();
            elements.push(self.element(verdicts)?);
            self.skip_newline();
            let mut again = false;
            while self.eat(Tok::Comma) {
                self.skip_newline();
                again = true;
            }
            if !again || !self.at_element() {
                break;
            }
        }
        self.expect_or(Tok::RightBrace, &[Tok::Comma, Tok::RightBrace])?;
        Ok(Expr {
            kind: ExprKind::Set(elements),
            span: self.since(start),
        })
    }

    /// Whether an element may begin here. A comma may stand behind the last one.
    fn at_element(&mut self) -> bool {
        match self.peek() {
            Tok::Word(kw) => !self.reserved(kw) || Self::is_value(kw),
            Tok::Number(_)
            | Tok::Str
            | Tok::Quoted
            | Tok::Wildcard
            | Tok::Dollar
            | Tok::LeftParen
            | Tok::LeftBrace
            | Tok::Asterisk => true,
            _ => false,
        }
    }

    fn element(&mut self, verdicts: bool) -> Parse<Element> {
        if self.peek() == Tok::LeftBrace && !verdicts {
            return Ok(Element {
                key: self.set_expr(false)?,
                data: None,
                extra: None,
            });
        }
        let key = if self.peek() == Tok::Asterisk {
            Expr {
                kind: ExprKind::CatchAll,
                span: self.next().span,
            }
        } else {
            self.concat_right()?
        };
        let extra = self.element_extra(true)?;
        if verdicts {
            self.expect(Tok::Colon)?;
            let data = self.verdict_expr()?;
            return Ok(Element {
                key,
                data: Some(Box::new(data)),
                extra,
            });
        }
        let data = if self.eat(Tok::Colon) {
            Some(Box::new(self.element_data()?))
        } else {
            None
        };
        Ok(Element { key, data, extra })
    }

    fn element_data(&mut self) -> Parse<Expr> {
        match self.peek_kw() {
            Some(Kw::Accept | Kw::Drop | Kw::Continue | Kw::Return | Kw::Jump | Kw::Goto) => {
                self.verdict_expr()
            }
            _ => self.concat_right(),
        }
    }

    /// `counter timeout 5s expires 3s comment "x"` behind a key. Statements only where `stmts`.
    pub(super) fn element_extra(&mut self, stmts: bool) -> Parse<Option<Box<ElementExtra>>> {
        let mut extra: Option<Box<ElementExtra>> = None;
        let start = self.start();
        loop {
            match self.peek_kw() {
                Some(Kw::Timeout) => {
                    self.next();
                    extra.get_or_insert_default().timeout_ms = Some(self.time()?);
                }
                Some(Kw::Expires) => {
                    self.next();
                    extra.get_or_insert_default().expires_ms = Some(self.time()?);
                }
                Some(Kw::Comment) => {
                    self.comment_into(&mut extra.get_or_insert_default().comment)?
                }
                Some(Kw::Counter | Kw::Limit | Kw::Ct | Kw::Quota | Kw::Last) if stmts => {
                    let stmt = self.stateful_stmt()?;
                    if let Stmt {
                        kind: StmtKind::ObjectRef(_),
                        span,
                    } = stmt
                    {
                        return self.error(span, "an element cannot have a named object");
                    }
                    extra.get_or_insert_default().stmts.push(stmt);
                }
                _ => {
                    if let Some(extra) = &mut extra {
                        extra.span = self.since(start);
                    }
                    return Ok(extra);
                }
            }
        }
    }

    /// Argument of a statement: nft's statement expression.
    pub(super) fn argument(&mut self) -> Parse<Expr> {
        let first = self.basic(Side::Argument)?;
        match self.peek() {
            Tok::Slash => {
                self.next();
                return self.prefix(first);
            }
            Tok::Dash => return self.range(first, Side::Argument),
            Tok::Comma if is_symbol(&first) => return self.argument_list(first),
            _ => {}
        }
        let key = self.concat_rest(first, Side::Argument)?;
        if !self.eat_kw(Kw::Map) {
            return Ok(key);
        }
        let start = key.span;
        let map = match self.peek() {
            Tok::LeftBrace => self.set_expr(false)?,
            Tok::At | Tok::Dollar => self.set_ref_or_variable()?,
            _ => return self.fail(&[Tok::At, Tok::LeftBrace, Tok::Dollar]),
        };
        Ok(Expr {
            kind: ExprKind::Map(Box::new(Map {
                key,
                map,
                verdict: false,
            })),
            span: self.since(start),
        })
    }

    fn argument_list(&mut self, first: Expr) -> Parse<Expr> {
        let start = first.span;
        let mut parts = vec![first];
        while self.eat(Tok::Comma) {
            parts.push(self.word_argument()?);
        }
        Ok(Expr {
            kind: ExprKind::List(parts),
            span: self.since(start),
        })
    }

    /// The value of a definition.
    pub(super) fn initializer(&mut self) -> Parse<Expr> {
        let start = self.start();
        match self.peek() {
            Tok::Dash => {
                self.next();
                let number = self.number()?;
                let value = i64::try_from(number.value).map_or(i64::MIN, |n| -n);
                Ok(Expr {
                    kind: ExprKind::Negative(value),
                    span: self.since(start),
                })
            }
            Tok::LeftBrace => {
                // Only a definition may be an empty set.
                self.next();
                if self.eat(Tok::RightBrace) {
                    return Ok(Expr {
                        kind: ExprKind::Set(Vec::new()),
                        span: self.since(start),
                    });
                }
                self.nested(|this| this.set_rest(start, false))
            }
            Tok::At => self.set_ref(),
            _ => {
                let first = self.value_or_range()?;
                let is_value = !matches!(first.kind, ExprKind::Prefix(..) | ExprKind::Range(_));
                match self.peek() {
                    Tok::Comma if is_value => self.list(first),
                    _ => self.concat_right_rest(first),
                }
            }
        }
    }
}

fn is_symbol(expr: &Expr) -> bool {
    matches!(
        expr.kind,
        ExprKind::Symbol(_) | ExprKind::Quoted(_) | ExprKind::Variable(_)
    )
}
