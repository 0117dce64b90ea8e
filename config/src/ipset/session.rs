//! Commands on the sets, one after the other.
//!
//! A session works on the sets of the ruleset, which it hands back. Elements change at once, for all
//! generations; what a generation has to know (another set behind a name that rules use, another list)
//! is published before the next command is begun. An atomic session changes copies instead, so
//! that nobody sees anything of it before it is taken over as a whole.

use std::collections::HashSet;
use std::sync::Arc;

use super::address::Names;
use super::call::{At, Command, Env};
use super::create::{self, Read};
use super::element::{self, NAME};
use super::kind::Type;
use super::output::{Lister, Mode, Wanted};
use super::refusal::{Kernel, Refusal};
use super::set::{Content, IpSet, IpSets};
use super::waiting::Waiting;
use super::{help, words};
use crate::store::Name;

mod elements;

/// What a session needs of those who run it.
pub trait Host: Names {
    /// How many rules use a set.
    fn uses(&self, name: &str) -> usize;

    /// Makes rules see these sets.
    ///
    /// # Errors
    /// When they cannot be published; a sentence.
    fn publish(&mut self, sets: &IpSets) -> Result<(), String>;

    /// A number that nobody can guess.
    fn chance(&mut self) -> u64;
}

/// Why a session ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A command was refused.
    Refused(Refusal),
    /// It would change something, and may not.
    Forbidden,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Kernel> for Stop {
    fn from(error: Kernel) -> Self {
        Self::Refused(error.into())
    }
}

/// A run of commands.
pub struct Session<'a> {
    /// The sets as they are now.
    pub sets: IpSets,
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// Whether anything changed.
    pub changed: bool,
    host: &'a mut dyn Host,
    now_ns: u64,
    read_only: bool,
    atomic: bool,
    copied: HashSet<Name>,
    waiting: Option<Waiting>,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

impl<'a> Session<'a> {
    /// Begins on these sets.
    pub fn new(sets: IpSets, host: &'a mut dyn Host, now_ns: u64, read_only: bool) -> Self {
        Self {
            sets,
            out: String::new(),
            err: String::new(),
            changed: false,
            host,
            now_ns,
            read_only,
            atomic: false,
            copied: HashSet::new(),
            waiting: None,
        }
    }

    /// From here on copies are changed.
    pub fn be_atomic(&mut self) {
        self.atomic = true;
    }

    /// Runs a command. The errors of lines of `restore` name their line themselves.
    ///
    /// # Errors
    /// When it is refused; the number of the line that was, if it is one.
    pub fn run(
        &mut self,
        command: &Command,
        env: &Env,
        at: At,
        line: usize,
    ) -> Result<(), (Option<usize>, Stop)> {
        let here = Some(line).filter(|line| *line > 0);
        if command.changes() && self.read_only {
            return Err((here, Stop::Forbidden));
        }
        match command {
            Command::Element {
                verb,
                set,
                element,
                rest,
            } => self.element(*verb, set, (element, rest), env, at, line),
            Command::Create { set, ty, rest } => {
                let read = self
                    .header(set, ty, rest)
                    .map_err(|refusal| (here, refusal.into()))?;
                self.commit().map_err(|(line, stop)| (Some(line), stop))?;
                self.create(set, read, env).map_err(|stop| (here, stop))
            }
            _ => {
                self.commit().map_err(|(line, stop)| (Some(line), stop))?;
                self.other(command, env, at).map_err(|stop| (here, stop))
            }
        }
    }

    fn other(&mut self, command: &Command, env: &Env, at: At) -> Result<(), Stop> {
        match command {
            Command::Destroy(set) => self.destroy(set.as_deref(), env.exist),
            Command::List(set) => self.list(set.as_deref(), env, Mode::Plain),
            Command::Save(set) => self.list(set.as_deref(), env, Mode::Save),
            Command::Flush(set) => self.flush(set.as_deref()),
            Command::Rename(from, to) => self.rename(from, to),
            Command::Swap(one, other) => self.swap(one, other),
            Command::Help(ty) => {
                let (text, known) = help::help(ty.as_deref());
                self.out.push_str(&text);
                match ty {
                    Some(ty) if !known => {
                        Err(Refusal::Usage(format!("Unknown settype: `{ty}'")).into())
                    }
                    _ => Ok(()),
                }
            }
            Command::Version => {
                self.out.push_str(help::VERSION);
                Ok(())
            }
            Command::Restore if at == At::Interactive => {
                self.out
                    .push_str("Restore command is not supported in interactive mode\n");
                Ok(())
            }
            Command::Nothing => {
                self.out.push_str("No command specified\n");
                Ok(())
            }
            Command::Create { .. }
            | Command::Element { .. }
            | Command::Restore
            | Command::Quit
            | Command::Interactive => Ok(()),
        }
    }

    fn known(&self, name: &str) -> Result<Arc<IpSet>, Kernel> {
        self.sets.get(name).cloned().ok_or(Kernel::NoSet)
    }

    /// Reads a `create`: all that can be wrong with it before the kernel is asked.
    fn header(&mut self, set: &str, ty: &str, rest: &[String]) -> Result<Read, Refusal> {
        element::set_name(set)?;
        if ty.len() > NAME {
            return Err(Refusal::syntax(format_args!(
                "typename '{ty}' is longer than {NAME} characters"
            )));
        }
        let row = Type::named(ty)
            .ok_or_else(|| Refusal::syntax(format_args!("typename '{ty}' is unknown")))?;
        let initval = self.host.chance() as u32;
        create::header(row, rest, initval, &*self.host)
    }

