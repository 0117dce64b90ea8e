//! `ipset "name" src,dst ...`: sets of ipset in rules.
//!
//! The words behind `ipset` are looked at by their text: nothing of this is a keyword elsewhere.

use super::{Parse, Parser};
use crate::ipset::rule::{Action, DIRECTIONS, IpsetUse, Matching, Relation};
use crate::syntax::ast::{IpsetStmt, StmtKind};
use crate::syntax::lexer::Tok;

impl Parser<'_> {
    /// The text of the word at hand; nothing for other tokens.
    fn word_at_hand(&mut self) -> Option<String> {
        if !matches!(self.peek(), Tok::Word(_) | Tok::Str) {
            return None;
        }
        let token = self.token();
        Some(self.text(token).to_string())
    }

    /// Takes the word at hand if it is this one.
    fn eat_text(&mut self, word: &str) -> bool {
        let is = self.word_at_hand().is_some_and(|text| text == word);
        if is {
            self.next();
        }
        is
    }

    pub(super) fn ipset(&mut self) -> Parse<StmtKind> {
        self.next();
        let mut action = if self.eat(Tok::Ne) {
            Action::Match(Matching {
                negated: true,
                ..Matching::default()
            })
        } else if self.eat_text("add") {
            Action::Add {
                exist: false,
                timeout_ms: None,
            }
        } else if self.eat_text("delete") {
            Action::Delete
        } else if self.eat_text("map") {
            Action::Map {
                mark: false,
                prio: false,
            }
        } else {
            Action::Match(Matching::default())
        };
        let set = self.string()?;
        let destinations = self.directions()?;
        match &mut action {
            Action::Match(matching) => self.matching(matching)?,
            Action::Add { exist, timeout_ms } => loop {
                if self.eat_text("exist") {
                    *exist = true;
                } else if self.eat_text("timeout") {
                    *timeout_ms = Some(self.time()?);
                } else {
                    break;
                }
            },
            Action::Delete => {}
            Action::Map { mark, prio } => loop {
                if self.eat_text("map-mark") {
                    *mark = true;
                } else if self.eat_text("map-prio") {
                    *prio = true;
                } else if self.word_at_hand().as_deref() == Some("map-queue") {
                    let span = self.start();
                    return self.error(span, "map-queue: ports have no queues to choose from");
                } else {
                    break;
                }
            },
        }
        let used = IpsetUse {
            set: set.value.to_string(),
            destinations,
            action,
        };
        Ok(StmtKind::Ipset(Box::new(IpsetStmt { set, used })))
    }

    fn directions(&mut self) -> Parse<Vec<bool>> {
        let mut all = Vec::new();
        loop {
            let span = self.start();
            if self.eat_text("src") {
                all.push(false);
            } else if self.eat_text("dst") {
                all.push(true);
            } else {
                return self.error(span, "expected src or dst");
            }
            if all.len() > DIRECTIONS {
                return self.error(span, "more than six directions");
            }
            if !self.eat(Tok::Comma) {
                return Ok(all);
            }
        }
    }

    fn matching(&mut self, matching: &mut Matching) -> Parse<()> {
        loop {
            if self.eat_text("return-nomatch") {
                matching.return_nomatch = true;
            } else if self.eat_text("no-counters") {
                matching.no_counters = true;
            } else if self.eat_text("no-subcounters") {
                matching.no_subcounters = true;
            } else if self.eat_text("packets") {
                matching.packets = Some(self.count_test()?);
            } else if self.eat_text("bytes") {
                matching.bytes = Some(self.count_test()?);
            } else {
                return Ok(());
            }
        }
    }

    fn count_test(&mut self) -> Parse<(Relation, u64)> {
        let relation = match self.peek() {
            Tok::Ne => Relation::Ne,
            Tok::Lt => Relation::Lt,
            Tok::Gt => Relation::Gt,
            Tok::Eq => Relation::Eq,
            _ => return Ok((Relation::Eq, self.number()?.value)),
        };
        self.next();
        Ok((relation, self.number()?.value))
    }
}
