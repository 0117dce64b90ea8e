//! Commands: the verb, the kind of object, which one.

use super::object::object_scope;
use super::{Parse, Parser};
use crate::syntax::ast::{
    Command, Family, ItemRef, Name, Object, ObjectKind, Op, RulePosition, SetKeyword, TableRef,
    Which,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;

/// Keywords with which a command can begin.
fn begins_command(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::Add
            | Kw::Create
            | Kw::Insert
            | Kw::Replace
            | Kw::Delete
            | Kw::Get
            | Kw::List
            | Kw::Reset
            | Kw::Flush
            | Kw::Rename
            | Kw::Describe
            | Kw::Import
            | Kw::Export
            | Kw::Monitor
            | Kw::Table
            | Kw::Chain
            | Kw::Rule
            | Kw::Set
            | Kw::Map
            | Kw::Element
            | Kw::Flowtable
            | Kw::Counter
            | Kw::Quota
            | Kw::Ct
            | Kw::Limit
            | Kw::Secmark
            | Kw::Synproxy
            | Kw::Ip
            | Kw::Ip6
            | Kw::Inet
            | Kw::Arp
            | Kw::Bridge
            | Kw::Netdev
    )
}

impl Parser<'_> {
    /// Everything up to the end of the input.
    pub(super) fn commands(&mut self) {
        loop {
            if self.peek() == Tok::Eof {
                return;
            }
            if self.separator() {
                self.next();
                continue;
            }
            self.depth = 0;
            self.scope = Scope::NONE;
            if self.line().is_err() && !self.recover() {
                return;
            }
        }
    }

    fn line(&mut self) -> Parse<()> {
        if self.common()? {
            return Ok(());
        }
        let start = self.start();
        let (op, object) = self.command()?;
        match self.peek() {
            Tok::Newline | Tok::Semicolon => {
                self.next();
            }
            Tok::Eof => {}
            _ => return self.fail(&[Tok::Eof, Tok::Newline, Tok::Semicolon]),
        }
        let span = self.since(start);
        self.commands.push(Command { op, object, span });
        Ok(())
    }

    fn command(&mut self) -> Parse<(Op, Object)> {
        // Without a verb, what begins nothing is not said to be a name in the wrong place.
        if !self.at_name() && self.peek_kw().is_none_or(|kw| !begins_command(kw)) {
            return self.fail(&[]);
        }
        let Some(kw) = self.peek_kw() else {
            return Ok((Op::Add, self.add(true)?));
        };
        let op = match kw {
            Kw::Add => Op::Add,
            Kw::Create => Op::Create,
            Kw::Insert => Op::Insert,
            Kw::Replace => Op::Replace,
            Kw::Delete => Op::Delete,
            Kw::Get => Op::Get,
            Kw::List => Op::List,
            Kw::Reset => Op::Reset,
            Kw::Flush => Op::Flush,
            Kw::Rename => Op::Rename,
            Kw::Describe => Op::Describe,
            Kw::Import => Op::Import,
            Kw::Export => Op::Export,
            Kw::Monitor => Op::Monitor,
            Kw::Destroy => return self.destroy(),
            _ => return Ok((Op::Add, self.add(true)?)),
        };
        self.next();
        let object = match op {
            Op::Add => self.add(true)?,
            Op::Create => self.add(false)?,
            Op::Insert => {
                self.expect_kw(Kw::Rule)?;
                self.rule_at()?
            }
            Op::Replace => {
                self.expect_kw(Kw::Rule)?;
                let (chain, position) = self.rule_id()?;
                let rule = Some(Box::new(self.rule()?));
                Object::Rule {
                    chain,
                    position,
                    rule,
                }
            }
            Op::Delete | Op::Destroy => self.delete()?,
            Op::Get => {
                self.expect_kw(Kw::Element)?;
                self.element_object()?
            }
            Op::List => self.within(Scope::LIST, Self::list_object)?,
            Op::Reset => self.within(Scope::RESET, Self::reset)?,
            Op::Flush => self.flush()?,
            Op::Rename => {
                self.expect_kw(Kw::Chain)?;
                let chain = self.item(false)?;
                Object::Rename {
                    chain,
                    to: self.name()?,
                }
            }
            Op::Describe => Object::Expr(Box::new(self.primary_left()?)),
            Op::Import => self.within(Scope::IMPORT, Self::markup_object)?,
            Op::Export => self.within(Scope::EXPORT, Self::markup_object)?,
            Op::Monitor => self.within(Scope::MONITOR, Self::monitor)?,
        };
        Ok((op, object))
    }

    /// `destroy`, unless it is the name of a table to which a rule is added.
    fn destroy(&mut self) -> Parse<(Op, Object)> {
        let word = self.token();
        self.next();
        if self.at_name() && !matches!(self.peek_kw(), Some(Kw::Nat64 | Kw::Siit)) {
            self.pushed = self.peeked.take();
            self.peeked = Some(word);
            return Ok((Op::Add, self.rule_at()?));
        }
        Ok((Op::Destroy, self.delete()?))
    }

    /// What `add` and `create` take. Without a keyword, `add` adds a rule.
    fn add(&mut self, or_rule: bool) -> Parse<Object> {
        match self.peek_kw() {
            Some(Kw::Table) => {
                self.next();
                let table = self.table(false)?;
                let body = if self.peek() == Tok::LeftBrace {
                    Some(Box::new(self.table_block(false)?))
                } else {
                    None
                };
                Ok(Object::Table { table, body })
            }
            Some(Kw::Chain) => {
                self.next();
                let chain = self.item(false)?;
                let body = if self.peek() == Tok::LeftBrace {
                    Some(Box::new(self.chain_block(false)?))
                } else {
                    None
                };
                Ok(Object::Chain { chain, body })
            }
            Some(Kw::Rule) if or_rule => {
                self.next();
                self.rule_at()
            }
            Some(kw @ (Kw::Set | Kw::Map)) => {
                self.next();
                let keyword = if kw == Kw::Set {
                    SetKeyword::Set
                } else {
                    SetKeyword::Map
                };
                let set = self.item(false)?;
                Ok(Object::Set {
                    keyword,
                    set,
                    body: Some(Box::new(self.set_block(keyword, false)?)),
                })
            }
            Some(Kw::Element) => {
                self.next();
                self.element_object()
            }
            Some(Kw::Flowtable) => {
                self.next();
                let flowtable = self.item(false)?;
                Ok(Object::Flowtable {
                    flowtable,
                    body: Some(Box::new(self.flowtable_block(false)?)),
                })
            }
            _ => self.add_stateful(or_rule),
        }
    }

    fn add_stateful(&mut self, or_rule: bool) -> Parse<Object> {
        // Words of extensions may also be names of tables.
        let plain_name =
            matches!(self.peek_kw(), Some(Kw::Nat64 | Kw::Siit)) && !self.extension_object();
        if !plain_name && let Some(kind) = self.object_kind()? {
            let object = self.within(object_scope(kind), |this| this.item(false))?;
            let body = self.object_line(kind)?.map(Box::new);
            return Ok(Object::Stateful { kind, object, body });
        }
        if or_rule {
            // A command that is no command: nft takes the word for a table.
            return self.rule_at();
        }
        self.fail(&[])
    }

    /// Whether `nat64` or `siit` at hand begins the declaration of one: a name and a brace must follow,
    /// perhaps a family and a table. The text is looked at, as one token of lookahead does not tell.
    fn extension_object(&mut self) -> bool {
        let token = self.token();
        let Some(source) = self.sources.get(token.span.source) else {
            return false;
        };
        let rest = source.text.get(token.span.end as usize..).unwrap_or("");
        let line = rest.split(['\n', ';', '#']).next().unwrap_or("");
        line.contains('{')
            && line
                .split('{')
                .next()
                .is_some_and(|head| head.split_whitespace().count() <= 3)
    }

    pub(super) fn element_object(&mut self) -> Parse<Object> {
        let set = self.item(false)?;
        Ok(Object::Elements {
            set,
            elements: Box::new(self.elements()?),
        })
    }

    /// `[family] name` or, where allowed, `[family] handle N`.
    pub(super) fn table(&mut self, handle: bool) -> Parse<TableRef> {
        let family = self.family().unwrap_or(Family::Ip);
        if handle && self.at(Kw::Handle) {
            self.next();
            return Ok(TableRef {
                family,
                which: Which::Handle(self.number()?),
            });
        }
        let wanted = [Tok::Str, Tok::Word(Kw::Handle)];
        let name = self.name_or(if handle { &wanted } else { &wanted[..1] })?;
        Ok(TableRef {
            family,
            which: Which::Name(name),
        })
    }

    pub(super) fn family_and_table(&mut self) -> Parse<(Family, Name)> {
        let family = self.family().unwrap_or(Family::Ip);
        Ok((family, self.name()?))
    }

    /// `[family] table name` or, where allowed, `[family] table handle N`.
    pub(super) fn item(&mut self, handle: bool) -> Parse<ItemRef> {
        self.item_or(handle, handle)
    }

    /// As [`Self::item`]; complaints speak of a handle only if `said`, as 1.0.6 does not take one everywhere.
    pub(super) fn item_or(&mut self, handle: bool, said: bool) -> Parse<ItemRef> {
        let (family, table) = self.family_and_table()?;
        if handle && self.at(Kw::Handle) {
            self.next();
            return Ok(ItemRef {
                family,
                table,
                which: Which::Handle(self.number()?),
            });
        }
        let wanted = [Tok::Str, Tok::Word(Kw::Handle)];
        let name = self.name_or(if said { &wanted } else { &wanted[..1] })?;
        Ok(ItemRef {
            family,
            table,
            which: Which::Name(name),
        })
    }

    /// Chain, place and rule.
    fn rule_at(&mut self) -> Parse<Object> {
        let (family, table) = self.family_and_table()?;
        let chain = ItemRef {
            family,
            table,
            which: Which::Name(self.name()?),
        };
        let position = match self.peek_kw() {
            Some(Kw::Position) => {
                self.next();
                Some(RulePosition::Position(self.number()?))
            }
            Some(Kw::Handle) => {
                self.next();
                Some(RulePosition::Handle(self.number()?))
            }
            Some(Kw::Index) => {
                self.next();
                Some(RulePosition::Index(self.number()?))
            }
            _ => None,
        };
        let rule = Some(Box::new(self.rule()?));
        Ok(Object::Rule {
            chain,
            position,
            rule,
        })
    }

    /// Chain and `handle N`.
    pub(super) fn rule_id(&mut self) -> Parse<(ItemRef, Option<RulePosition>)> {
        let chain = self.item(false)?;
        self.expect_kw(Kw::Handle)?;
        Ok((chain, Some(RulePosition::Handle(self.number()?))))
    }

    /// What `delete` and `destroy` take.
    fn delete(&mut self) -> Parse<Object> {
        match self.peek_kw() {
            Some(Kw::Table) => {
                self.next();
                Ok(Object::Table {
                    table: self.table(true)?,
                    body: None,
                })
            }
            Some(Kw::Chain) => {
                self.next();
                let chain = self.item(true)?;
                // Later versions delete devices of a base chain like this.
                let body = if self.peek() == Tok::LeftBrace {
                    Some(Box::new(self.chain_block(false)?))
                } else {
                    None
                };
                Ok(Object::Chain { chain, body })
            }
            Some(Kw::Rule) => {
                self.next();
                let (chain, position) = self.rule_id()?;
                Ok(Object::Rule {
                    chain,
                    position,
                    rule: None,
                })
            }
            Some(kw @ (Kw::Set | Kw::Map)) => {
                self.next();
                let keyword = if kw == Kw::Set {
                    SetKeyword::Set
                } else {
                    SetKeyword::Map
                };
                Ok(Object::Set {
                    keyword,
                    set: self.item_or(true, keyword == SetKeyword::Set)?,
                    body: None,
                })
            }
            Some(Kw::Element) => {
                self.next();
                self.element_object()
            }
            Some(Kw::Flowtable) => {
                self.next();
                let flowtable = self.item(true)?;
                let body = if self.peek() == Tok::LeftBrace {
                    Some(Box::new(self.flowtable_block(false)?))
                } else {
                    None
                };
                Ok(Object::Flowtable { flowtable, body })
            }
            _ => match self.object_kind()? {
                Some(kind) => {
                    let said = !matches!(
                        kind,
                        ObjectKind::CtHelper | ObjectKind::CtTimeout | ObjectKind::CtExpectation
                    );
                    let object =
                        self.within(object_scope(kind), |this| this.item_or(true, said))?;
                    Ok(Object::Stateful {
                        kind,
                        object,
                        body: None,
                    })
                }
                None => self.fail(&[]),
            },
        }
    }
}