    fn create(&mut self, name: &str, read: Read, env: &Env) -> Result<(), Stop> {
        if let Some(error) = read.refused {
            return Err(error.into());
        }
        if !read.warnings.is_empty() && !env.quiet {
            self.err.push_str("Warning: ");
            self.err.push_str(&read.warnings.join("\n"));
            self.err.push('\n');
        }
        if let Some(known) = self.sets.get(name) {
            return if env.exist && known.header.same(&read.header) {
                Ok(())
            } else {
                Err(Kernel::SetExists.into())
            };
        }
        let seed = self.host.chance();
        let made = IpSet::new(name, read.header, seed).map_err(|_| Kernel::InvalidArgument)?;
        self.copied.insert(made.name.clone());
        self.sets.insert(made)?;
        self.changed = true;
        Ok(())
    }

    fn is_used(&self, name: &str) -> bool {
        self.references(name) > 0
    }

    fn references(&self, name: &str) -> usize {
        self.host.uses(name) + self.sets.lists_with(name, self.now_ns)
    }

    fn destroy(&mut self, name: Option<&str>, exist: bool) -> Result<(), Stop> {
        let names: Vec<Name> = match name {
            Some(name) if exist && self.sets.get(name).is_none() => return Ok(()),
            Some(name) => vec![self.known(name)?.name.clone()],
            None => self.sets.iter().map(|set| set.name.clone()).collect(),
        };
        if names.iter().any(|name| self.is_used(name)) {
            return Err(Kernel::Busy.into());
        }
        for name in names {
            self.sets.remove(&name);
            self.changed = true;
        }
        Ok(())
    }

    fn flush(&mut self, name: Option<&str>) -> Result<(), Stop> {
        let names: Vec<Name> = match name {
            Some(name) => vec![self.known(name)?.name.clone()],
            None => self.sets.iter().map(|set| set.name.clone()).collect(),
        };
        for name in names {
            let set = self.writable(&name)?;
            match &set.content {
                Content::Elements(elements) => {
                    let mut change = elements
                        .begin(self.now_ns)
                        .map_err(|_| Kernel::InvalidArgument)?;
                    change.flush();
                    change.commit();
                }
                Content::Names(_) => {
                    self.put(IpSet {
                        content: Content::Names(Arc::new([])),
                        ..IpSet::clone(&set)
                    })?;
                }
            }
            self.changed = true;
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Stop> {
        self.known(from)?;
        if self.is_used(from) {
            return Err(Kernel::Referenced.into());
        }
        if self.sets.get(to).is_some() {
            return Err(Kernel::NameTaken.into());
        }
        if self.copied.remove(from) {
            self.copied.insert(to.into());
        }
        self.sets.rename(from, to);
        self.changed = true;
        Ok(())
    }

    fn swap(&mut self, one: &str, other: &str) -> Result<(), Stop> {
        let first = self.known(one)?;
        let second = self.sets.get(other).ok_or(Kernel::NoSecond)?;
        let (a, b) = (&first.header, &second.header);
        if !a.ty().swaps_with(b.ty()) || a.family != b.family {
            return Err(Kernel::TypeMismatch.into());
        }
        self.sets.swap(one, other);
        let copied = [one, other].map(|name| self.copied.remove(name));
        for (name, was) in [(other, copied[0]), (one, copied[1])] {
            if was {
                self.copied.insert(name.into());
            }
        }
        self.changed = true;
        self.published(&[one, other])
    }

    /// Makes rules see what changed behind these names, if there are any.
    fn published(&mut self, names: &[&str]) -> Result<(), Stop> {
        if self.atomic || !names.iter().any(|name| self.is_used(name)) {
            return Ok(());
        }
        self.host
            .publish(&self.sets)
            .map_err(|error| Refusal::Failed(error).into())
    }

    /// Puts other content behind a name.
    fn put(&mut self, set: IpSet) -> Result<(), Stop> {
        let name = set.name.clone();
        self.sets.replace(set);
        self.changed = true;
        self.published(&[&name])
    }

    /// The set whose elements may be changed.
    fn writable(&mut self, name: &str) -> Result<Arc<IpSet>, Stop> {
        let set = self.known(name)?;
        let Content::Elements(elements) = &set.content else {
            return Ok(set);
        };
        if !self.atomic || self.copied.contains(name) {
            return Ok(set);
        }
        let seed = self.host.chance();
        let copy = elements
            .copied(elements.spec().clone(), seed, self.now_ns)
            .map_err(|_| Kernel::InvalidArgument)?;
        self.sets.replace(IpSet {
            content: Content::Elements(copy),
            ..IpSet::clone(&set)
        });
        self.copied.insert(set.name.clone());
        Ok(self.known(name)?)
    }

    fn list(&mut self, name: Option<&str>, env: &Env, default: Mode) -> Result<(), Stop> {
        let wanted = Wanted {
            mode: env.mode.unwrap_or(default),
            names: env.names,
            // `save` leaves no element out, in whatever form.
            terse: env.terse && default != Mode::Save,
            bare: env.terse,
            sorted: env.sorted,
        };
        let sets: Vec<Arc<IpSet>> = match name {
            Some(name) => vec![self.known(name)?],
            None => self.sets.listed().cloned().collect(),
        };
        let mut lister = Lister::new(wanted, self.now_ns);
        for set in sets {
            let references = self.references(&set.name);
            lister.set(&set, references);
        }
        self.out.push_str(&lister.finish());
        Ok(())
    }
}

/// The lines of a text as the original reads them: at most so many bytes at a time.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|line| {
        let mut rest = line;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut end = rest.len().min(words::LINE);
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            let (line, behind) = rest.split_at(end);
            rest = behind;
            Some(line)
        })
    })
}
