//! `-I`, `-A` and `-U`: flows that are made and changed by hand.

use std::io::{self, Write};
use std::net::IpAddr;

use axum::http::StatusCode;

use super::options::{Call, Command};
use super::print::{self, Why};
use super::{Done, Failed, Trouble, path};
use crate::api::flow::{Flow, FlowChange, FlowIcmp, FlowQuery, NewFlow, NewSide};
use crate::client::{Client, ClientError};
use crate::events::now_ns;

/// Puts a flow into the table; one that is there already is an error, unless it is only to be `add`ed.
pub(super) fn insert(client: &Client, call: &Call, add: bool) -> Result<Done, Trouble> {
    check(call)?;
    let made: Result<Flow, Failed> =
        super::super::wait(client.post("/v1/flows", &new_flow(call))).map(|answer| answer.body);
    let said = |count: u32| Done::said(format!("{count} flow entries have been {}.", created(add)));
    let failed = |text: &str| Trouble::Failed(format!("Operation failed: {text}"));
    match made {
        Ok(_) => Ok(said(1)),
        Err(Failed::Client(ClientError::Refused { status, failure })) => match status {
            StatusCode::CONFLICT if add => Ok(said(0)),
            StatusCode::CONFLICT => Err(failed("Such conntrack exists, try -U to update")),
            StatusCode::SERVICE_UNAVAILABLE => Err(failed("Cannot allocate memory")),
            StatusCode::BAD_REQUEST => Err(failed("invalid parameters")),
            _ => Err(Failed::Client(ClientError::Refused { status, failure }).into()),
        },
        Err(failed) => Err(failed.into()),
    }
}

fn created(add: bool) -> &'static str {
    if add { "added" } else { "created" }
}

/// Changes the flows that fit, and prints them as they are then.
pub(super) fn update(client: &Client, call: &Call) -> Result<Done, Trouble> {
    check(call)?;
    let query = FlowQuery {
        all: Some("true".to_owned()),
        ..call.query.clone()
    };
    let change = FlowChange {
        state: call.made.state.clone(),
        mark: call.made.mark.clone(),
        status: call.made.status.clone(),
        timeout: call.made.timeout,
        labels_add: call.made.labels_add.clone(),
        labels_del: call.made.labels_del.clone(),
    };
    let (mut count, now) = (0u64, now_ns());
    let mut out = io::BufWriter::new(io::stdout().lock());
    let path = path("/v1/flows", &query)?;
    super::super::wait(client.patch_lines(&path, &change, |line| {
        let flow: Flow = serde_json::from_str(line).map_err(io::Error::other)?;
        count += 1;
        // Not even XML has anything around them here.
        let text = print::flow(&flow, Why::Changed, call.output, now);
        writeln!(out, "{text}")?;
        Ok(true)
    }))?;
    out.flush()?;
    Ok(Done {
        said: Some(format!("{count} flow entries have been updated.")),
        nothing: count == 0,
    })
}

/// What neither the kernel nor this dataplane does by hand.
fn check(call: &Call) -> Result<(), Trouble> {
    let failed = |text: &str| Err(Trouble::Failed(text.to_owned()));
    if call.made.status.iter().any(|name| name == "expected") {
        return failed("Operation failed: Device or resource busy");
    }
    if !call.made.labels_add.is_empty() && !call.made.labels_del.is_empty() {
        return failed("cannot use --label-add and --label-del at the same time");
    }
    if call.made.translated && call.command != Command::Update {
        return failed("-n and -g are not supported here: translations are decided by rules");
    }
    Ok(())
}

/// The flow that a command line describes. Of a direction that is not given, the other one tells.
fn new_flow(call: &Call) -> NewFlow {
    let query = &call.query;
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
    let icmp = query.icmp_type.as_ref().map(|_| FlowIcmp {
        kind: number(&query.icmp_type).unwrap_or_default() as u8,
        code: number(&query.icmp_code).unwrap_or_default() as u8,
        id: number(&query.icmp_id).unwrap_or_default(),
    });
    let original = (&query.src, &query.dst);
    let original = side(original, (&query.sport, &query.dport), icmp);
    let reply = (&query.reply_src, &query.reply_dst);
    let reply = side(reply, (&query.reply_sport, &query.reply_dport), None);
    let (original, reply) = match (original, reply) {
        (Some(original), Some(reply)) => (original, Some(reply)),
        (Some(original), None) => (original, None),
        (None, Some(reply)) => (turned(&reply), Some(reply)),
        (None, None) => (NewSide::default(), None),
    };
    let zone = |own: &Option<String>| number(own).or(number(&query.zone)).unwrap_or_default();
    NewFlow {
        protocol: query.protocol.clone().unwrap_or_default(),
        original,
        reply,
        zone: zone(&query.orig_zone),
        reply_zone: zone(&query.reply_zone),
        timeout: call.made.timeout.unwrap_or_default(),
        state: call.made.state.clone(),
        status: call.made.status.clone(),
        mark: (call.made.mark.as_ref())
            .and_then(|mark| mark.split('/').next()?.parse().ok())
            .unwrap_or_default(),
        labels: call.made.labels_add.clone(),
        vtags: call.made.vtags.map(Option::unwrap_or_default),
        role: call.made.role.clone(),
    }
}

fn side(
    (src, dst): (&Option<String>, &Option<String>),
    (sport, dport): (&Option<String>, &Option<String>),
    icmp: Option<FlowIcmp>,
) -> Option<NewSide> {
    let address = |text: &Option<String>| -> Option<IpAddr> {
        text.as_ref()?.split('/').next()?.parse().ok()
    };
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
    Some(NewSide {
        src: address(src)?,
        dst: address(dst)?,
        sport: number(sport),
        dport: number(dport),
        icmp,
    })
}

fn turned(side: &NewSide) -> NewSide {
    NewSide {
        src: side.dst,
        dst: side.src,
        sport: side.dport,
        dport: side.sport,
        icmp: side.icmp,
    }
}
