//! `GET /v1/events`: one JSON object per line, until the follower leaves or the daemon stops.

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::wire::Happening;
use super::{Refusal, Shared};
use crate::events::Follower;

/// Lines that wait for a connection; behind them the hub's ring holds more.
const AHEAD: usize = 64;

/// The query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    kind: Option<String>,
}

/// Follows what happens from now on.
pub(super) async fn follow(
    State(shared): State<Shared>,
    Query(filter): Query<Filter>,
) -> Result<impl IntoResponse, Refusal> {
    let kinds = kinds(filter.kind.as_deref())?;
    let wants_flows = kinds.as_ref().is_some_and(|kinds| kinds.contains(&"flow"));
    let only_flows = wants_flows && kinds.as_ref().is_some_and(|kinds| kinds.len() == 1);
    let follower = (!only_flows).then(|| shared.hub.follow());
    let flows = wants_flows.then(|| shared.hub.follow_flows());
    let (sender, receiver) = mpsc::channel(AHEAD);
    let mut stopping = shared.stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = feed(follower, kinds, &sender), if !only_flows => {}
            () = feed(flows, None, &sender), if wants_flows => {}
            () = sender.closed() => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    });
    let lines = ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>);
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    ))
}

fn kinds(filter: Option<&str>) -> Result<Option<Vec<&'static str>>, Refusal> {
    let Some(filter) = filter else {
        return Ok(None);
    };
    let known = || Happening::KINDS.iter().map(|(kind, _)| *kind);
    let kind = |word: &str| {
        known().find(|kind| *kind == word).ok_or_else(|| {
            let list = known().collect::<Vec<_>>().join(", ");
            let error = format!("no kind of event is called \"{word}\"; kinds: {list}");
            Refusal::new(StatusCode::BAD_REQUEST, error)
        })
    };
    filter
        .split(',')
        .map(kind)
        .collect::<Result<_, _>>()
        .map(Some)
}

async fn feed(
    follower: Option<Follower>,
    kinds: Option<Vec<&'static str>>,
    sender: &mpsc::Sender<Bytes>,
) {
    let Some(mut follower) = follower else { return };
    while let Some(event) = follower.next().await {
        let kind = event.what.kind();
        let wanted = kind == "lost" || kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
        if !wanted {
            continue;
        }
        let Ok(mut line) = serde_json::to_vec(&event) else {
            continue;
        };
        line.push(b'\n');
        if sender.send(line.into()).await.is_err() {
            return;
        }
    }
}
