//! Commands on the sets, one after the other.
//!
//! A session works on the sets of the ruleset, which it hands back. Elements change at once, for all
//! generations; what a generation has to know (another set behind a name that rules use, another list)
//! is published before the next command is begun. An atomic session changes copies instead, so
//! that nobody sees anything of it before it is taken over as a whole.

use std::collections::HashSet;
use std::sync::Arc;

use super::address::Names;
use super::batch::{Batch, Refused, first_key, same_iface};
use super::call::{At, Command, Env};
use super::create::{self, Header};
use super::element::{self, Entry, NAME, Verb};
use super::entry::fits;
use super::key::is_host;
use super::kind::{Kind, Type};
use super::list_set;
use super::option::Opt;
use super::output::{Lister, Mode, Wanted};
use super::refusal::{Kernel, Refusal};
use super::set::{Content, DataLayout, IpSet, IpSets, NOMATCH};
use super::{help, words};
use crate::store::Name;

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
    batch: Option<Batch>,
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
            batch: None,
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
        if let Command::Element {
            verb,
            set,
            element,
            rest,
        } = command
        {
            return self.element(*verb, set, (element, rest), env, at, line);
        }
        self.commit().map_err(|(line, stop)| (Some(line), stop))?;
        self.other(command, env, at).map_err(|stop| (here, stop))
    }

    fn other(&mut self, command: &Command, env: &Env, at: At) -> Result<(), Stop> {
        match command {
            Command::Create { set, ty, rest } => self.create(set, ty, rest, env),
            Command::Destroy(set) => self.destroy(set.as_deref()),
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
            Command::Element { .. } | Command::Restore | Command::Quit | Command::Interactive => {
                Ok(())
            }
        }
    }

    /// Does what waits.
    ///
    /// # Errors
    /// The refused line.
    pub fn commit(&mut self) -> Result<(), (usize, Stop)> {
        let Some(mut batch) = self.batch.take() else {
            return Ok(());
        };
        self.changed = true;
        batch.finish().map_err(stopped)
    }

    /// A line could not be understood: what the original would not have sent yet is lost. Not so where
    /// only a name was not known, which the client looks up before it sends the rest again.
    ///
    /// # Errors
    /// A line before it that is refused.
    pub fn lose_pending(&mut self) -> Result<(), (usize, Stop)> {
        if let Some(batch) = &mut self.batch
            && !self.host.missed()
        {
            batch.lose_pending();
        }
        self.commit()
    }

    fn known(&self, name: &str) -> Result<Arc<IpSet>, Kernel> {
        self.sets.get(name).cloned().ok_or(Kernel::NoSet)
    }

    fn create(&mut self, set: &str, ty: &str, rest: &[String], env: &Env) -> Result<(), Stop> {
        let name = element::set_name(set)?;
        if ty.len() > NAME {
            return Err(Refusal::syntax(format_args!(
                "typename '{ty}' is longer than {NAME} characters"
            ))
            .into());
        }
        let row = Type::named(ty)
            .ok_or_else(|| Refusal::syntax(format_args!("typename '{ty}' is unknown")))?;
        let initval = self.host.chance() as u32;
        let (header, warnings) = create::header(row, rest, initval, &*self.host)?;
        if !warnings.is_empty() && !env.quiet {
            self.err.push_str("Warning: ");
            self.err.push_str(&warnings.join("\n"));
            self.err.push('\n');
        }
        if let Some(known) = self.sets.get(name) {
            return if env.exist && known.header.same(&header) {
                Ok(())
            } else {
                Err(Kernel::SetExists.into())
            };
        }
        let seed = self.host.chance();
        let made = IpSet::new(name, header, seed).map_err(|_| Kernel::InvalidArgument)?;
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

    fn destroy(&mut self, name: Option<&str>) -> Result<(), Stop> {
        let names: Vec<Name> = match name {
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
            terse: env.terse,
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

    /// `add`, `del` and `test`.
    fn element(
        &mut self,
        verb: Verb,
        name: &str,
        written: (&str, &[String]),
        env: &Env,
        at: At,
        line: usize,
    ) -> Result<(), (Option<usize>, Stop)> {
        let here = Some(line).filter(|line| *line > 0);
        let joins = verb != Verb::Test
            && self
                .batch
                .as_ref()
                .is_some_and(|batch| batch.takes(name, verb));
        if !joins {
            self.commit().map_err(|(line, stop)| (Some(line), stop))?;
        }
        let stop = |error: Stop| (here, error);
        element::set_name(name).map_err(|error| stop(error.into()))?;
        let header = match &self.batch {
            Some(batch) => Arc::clone(batch.header()),
            None => Arc::clone(&self.known(name).map_err(|error| stop(error.into()))?.header),
        };
        let entry = self
            .entry(verb, &header, written)
            .map_err(|error| stop(error.into()))?;
        if verb == Verb::Test {
            return self.test(name, &entry, env).map_err(stop);
        }
        if let Err(error) = fits(&header, &entry.extras) {
            // It is the kernel that says so: what waits was sent before.
            self.commit().map_err(|(line, stop)| (Some(line), stop))?;
            return Err(stop(error.into()));
        }
        if header.ty().is_list() {
            return self.member(verb, name, &entry, env.exist).map_err(stop);
        }
        if self.batch.is_none() {
            let set = self.writable(name).map_err(stop)?;
            if let Content::Elements(elements) = &set.content {
                let set = (&header, elements);
                self.batch = Some(Batch::new(name, verb, env.exist, set, self.now_ns));
            }
        }
        self.changed = true;
        let pushed = self
            .batch
            .as_mut()
            .map_or(Ok(()), |batch| batch.push(&entry, line, env.exist));
        let done = pushed.map_err(stopped).and_then(|()| {
            if at == At::Restore {
                Ok(())
            } else {
                self.commit()
            }
        });
        done.map_err(|(line, error)| {
            self.batch = None;
            (Some(line).filter(|line| *line > 0), error)
        })
    }

    /// Reads an element with its options.
    fn entry(
        &self,
        verb: Verb,
        header: &Header,
        (word, rest): (&str, &[String]),
    ) -> Result<Entry, Refusal> {
        let (ty, family) = (header.ty(), header.family);
        let parts = element::parts(word, ty, family, verb, &*self.host)?;
        let mut entry = Entry {
            parts,
            ..Entry::default()
        };
        let options = match verb {
            Verb::Add => ty.add,
            Verb::Del => ty.del,
            Verb::Test => ty.test,
        };
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            let unknown = || Refusal::Usage(format!("Unknown argument: `{word}'"));
            let opt = options.iter().copied().find(|opt| opt.is(word));
            let opt = opt.ok_or_else(unknown)?;
            let value = if opt.has_value() {
                rest.next().ok_or_else(|| missing(opt))?
            } else {
                ""
            };
            element::option(&mut entry, opt, value)?;
        }
        element::allowed(&entry.parts, ty, family, verb)?;
        if header.kind == Kind::HashIpPortIp && entry.parts.ip2.is_some_and(|ip| ip.cidr.is_some())
        {
            // The original trips over its own table here.
            return Err(Refusal::Failed(
                "There are not allowed options (28) but can't resolve them. It's a bug, please \
                 report the problem."
                    .to_owned(),
            ));
        }
        Ok(entry)
    }

    fn member(&mut self, verb: Verb, name: &str, entry: &Entry, exist: bool) -> Result<(), Stop> {
        let set = self.known(name)?;
        let changed = match verb {
            Verb::Add => list_set::add(&self.sets, &set, entry, exist, self.now_ns),
            _ => list_set::remove(&self.sets, &set, entry, self.now_ns),
        };
        match changed {
            Ok(list) => {
                self.sets.replace(list);
                self.changed = true;
                self.published(&[name])
            }
            Err(Kernel::Missing) if exist => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn test(&mut self, name: &str, entry: &Entry, env: &Env) -> Result<(), Stop> {
        let set = self.known(name)?;
        let text = element::text(&entry.parts, set.header.family);
        if self.is_in(&set, entry) {
            if !env.quiet {
                let line = format!("Warning: {text} is in set {name}.\n");
                self.err.push_str(&line);
            }
            return Ok(());
        }
        if !env.quiet {
            let line = format!("{text} is NOT in set {name}.\n");
            self.err.push_str(&line);
        }
        Err(Refusal::Silent.into())
    }

    fn is_in(&self, set: &IpSet, entry: &Entry) -> bool {
        let header = &set.header;
        let Content::Elements(elements) = &set.content else {
            return list_set::test(&self.sets, set, entry, self.now_ns);
        };
        let Ok(bounds) = first_key(header, entry, Verb::Test) else {
            return false;
        };
        let layout = DataLayout::of(header);
        let view = elements.view();
        let key = sluice_dataplane::sets::Key::Range {
            low: bounds.low.clone(),
            high: bounds.high.clone(),
        };
        let data = if header.ty().has_nets() && is_host(header, &entry.parts) {
            view.lookup_one(&bounds.low, self.now_ns)
        } else if header.kind == Kind::HashNetIface {
            let Ok(change) = elements.begin(self.now_ns) else {
                return false;
            };
            let known = same_iface(&change, header, &key);
            known
                .and_then(|key| change.get(&key))
                .map(|found| found.data)
        } else {
            view.get(&key, self.now_ns).map(|found| found.data)
        };
        let Some(data) = data else {
            return false;
        };
        if let Some(at) = layout.flags {
            return (data[at] & NOMATCH != 0) == entry.extras.nomatch;
        }
        match (layout.mac, entry.parts.mac) {
            (Some(at), Some(mac)) if data[at] == 1 => {
                let [a, b, c, d, e, f] = mac;
                let wanted = [
                    u32::from_be_bytes([0, 0, a, b]),
                    u32::from_be_bytes([c, d, e, f]),
                ];
                data[at + 1..at + 3] == wanted
            }
            _ => true,
        }
    }
}

fn missing(opt: Opt) -> Refusal {
    let opt = opt.word();
    Refusal::Usage(format!("Missing mandatory argument of option `{opt}'"))
}

fn stopped((line, error): Refused) -> (usize, Stop) {
    (line, error.into())
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
