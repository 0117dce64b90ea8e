//! Commands: the verb, the kind of object, which one.

use super::object::object_scope;
use super::{Parse, Parser};
use crate::syntax::ast::{
    Command, Family, ItemRef, Markup, MonitorObject, Name, Object, ObjectKind, Op, RulePosition,
    Scope as Tables, SetKeyword, TableRef, Which,
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

    fn element_object(&mut self) -> Parse<Object> {
        let set = self.item(false)?;
        Ok(Object::Elements {
            set,
            elements: Box::new(self.elements()?),
        })
    }

    /// `[family] name` or, where allowed, `[family] handle N`.
    fn table(&mut self, handle: bool) -> Parse<TableRef> {
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

    fn family_and_table(&mut self) -> Parse<(Family, Name)> {
        let family = self.family().unwrap_or(Family::Ip);
        Ok((family, self.name()?))
    }

    /// `[family] table name` or, where allowed, `[family] table handle N`.
    fn item(&mut self, handle: bool) -> Parse<ItemRef> {
        self.item_or(handle, handle)
    }

    /// As [`Self::item`]; complaints speak of a handle only if `said`, as 1.0.6 does not take one everywhere.
    fn item_or(&mut self, handle: bool, said: bool) -> Parse<ItemRef> {
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
    fn rule_id(&mut self) -> Parse<(ItemRef, Option<RulePosition>)> {
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

    /// A family, or nothing.
    fn everything(&mut self) -> Tables {
        Tables::Family(self.family())
    }

    /// `[family]` or `table [family] name`.
    fn tables(&mut self) -> Parse<Tables> {
        if self.eat_kw(Kw::Table) {
            return Ok(Tables::Table(self.table(false)?));
        }
        Ok(self.everything())
    }

    fn list_object(&mut self) -> Parse<Object> {
        let Some(kw) = self.peek_kw() else {
            return self.fail(&[]);
        };
        let plural = match kw {
            Kw::Counters => Some(ObjectKind::Counter),
            Kw::Quotas => Some(ObjectKind::Quota),
            Kw::Limits => Some(ObjectKind::Limit),
            Kw::Secmarks => Some(ObjectKind::Secmark),
            Kw::Synproxys => Some(ObjectKind::Synproxy),
            _ => None,
        };
        if let Some(kind) = plural {
            self.next();
            return Ok(Object::Statefuls {
                kind,
                scope: self.tables()?,
            });
        }
        match kw {
            Kw::Counter
            | Kw::Quota
            | Kw::Limit
            | Kw::Secmark
            | Kw::Synproxy
            | Kw::Nat64
            | Kw::Siit => {
                return self.one_stateful();
            }
            Kw::Ct => return self.within(Scope::CT, Self::list_ct),
            _ => {}
        }
        let known = matches!(
            kw,
            Kw::Table
                | Kw::Tables
                | Kw::Chain
                | Kw::Chains
                | Kw::Set
                | Kw::Sets
                | Kw::Map
                | Kw::Maps
                | Kw::Meter
                | Kw::Meters
                | Kw::Flow
                | Kw::Flowtable
                | Kw::Flowtables
                | Kw::Ruleset
                | Kw::Hooks
        );
        if !known {
            return self.fail(&[]);
        }
        self.next();
        Ok(match kw {
            Kw::Table => Object::Table {
                table: self.table(false)?,
                body: None,
            },
            Kw::Tables => Object::Tables(self.everything()),
            Kw::Chain => Object::Chain {
                chain: self.item(false)?,
                body: None,
            },
            Kw::Chains => Object::Chains(self.everything()),
            Kw::Set => Object::Set {
                keyword: SetKeyword::Set,
                set: self.item(false)?,
                body: None,
            },
            Kw::Map => Object::Set {
                keyword: SetKeyword::Map,
                set: self.item(false)?,
                body: None,
            },
            Kw::Meter => Object::Set {
                keyword: SetKeyword::Meter,
                set: self.item(false)?,
                body: None,
            },
            Kw::Sets => Object::Sets {
                keyword: SetKeyword::Set,
                scope: self.tables()?,
            },
            Kw::Maps => Object::Sets {
                keyword: SetKeyword::Map,
                scope: self.everything(),
            },
            Kw::Meters => Object::Sets {
                keyword: SetKeyword::Meter,
                scope: self.everything(),
            },
            Kw::Flow if self.eat_kw(Kw::Tables) => Object::Sets {
                keyword: SetKeyword::Meter,
                scope: self.everything(),
            },
            Kw::Flow => {
                self.expect_or(
                    Tok::Word(Kw::Table),
                    &[Kw::Table, Kw::Tables].map(Tok::Word),
                )?;
                Object::Set {
                    keyword: SetKeyword::Meter,
                    set: self.item(false)?,
                    body: None,
                }
            }
            Kw::Flowtable => Object::Flowtable {
                flowtable: self.item(false)?,
                body: None,
            },
            Kw::Flowtables => Object::Flowtables(self.everything()),
            Kw::Ruleset => Object::Ruleset(self.family()),
            _ => {
                let family = self.family();
                let device = if self.eat_kw(Kw::Device) {
                    Some(self.name()?)
                } else {
                    None
                };
                Object::Hooks { family, device }
            }
        })
    }

    fn one_stateful(&mut self) -> Parse<Object> {
        match self.object_kind()? {
            Some(kind) => {
                let object = self.within(object_scope(kind), |this| this.item(false))?;
                Ok(Object::Stateful {
                    kind,
                    object,
                    body: None,
                })
            }
            None => self.fail(&[]),
        }
    }

    /// `ct helper ip x y`, `ct helpers table ip x`, `ct timeout table ip x`.
    fn list_ct(&mut self) -> Parse<Object> {
        self.next();
        let (kind, plural) = match self.peek_kw() {
            Some(Kw::Helper) => (ObjectKind::CtHelper, false),
            Some(Kw::Helpers) => (ObjectKind::CtHelper, true),
            Some(Kw::Timeout) => (ObjectKind::CtTimeout, false),
            Some(Kw::Expectation) => (ObjectKind::CtExpectation, false),
            _ => {
                return self
                    .fail(&[Kw::Timeout, Kw::Expectation, Kw::Helper, Kw::Helpers].map(Tok::Word));
            }
        };
        self.next();
        if plural || (kind != ObjectKind::CtHelper && self.at(Kw::Table)) {
            self.expect_kw(Kw::Table)?;
            let scope = Tables::Table(self.table(false)?);
            return Ok(Object::Statefuls { kind, scope });
        }
        Ok(Object::Stateful {
            kind,
            object: self.item(false)?,
            body: None,
        })
    }

    fn reset(&mut self) -> Parse<Object> {
        let token = self.token();
        match token.kind {
            Tok::Word(Kw::Counters) => {
                self.next();
                Ok(Object::Statefuls {
                    kind: ObjectKind::Counter,
                    scope: self.tables()?,
                })
            }
            Tok::Word(Kw::Quotas) => {
                self.next();
                Ok(Object::Statefuls {
                    kind: ObjectKind::Quota,
                    scope: self.tables()?,
                })
            }
            Tok::Word(Kw::Counter | Kw::Quota) => self.one_stateful(),
            Tok::Word(Kw::Rules) => {
                self.next();
                self.reset_rules()
            }
            Tok::Word(Kw::Rule) => {
                self.next();
                let (chain, position) = self.rule_id()?;
                Ok(Object::Rule {
                    chain,
                    position,
                    rule: None,
                })
            }
            Tok::Word(Kw::Element) => {
                self.next();
                self.element_object()
            }
            Tok::Word(kw @ (Kw::Set | Kw::Map)) => {
                self.next();
                let keyword = if kw == Kw::Set {
                    SetKeyword::Set
                } else {
                    SetKeyword::Map
                };
                Ok(Object::Set {
                    keyword,
                    set: self.item(false)?,
                    body: None,
                })
            }
            _ => self.fail(&[Kw::Counter, Kw::Counters, Kw::Quotas, Kw::Quota].map(Tok::Word)),
        }
    }

    /// `[family]`, `table [family] t`, `chain [family] t c`, or `[family] t [c]`.
    fn reset_rules(&mut self) -> Parse<Object> {
        if self.eat_kw(Kw::Chain) {
            let (family, table) = self.family_and_table()?;
            let scope = Tables::Table(TableRef {
                family,
                which: Which::Name(table),
            });
            return Ok(Object::Rules {
                scope,
                chain: Some(self.name()?),
            });
        }
        if self.at(Kw::Table) {
            return Ok(Object::Rules {
                scope: self.tables()?,
                chain: None,
            });
        }
        let family = self.family();
        if !self.at_name() {
            return Ok(Object::Rules {
                scope: Tables::Family(family),
                chain: None,
            });
        }
        let table = TableRef {
            family: family.unwrap_or(Family::Ip),
            which: Which::Name(self.name()?),
        };
        let chain = if self.at_name() {
            Some(self.name()?)
        } else {
            None
        };
        Ok(Object::Rules {
            scope: Tables::Table(table),
            chain,
        })
    }

    fn flush(&mut self) -> Parse<Object> {
        let Some(kw) = self.peek_kw() else {
            return self.fail(&[]);
        };
        let keyword = match kw {
            Kw::Table => {
                self.next();
                return Ok(Object::Table {
                    table: self.table(false)?,
                    body: None,
                });
            }
            Kw::Chain => {
                self.next();
                return Ok(Object::Chain {
                    chain: self.item(false)?,
                    body: None,
                });
            }
            Kw::Ruleset => {
                self.next();
                return Ok(Object::Ruleset(self.family()));
            }
            Kw::Set => SetKeyword::Set,
            Kw::Map => SetKeyword::Map,
            Kw::Meter => SetKeyword::Meter,
            Kw::Flow => {
                self.next();
                self.expect_kw(Kw::Table)?;
                return Ok(Object::Set {
                    keyword: SetKeyword::Meter,
                    set: self.item(false)?,
                    body: None,
                });
            }
            _ => return self.fail(&[]),
        };
        self.next();
        Ok(Object::Set {
            keyword,
            set: self.item(false)?,
            body: None,
        })
    }

    fn monitor(&mut self) -> Parse<Object> {
        let event = if self.at_name() {
            Some(self.name()?)
        } else {
            None
        };
        let what = match self.peek_kw() {
            Some(Kw::Tables) => MonitorObject::Tables,
            Some(Kw::Chains) => MonitorObject::Chains,
            Some(Kw::Sets) => MonitorObject::Sets,
            Some(Kw::Rules) => MonitorObject::Rules,
            Some(Kw::Elements) => MonitorObject::Elements,
            Some(Kw::Ruleset) => MonitorObject::Ruleset,
            Some(Kw::Trace) => MonitorObject::Trace,
            _ => MonitorObject::Any,
        };
        if what != MonitorObject::Any {
            self.next();
        }
        let format = self.markup()?;
        Ok(Object::Monitor {
            event,
            what,
            format,
        })
    }

    fn markup(&mut self) -> Parse<Option<Markup>> {
        let markup = match self.peek_kw() {
            Some(Kw::Xml) => Markup::Xml,
            Some(Kw::Json) => Markup::Json,
            Some(Kw::Vm) => {
                self.next();
                self.expect_kw(Kw::Json)?;
                return Ok(Some(Markup::VmJson));
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(markup))
    }

    fn markup_object(&mut self) -> Parse<Object> {
        let ruleset = self.eat_kw(Kw::Ruleset);
        match self.markup()? {
            Some(markup) => Ok(Object::Markup(markup)),
            None if ruleset => self.fail(&[Kw::Xml, Kw::Json, Kw::Vm].map(Tok::Word)),
            None => self.fail(&[Kw::Ruleset, Kw::Xml, Kw::Json, Kw::Vm].map(Tok::Word)),
        }
    }
}
