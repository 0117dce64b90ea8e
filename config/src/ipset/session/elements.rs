//! `add`, `del` and `test`.

use std::sync::Arc;

use super::super::batch::{Batch, Refused, first_key, same_iface};
use super::super::call::{At, Env};
use super::super::create::Header;
use super::super::element::{self, Entry, Verb};
use super::super::entry::fits;
use super::super::key::is_host;
use super::super::kind::Kind;
use super::super::list_set;
use super::super::option::Opt;
use super::super::refusal::{Kernel, Refusal};
use super::super::set::{Content, DataLayout, IpSet, NOMATCH};
use super::super::waiting::{Members, Message, Waiting};
use super::{Session, Stop};

/// A refused line, if it has a number, and why.
type Ended = (Option<usize>, Stop);

impl Session<'_> {
    /// `add`, `del` and `test`. Nothing that waits is sent before the line has been understood.
    pub(super) fn element(
        &mut self,
        verb: Verb,
        name: &str,
        written: (&str, &[String]),
        env: &Env,
        at: At,
        line: usize,
    ) -> Result<(), Ended> {
        let here = Some(line).filter(|line| *line > 0);
        let message = self.waiting.as_ref().map(Waiting::message);
        let joined = message.filter(|message| message.takes(name, verb));
        let joins = joined.is_some();
        let header = match joined {
            Some(message) => Ok(Arc::clone(&message.header)),
            None => self.header_of(name),
        };
        let header = header.map_err(|error| (here, error.into()))?;
        let entry = self
            .entry(verb, &header, written)
            .map_err(|error| (here, error.into()))?;
        if !joins || entry.parts.spoiled.is_some() {
            self.commit().map_err(|(line, stop)| (Some(line), stop))?;
        }
        if let Some(before) = &entry.parts.spoiled {
            let missing = format!("Invalid {} command: missing setname", verb.word());
            return Err((here, Refusal::Failed(missing).after(before).into()));
        }
        if verb == Verb::Test {
            return self.test(name, &entry, env).map_err(|stop| (here, stop));
        }
        let message = Message::new(name, verb, env.exist, &header);
        let done = self.wait(message, entry, line).and_then(|()| match at {
            At::Restore => Ok(()),
            At::Shell | At::Interactive => self.commit(),
        });
        done.map_err(|(line, stop)| (Some(line).filter(|line| *line > 0), stop))
    }

    fn header_of(&self, name: &str) -> Result<Arc<Header>, Refusal> {
        element::set_name(name)?;
        Ok(Arc::clone(&self.known(name)?.header))
    }

    /// Puts an entry behind those that wait, or begins with it.
    fn wait(&mut self, message: Message, entry: Entry, line: usize) -> Result<(), (usize, Stop)> {
        self.changed = true;
        if let Some(Waiting::Members(members)) = &self.waiting
            && !members.message.has_room(&entry)
        {
            self.commit()?;
        }
        let exist = message.exist;
        let mut waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => self.begin(message).map_err(|stop| (line, stop))?,
        };
        let pushed = match &mut waiting {
            Waiting::Elements(batch) => batch.push(&entry, line, exist),
            Waiting::Members(members) => {
                members.message.count(&entry);
                members.entries.push((entry, line));
                Ok(())
            }
        };
        pushed.map_err(stopped)?;
        self.waiting = Some(waiting);
        Ok(())
    }

    fn begin(&mut self, message: Message) -> Result<Waiting, Stop> {
        let set = self.writable(&message.name)?;
        Ok(match &set.content {
            Content::Elements(elements) => {
                Waiting::Elements(Batch::new(message, elements, self.now_ns))
            }
            Content::Names(_) => Waiting::Members(Members {
                message,
                entries: Vec::new(),
            }),
        })
    }

    /// Does what waits.
    ///
    /// # Errors
    /// The refused line.
    pub fn commit(&mut self) -> Result<(), (usize, Stop)> {
        match self.waiting.take() {
            Some(Waiting::Elements(mut batch)) => {
                self.changed = true;
                batch.finish().map_err(stopped)
            }
            Some(Waiting::Members(members)) => self.members(&members),
            None => Ok(()),
        }
    }

    /// A line could not be understood: what the original would not have sent yet is lost. Not so where
    /// only a name was not known, which the client looks up before it sends the rest again.
    ///
    /// # Errors
    /// A line before it that is refused.
    pub fn lose_pending(&mut self) -> Result<(), (usize, Stop)> {
        if let Some(waiting) = &mut self.waiting
            && !self.host.missed()
        {
            waiting.lose();
        }
        self.commit()
    }

    /// Does the lines about a list; its rules see all of them at once.
    fn members(&mut self, members: &Members) -> Result<(), (usize, Stop)> {
        let Some((_, first)) = members.entries.first() else {
            return Ok(());
        };
        let before = self
            .known(&members.message.name)
            .map_err(|error| (*first, error.into()))?;
        let mut list = IpSet::clone(&before);
        let mut refused = Ok(());
        for (entry, line) in &members.entries {
            match self.member(&list, entry, &members.message) {
                Ok(changed) => list = changed,
                Err(Kernel::Missing) if members.message.exist => {}
                Err(error) => {
                    refused = Err((*line, error.into()));
                    break;
                }
            }
        }
        if !list.same_content(&before) {
            self.put(list).map_err(|stop| (*first, stop))?;
        }
        refused
    }

    /// A list with one line done.
    fn member(&self, list: &IpSet, entry: &Entry, message: &Message) -> Result<IpSet, Kernel> {
        fits(&message.header, &entry.extras)?;
        match message.verb {
            Verb::Add => list_set::add(&self.sets, list, entry, message.exist, self.now_ns),
            _ => list_set::remove(&self.sets, list, entry, self.now_ns),
        }
    }

    /// Reads an element with its options.
    fn entry(
        &self,
        verb: Verb,
        header: &Header,
        (word, rest): (&str, &[String]),
    ) -> Result<Entry, Refusal> {
        let (ty, family) = (header.ty(), header.family);
        let parts = element::parts(word, ty, family, &*self.host)?;
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
            element::option(&mut entry, opt, value).map_err(|error| entry.parts.after(error))?;
        }
        element::allowed(&entry.parts, ty, family, verb)?;
        Ok(entry)
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
