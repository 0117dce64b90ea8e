//! Statements that keep state: counter, limit, quota, last, ct count, synproxy. Objects of the same
//! names share their arguments.

use super::{Parse, Parser};
use crate::syntax::ast::{
    CounterValue, CtCount, Limit, LimitOf, ObjectKind, Quota, Stmt, StmtKind, Synproxy,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;

impl Parser<'_> {
    /// A statement that elements of sets can have.
    pub(super) fn stateful_stmt(&mut self) -> Parse<Stmt> {
        let start = self.start();
        let kind = match self.peek_kw() {
            Some(Kw::Counter) => self.within(Scope::COUNTER, Self::counter)?,
            Some(Kw::Limit) => self.within(Scope::LIMIT, Self::limit)?,
            Some(Kw::Quota) => self.within(Scope::QUOTA, Self::quota)?,
            Some(Kw::Last) => self.last_used()?,
            Some(Kw::Ct) => self.within(Scope::CT, |this| {
                this.next();
                this.ct_count()
            })?,
            _ => return self.fail(&[]),
        };
        Ok(Stmt {
            kind,
            span: self.since(start),
        })
    }

    fn counter(&mut self) -> Parse<StmtKind> {
        if let Some(kind) = self.named(ObjectKind::Counter)? {
            return Ok(kind);
        }
        let mut value = CounterValue::default();
        loop {
            match self.peek_kw() {
                Some(Kw::Packets) => {
                    self.next();
                    value.packets = self.number()?.value;
                }
                Some(Kw::Bytes) => {
                    self.next();
                    value.bytes = self.number()?.value;
                }
                _ => return Ok(StmtKind::Counter(value)),
            }
        }
    }

    /// `counter name ...` and the like. The first word is read in any case.
    fn named(&mut self, kind: ObjectKind) -> Parse<Option<StmtKind>> {
        self.next();
        if !self.eat_kw(Kw::Name) {
            return Ok(None);
        }
        let name = self.argument()?;
        Ok(Some(StmtKind::ObjectRef(Box::new(
            crate::syntax::ast::ObjectRef { kind, name },
        ))))
    }

    fn limit(&mut self) -> Parse<StmtKind> {
        if let Some(kind) = self.named(ObjectKind::Limit)? {
            return Ok(kind);
        }
        if !self.at(Kw::Rate) {
            return self.fail(&[Kw::Name, Kw::Rate].map(Tok::Word));
        }
        Ok(StmtKind::Limit(Box::new(self.limit_spec()?)))
    }

    /// `rate [over|until] N/second [burst N packets]`.
    pub(super) fn limit_spec(&mut self) -> Parse<Limit> {
        self.expect_kw(Kw::Rate)?;
        let over = self.over_until();
        let start = self.start();
        let rate = self.number()?;
        if self.eat(Tok::Slash) {
            let unit_s = self.time_unit()?;
            let burst = self.burst_packets()?;
            return Ok(Limit {
                rate: rate.value,
                of: LimitOf::Packets,
                unit_s,
                burst,
                over,
            });
        }
        let wanted = [Tok::Slash, Tok::Str, Tok::Word(Kw::Bytes)];
        let (factor, unit_s) = if self.eat_kw(Kw::Bytes) {
            self.expect(Tok::Slash)?;
            (1, self.time_unit()?)
        } else {
            let word = self.name_or(&wanted)?;
            let span = self.since(start);
            if self.peek() == Tok::Slash {
                let Some(factor) = data_unit(&word.value) else {
                    return self.error(span, "Wrong rate format");
                };
                self.next();
                (factor, self.time_unit()?)
            } else {
                // `wrong`: nft's own spelling where the unit of time is missing.
                let Some((data, time)) = word.value.split_once('/') else {
                    return self.error(span, "wrong rate format");
                };
                match (data_unit(data), time_unit_word(time)) {
                    (Some(factor), Some(unit_s)) => (factor, unit_s),
                    _ => return self.error(span, "Wrong rate format"),
                }
            }
        };
        let burst = self.burst_bytes()?;
        Ok(Limit {
            rate: rate.value.saturating_mul(factor),
            of: LimitOf::Bytes,
            unit_s,
            burst,
            over,
        })
    }

    fn over_until(&mut self) -> bool {
        if self.eat_kw(Kw::Over) {
            return true;
        }
        self.eat_kw(Kw::Until);
        false
    }

    fn time_unit(&mut self) -> Parse<u64> {
        match self.peek_kw().and_then(|kw| time_unit_word(kw.word())) {
            Some(unit_s) => {
                self.next();
                Ok(unit_s)
            }
            None => self.fail(&[]),
        }
    }

    fn burst_packets(&mut self) -> Parse<Option<u64>> {
        let start = self.start();
        if !self.eat_kw(Kw::Burst) {
            return Ok(None);
        }
        let burst = self.number()?;
        self.expect_kw(Kw::Packets)?;
        if burst.value == 0 {
            let span = self.since(start);
            return self.error(span, "packet limit burst must be > 0");
        }
        Ok(Some(burst.value))
    }

    fn burst_bytes(&mut self) -> Parse<Option<u64>> {
        if !self.eat_kw(Kw::Burst) {
            return Ok(None);
        }
        let start = self.start();
        let number = self.number()?.value;
        if self.eat_kw(Kw::Bytes) {
            return Ok(Some(number));
        }
        let word = self.name_or(&[Tok::Str, Tok::Word(Kw::Bytes)])?;
        let span = self.since(start);
        match data_unit(&word.value) {
            Some(factor) => Ok(Some(number.saturating_mul(factor))),
            None => self.error(span, "Wrong rate format"),
        }
    }

    fn quota(&mut self) -> Parse<StmtKind> {
        let start = self.start();
        if let Some(kind) = self.named(ObjectKind::Quota)? {
            return Ok(kind);
        }
        Ok(StmtKind::Quota(Box::new(self.quota_spec(start)?)))
    }

    /// `[over|until] 10 mbytes [used 5 bytes]`; complaints begin at `start`.
    pub(super) fn quota_spec(&mut self, start: crate::syntax::source::Span) -> Parse<Quota> {
        let over = self.over_until();
        let number = self.number()?;
        let unit = self.quota_unit()?;
        let mut used_bytes = 0;
        let used_at = self.start();
        if self.eat_kw(Kw::Used) {
            let number = self.number()?;
            let unit = self.quota_unit()?;
            used_bytes = match data_unit(&unit) {
                Some(factor) => number.value.saturating_mul(factor),
                None => {
                    let span = self.since(used_at);
                    return self.error(span, "Wrong rate format");
                }
            };
        }
        match data_unit(&unit) {
            Some(factor) => Ok(Quota {
                bytes: number.value.saturating_mul(factor),
                used_bytes,
                over,
            }),
            None => {
                let span = self.since(start);
                self.error(span, "Wrong rate format")
            }
        }
    }

    fn quota_unit(&mut self) -> Parse<crate::syntax::ast::Text> {
        if self.eat_kw(Kw::Bytes) {
            return Ok("bytes".into());
        }
        Ok(self.name_or(&[Tok::Str, Tok::Word(Kw::Bytes)])?.value)
    }

    /// `last`, `last used never`, `last used 5s`.
    fn last_used(&mut self) -> Parse<StmtKind> {
        self.next();
        if !self.eat_kw(Kw::Used) {
            return Ok(StmtKind::Last(None));
        }
        let token = self.token();
        if token.kind == Tok::Str && self.text(token) == "never" {
            self.next();
            return Ok(StmtKind::Last(None));
        }
        Ok(StmtKind::Last(Some(self.time()?)))
    }

    /// `count [over] N`, behind `ct`.
    pub(super) fn ct_count(&mut self) -> Parse<StmtKind> {
        self.expect_kw(Kw::Count)?;
        let over = self.eat_kw(Kw::Over);
        let wanted = [Tok::Number(0), Tok::Word(Kw::Over)];
        let count = self
            .number_or(if over { &wanted[..1] } else { &wanted })?
            .value;
        Ok(StmtKind::CtCount(CtCount { count, over }))
    }

    pub(super) fn synproxy_stmt(&mut self) -> Parse<StmtKind> {
        if let Some(kind) = self.named(ObjectKind::Synproxy)? {
            return Ok(kind);
        }
        let mut synproxy = Synproxy::default();
        loop {
            match self.peek_kw() {
                Some(Kw::Mss | Kw::Maxseg) => {
                    self.next();
                    synproxy.mss = Some(self.number()?.value);
                }
                Some(Kw::Wscale) => {
                    self.next();
                    synproxy.wscale = Some(self.number()?.value);
                }
                Some(Kw::Timestamp) => {
                    self.next();
                    synproxy.timestamp = true;
                }
                Some(Kw::SackPerm | Kw::SackPermitted) => {
                    self.next();
                    synproxy.sack_perm = true;
                }
                _ => return Ok(StmtKind::Synproxy(synproxy)),
            }
        }
    }
}

fn data_unit(word: &str) -> Option<u64> {
    Some(match word {
        "bytes" => 1,
        "kbytes" => 1024,
        "mbytes" => 1024 * 1024,
        _ => return None,
    })
}

fn time_unit_word(word: &str) -> Option<u64> {
    Some(match word {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        "week" => 604_800,
        _ => return None,
    })
}
