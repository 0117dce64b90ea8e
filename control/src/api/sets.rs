//! `/v1/sets`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::wire::{SetReload, SetSourceStatus};
use super::{Body, Refusal, Shared, aside};

/// Every set whose elements come from a file.
pub(super) async fn list(State(shared): State<Shared>) -> Json<Vec<SetSourceStatus>> {
    Json(shared.policy.set_sources())
}

/// Reads files again. A file that cannot be had is no refusal: the answer says it of its set.
pub(super) async fn reload(
    State(shared): State<Shared>,
    Body(reload): Body<SetReload>,
) -> Result<Json<Vec<SetSourceStatus>>, Refusal> {
    let policy = shared.clone();
    let done = aside(move || policy.policy.reload_sets(reload.name.as_deref()))
        .await
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))?
        .map_err(|unknown| Refusal::new(StatusCode::NOT_FOUND, unknown))?;
    Ok(Json(done))
}
