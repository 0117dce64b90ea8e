//! `/v1/flows` and `/v1/expectations`: what the tracker has.
//!
//! Lists are streamed, one JSON object a line, from a thread of their own; the table is read a
//! bounded part at a time, and a slow reader holds up nobody but itself.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use sluice_dataplane::conntrack::helper::Helper;
use sluice_dataplane::conntrack::{AddError, Filter, Flow, Tracker};
use sluice_dataplane::worker::{Clock, SystemClock};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::flow::{self as wire, Expected, FlowChange, FlowCount, FlowQuery, NewFlow};
use super::gate::Caller;
use super::{Body as Asked, Refusal, Shared, aside};
use crate::events::now_ns;
use crate::flows::{self, FlowFilter, Sorted, View};

/// Flows that are read from the table at a time.
const PART: usize = 1024;
/// Pieces of an answer that wait for the connection.
const AHEAD: usize = 4;
/// Flows that a sorted list shows when no limit is given.
const SORTED: usize = 1000;

/// The daemon's tracker.
pub(super) fn tracker(shared: &Shared) -> Result<Arc<Tracker>, Refusal> {
    shared.plane.tracker().ok_or_else(|| {
        let error = "this daemon is a workbench: it tracks no connections";
        Refusal::new(StatusCode::NOT_FOUND, error)
    })
}

fn read(query: &FlowQuery) -> Result<FlowFilter, Refusal> {
    FlowFilter::read(query).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error))
}

/// Shows every flow that fits to `visit` until it says stop.
pub(super) fn each(tracker: &Tracker, filter: &FlowFilter, mut visit: impl FnMut(&Flow) -> bool) {
    let (mut from, mut part) = (Some(0), Vec::with_capacity(PART));
    while let Some(start) = from {
        part.clear();
        from = tracker.list(&Filter::default(), start, PART, &mut part);
        for flow in &part {
            if filter.fits(&View::of_table(flow)) && !visit(flow) {
                return;
            }
        }
    }
}

/// A flow as a line of an answer.
fn line(flow: &Flow, clock_ns: u64) -> Vec<u8> {
    json_line(&flows::wire_flow(flow, clock_ns, helper_name))
}

pub(crate) fn helper_name(number: u16) -> Option<String> {
    Helper::from_number(number).map(|helper| helper.name().to_owned())
}

fn json_line(value: &impl Serialize) -> Vec<u8> {
    // Nothing in these types can fail to be written.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Pieces of an answer, gathered so that not every line is a message.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Pieces {
    const SIZE: usize = 64 << 10;

    /// Appends a line; `false` when the reader has left.
    fn push(&mut self, line: &[u8]) -> bool {
        self.piece.extend_from_slice(line);
        self.piece.len() < Self::SIZE || self.flush()
    }

    fn flush(&mut self) -> bool {
        let piece = std::mem::take(&mut self.piece);
        piece.is_empty() || self.sender.blocking_send(piece.into()).is_ok()
    }
}

/// An answer of lines that `work` writes on a thread of its own.
fn lines(work: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) + Send + 'static) -> impl IntoResponse {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces {
            sender,
            piece: Vec::with_capacity(Pieces::SIZE),
        };
        work(&mut |line| pieces.push(line));
        pieces.flush();
    });
    let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body)
}

/// The flows that fit.
pub(super) async fn list(
    State(shared): State<Shared>,
    Query(query): Query<FlowQuery>,
) -> Result<impl IntoResponse, Refusal> {
    let (tracker, filter) = (tracker(&shared)?, read(&query)?);
    Ok(lines(move |write| {
        let clock_ns = SystemClock.monotonic_ns();
        if let Some(key) = filter.sort {
            let mut sorted = Sorted::new(key, filter.limit.unwrap_or(SORTED));
            each(&tracker, &filter, |flow| {
                sorted.push(&View::of_table(flow), || flow.clone());
                true
            });
            for flow in sorted.into_sorted() {
                if !write(&line(&flow, clock_ns)) {
                    return;
                }
            }
            return;
        }
        let mut left = filter.limit.unwrap_or(usize::MAX);
        if left == 0 {
            return;
        }
        each(&tracker, &filter, |flow| {
            left -= 1;
            write(&line(flow, clock_ns)) && left > 0
        });
    }))
}

/// Makes a flow, and shows it.
pub(super) async fn insert(
    State(shared): State<Shared>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Asked(new): Asked<NewFlow>,
) -> Result<Json<wire::Flow>, Refusal> {
    let tracker = tracker(&shared)?;
    let (clock_ns, wall_ns) = (SystemClock.monotonic_ns(), now_ns());
    let made = flows::new_flow(&new, clock_ns, wall_ns)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error))?;
    let id = tracker.add(&made, wall_ns).map_err(|error| {
        let status = match error {
            AddError::Exists => StatusCode::CONFLICT,
            AddError::Full => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refusal::new(status, error.to_string())
    })?;
    tracing::info!(peer = %caller.name(), "a flow was made by hand");
    let flow = tracker.flow(id.index).filter(|flow| flow.id == id);
    let flow = flow.unwrap_or(made);
    Ok(Json(flows::wire_flow(&flow, clock_ns, helper_name)))
}

