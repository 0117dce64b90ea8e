//! `GET /v1/status`

use axum::Json;
use axum::extract::State;

use super::Shared;
use super::wire::Status;

/// What the daemon is doing.
pub(super) async fn serve(State(shared): State<Shared>) -> Json<Status> {
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: shared.plane.mode().to_owned(),
        pid: std::process::id(),
        uptime_seconds: shared.started.elapsed().as_secs(),
        generation: shared.policy.generation(),
        ruleset: shared.policy.size(),
        ports: shared.plane.ports(),
        workers: shared.plane.workers(),
        dropped: shared.plane.drops().iter().sum(),
    })
}
