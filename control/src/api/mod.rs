//! The control API: HTTP/1.1 with JSON over the Unix socket. One file per noun; the table in
//! [`routes`] says which paths there are and what they need.

pub(crate) mod conntrack;
mod drops;
pub mod event;
mod events;
pub mod flow;
pub(crate) mod flows;
pub mod gate;
mod ipset;
pub mod nat;
mod nft;
pub mod openapi;
mod ports;
mod program;
pub mod routes;
mod routing;
mod sets;
mod status;
pub mod wire;

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

pub use gate::Refusal;

use crate::daemon::plane::Plane;
use crate::daemon::policy::Policy;
use crate::events::Hub;
use crate::rights::Rights;

/// What every handler works on.
pub struct State {
    /// The ruleset.
    pub policy: Arc<dyn Policy>,
    /// Ports and workers.
    pub plane: Arc<dyn Plane>,
    /// Where events are said.
    pub hub: Hub,
    /// Who may do what.
    pub rights: Rights,
    /// When the daemon started.
    pub started: Instant,
    /// Becomes true when the daemon stops: endless answers end.
    pub stopping: watch::Receiver<bool>,
}

/// The state as handlers share it.
pub type Shared = Arc<State>;

/// A JSON body; what cannot be read is refused in our own words.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let refused = |error: JsonRejection| Refusal::new(error.status(), error.body_text());
        Json::<T>::from_request(request, state)
            .await
            .map(|Json(body)| Self(body))
            .map_err(refused)
    }
}

/// Runs what blocks (the ruleset's lock, a compilation, a device) beside the reactor.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| format!("the request failed: {error}"))
}
