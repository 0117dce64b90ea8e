//! The metrics listener: `GET /metrics`, read-only, beside the control socket.

use std::future::IntoFuture;
use std::io;
use std::net::TcpListener;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::{MEDIA_TYPE, exposition};
use crate::api::{Shared, State};

/// Serves until `stopping` becomes true.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    shared: Shared,
    listener: TcpListener,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/", get(async || "sluice: the metrics are at /metrics\n"))
        .with_state(shared);
    // A scraper's idle connection must not hold up the stop: no graceful end here.
    tokio::select! {
        result = axum::serve(listener, router).into_future() => result,
        _ = stopping.wait_for(|stop| *stop) => Ok(()),
    }
}

async fn scrape(Extract(shared): Extract<Shared>) -> Response {
    let text = tokio::task::spawn_blocking(move || exposition(&shared)).await;
    match text {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

/// The answer to the head of one HTTP request, for a listener that is no socket of this kernel: the
/// gateway's own host.
pub(crate) fn answer(state: &State, head: &[u8]) -> Vec<u8> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let path = line
        .strip_prefix(b"GET ")
        .and_then(|rest| rest.split(|byte| matches!(byte, b' ' | b'?')).next());
    let (status, kind, body) = match path {
        Some(b"/metrics") => match exposition(state) {
            Ok(text) => ("200 OK", MEDIA_TYPE, text),
            Err(error) => {
                tracing::error!(%error, "a scrape failed");
                let text = format!("{error}\n");
                ("500 Internal Server Error", "text/plain", text)
            }
        },
        Some(b"/") => (
            "200 OK",
            "text/plain",
            "sluice: the metrics are at /metrics\n".to_owned(),
        ),
        Some(_) => ("404 Not Found", "text/plain", "no such page\n".to_owned()),
        None => (
            "405 Method Not Allowed",
            "text/plain",
            "only GET\n".to_owned(),
        ),
    };
    let length = body.len();
    format!(
        "HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn failed(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(%error, "a scrape failed");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}
