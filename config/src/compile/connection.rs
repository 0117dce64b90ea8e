//! Objects that steer connections (`ct helper`, `ct timeout`, `ct expectation`, `synproxy`), as the generation
//! carries them. Rules name them by the store's number.

use sluice_dataplane::conntrack::helper::Helper;
use sluice_dataplane::conntrack::{TimeoutClass, TimeoutPolicy};
use sluice_dataplane::program::EngineObjectId;
use sluice_dataplane::worker::connection::{
    ConnectionObject, ExpectationObject, HelperObject, TimeoutObject,
};

use super::error::{Cause, CompileError, Place};
use super::statement::offer;
use crate::store::{Object, ObjectBody, Ruleset, Table};
use crate::syntax::ast::{self, CtProtocol, Family};

const IP: u8 = 2;
const IP6: u8 = 10;
const SECOND_NS: u64 = 1_000_000_000;

/// Objects of all tables. `checked` is false where nothing runs: then a helper may be unknown.
///
/// # Errors
/// The first object that cannot do its work here, with its table.
pub(super) fn objects(
    view: &Ruleset,
    checked: bool,
) -> Result<Vec<(EngineObjectId, ConnectionObject)>, CompileError> {
    let mut objects = Vec::new();
    for table in &view.tables {
        for object in table.objects.values() {
            let made = of_object(table, object, checked).map_err(|cause| CompileError {
                place: Place::of_table(table),
                cause,
            })?;
            objects.extend(made.map(|made| (EngineObjectId(object.id.0 as u32), made)));
        }
    }
    Ok(objects)
}

fn of_object(
    table: &Table,
    object: &Object,
    checked: bool,
) -> Result<Option<ConnectionObject>, Cause> {
    Ok(Some(match &object.body {
        ObjectBody::CtHelper(helper) => {
            ConnectionObject::Helper(helper_of(table, object, helper, checked)?)
        }
        ObjectBody::CtTimeout(timeout) => ConnectionObject::Timeout(timeout_of(object, timeout)?),
        ObjectBody::CtExpectation(expectation) => {
            ConnectionObject::Expectation(expectation_of(table, expectation))
        }
        ObjectBody::Synproxy(synproxy) => ConnectionObject::Synproxy(offer(synproxy)),
        _ => return Ok(None),
    }))
}

/// Network protocols that an object is for: its own, or those of its table.
fn l3(own: Option<Family>, table: &Table) -> Option<u8> {
    match own {
        Some(Family::Ip) => Some(IP),
        Some(Family::Ip6) => Some(IP6),
        Some(_) => None,
        None => match table.family {
            Family::Ip => Some(IP),
            Family::Ip6 => Some(IP6),
            _ => None,
        },
    }
}

fn protocol(protocol: Option<CtProtocol>) -> u8 {
    match protocol {
        Some(CtProtocol::Udp) => 17,
        Some(CtProtocol::Tcp) | None => 6,
    }
}

fn helper_of(
    table: &Table,
    object: &Object,
    spec: &ast::CtHelper,
    checked: bool,
) -> Result<HelperObject, Cause> {
    let name = spec
        .helper
        .as_ref()
        .map(|name| name.value.to_string())
        .unwrap_or_default();
    let protocol = protocol(spec.protocol);
    let number = Helper::find(&name, protocol).map_or(0, |helper| helper as u16);
    if number == 0 && checked {
        let known = Helper::ALL.map(Helper::name);
        return Err(Cause::unsupported(format!(
            "ct helper {}: type \"{name}\" (there are: {})",
            object.name,
            known.join(", ")
        )));
    }
    let l3 = l3(spec.l3proto, table);
    let for_family = |family| {
        if l3.is_none_or(|l3| l3 == family) {
            number
        } else {
            0
        }
    };
    Ok(HelperObject {
        ip: for_family(IP),
        ip6: for_family(IP6),
        protocol,
    })
}

fn timeout_of(object: &Object, spec: &ast::CtTimeout) -> Result<TimeoutObject, Cause> {
    let protocol = protocol(spec.protocol);
    let mut policy = TimeoutPolicy::default();
    for (state, seconds) in &spec.policy {
        let class = TimeoutClass::named(protocol, &state.value).ok_or_else(|| {
            let name = &object.name;
            Cause::unsupported(format!("ct timeout {name}: state {}", state.value))
        })?;
        let seconds = u32::try_from(*seconds).unwrap_or(u32::MAX);
        policy.seconds.push((class, seconds));
    }
    Ok(TimeoutObject::new(protocol, policy))
}

fn expectation_of(table: &Table, spec: &ast::CtExpectation) -> ExpectationObject {
    ExpectationObject {
        l3: l3(spec.l3proto, table),
        protocol: protocol(spec.protocol),
        dport: spec.dport.as_ref().map_or(0, |port| port.value as u16),
        timeout_ns: spec
            .timeout_ms
            .unwrap_or(0)
            .saturating_mul(SECOND_NS / 1000),
        size: spec.size.as_ref().map_or(0, |size| size.value as usize),
    }
}
