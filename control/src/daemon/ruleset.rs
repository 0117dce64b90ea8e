//! The committed ruleset behind the control API: requests one after the other through the
//! engine, reads from a snapshot that no request holds up.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use sluice_config::engine::{Engine, ListOptions, Origin, Profile, Refusal, Request};
use sluice_config::ipset::IpsetRequest;
use sluice_config::store::{Id, ObjectBody, Ruleset, StoredRule};
use sluice_config::syntax::{Bundle, Input};
use sluice_dataplane::program::CounterSlot;
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::sets;
use sluice_dataplane::worker::clock::{Clock, SystemClock};
use sluice_dataplane::worker::generation::{Generation, PortTable};

use super::hosts::Hosts;
use super::policy::{Done, Policy, Refused, RulePlace, Tally};
use super::sources::{Source, Sources};
use crate::api::wire::{
    Complaint, FileText, IpsetAnswer, IpsetCommand, NftAnswer, NftCommand, NftPrint, Program,
    RulesetSize, SetSourceStatus,
};
use crate::appliance::SetSource;
use crate::events::Hub;
use crate::rights::Peer;

/// Elements of each set that a sweep looks at.
const SWEEP: usize = 100_000;

/// What was committed last. Cloned out of the engine after each request: a few pointers.
struct Snapshot {
    number: u64,
    ruleset: Ruleset,
    live: Option<Arc<Generation>>,
    /// Sets that packets change: what is in them is not in the ruleset.
    runtime: HashMap<Id, Arc<sets::Set>>,
    counted: OnceLock<Vec<Counted>>,
}

/// A counter that metrics show, with its labels.
struct Counted {
    family: &'static str,
    table: String,
    what: What,
    slot: CounterSlot,
}

enum What {
    Named(String),
    Rule {
        chain: String,
        handle: u64,
        comment: String,
    },
}

/// The engine and its snapshot.
pub struct EnginePolicy {
    engine: Mutex<Engine>,
    snapshot: ArcSwap<Snapshot>,
    counters: Arc<Counters>,
    sources: OnceLock<Sources>,
}

impl EnginePolicy {
    /// Around an engine.
    pub fn new(engine: Engine) -> Self {
        let counters = Arc::clone(engine.counters());
        let snapshot = ArcSwap::from_pointee(Snapshot::of(&engine));
        Self {
            engine: Mutex::new(engine),
            snapshot,
            counters,
            sources: OnceLock::new(),
        }
    }

    /// From now on these sets have the elements of files, which are read at once. To be called once,
    /// when the ruleset is in force and before the first packet comes.
    ///
    /// # Errors
    /// When a file that is required cannot be had. Every other failure is in the set's state.
    pub fn follow_files(&self, files: &[SetSource], hub: &Hub) -> Result<(), String> {
        let sources = self
            .sources
            .get_or_init(|| Sources::new(files, hub.clone()));
        let mut engine = self.locked();
        for source in &sources.all {
            engine.follow(
                source.spec.place.clone(),
                &source.spec.file.display().to_string(),
            );
        }
        drop(engine);
        for source in &sources.all {
            match self.load(sources, source) {
                Err(error) if source.spec.required => return Err(error),
                // Told by state, event and log.
                Err(_) | Ok(()) => {}
            }
        }
        Ok(())
    }

    fn load(&self, sources: &Sources, source: &Source) -> Result<(), String> {
        sources.load(source, |contents| {
            let mut engine = self.locked();
            let filled = engine
                .fill(&source.spec.place, contents)
                .map_err(|error| error.to_string())?;
            if filled.changed {
                self.snapshot.store(Arc::new(Snapshot::of(&engine)));
            }
            Ok(filled)
        })
    }

    /// Elements of the set that a file fills.
    fn elements(&self, spec: &SetSource) -> u64 {
        let snapshot = self.snapshot.load();
        let place = &spec.place;
        let table = snapshot.ruleset.table(place.family, &place.table);
        let set = table.and_then(|table| table.set(&place.set));
        set.map_or(0, |set| set.elements.len() as u64)
    }

