//! `POST /v1/nft`

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};

use super::gate::{Caller, expected};
use super::wire::{Failure, Happening, NftAnswer, NftCommand};
use super::{Body, Refusal, Shared, aside};
use crate::daemon::policy::Refused;
use crate::rights::Right;

/// Runs one command as one transaction.
pub(super) async fn run(
    State(shared): State<Shared>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    headers: HeaderMap,
    Body(mut command): Body<NftCommand>,
) -> Result<Json<NftAnswer>, Refusal> {
    command.generation = expected(&headers, command.generation)?;
    let wanted = command.generation;
    let may_change = caller.may(&shared, Right::Change);
    let policy = shared.clone();
    let done = aside(move || policy.policy.run(command, caller.0.as_ref(), may_change))
        .await
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))?
        .map_err(|refused| refusal(refused, &caller, wanted))?;
    if done.answer.changed {
        tracing::info!(peer = %caller.name(), generation = done.answer.generation, "ruleset changed");
        shared.hub.say(Happening::Change {
            generation: done.answer.generation,
            by: caller.name(),
            changes: done.changes,
        });
    }
    Ok(Json(done.answer))
}

fn refusal(refused: Refused, caller: &Caller, expected: Option<u64>) -> Refusal {
    match refused {
        Refused::Right => Refusal::right(caller, Right::Change, "POST /v1/nft"),
        Refused::Generation { current } => Refusal::generation(expected, current),
        Refused::Text {
            rendered,
            diagnostics,
        } => Refusal {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            failure: Failure {
                error: rendered,
                diagnostics,
                generation: None,
            },
        },
    }
}
