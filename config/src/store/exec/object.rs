//! Stateful objects and flowtables: add and delete.

use std::sync::Arc;

use super::echo::News;
use super::suggest::{self, Noun};
use super::{Done, Errno, Transaction, chain, check_name, named, refuse, shared};
use crate::model::ObjectKind;
use crate::model::check::check_synproxy;
use crate::model::stmt::{Limit, Quota, Synproxy};
use crate::store::references::Node;
use crate::store::slots::CellSlot;
use crate::store::{Flowtable, Id, Object, ObjectBody};
use crate::syntax::ast::{self, Family, FlowtableBody, ItemRef, LimitOf, ObjectSpec, Which};
use crate::syntax::{Diagnostic, Span};

/// The options of a synproxy, if they are in range.
fn synproxy_of(synproxy: &ast::Synproxy, span: Span) -> Done<Synproxy> {
    check_synproxy(synproxy, span).map_err(|complaint| (*complaint).into())
}

impl Transaction<'_> {
    pub(super) fn add_object(
        &mut self,
        kind: ObjectKind,
        object: &ItemRef,
        body: Option<&ast::ObjectBody>,
        create: bool,
        span: Span,
    ) -> Done {
        self.checked_table(object.family, &object.table)?;
        let name = named(object)?;
        check_name(name)?;
        let table = self.table_mut(object.family, &object.table)?;
        if let Some(known) = table.object(kind, &name.value) {
            if create {
                return refuse(name.span, Errno::Exists);
            }
            // As the kernel: quotas and synproxies take new values, the others stay as they are.
            let updated = match (body.map(|body| &body.spec), &known.body) {
                (Some(ObjectSpec::Quota(Some(new))), ObjectBody::Quota { quota, .. }) => {
                    let changed = Quota {
                        bytes: new.bytes,
                        used: quota.used,
                        over: new.over,
                    };
                    (changed != *quota).then(|| ObjectBody::Quota {
                        cell: CellSlot::quota(&changed),
                        quota: changed,
                    })
                }
                (Some(ObjectSpec::Synproxy(Some(new))), ObjectBody::Synproxy(old)) => {
                    let changed = synproxy_of(new, span)?;
                    (changed != *old).then_some(ObjectBody::Synproxy(changed))
                }
                _ => None,
            };
            if let Some(updated) = updated
                && let Some(known) = table.object_mut(kind, &name.value)
            {
                known.body = updated;
                self.changed = true;
            }
            return Ok(());
        }
        let comment = body
            .and_then(|body| body.comment.as_ref())
            .map(|comment| shared(&comment.value));
        let handle = table.give_handle();
        let (family, table_name) = (table.family, table.name.clone());
        let name = shared(&name.value);
        let old = self.removed.take_object(family, &table_name, kind, &name);
        let made = self.object_body(kind, family, body, span)?;
        let (id, made) = match old {
            Some(old) => (old.id, continue_object(&old.body, made)),
            None => (Id::fresh(), made),
        };
        let table = self.table_mut(object.family, &object.table)?;
        table.put_object(Object {
            id,
            name: name.clone(),
            handle,
            body: made,
            comment,
        });
        self.changed = true;
        if let Some(index) = self.ruleset.position(family, &table_name) {
            self.announce(index, News::Object(kind, &name));
        }
        Ok(())
    }

    fn object_body(
        &mut self,
        kind: ObjectKind,
        family: Family,
        body: Option<&ast::ObjectBody>,
        span: Span,
    ) -> Done<ObjectBody> {
        let spec = body.map(|body| &body.spec);
        Ok(match (kind, spec) {
            (ObjectKind::Counter, spec) => {
                let value = match spec {
                    Some(ObjectSpec::Counter(value)) => *value,
                    _ => ast::CounterValue::default(),
                };
                let Some(slot) = self.slots.counter(value.packets, value.bytes) else {
                    return refuse(span, Errno::TableFull);
                };
                ObjectBody::Counter {
                    packets: value.packets,
                    bytes: value.bytes,
                    slot,
                }
            }
            (_, Some(ObjectSpec::Quota(Some(quota)))) => {
                let quota = Quota {
                    bytes: quota.bytes,
                    used: quota.used_bytes,
                    over: quota.over,
                };
                ObjectBody::Quota {
                    cell: CellSlot::quota(&quota),
                    quota,
                }
            }
            (_, Some(ObjectSpec::Limit(Some(limit)))) => {
                let limit = limit_of(limit);
                ObjectBody::Limit {
                    cell: CellSlot::limit(&limit),
                    limit,
                }
            }
            (_, Some(ObjectSpec::Synproxy(Some(synproxy)))) => {
                ObjectBody::Synproxy(synproxy_of(synproxy, span)?)
            }
            (_, Some(ObjectSpec::CtHelper(helper))) => ObjectBody::CtHelper(ast::CtHelper {
                l3proto: helper.l3proto.or(Some(family)),
                ..helper.clone()
            }),
            (_, Some(ObjectSpec::CtTimeout(timeout))) => ObjectBody::CtTimeout(ast::CtTimeout {
                l3proto: timeout.l3proto.or(Some(family)),
                ..timeout.clone()
            }),
            (_, Some(ObjectSpec::CtExpectation(expectation))) => {
                let l3proto = expectation.l3proto.unwrap_or(family);
                if !matches!(l3proto, Family::Ip | Family::Ip6) {
                    return refuse(span, Errno::Family);
                }
                ObjectBody::CtExpectation(ast::CtExpectation {
                    l3proto: Some(l3proto),
                    ..expectation.clone()
                })
            }
            (_, Some(ObjectSpec::Secmark(Some(context)))) => {
                ObjectBody::Secmark(shared(&context.value))
            }
            (_, Some(ObjectSpec::Nat64(nat64))) => ObjectBody::Nat64(nat64.clone()),
            (_, Some(ObjectSpec::Siit(siit))) => ObjectBody::Siit(siit.clone()),
            // An object without the properties that the kernel requires.
            _ => return refuse(span, Errno::Invalid),
        })
    }

    pub(super) fn delete_object(
        &mut self,
        kind: ObjectKind,
        object: &ItemRef,
        lenient: bool,
    ) -> Done {
        let index = match self.place_of(object, Noun::Object) {
            Ok(index) => index,
            Err(_) if lenient => return Ok(()),
            Err(fail) => return Err(fail),
        };
        let table = &self.ruleset.tables[index];
        let found = match &object.which {
            Which::Name(name) => table.object(kind, &name.value),
            Which::Handle(handle) => table
                .objects
                .get(&handle.value)
                .filter(|object| object.body.kind() == kind),
        };
        let Some(found) = found.cloned() else {
            return match &object.which {
                _ if lenient => Ok(()),
                Which::Name(name) => Err(suggest::missing(
                    &self.ruleset,
                    Noun::Object,
                    object.family,
                    &object.table,
                    &name.value,
                    name.span,
                )),
                Which::Handle(handle) => refuse(handle.span, Errno::NoEntry),
            };
        };
        let users = table
            .references
            .users(&Node::Object(kind, found.name.clone()));
        if !users.is_empty() {
            return self.busy(object.which.span(), table, &users);
        }
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        table.take_object(kind, &found.name);
        let (family, table_name) = (table.family, table.name.clone());
        self.note_deleted(kind.keyword(), || {
            format!(
                "delete {} {} {} {}",
                kind.keyword(),
                family.keyword(),
                table_name,
                found.name
            )
        });
        self.removed.object(family, &table_name, found);
        self.changed = true;
        Ok(())
    }

    pub(super) fn add_flowtable(
        &mut self,
        flowtable: &ItemRef,
        body: Option<&FlowtableBody>,
        create: bool,
        span: Span,
    ) -> Done {
        let table = self.checked_table(flowtable.family, &flowtable.table)?;
        let name = named(flowtable)?;
        check_name(name)?;
        let empty = FlowtableBody::default();
        let body = body.unwrap_or(&empty);
        let mut devices = match &body.devices {
            Some(devices) => chain::device_names(devices)?,
            None => Vec::new(),
        };
        let known = table.flowtable(&name.value).cloned();
        if known.is_some() && create {
            return refuse(name.span, Errno::Exists);
        }
        if let Some(known) = known {
            devices.extend(known.devices.iter().cloned());
            devices.sort();
            devices.dedup();
            let changed = Flowtable {
                devices,
                ..(*known).clone()
            };
            if changed != *known {
                let table = self.table_mut(flowtable.family, &flowtable.table)?;
                table.take_flowtable(&name.value);
                table.put_flowtable(changed);
                self.changed = true;
            }
            return Ok(());
        }
        if body.hook.is_none() {
            return Err(Diagnostic::error(
                span,
                "missing hook and priority in flowtable declaration",
            )
            .into());
        }
        let number = match &body.priority {
            Some(priority) => {
                chain::priority_number(flowtable.family, crate::model::Hook::Ingress, priority)?
            }
            None => 0,
        };
        devices.sort();
        devices.dedup();
        let new = Flowtable {
            name: shared(&name.value),
            handle: 0,
            priority: number,
            devices,
            offload: body.offload,
            counter: body.counter,
        };
        let table = self.table_mut(flowtable.family, &flowtable.table)?;
        let handle = table.give_handle();
        table.put_flowtable(Flowtable { handle, ..new });
        self.changed = true;
        Ok(())
    }

    pub(super) fn delete_flowtable(&mut self, flowtable: &ItemRef, lenient: bool) -> Done {
        let index = match self.place_of(flowtable, Noun::Flowtable) {
            Ok(index) => index,
            Err(_) if lenient => return Ok(()),
            Err(fail) => return Err(fail),
        };
        let table = &self.ruleset.tables[index];
        let found = match &flowtable.which {
            Which::Name(name) => table.flowtable(&name.value),
            Which::Handle(handle) => table.flowtables.get(&handle.value),
        };
        let Some(found) = found.cloned() else {
            return match &flowtable.which {
                _ if lenient => Ok(()),
                Which::Name(name) => Err(suggest::missing(
                    &self.ruleset,
                    Noun::Flowtable,
                    flowtable.family,
                    &flowtable.table,
                    &name.value,
                    name.span,
                )),
                Which::Handle(handle) => refuse(handle.span, Errno::NoEntry),
            };
        };
        let users = table.references.users(&Node::Flowtable(found.name.clone()));
        if !users.is_empty() {
            return self.busy(flowtable.which.span(), table, &users);
        }
        Arc::make_mut(&mut self.ruleset.tables[index]).take_flowtable(&found.name);
        self.changed = true;
        Ok(())
    }
}

