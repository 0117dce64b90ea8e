//! Sets whose elements come from files: reading them, and what became of it.
//!
//! A file is read and parsed without holding anything up; only the difference is put into the ruleset
//! under the engine's lock, as one transaction. A file that cannot be had, for whatever reason, leaves
//! the set as it is; state, event and metric say why and since when.

use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sluice_config::engine::{Engine, Filled};
use sluice_config::set_file::{self, Contents, Format};

use crate::api::wire::{Happening, SetSourceStatus};
use crate::appliance::SetSource;
use crate::events::{self, Hub};

/// Largest file that is read, in bytes: some forty million prefixes.
const LARGEST: u64 = 1 << 30;

/// A file that nobody said was finished is read when it has not changed for so long.
const AT_REST: Duration = Duration::from_secs(30);

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_ns: i128,
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            changed_ns: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
        }
    }
}

/// Why a set does not have what its file has.
#[derive(Clone, Debug)]
struct Failing {
    /// Seconds since 1970.
    since: u64,
    error: String,
    /// It is the set that does not fit, not the file: a transaction may mend it.
    of_set: bool,
}

#[derive(Clone, Debug, Default)]
struct State {
    entries: u64,
    passed_over: u64,
    loaded_at: Option<u64>,
    load_ms: u64,
    loads: u64,
    failures: u64,
    failing: Option<Failing>,
    /// The file that was read last, well or not.
    seen: Option<Stamp>,
}

/// One set and its file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) spec: SetSource,
    /// Held while the file is read: two readings do not overtake each other.
    turn: Mutex<()>,
    state: Mutex<State>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) all: Vec<Source>,
    hub: Hub,
}

fn seconds() -> u64 {
    events::now_ns() / 1_000_000_000
}

impl Sources {
    pub(super) fn new(sources: &[SetSource], hub: Hub) -> Self {
        let source = |spec: &SetSource| Source {
            spec: spec.clone(),
            turn: Mutex::default(),
            state: Mutex::default(),
        };
        Self {
            all: sources.iter().map(source).collect(),
            hub,
        }
    }

    /// Those that a name means: `SET`, `TABLE SET` or `FAMILY TABLE SET`.
    pub(super) fn named<'s>(&'s self, name: &str) -> Vec<&'s Source> {
        let wanted: Vec<&str> = name.split_whitespace().collect();
        let means = |source: &&Source| {
            let place = &source.spec.place;
            let full = [place.family.keyword(), &place.table, &place.set];
            !wanted.is_empty() && full.ends_with(&wanted)
        };
        self.all.iter().filter(means).collect()
    }

    /// Reads a file and hands its contents to `fill`, which puts them into the ruleset.
    ///
    /// # Errors
    /// What is wrong with file or set, as state, event and log say it too.
    pub(super) fn load(
        &self,
        source: &Source,
        fill: impl FnOnce(&Arc<Contents>) -> Result<Filled, String>,
    ) -> Result<(), String> {
        let _turn = source.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let (seen, read) = read(&source.spec);
        source.state().seen = seen;
        let of_set = read.is_ok();
        let outcome = read.and_then(|contents| {
            let contents = Arc::new(contents);
            fill(&contents).map(|filled| (filled, contents))
        });
        match outcome {
            Ok((filled, contents)) => {
                let mut state = source.state();
                state.entries = contents.entries;
                state.passed_over = contents.left_out + filled.other_family;
                state.loaded_at = Some(seconds());
                state.load_ms = started.elapsed().as_millis() as u64;
                state.loads += 1;
                state.failing = None;
                drop(state);
                self.tell_filled(&source.spec, &filled);
                Ok(())
            }
            Err(error) => {
                source.state().failures += 1;
                self.fails(source, &error, of_set);
                Err(error)
            }
        }
    }

    fn tell_filled(&self, spec: &SetSource, filled: &Filled) {
        let file = spec.file.display().to_string();
        tracing::info!(
            set = %spec.place, file, elements = filled.elements, added = filled.added,
            removed = filled.removed, "set filled"
        );
        if filled.changed {
            self.hub.say(Happening::Change {
                generation: filled.generation,
                by: format!("set source {file}"),
                changes: Vec::new(),
            });
        }
        self.hub.say(Happening::SetSource {
            set: spec.place.to_string(),
            file,
            elements: filled.elements,
            added: filled.added,
            removed: filled.removed,
            error: None,
        });
    }

    /// Notes and tells that a set does not have what its file has.
    fn fails(&self, source: &Source, error: &str, of_set: bool) {
        let spec = &source.spec;
        let file = spec.file.display().to_string();
        tracing::error!(set = %spec.place, file, error, "set not filled; it keeps what it has");
        let mut state = source.state();
        let since = state
            .failing
            .as_ref()
            .map_or_else(seconds, |failing| failing.since);
        state.failing = Some(Failing {
            since,
            error: error.to_owned(),
            of_set,
        });
        drop(state);
        self.hub.say(Happening::SetSource {
            set: spec.place.to_string(),
            file,
            elements: 0,
            added: 0,
            removed: 0,
            error: Some(error.to_owned()),
        });
    }

    /// After a transaction: sets that it made, or made unfit, are told.
    pub(super) fn after(&self, engine: &Engine) {
        for source in &self.all {
            let problem = engine.fill_problem(&source.spec.place);
            let known = source.state().failing.clone();
            match (problem, known) {
                (None, Some(failing)) if failing.of_set => source.state().failing = None,
                (Some(problem), None) => self.fails(source, &problem.to_string(), true),
                _ => {}
            }
        }
    }

    /// The state of all, for the outside. `elements` says how many a set has.
    pub(super) fn status(&self, elements: impl Fn(&SetSource) -> u64) -> Vec<SetSourceStatus> {
        let status = |source: &Source| source.status(elements(&source.spec));
        self.all.iter().map(status).collect()
    }
}

