//! `POST /v1/ipset`

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};

use super::gate::{Caller, expected};
use super::wire::{Happening, IpsetAnswer, IpsetCommand};
use super::{Body, Refusal, Shared, aside};
use crate::daemon::policy::Refused;
use crate::rights::Right;

/// Runs one command line. What the command refuses is an answer, with its exit code.
pub(super) async fn run(
    State(shared): State<Shared>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    headers: HeaderMap,
    Body(mut command): Body<IpsetCommand>,
) -> Result<Json<IpsetAnswer>, Refusal> {
    command.generation = expected(&headers, command.generation)?;
    let wanted = command.generation;
    let said = command.words.join(" ");
    let may_change = caller.may(&shared, Right::Change);
    let policy = shared.clone();
    let answer = aside(move || policy.policy.ipset(command, may_change))
        .await
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))?
        .map_err(|refused| match refused {
            Refused::Generation { current } => Refusal::generation(wanted, current),
            _ => Refusal::right(&caller, Right::Change, "POST /v1/ipset"),
        })?;
    if answer.changed {
        tracing::info!(peer = %caller.name(), generation = answer.generation, "sets of ipset changed");
        shared.hub.say(Happening::Change {
            generation: answer.generation,
            by: caller.name(),
            changes: vec![format!("ipset {said}")],
        });
    }
    Ok(Json(answer))
}
