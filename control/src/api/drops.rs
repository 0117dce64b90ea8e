//! `/v1/drops`

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use sluice_dataplane::DropReason;

use super::wire::{DropCount, Drops};
use super::{Refusal, Shared};
use crate::pcap;

/// Every reason with its count, and the last dropped frames.
pub(super) async fn serve(State(shared): State<Shared>) -> Json<Drops> {
    let counts = shared.plane.drops();
    let reasons = DropReason::ALL
        .iter()
        .zip(counts)
        .map(|(reason, frames)| DropCount {
            reason: reason.name().to_owned(),
            help: reason.help().to_owned(),
            frames,
        })
        .collect();
    Json(Drops {
        reasons,
        frames: shared.plane.dropped_frames(),
    })
}

/// The last dropped frames as a pcapng file.
pub(super) async fn pcap(State(shared): State<Shared>) -> Result<impl IntoResponse, Refusal> {
    let file = pcap::write(&shared.plane.dropped_frames())
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/x-pcapng")], file))
}