    /// Publishes the rules in force over another table of ports. Says whether there was a
    /// generation to publish: without one, no ruleset has ever been committed.
    pub fn set_ports(&self, profile: Profile, ports: Arc<PortTable>) -> bool {
        let mut engine = self.locked();
        engine.set_ports(profile, ports);
        self.snapshot.store(Arc::new(Snapshot::of(&engine)));
        engine.live().is_some()
    }

    /// The rules and chains of these numbers (`None`: all) in words: family, table, chain and
    /// handle, or the chain's policy. One pass over the ruleset.
    pub fn rule_names(&self, wanted: Option<&HashSet<u32>>) -> HashMap<u32, String> {
        let snapshot = self.snapshot.load();
        let wants = |id: Id| {
            // The packet path keeps the low half of the number.
            let number = id.0 as u32;
            wanted
                .is_none_or(|wanted| wanted.contains(&number))
                .then_some(number)
        };
        let mut names = HashMap::new();
        for table in &snapshot.ruleset.tables {
            for chain in table.chains.values() {
                let place = format!("{} {} {}", table.family.keyword(), table.name, chain.name);
                if let Some(number) = wants(chain.id) {
                    names.insert(number, format!("{place} policy"));
                }
                for rule in chain.rules.iter() {
                    if let Some(number) = wants(rule.id) {
                        names.insert(number, format!("{place} handle {}", rule.handle));
                    }
                }
            }
        }
        names
    }

    fn locked(&self) -> MutexGuard<'_, Engine> {
        // A panic inside a transaction leaves the committed ruleset as it was: it is replaced
        // only at the very end.
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    fn of(engine: &Engine) -> Self {
        let sets = engine
            .ruleset()
            .tables
            .iter()
            .flat_map(|table| table.sets.values());
        let runtime = sets
            .filter(|set| set.spec.dynamic || set.spec.timeout)
            .filter_map(|set| {
                let (runtime, _) = engine.compiled().runtime_set(set.id)?;
                Some((set.id, Arc::clone(runtime)))
            })
            .collect();
        Self {
            number: engine.generation(),
            ruleset: engine.ruleset().clone(),
            live: engine.live().cloned(),
            runtime,
            counted: OnceLock::new(),
        }
    }

    /// Everything counted, found once per generation.
    fn counted(&self) -> &[Counted] {
        self.counted.get_or_init(|| {
            let mut all = Vec::new();
            for table in &self.ruleset.tables {
                let counted = |what, slot| Counted {
                    family: table.family.keyword(),
                    table: table.name.to_string(),
                    what,
                    slot,
                };
                for object in table.objects.values() {
                    if let ObjectBody::Counter { slot, .. } = &object.body {
                        all.push(counted(What::Named(object.name.to_string()), *slot));
                    }
                }
                for chain in table.chains.values() {
                    for rule in chain.rules.iter() {
                        if let Some((comment, slot)) = commented_counter(rule) {
                            let what = What::Rule {
                                chain: chain.name.to_string(),
                                handle: rule.handle,
                                comment: comment.to_owned(),
                            };
                            all.push(counted(what, slot));
                        }
                    }
                }
            }
            all
        })
    }
}

fn commented_counter(rule: &StoredRule) -> Option<(&str, CounterSlot)> {
    Some((rule.body.comment.as_deref()?, *rule.slots.counters.first()?))
}

impl Policy for EnginePolicy {
    fn run(
        &self,
        command: NftCommand,
        by: Option<&Peer>,
        may_change: bool,
    ) -> Result<Done, Refused> {
        let request = request(command, by, may_change)?;
        let mut engine = self.locked();
        let reply = engine
            .run(request)
            .map_err(|refusal| refused(refusal, engine.generation()))?;
        if reply.changed {
            self.snapshot.store(Arc::new(Snapshot::of(&engine)));
            if let Some(sources) = self.sources.get() {
                sources.after(&engine);
            }
        }
        Ok(Done {
            answer: NftAnswer {
                output: reply.output,
                warnings: reply.warnings,
                changed: reply.changed,
                generation: reply.generation,
            },
            changes: reply
                .changes
                .into_iter()
                .map(|change| change.text)
                .collect(),
        })
    }

