//! `GET /v1/program`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::wire::Program;
use super::{Refusal, Shared, aside};

/// The compiled program.
pub(super) async fn serve(State(shared): State<Shared>) -> Result<Json<Program>, Refusal> {
    // A listing of a large program takes its time: not on the reactor.
    aside(move || shared.policy.program())
        .await
        .map(Json)
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))
}
