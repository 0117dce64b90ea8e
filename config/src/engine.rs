//! The facade: requests in, listings and published generations out.
//!
//! One [`Engine`] owns the committed ruleset. A [`Request`] is a bundle of texts; it is parsed,
//! checked and executed against a copy-on-write clone, compiled, verified and handed to the
//! [`Publisher`]; only then the clone becomes the committed ruleset. A refused request changes
//! nothing. Two requests cannot interleave: `run` takes the engine by `&mut`.

mod ipset;
mod request;
mod source;

pub use source::{FillError, Filled, SetPlace};

pub use request::{
    Change, ChangeAction, Diagnostic, ListOptions, Mode, NoWorkers, Origin, PortProfile, Profile,
    Publisher, Refusal, Reply, Request,
};

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use sluice_dataplane::program::CounterSlot;
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::worker::clock::{Clock, SystemClock};
use sluice_dataplane::worker::generation::{Generation, PortTable};

use crate::compile::{CompileCache, CompileError, Target, Warning, explain, generation};
use crate::store::exec::{RulePlace, Surroundings, Transaction, interval, updates};
use crate::store::live::{Live, LiveSet};
use crate::store::{Id, ObjectBody, Ruleset, Set, SlotAllocator};
use crate::syntax::{self, MAX_ERRORS, Parsed, Severity, SourceMap, render_all};

/// The committed ruleset and what changes it.
pub struct Engine {
    profile: Profile,
    ruleset: Ruleset,
    generation: u64,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    publisher: Box<dyn Publisher>,
    live: Option<Arc<Generation>>,
    cache: CompileCache,
    ports: Arc<PortTable>,
    engines: u32,
    retired: VecDeque<Retired>,
    sources: source::Sources,
}

/// Slots of what was removed, until nobody uses the generation that had them.
struct Retired {
    generation: Weak<Generation>,
    slots: Vec<CounterSlot>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An empty ruleset over these counters.
    pub fn new(
        profile: Profile,
        counters: Arc<Counters>,
        clock: Arc<dyn Clock>,
        publisher: Box<dyn Publisher>,
    ) -> Self {
        Self {
            profile,
            ruleset: Ruleset::default(),
            generation: 0,
            counters,
            clock,
            publisher,
            live: None,
            cache: CompileCache::new(),
            ports: Arc::default(),
            engines: 0,
            retired: VecDeque::new(),
            sources: source::Sources::default(),
        }
    }

    /// An engine without ports.
    pub fn workbench() -> Self {
        Self::new(
            Profile::workbench(),
            Arc::new(Counters::new(1)),
            Arc::new(SystemClock),
            Box::new(NoWorkers),
        )
    }

    /// The committed generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The committed ruleset.
    pub fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// What workers evaluate.
    pub fn live(&self) -> Option<&Arc<Generation>> {
        self.live.as_ref()
    }

    /// The program that is in force as text, each instruction under its rule; nothing before the first
    /// change.
    pub fn explain_program(&self) -> String {
        let explained =
            |live: &Arc<Generation>| explain(&self.ruleset, &self.cache, live.program());
        self.live.as_ref().map(explained).unwrap_or_default()
    }

    /// What the compiler keeps: the runtime sets with what packets added.
    pub fn compiled(&self) -> &CompileCache {
        &self.cache
    }

