//! The metrics listener: `GET /metrics`, read-only, beside the control socket.

use std::future::IntoFuture;
use std::io;
use std::net::TcpListener;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::{MEDIA_TYPE, exposition};
use crate::api::Shared;

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

async fn scrape(State(shared): State<Shared>) -> Response {
    let text = tokio::task::spawn_blocking(move || exposition(&shared)).await;
    match text {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(%error, "a scrape failed");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}