/// Changes the flows that fit, and shows them as they are then.
pub(super) async fn update(
    State(shared): State<Shared>,
    Query(query): Query<FlowQuery>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Asked(change): Asked<FlowChange>,
) -> Result<impl IntoResponse, Refusal> {
    let (tracker, filter) = (tracker(&shared)?, deliberate(&query, "change")?);
    let change =
        flows::change(&change).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error))?;
    tracing::info!(peer = %caller.name(), "flows are changed by hand");
    Ok(lines(move |write| {
        let mut left = filter.limit.unwrap_or(usize::MAX);
        // A reader that has left does not save the flows.
        let mut reading = true;
        each(&tracker, &filter, |flow| {
            if left == 0 {
                return false;
            }
            let clock_ns = SystemClock.monotonic_ns();
            if flows::alters(flow, &change) && tracker.change(flow.id, &change, clock_ns, now_ns())
            {
                left -= 1;
                let now = tracker.flow(flow.id.index).filter(|now| now.id == flow.id);
                let line = line(now.as_ref().unwrap_or(flow), clock_ns);
                reading = reading && write(&line);
            }
            true
        });
    }))
}

/// Reads a query of which flows something is to be done to.
fn deliberate(query: &FlowQuery, what: &str) -> Result<FlowFilter, Refusal> {
    let filter = read(query)?;
    let refused = |error: String| Err(Refusal::new(StatusCode::BAD_REQUEST, error));
    if !filter.is_deliberate() {
        return refused(format!(
            "give a condition, or all=true to {what} every flow"
        ));
    }
    if filter.sort.is_some() {
        return refused("sort: flows are taken in the order of the table".to_owned());
    }
    Ok(filter)
}

/// Ends the flows that fit, and shows them.
pub(super) async fn delete(
    State(shared): State<Shared>,
    Query(query): Query<FlowQuery>,
) -> Result<impl IntoResponse, Refusal> {
    let (tracker, filter) = (tracker(&shared)?, deliberate(&query, "end")?);
    Ok(lines(move |write| {
        let clock_ns = SystemClock.monotonic_ns();
        let mut left = filter.limit.unwrap_or(usize::MAX);
        // A reader that has left does not save the flows.
        let mut reading = true;
        each(&tracker, &filter, |flow| {
            if left == 0 {
                return false;
            }
            if tracker.delete(flow.id, now_ns()) {
                left -= 1;
                reading = reading && write(&line(flow, clock_ns));
            }
            true
        });
    }))
}

/// How many flows fit, by protocol and state.
pub(super) async fn count(
    State(shared): State<Shared>,
    Query(query): Query<FlowQuery>,
) -> Result<Json<FlowCount>, Refusal> {
    let (tracker, filter) = (tracker(&shared)?, read(&query)?);
    aside(move || Json(counted(&tracker, &filter)))
        .await
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))
}

/// Counts the flows that fit.
pub(crate) fn counted(tracker: &Tracker, filter: &FlowFilter) -> FlowCount {
    let mut flows = 0;
    let mut classes: BTreeMap<(u8, Option<&'static str>), u64> = BTreeMap::new();
    each(tracker, filter, |flow| {
        flows += 1;
        let class = (flow.original.protocol, flow.state_name());
        *classes.entry(class).or_default() += 1;
        true
    });
    let mut count = FlowCount {
        flows,
        ..FlowCount::default()
    };
    for ((protocol, state), number) in classes {
        let name = match flows::protocol_name(protocol) {
            "unknown" => protocol.to_string(),
            name => name.to_owned(),
        };
        *count.protocols.entry(name.clone()).or_default() += number;
        if let Some(state) = state {
            let states = count.states.entry(name).or_default();
            *states.entry(state.to_owned()).or_default() += number;
        }
    }
    count
}

/// Connections that are expected.
pub(super) async fn expectations(
    State(shared): State<Shared>,
) -> Result<impl IntoResponse, Refusal> {
    let tracker = tracker(&shared)?;
    Ok(lines(move |write| {
        let clock_ns = SystemClock.monotonic_ns();
        for expectation in tracker.expectations() {
            let master = tracker.flow(expectation.master.index);
            let master = master.filter(|flow| flow.id == expectation.master);
            let number = master.as_ref().map_or(0, |flow| flow.number);
            let by = master.and_then(|flow| helper_name(flow.helper));
            let expected: Expected = flows::wire_expectation(&expectation, clock_ns, number, by);
            if !write(&json_line(&expected)) {
                return;
            }
        }
    }))
}

/// Forgets what is expected.
pub(super) async fn flush_expectations(
    State(shared): State<Shared>,
) -> Result<Json<serde_json::Value>, Refusal> {
    let tracker = tracker(&shared)?;
    let forgotten = tracker.unexpect(|_| true);
    Ok(Json(serde_json::json!({ "forgotten": forgotten })))
}