    /// The counters.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// What it compiles for.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Runs one request as one transaction.
    ///
    /// # Errors
    /// When it was refused; nothing has changed.
    pub fn run(&mut self, request: Request) -> Result<Reply, Refusal> {
        if request
            .expected_generation
            .is_some_and(|expected| expected != self.generation)
        {
            return Err(Refusal {
                conflict: true,
                ..Refusal::default()
            });
        }
        for (asked, what) in [
            (request.options.json, "JSON output (-j) is not supported"),
            (
                request.options.optimize,
                "optimising a ruleset (-o) is not supported",
            ),
        ] {
            if asked {
                return Err(refused(what.to_owned()));
            }
        }
        let options = syntax::Options {
            include_paths: request.include_paths.clone(),
            defines: request.defines.clone(),
        };
        let mut files = request.files.clone();
        let mut parsed = syntax::parse(&request.input, &options, &mut files);
        updates::complete(&mut parsed.commands);
        let live = Running(&self.cache);
        let surroundings = Surroundings {
            live: &live,
            sources: &parsed.sources,
            profile: &self.profile,
            options: request.options,
            session: request.origin.session,
            now_ns: self.clock.monotonic_ns(),
            check_only: request.check_only,
        };
        let slots = SlotAllocator::new(self.counters.clone());
        let mut transaction = Transaction::new(self.ruleset.clone(), slots, surroundings);
        for run in interval::runs(&parsed.commands) {
            if transaction.check_errors.len() >= MAX_ERRORS {
                break;
            }
            if !transaction.check_run(run) {
                continue;
            }
            for command in interval::sent(run) {
                match self.sources.forbids(command, &self.ruleset) {
                    Some(complaint) => transaction.kernel_errors.push(complaint),
                    None => transaction.run(command),
                }
            }
        }
        if let Some(refusal) = complaints(&parsed, &transaction) {
            transaction.slots.roll_back();
            if transaction.check_errors.is_empty()
                && parsed.diagnostics.is_empty()
                && !request.check_only
            {
                let given = std::mem::take(&mut transaction.ruleset);
                keep_handles(&mut self.ruleset, &given);
            }
            return Err(refusal);
        }
        let warnings = transaction.warnings.iter().chain(&parsed.diagnostics);
        let mut warnings: Vec<String> = warnings
            .map(|warning| warning.render(&parsed.sources).trim_end().to_owned())
            .collect();
        if transaction.changed {
            warnings.extend(self.sources.keep(&mut transaction.ruleset));
        }
        let output = std::mem::take(&mut transaction.output);
        if !transaction.changed {
            transaction.slots.roll_back();
            return Ok(Reply {
                output,
                warnings,
                generation: self.generation,
                ..Reply::default()
            });
        }
        if request.read_only && !request.check_only {
            transaction.slots.roll_back();
            return Err(Refusal {
                forbidden: true,
                ..Refusal::default()
            });
        }
        let changes = std::mem::take(&mut transaction.changes);
        let gone = lost_slots(&transaction);
        let Transaction {
            ruleset,
            mut slots,
            places,
            ..
        } = transaction;
        let live = match self.compile(&ruleset) {
            Ok((generation, unreached)) => {
                warnings.extend(
                    unreached
                        .iter()
                        .map(|warning| format!("Warning: {}", warning.text)),
                );
                Some(generation)
            }
            // A workbench evaluates nothing, so it takes everything that can be checked.
            Err(_) if self.profile.mode == Mode::Workbench => None,
            Err(error) => {
                slots.roll_back();
                return Err(uncompiled(&error, &places, &ruleset, &parsed.sources));
            }
        };
        if request.check_only {
            slots.roll_back();
            return Ok(Reply {
                output,
                warnings,
                generation: self.generation,
                ..Reply::default()
            });
        }
        self.commit(ruleset, gone, live);
        Ok(Reply {
            output,
            warnings,
            generation: self.generation,
            changed: true,
            changes,
        })
    }

    /// A session has ended: the tables that it owned go.
    ///
    /// # Errors
    /// When what is left cannot be compiled; the tables stay.
    pub fn close_session(&mut self, session: u64) -> Result<bool, Refusal> {
        let mut ruleset = self.ruleset.clone();
        ruleset.tables.retain(|table| table.owner != Some(session));
        if ruleset.tables.len() == self.ruleset.tables.len() {
            return Ok(false);
        }
        let live = match self.compile(&ruleset) {
            Ok((generation, _)) => Some(generation),
            Err(_) if self.profile.mode == Mode::Workbench => None,
            Err(error) => return Err(refused(error.to_string())),
        };
        self.commit(ruleset, Vec::new(), live);
        Ok(true)
    }

