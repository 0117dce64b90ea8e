//! Commands that ask and empty: list, reset, flush, monitor, import, export.

use super::object::object_scope;
use super::{Parse, Parser};
use crate::syntax::ast::{
    Family, Markup, MonitorObject, Object, ObjectKind, Scope as Tables, SetKeyword, TableRef, Which,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;

impl Parser<'_> {
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

    pub(super) fn list_object(&mut self) -> Parse<Object> {
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

    pub(super) fn reset(&mut self) -> Parse<Object> {
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

    pub(super) fn flush(&mut self) -> Parse<Object> {
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

    pub(super) fn monitor(&mut self) -> Parse<Object> {
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

    pub(super) fn markup_object(&mut self) -> Parse<Object> {
        let ruleset = self.eat_kw(Kw::Ruleset);
        match self.markup()? {
            Some(markup) => Ok(Object::Markup(markup)),
            None if ruleset => self.fail(&[Kw::Xml, Kw::Json, Kw::Vm].map(Tok::Word)),
            None => self.fail(&[Kw::Ruleset, Kw::Xml, Kw::Json, Kw::Vm].map(Tok::Word)),
        }
    }
}
