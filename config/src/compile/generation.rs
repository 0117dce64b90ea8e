//! From a ruleset to what workers evaluate, in one step.

use std::sync::Arc;

use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::worker::{Generation, PortTable};

use super::error::{Cause, CompileError, Place, Warning};
use super::program::{CompileCache, Target, compile};
use crate::store::Ruleset;

/// Compiles a ruleset and puts a generation together with its surroundings. The caller publishes
/// it, then says so to the cache ([`CompileCache::committed`]).
///
/// # Errors
/// When a rule cannot be executed here; nothing is published then.
pub fn generation(
    view: &Ruleset,
    cache: &mut CompileCache,
    target: &Target,
    number: u64,
    counters: &Arc<Counters>,
    ports: &Arc<PortTable>,
    now_ns: u64,
) -> Result<(Arc<Generation>, Vec<Warning>), CompileError> {
    let compiled = compile(view, cache, target, now_ns)?;
    let generation = Generation::new(
        number,
        compiled.program,
        compiled.sets,
        compiled.cells,
        Arc::clone(counters),
        Arc::clone(ports),
        target.engines,
    )
    .map_err(|refusal| CompileError {
        place: Place::of_ruleset(),
        cause: Cause::Refused(refusal.to_string()),
    })?;
    let generation = generation.with_objects(compiled.objects);
    Ok((Arc::new(generation), compiled.warnings))
}