    /// Gives the memory of expired elements back, about `budget` elements of each set at a time. To
    /// be called now and then.
    pub fn sweep(&mut self, budget: usize) -> usize {
        let now_ns = self.clock.monotonic_ns();
        let timed = |set: &Arc<Set>| set.spec.timeout && !set.elements.is_empty();
        for table in &mut self.ruleset.tables {
            let names: Vec<_> = table
                .sets
                .values()
                .filter(|set| timed(set))
                .map(|set| set.name.clone())
                .collect();
            for name in names {
                let mut elements = table
                    .set(&name)
                    .map(|set| set.elements.clone())
                    .unwrap_or_default();
                let before = elements.version;
                elements.expire(now_ns);
                if elements.version != before
                    && let Some(set) = Arc::make_mut(table).set_mut(&name)
                {
                    set.elements = elements;
                }
            }
        }
        self.cache.sweep_sets(now_ns, budget)
    }

    /// Gives back the memory of generations that no worker has any more. To be called now and then.
    pub fn tidy(&mut self) {
        self.publisher.tidy();
    }

    /// Says what the dataplane has beyond the rule VM, as bits of
    /// [`engines`](sluice_dataplane::program::op::engines).
    pub fn set_engines(&mut self, engines: u32) {
        self.engines = engines;
    }

    /// Sets the ports as workers number them, and publishes the rules that are in force over them.
    pub fn set_ports(&mut self, profile: Profile, ports: Arc<PortTable>) {
        self.profile = profile;
        self.ports = ports;
        if let Some(live) = &self.live {
            self.generation += 1;
            let live = Arc::new(live.with_ports(self.generation, Arc::clone(&self.ports)));
            self.publisher.publish(Arc::clone(&live));
            self.live = Some(live);
        }
    }

    /// The next generation's program over a ruleset.
    fn compile(
        &mut self,
        ruleset: &Ruleset,
    ) -> Result<(Arc<Generation>, Vec<Warning>), CompileError> {
        let engines = if self.profile.mode == Mode::Workbench {
            u32::MAX
        } else {
            self.engines
        };
        let target = Target {
            mode: self.profile.mode,
            engines,
        };
        let number = self.generation + 1;
        generation(
            ruleset,
            &mut self.cache,
            &target,
            number,
            &self.counters,
            &self.ports,
            self.clock.monotonic_ns(),
        )
    }

    fn commit(&mut self, ruleset: Ruleset, gone: Vec<CounterSlot>, live: Option<Arc<Generation>>) {
        self.ruleset = ruleset;
        self.generation += 1;
        let generation = self.live.as_ref().map_or_else(Weak::new, Arc::downgrade);
        if let Some(live) = &live {
            self.publisher.publish(Arc::clone(live));
            self.cache.committed();
        }
        self.live = live;
        self.retired.push_back(Retired {
            generation,
            slots: gone,
        });
        while self
            .retired
            .front()
            .is_some_and(|retired| retired.generation.strong_count() == 0)
        {
            let Some(retired) = self.retired.pop_front() else {
                break;
            };
            retired
                .slots
                .into_iter()
                .for_each(|slot| self.counters.free(slot));
        }
    }
}

/// Runtime sets of the newest compilation.
struct Running<'a>(&'a CompileCache);

impl Live for Running<'_> {
    fn set(&self, id: Id) -> Option<LiveSet<'_>> {
        let (set, statements) = self.0.runtime_set(id)?;
        Some(LiveSet {
            set,
            statements,
            applied: self.0.applied_elements(id)?,
        })
    }
}

