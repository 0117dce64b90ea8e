//! Blocks of tables and chains, and how a block goes on after a mistake in it.

use super::{Parse, Parser, Stop};
use crate::syntax::ast::{
    ChainBody, ChainDecl, ChainType, Devices, Expr, ExprKind, Family, FlowtableDecl, Hook,
    ObjectDecl, SetDecl, SetKeyword, TableBody, TableFlag,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;
use crate::syntax::source::Spanned;

impl Parser<'_> {
    /// Items up to the closing brace; the opening one has been read. Variables and includes may stand
    /// among them, and a mistake costs the rest of its line. A block inside another one needs a separator
    /// behind it; as in nft, one that lacks it goes on.
    pub(super) fn block(
        &mut self,
        inside: bool,
        item: impl FnMut(&mut Self) -> Parse<()>,
    ) -> Parse<()> {
        self.nested(|this| this.block_items(inside, item))
    }

    fn block_items(
        &mut self,
        inside: bool,
        mut item: impl FnMut(&mut Self) -> Parse<()>,
    ) -> Parse<()> {
        let depth = self.depth;
        let scope = self.scope;
        loop {
            if self.separator() {
                self.next();
                continue;
            }
            let result = if self.eat(Tok::RightBrace) {
                if !inside || self.separator() {
                    return Ok(());
                }
                self.expect_separator(&[])
            } else {
                self.common()
                    .and_then(|done| if done { Ok(()) } else { item(self) })
            };
            if let Err(stop) = result {
                self.depth = depth;
                self.scope = scope;
                if matches!(stop, Stop::Outer) || !self.recover() {
                    return Err(Stop::Here);
                }
            }
        }
    }

    /// A family, if it is there.
    pub(super) fn family(&mut self) -> Option<Family> {
        let family = match self.peek_kw()? {
            Kw::Ip => Family::Ip,
            Kw::Ip6 => Family::Ip6,
            Kw::Inet => Family::Inet,
            Kw::Arp => Family::Arp,
            Kw::Bridge => Family::Bridge,
            Kw::Netdev => Family::Netdev,
            _ => return None,
        };
        self.next();
        Some(family)
    }

    /// `{ ... }` of a table.
    pub(super) fn table_block(&mut self, inside: bool) -> Parse<TableBody> {
        self.expect(Tok::LeftBrace)?;
        let mut body = TableBody::default();
        self.symbols.open();
        let result = self.block(inside, |this| this.table_item(&mut body));
        self.symbols.close();
        result.map(|()| body)
    }

    fn table_item(&mut self, body: &mut TableBody) -> Parse<()> {
        match self.peek_kw() {
            Some(Kw::Flags) => self.table_flags(body)?,
            Some(Kw::Comment) => self.comment_into(&mut body.comment)?,
            Some(Kw::Chain) => {
                self.next();
                let name = self.name()?;
                let chain = ChainDecl {
                    name,
                    body: self.chain_block(true)?,
                };
                body.chains.push(chain);
            }
            Some(kw @ (Kw::Set | Kw::Map)) => {
                self.next();
                let keyword = if kw == Kw::Set {
                    SetKeyword::Set
                } else {
                    SetKeyword::Map
                };
                let name = self.name()?;
                let set = SetDecl {
                    keyword,
                    name,
                    body: self.set_block(keyword, true)?,
                };
                body.sets.push(set);
            }
            Some(Kw::Flowtable) => {
                self.next();
                let name = self.name()?;
                let flowtable = FlowtableDecl {
                    name,
                    body: self.flowtable_block(true)?,
                };
                body.flowtables.push(flowtable);
            }
            _ => match self.object_kind()? {
                Some(kind) => {
                    let name = self.name()?;
                    let object = ObjectDecl {
                        kind,
                        name,
                        body: self.object_block(kind, true)?,
                    };
                    body.objects.push(object);
                }
                None => return self.fail(&[]),
            },
        }
        self.expect_separator(&[])
    }

    /// `flags dormant`; later versions take lists.
    fn table_flags(&mut self, body: &mut TableBody) -> Parse<()> {
        self.next();
        loop {
            let word = self.name()?;
            let value = match &*word.value {
                "dormant" => TableFlag::Dormant,
                "owner" => TableFlag::Owner,
                "persist" => TableFlag::Persist,
                _ => return self.error(word.span, format!("unknown table option {}", word.value)),
            };
            body.flags.push(Spanned {
                value,
                span: word.span,
            });
            if !self.eat(Tok::Comma) {
                return Ok(());
            }
        }
    }

    /// `{ ... }` of a chain.
    pub(super) fn chain_block(&mut self, inside: bool) -> Parse<ChainBody> {
        let start = self.expect(Tok::LeftBrace)?;
        let mut body = ChainBody {
            span: start,
            ..ChainBody::default()
        };
        self.symbols.open();
        let result = self.block(inside, |this| this.chain_item(&mut body));
        self.symbols.close();
        body.span = self.since(start);
        result.map(|()| body)
    }

    fn chain_item(&mut self, body: &mut ChainBody) -> Parse<()> {
        match self.peek_kw() {
            Some(Kw::Type) => self.hook(body)?,
            Some(Kw::Policy) => self.policy(body)?,
            Some(Kw::Flags) => {
                self.next();
                self.expect_kw(Kw::Offload)?;
                body.offload = true;
            }
            Some(Kw::Comment) => {
                return self.block_comment(&mut body.comment, |this| this.expect_separator(&[]));
            }
            _ => body.rules.push(self.rule()?),
        }
        self.expect_separator(&[])
    }

    /// `type filter hook input device eth0 priority 0`.
    fn hook(&mut self, body: &mut ChainBody) -> Parse<()> {
        let start = self.next().span;
        let word = self.name()?;
        self.expect_kw(Kw::Hook)?;
        let hook = self.name()?;
        let at = self.start();
        let devices = match self.peek_kw() {
            Some(Kw::Device) => {
                self.next();
                let device = if self.peek() == Tok::Dollar {
                    self.variable()?
                } else {
                    self.symbol()?
                };
                Some(Devices {
                    list: vec![device],
                    span: self.since(at),
                })
            }
            Some(Kw::Devices) => {
                self.next();
                self.expect(Tok::Assign)?;
                Some(self.devices()?)
            }
            _ => None,
        };
        let priority = self.priority()?;
        let Some(chain_type) = ChainType::from_keyword(&word.value) else {
            return self.error(word.span, "unknown chain type");
        };
        let chain_type = Spanned {
            value: chain_type,
            span: word.span,
        };
        let hook = self.hook_point(&hook)?;
        body.hook = Some(Box::new(Hook {
            chain_type,
            hook,
            devices,
            priority,
            span: self.since(start),
        }));
        Ok(())
    }

    fn policy(&mut self, body: &mut ChainBody) -> Parse<()> {
        let start = self.next().span;
        let kind = self.within(Scope::POLICY, |this| match this.peek() {
            Tok::Dollar => Ok(this.variable()?.kind),
            Tok::Word(kw @ (Kw::Accept | Kw::Drop)) => {
                this.next();
                Ok(ExprKind::Symbol(kw.word().into()))
            }
            _ => this.fail(&[Tok::Word(Kw::Accept), Tok::Word(Kw::Drop), Tok::Dollar]),
        })?;
        let span = self.since(start);
        if body.policy.is_some() {
            return self.error(span, "you cannot set chain policy twice");
        }
        body.policy = Some(Expr { kind, span });
        Ok(())
    }
}