/// What an object that stands in a reloaded file unchanged has counted goes on.
fn continue_object(old: &ObjectBody, new: ObjectBody) -> ObjectBody {
    match (old, new) {
        (
            ObjectBody::Counter {
                slot,
                packets: before_packets,
                bytes: before_bytes,
            },
            ObjectBody::Counter {
                packets,
                bytes,
                slot: fresh,
            },
        ) => {
            let keeps =
                (packets, bytes) == (0, 0) || (packets, bytes) == (*before_packets, *before_bytes);
            ObjectBody::Counter {
                packets,
                bytes,
                slot: if keeps { *slot } else { fresh },
            }
        }
        (
            ObjectBody::Quota {
                quota: before,
                cell: kept,
            },
            ObjectBody::Quota { quota, cell },
        ) => {
            let same = (before.bytes, before.over) == (quota.bytes, quota.over);
            let keeps = same && (quota.used == 0 || quota.used == before.used);
            ObjectBody::Quota {
                quota,
                cell: if keeps { kept.clone() } else { cell },
            }
        }
        (
            ObjectBody::Limit {
                limit: before,
                cell: kept,
            },
            ObjectBody::Limit { limit, cell },
        ) => ObjectBody::Limit {
            limit,
            cell: if *before == limit { kept.clone() } else { cell },
        },
        (_, new) => new,
    }
}

/// nft's default burst of packet limits.
const DEFAULT_BURST: u64 = 5;

fn limit_of(limit: &ast::Limit) -> Limit {
    let bytes = limit.of == LimitOf::Bytes;
    Limit {
        rate: limit.rate,
        unit_seconds: limit.unit_s,
        burst: limit.burst.unwrap_or(if bytes { 0 } else { DEFAULT_BURST }),
        bytes,
        over: limit.over,
    }
}