fn refused(message: String) -> Refusal {
    let rendered = format!("Error: {message}\n");
    let diagnostic = Diagnostic {
        file: String::new(),
        line: 0,
        column: 0,
        end_column: 0,
        message,
    };
    Refusal {
        rendered,
        diagnostics: vec![diagnostic],
        ..Refusal::default()
    }
}

/// A ruleset that is right but cannot be executed here. Points at the rule if it is one of the request.
fn uncompiled(
    error: &CompileError,
    places: &[RulePlace],
    ruleset: &Ruleset,
    sources: &SourceMap,
) -> Refusal {
    let table = ruleset.table(error.place.family, &error.place.table);
    let span = table.and_then(|table| {
        let found =
            |place: &&RulePlace| place.table == table.id && place.handle == error.place.handle;
        places.iter().find(found).map(|place| place.span)
    });
    let Some(span) = span else {
        return refused(error.to_string());
    };
    let complaint = syntax::Diagnostic::error(span, error.cause.to_string());
    Refusal {
        rendered: complaint.render(sources),
        diagnostics: vec![diagnostic(&complaint, sources)],
        ..Refusal::default()
    }
}

/// Counter slots that nobody has any more.
fn lost_slots(transaction: &Transaction<'_>) -> Vec<CounterSlot> {
    let mut kept = std::collections::HashSet::new();
    let mut lost: Vec<CounterSlot> = Vec::new();
    for rule in transaction.removed.lost_rules() {
        lost.extend(rule.slots.counters.iter().copied());
    }
    for object in transaction.removed.lost_objects() {
        if let ObjectBody::Counter { slot, .. } = &object.body {
            lost.push(*slot);
        }
    }
    lost.retain(|slot| kept.insert(*slot));
    lost
}

/// Handles that a refused transaction gave are not given again, as in the kernel.
fn keep_handles(ruleset: &mut Ruleset, given: &Ruleset) {
    ruleset.last_table_handle = ruleset.last_table_handle.max(given.last_table_handle);
    for known in &mut ruleset.tables {
        let same = given.tables.iter().find(|table| table.id == known.id);
        if let Some(same) = same.filter(|same| same.last_handle > known.last_handle) {
            Arc::make_mut(known).last_handle = same.last_handle;
        }
    }
}

/// What nft would print, if there is any error.
fn complaints(parsed: &Parsed, transaction: &Transaction<'_>) -> Option<Refusal> {
    let parse_failed = parsed
        .diagnostics
        .iter()
        .any(|complaint| complaint.severity == Severity::Error);
    let mut errors: Vec<_> = parsed.diagnostics.clone();
    errors.extend(transaction.check_errors.iter().cloned());
    let mut output = String::new();
    if errors.is_empty() || (!parse_failed && transaction.check_errors.is_empty()) {
        match transaction.missing() {
            Some(missing) => errors = vec![missing.clone()],
            None if transaction.kernel_errors.is_empty() => return None,
            None => errors = transaction.kernel_errors.clone(),
        }
        // nft lists while it makes its batch: that is out before the kernel refuses.
        output.clone_from(&transaction.output);
    }
    let rendered = render_all(&errors, &parsed.sources);
    let diagnostics = errors
        .iter()
        .map(|error| diagnostic(error, &parsed.sources))
        .collect();
    Some(Refusal {
        rendered,
        diagnostics,
        output,
        ..Refusal::default()
    })
}

fn diagnostic(complaint: &syntax::Diagnostic, sources: &SourceMap) -> Diagnostic {
    let place = complaint
        .span
        .and_then(|span| Some((sources.get(span.source)?, sources.position(span)?)));
    let (file, line, column, end_column) = match place {
        Some((source, at)) => (
            source.name.clone(),
            at.line,
            at.first_column,
            at.last_column,
        ),
        None => (String::new(), 0, 0, 0),
    };
    Diagnostic {
        file,
        line,
        column,
        end_column,
        message: complaint.message.clone(),
    }
}