    fn ipset(&self, command: IpsetCommand, may_change: bool) -> Result<IpsetAnswer, Refused> {
        let hosts = Hosts::new(command.hosts);
        let request = IpsetRequest {
            words: command.words,
            input: command.input,
            interactive: command.interactive,
            read_only: !may_change,
            expected_generation: command.generation,
        };
        let mut engine = self.locked();
        let answer = engine.ipset(&request, &hosts);
        if answer.changed {
            self.snapshot.store(Arc::new(Snapshot::of(&engine)));
        }
        drop(engine);
        if answer.conflict {
            let current = answer.generation;
            return Err(Refused::Generation { current });
        }
        if answer.forbidden {
            return Err(Refused::Right);
        }
        Ok(IpsetAnswer {
            output: answer.output,
            errors: answer.errors,
            code: answer.code,
            quit: answer.quit,
            changed: answer.changed,
            line: answer.line,
            unknown_hosts: hosts.unknown(),
            generation: answer.generation,
        })
    }

    fn generation(&self) -> u64 {
        self.snapshot.load().number
    }

    fn size(&self) -> RulesetSize {
        let snapshot = self.snapshot.load();
        let tables = &snapshot.ruleset.tables;
        let sum = |count: fn(&sluice_config::store::Table) -> usize| {
            tables.iter().map(|table| count(table) as u64).sum()
        };
        RulesetSize {
            tables: tables.len() as u64,
            chains: sum(|table| table.chains.len()),
            rules: sum(|table| table.chains.values().map(|chain| chain.rules.len()).sum()),
            sets: sum(|table| table.sets.len()),
            program_bytes: 4 * snapshot.live.as_ref().map_or(0, |live| words(live)),
        }
    }

    fn program(&self) -> Program {
        let engine = self.locked();
        let program = engine.live().map(|live| live.program());
        Program {
            generation: engine.generation(),
            bytes: program.map_or(0, |program| program.to_bytes().len() as u64),
            text: engine.explain_program(),
        }
    }

    fn sweep(&self) {
        // A transaction under way is not waited for: the next second will do.
        if let Ok(mut engine) = self.engine.try_lock() {
            engine.tidy();
            engine
                .compiled()
                .sweep_sets(SystemClock.monotonic_ns(), SWEEP);
            engine.sweep_ipsets(SWEEP);
        }
    }

    fn set_sources(&self) -> Vec<SetSourceStatus> {
        let sources = self.sources.get();
        sources.map_or_else(Vec::new, |sources| {
            sources.status(|spec| self.elements(spec))
        })
    }

    fn reload_sets(&self, name: Option<&str>) -> Result<Vec<SetSourceStatus>, String> {
        let all = self.sources.get();
        let chosen: Vec<&Source> = match (all, name) {
            (Some(sources), Some(name)) => sources.named(name),
            (Some(sources), None) => sources.all.iter().collect(),
            (None, _) => Vec::new(),
        };
        if let (true, Some(name)) = (chosen.is_empty(), name) {
            return Err(format!("no set called \"{name}\" has a [[set-source]]"));
        }
        for source in &chosen {
            if let Some(sources) = all {
                // A failure is in the set's state, which is the answer.
                let _ = self.load(sources, source);
            }
        }
        let status = |source: &&Source| source.status(self.elements(&source.spec));
        Ok(chosen.iter().map(status).collect())
    }

    fn refresh_sets(&self, told: &[PathBuf]) {
        let Some(sources) = self.sources.get() else {
            return;
        };
        for source in sources.all.iter().filter(|source| source.spec.watch) {
            if source.is_stale(told.contains(&source.spec.file)) {
                // A failure is in the set's state.
                let _ = self.load(sources, source);
            }
        }
    }

