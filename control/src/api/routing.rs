//! `/v1/routes` and `/v1/neighbours`

use axum::Json;
use axum::extract::State;

use super::Shared;
use super::wire::{NeighbourStatus, RouteStatus};

/// Every route.
pub(super) async fn routes(State(shared): State<Shared>) -> Json<Vec<RouteStatus>> {
    Json(shared.plane.routes())
}

/// Every neighbour.
pub(super) async fn neighbours(State(shared): State<Shared>) -> Json<Vec<NeighbourStatus>> {
    Json(shared.plane.neighbours())
}
