//! `/v1/ports`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::gate::expected;
use super::wire::{Happening, PortRequest, PortStatus};
use super::{Body, Refusal, Shared, aside};
use crate::daemon::plane::PlaneError;

/// Every port.
pub(super) async fn list(State(shared): State<Shared>) -> Json<Vec<PortStatus>> {
    Json(shared.plane.ports())
}

/// Opens a port.
pub(super) async fn add(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Body(port): Body<PortRequest>,
) -> Result<Json<PortStatus>, Refusal> {
    heed_generation(&shared, &headers)?;
    let plane = shared.clone();
    let status = aside(move || plane.plane.add_port(&port))
        .await
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))?
        .map_err(refusal)?;
    tracing::info!(port = status.name, device = status.device, "port added");
    shared.hub.say(Happening::Port {
        name: status.name.clone(),
        present: true,
    });
    Ok(Json(status))
}

/// Closes a port.
pub(super) async fn remove(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    heed_generation(&shared, &headers)?;
    let (plane, port) = (shared.clone(), name.clone());
    aside(move || plane.plane.remove_port(&port))
        .await
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))?
        .map_err(refusal)?;
    tracing::info!(port = name, "port removed");
    shared.hub.say(Happening::Port {
        name,
        present: false,
    });
    Ok(Json(json!({})))
}

fn heed_generation(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let current = shared.policy.generation();
    match expected(headers, None)? {
        Some(wanted) if wanted != current => Err(Refusal::generation(Some(wanted), current)),
        _ => Ok(()),
    }
}

fn refusal(error: PlaneError) -> Refusal {
    let status = match &error {
        PlaneError::Exists(_) => StatusCode::CONFLICT,
        PlaneError::Unknown(_) => StatusCode::NOT_FOUND,
        PlaneError::Workbench | PlaneError::Device(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Refusal::new(status, error.to_string())
}