impl Source {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the file is another one than was read last. `told`: whoever wrote it has said that it is
    /// finished; otherwise it must have been at rest for a while, so that no half of it is read.
    pub(super) fn is_stale(&self, told: bool) -> bool {
        let Ok(found) = fs::metadata(&self.spec.file) else {
            // Gone: told once. It comes back with another stamp.
            return self.state().seen.is_some();
        };
        let rests = found.modified().is_ok_and(|changed| {
            SystemTime::now()
                .duration_since(changed)
                .is_ok_and(|age| age >= AT_REST)
        });
        (told || rests) && self.state().seen != Some(Stamp::of(&found))
    }

    pub(super) fn status(&self, elements: u64) -> SetSourceStatus {
        let state = self.state().clone();
        let place = &self.spec.place;
        let format = Format::NAMES
            .iter()
            .find(|(_, format)| *format == self.spec.reading.format)
            .map_or("", |(name, _)| name);
        SetSourceStatus {
            family: place.family.keyword().to_owned(),
            table: place.table.clone(),
            set: place.set.clone(),
            file: self.spec.file.display().to_string(),
            format: format.to_owned(),
            watch: self.spec.watch,
            entries: state.entries,
            elements,
            passed_over: state.passed_over,
            loaded_at: state.loaded_at,
            load_ms: state.load_ms,
            loads: state.loads,
            failures: state.failures,
            failing_since: state.failing.as_ref().map(|failing| failing.since),
            error: state.failing.map(|failing| failing.error),
        }
    }
}

/// What a file has, and which file it was.
fn read(spec: &SetSource) -> (Option<Stamp>, Result<Contents, String>) {
    let name = spec.file.display().to_string();
    let (stamp, text) = match bytes(&spec.file) {
        Ok(read) => read,
        Err(error) => return (None, Err(format!("{name}: {error}"))),
    };
    let contents = set_file::parse(&name, &text, &spec.reading).map_err(|error| error.to_string());
    (Some(stamp), contents)
}

fn bytes(path: &Path) -> std::io::Result<(Stamp, Vec<u8>)> {
    let file = fs::File::open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(std::io::Error::other("this is no file"));
    }
    if found.len() > LARGEST {
        let text = format!("{} bytes are too many; {LARGEST} at most", found.len());
        return Err(std::io::Error::other(text));
    }
    let mut text = Vec::with_capacity(found.len() as usize + 1);
    // A file that grows under our eyes has another stamp next time.
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok((Stamp::of(&found), text))
}