    fn tally(&self, tally: &mut dyn Tally) {
        let snapshot = self.snapshot.load();
        for counted in snapshot.counted() {
            let count = self.counters.read(counted.slot);
            let (family, table) = (counted.family, counted.table.as_str());
            match &counted.what {
                What::Named(name) => {
                    tally.counter(family, table, name, count.packets, count.bytes);
                }
                What::Rule {
                    chain,
                    handle,
                    comment,
                } => {
                    let place = RulePlace {
                        family,
                        table,
                        chain,
                        handle: *handle,
                        comment,
                    };
                    tally.rule(place, count.packets, count.bytes);
                }
            }
        }
        for table in &snapshot.ruleset.tables {
            for set in table.sets.values() {
                let runtime = snapshot.runtime.get(&set.id);
                let elements = runtime.map_or(set.elements.len(), |set| set.view().len()) as u64;
                tally.set(table.family.keyword(), &table.name, &set.name, elements);
            }
        }
    }
}

/// Words of all blocks: the size of what is interpreted.
fn words(live: &Generation) -> u64 {
    let blocks = live
        .program()
        .chains()
        .iter()
        .flat_map(|chain| chain.blocks());
    blocks.map(|block| block.words().len() as u64).sum()
}

fn request(command: NftCommand, by: Option<&Peer>, may_change: bool) -> Result<Request, Refused> {
    if let Some(what) = unsupported(&command.options) {
        return Err(Refused::Text {
            rendered: format!("Error: this version does not support {what}\n"),
            diagnostics: Vec::new(),
        });
    }
    let input = match (command.text, command.file) {
        (Some(text), None) => Input::CommandLine(text),
        (None, Some(file)) => Input::File(file),
        _ => {
            return Err(Refused::Text {
                rendered: "Error: expected either text or file\n".to_owned(),
                diagnostics: Vec::new(),
            });
        }
    };
    let file = |(path, text)| match text {
        FileText::Text(text) => (path, Ok(Arc::from(text))),
        FileText::Error(error) => (path, Err(error)),
    };
    Ok(Request {
        files: Bundle {
            files: command.files.into_iter().map(file).collect(),
            globs: command.globs,
        },
        include_paths: command.include_paths,
        defines: command.defines,
        options: print_options(&command.options),
        check_only: command.check,
        read_only: !may_change,
        expected_generation: command.generation,
        origin: Origin {
            peer: by.map_or_else(|| "the daemon".to_owned(), Peer::to_string),
            session: by.and_then(|peer| peer.pid).map_or(0, |pid| pid as u64),
        },
        ..Request::new(input)
    })
}

/// What is asked for and cannot be had: refused, never ignored.
fn unsupported(print: &NftPrint) -> Option<&'static str> {
    if print.json {
        Some("JSON rulesets (-j)")
    } else if print.optimize {
        Some("the optimizer (-o)")
    } else if print.reverse_dns {
        Some("names of addresses (-N)")
    } else {
        None
    }
}

fn print_options(print: &NftPrint) -> ListOptions {
    ListOptions {
        handles: print.handle,
        // nft 1.0.6 knows one -n: everything in numbers.
        numeric: if print.numeric { 2 } else { 0 },
        stateless: print.stateless,
        services: print.service,
        numeric_protocols: print.numeric_protocol,
        numeric_priorities: print.numeric_priority,
        names: print.reverse_dns,
        terse: print.terse,
        numeric_times: print.numeric_time,
        guid: print.guid,
        echo: print.echo,
        json: print.json,
        optimize: print.optimize,
    }
}

fn refused(refusal: Refusal, current: u64) -> Refused {
    if refusal.conflict {
        return Refused::Generation { current };
    }
    if refusal.forbidden {
        return Refused::Right;
    }
    let diagnostics = refusal.diagnostics.into_iter().map(|complaint| Complaint {
        file: complaint.file,
        line: complaint.line,
        column: complaint.column,
        end_column: complaint.end_column,
        message: complaint.message,
    });
    Refused::Text {
        rendered: refusal.rendered,
        diagnostics: diagnostics.collect(),
    }
}
