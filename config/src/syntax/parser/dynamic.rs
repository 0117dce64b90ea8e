//! Statements by which packets change sets: add, update, delete, meter; and flow add.

use super::expr::Side;
use super::{Parse, Parser};
use crate::syntax::ast::{Element, Meter, Name, SetOp, SetUpdate, StmtKind};
use crate::syntax::keyword::Kw;
use crate::syntax::lexer::Tok;

impl Parser<'_> {
    /// `flow add @f`, `flow offload @f`, or the old `flow table m { ... }`.
    pub(super) fn flow(&mut self) -> Parse<StmtKind> {
        self.next();
        if self.eat_kw(Kw::Table) {
            let name = self.name()?;
            self.expect(Tok::LeftBrace)?;
            return self.meter_rest(Some(name), None);
        }
        if !self.eat_kw(Kw::Add) && !self.eat_kw(Kw::Offload) {
            return self.fail(&[Tok::Word(Kw::Table)]);
        }
        self.expect(Tok::At)?;
        Ok(StmtKind::FlowAdd(self.string()?))
    }

    pub(super) fn meter(&mut self) -> Parse<StmtKind> {
        self.next();
        let name = self.name()?;
        let mut size = None;
        if self.eat_kw(Kw::Size) {
            size = Some(self.number()?.value);
            self.expect(Tok::LeftBrace)?;
        } else {
            self.expect_or(Tok::LeftBrace, &[Tok::Word(Kw::Size), Tok::LeftBrace])?;
        }
        self.meter_rest(Some(name), size)
    }

    fn meter_rest(&mut self, name: Option<Name>, size: Option<u64>) -> Parse<StmtKind> {
        let key = self.dynamic_element()?;
        let stmt = self.nested(Self::stmt)?;
        self.expect(Tok::RightBrace)?;
        Ok(StmtKind::Meter(Box::new(Meter {
            name,
            size,
            key,
            stmt,
        })))
    }

    /// Key of an element that packets make, with its timeout.
    fn dynamic_element(&mut self) -> Parse<Element> {
        let key = self.concat(Side::Left)?;
        let extra = self.element_extra(false)?;
        Ok(Element {
            key,
            data: None,
            extra,
        })
    }

    fn set_op(&mut self) -> Parse<SetOp> {
        let op = match self.peek_kw() {
            Some(Kw::Add) => SetOp::Add,
            Some(Kw::Update) => SetOp::Update,
            Some(Kw::Delete) => SetOp::Delete,
            _ => return self.fail(&[Kw::Add, Kw::Update, Kw::Delete].map(Tok::Word)),
        };
        self.next();
        Ok(op)
    }

    /// The old form: `set add ip saddr @s`.
    pub(super) fn set_stmt_old(&mut self) -> Parse<StmtKind> {
        self.next();
        let op = self.set_op()?;
        let key = self.dynamic_element()?;
        let set = self.set_ref_or_variable()?;
        Ok(StmtKind::SetUpdate(Box::new(SetUpdate {
            op,
            set,
            key,
            data: None,
            stmts: Vec::new(),
        })))
    }

    /// `add @s { key timeout 5m stmts : data }`.
    pub(super) fn set_update(&mut self) -> Parse<StmtKind> {
        let op = self.set_op()?;
        let set = self.set_ref_or_variable()?;
        self.expect(Tok::LeftBrace)?;
        let key = self.dynamic_element()?;
        let mut stmts = Vec::new();
        while let Some(Kw::Counter | Kw::Limit | Kw::Quota | Kw::Ct | Kw::Last) = self.peek_kw() {
            stmts.push(self.stateful_stmt()?);
        }
        let data = if self.eat(Tok::Colon) {
            Some(self.dynamic_element()?)
        } else {
            None
        };
        self.expect_or(Tok::RightBrace, &[])?;
        Ok(StmtKind::SetUpdate(Box::new(SetUpdate {
            op,
            set,
            key,
            data,
            stmts,
        })))
    }
}
