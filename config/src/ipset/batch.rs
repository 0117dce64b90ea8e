//! Lines that add to one set or delete from it, done together.
//!
//! The original collects such lines and sends them to the kernel as one message when it is full, when
//! another kind of line comes, or at the end. So a line that cannot be understood takes with it those
//! that wait, while a line that the kernel refuses leaves those before it done. This keeps the same
//! boundaries, but hands many messages to the engine at once.

use std::collections::HashMap;
use std::sync::Arc;

use sluice_dataplane::sets::{Bulk, Change, Element, Key, Outcome, Set, SetError};

use super::create::Header;
use super::element::{Entry, Verb};
use super::entry::{NOT_GIVEN, element, wire_bytes, wire_room};
use super::key::{Bounds, each_key};
use super::kind::Kind;
use super::refusal::Kernel;
use super::set::DataLayout;

/// Most elements of one command: what does not fit in an hour need not begin.
const MOST: usize = 1 << 24;
/// Elements that are handed over at once.
const CHUNK: usize = 1 << 21;
/// Most interfaces of one network, as in the kernel.
const IFACES: usize = 64;

/// A refused line, and why.
pub type Refused = (usize, Kernel);

/// Lines that wait.
#[derive(Debug)]
pub struct Batch {
    /// The set's name.
    pub name: String,
    /// Whether they add or delete.
    pub verb: Verb,
    exist: bool,
    header: Arc<Header>,
    set: Arc<Set>,
    bulk: Bulk,
    /// The line of each element.
    lines: Vec<u32>,
    /// Elements before the message that is not full yet.
    sent: usize,
    wire: usize,
    now_ns: u64,
}

impl Batch {
    /// Begins one.
    pub fn new(
        name: &str,
        verb: Verb,
        exist: bool,
        (header, set): (&Arc<Header>, &Arc<Set>),
        now_ns: u64,
    ) -> Self {
        Self {
            name: name.to_owned(),
            verb,
            exist,
            header: Arc::clone(header),
            set: Arc::clone(set),
            bulk: Bulk::new(set.spec()),
            lines: Vec::new(),
            sent: 0,
            wire: 0,
            now_ns,
        }
    }

    /// The header of its set.
    pub fn header(&self) -> &Arc<Header> {
        &self.header
    }

    /// Whether another line may join: the same set and verb. `exist` counts for a whole message.
    pub fn takes(&self, name: &str, verb: Verb) -> bool {
        self.name == name && self.verb == verb
    }

    /// Adds a line. Elements wait until the batch is full or finished.
    ///
    /// # Errors
    /// The refused line: this one, or one before it.
    pub fn push(&mut self, entry: &Entry, line: usize, exist: bool) -> Result<(), Refused> {
        let bytes = wire_bytes(&self.header, entry);
        if self.wire + bytes > wire_room(&self.name) {
            self.sent = self.lines.len();
            self.wire = 0;
        }
        if self.wire == 0 && exist != self.exist {
            self.finish()?;
            self.exist = exist;
        }
        self.wire += bytes;
        if self.lines.len() >= CHUNK && self.sent == self.lines.len() {
            self.finish()?;
        }
        let header = Arc::clone(&self.header);
        let wildcard = entry.extras.wildcard;
        let room = self
            .set
            .spec()
            .size
            .map_or(usize::MAX, |size| size as usize);
        let begun = self.lines.len();
        let refused = each_key(&header, &entry.parts, wildcard, self.verb, &mut |bounds| {
            let count = self.lines.len() - begun;
            if count > MOST {
                return Err(Kernel::RangeTooLarge);
            }
            // More than fit are refused when the batch is done; no need to collect them all.
            if self.verb == Verb::Add && count > room && !self.set.spec().forceadd {
                return Err(Kernel::Full);
            }
            // A key of the shape follows from the type, so the list takes it.
            if self
                .bulk
                .push(&element(&header, &bounds, entry, self.exist))
            {
                self.lines.push(u32::try_from(line).unwrap_or(u32::MAX));
            }
            Ok(())
        });
        match refused {
            Ok(()) => Ok(()),
            Err(error) => self.finish().and(Err((line, error))),
        }
    }

    /// A line could not be understood: what waits for the message to be full is lost.
    pub fn lose_pending(&mut self) {
        let bulk = std::mem::replace(&mut self.bulk, Bulk::new(self.set.spec()));
        for index in 0..self.sent {
            let _ = self.bulk.push(&bulk.element(index));
        }
        self.lines.truncate(self.sent);
        self.wire = 0;
    }

    /// Does all lines that wait.
    ///
    /// # Errors
    /// The refused line; those before it are done.
    pub fn finish(&mut self) -> Result<(), Refused> {
        let bulk = std::mem::replace(&mut self.bulk, Bulk::new(self.set.spec()));
        let lines = std::mem::take(&mut self.lines);
        (self.sent, self.wire) = (0, 0);
        if lines.is_empty() {
            return Ok(());
        }
        let line = |index: usize| lines.get(index).map_or(0, |line| *line as usize);
        let mut change = self
            .set
            .begin(self.now_ns)
            .map_err(|_| (line(0), Kernel::InvalidArgument))?;
        let done = if self.verb == Verb::Add {
            self.add(&mut change, bulk)
        } else {
            (0..bulk.len()).try_for_each(|index| {
                remove(
                    &mut change,
                    &self.header,
                    &bulk.element(index).key,
                    self.exist,
                )
                .map_err(|error| (index, error))
            })
        };
        change.commit();
        done.map_err(|(index, error)| (line(index), error))
    }

    fn add(&self, change: &mut Change, bulk: Bulk) -> Result<(), Refused> {
        let plain = !matches!(self.header.kind, Kind::HashNetIface | Kind::BitmapIpMac);
        if plain && !self.exist {
            return change
                .load_bulk(bulk)
                .map_err(|(index, error)| (index, kernel(error)));
        }
        if plain && bulk.len() > 1 {
            return self.overwrite(change, bulk);
        }
        (0..bulk.len()).try_for_each(|index| {
            put(change, &self.header, &bulk.element(index), self.exist)
                .map_err(|error| (index, error))
        })
    }

    /// Adds many elements over what is there: of those with the same key the last one counts.
    fn overwrite(&self, change: &mut Change, bulk: Bulk) -> Result<(), Refused> {
        let mut last: HashMap<Key, usize> = HashMap::with_capacity(bulk.len());
        for index in 0..bulk.len() {
            let (low, high, _) = bulk.row(index);
            last.insert(Key::range(low, high), index);
        }
        let mut fresh = Bulk::new(self.set.spec());
        let mut order = Vec::with_capacity(last.len());
        for index in 0..bulk.len() {
            let mut element = bulk.element(index);
            if last.get(&element.key) != Some(&index) {
                continue;
            }
            if change.get(&element.key).is_some() {
                put(change, &self.header, &element, true).map_err(|error| (index, error))?;
                continue;
            }
            keep_counters(&mut element, None);
            if fresh.push(&element) {
                order.push(index);
            }
        }
        change
            .load_bulk(fresh)
            .map_err(|(at, error)| (order.get(at).copied().unwrap_or(0), kernel(error)))
    }
}

/// What the kernel says to what the engine refuses.
fn kernel(error: SetError) -> Kernel {
    match error {
        SetError::Exists => Kernel::Exists,
        SetError::Full => Kernel::Full,
        SetError::Missing => Kernel::Missing,
        _ => Kernel::InvalidArgument,
    }
}

/// The elements of a `hash:net,iface` set with the same network and kind of interface.
fn beside(change: &Change, header: &Header, key: &Key) -> Vec<Element> {
    let Key::Range { low, high } = key else {
        return Vec::new();
    };
    let words = usize::from(header.family.words());
    let (mut first, mut last) = (low.clone(), high.clone());
    for (first, last) in first.iter_mut().zip(&mut last).skip(words + 1) {
        (*first, *last) = (0, u32::MAX);
    }
    let same = |element: &Element| match &element.key {
        Key::Range { low: l, high: h } => {
            l[..=words] == low[..=words] && h[..=words] == high[..=words]
        }
        Key::CatchAll => false,
    };
    let mut all = change.overlapping(&first, &last);
    all.retain(same);
    all
}

/// The element that the kernel takes for this one: the same, or one whose name is a prefix of its name.
pub fn same_iface(change: &Change, header: &Header, key: &Key) -> Option<Key> {
    if change.get(key).is_some() {
        return Some(key.clone());
    }
    let Key::Range { low, .. } = key else {
        return None;
    };
    let words = usize::from(header.family.words()) + 1;
    let covers = |element: &Element| match &element.key {
        Key::Range { low: l, high: h } => l[words..] <= low[words..] && low[words..] <= h[words..],
        Key::CatchAll => false,
    };
    beside(change, header, key)
        .into_iter()
        .find(covers)
        .map(|element| element.key)
}

/// Adds one element, over what is there if it may.
fn put(change: &mut Change, header: &Header, element: &Element, exist: bool) -> Result<(), Kernel> {
    let mut element = element.clone();
    if header.kind == Kind::HashNetIface {
        if let Some(known) = same_iface(change, header, &element.key) {
            if !exist {
                return Err(Kernel::Exists);
            }
            element.key = known;
        } else {
            both_kinds(change, header, &element.key)?;
        }
    }
    if let Some(known) = change.get(&element.key) {
        let completes = DataLayout::of(header)
            .mac
            .is_some_and(|at| known.data[at] == 0 && element.data[at] == 1);
        if !exist && !completes {
            return Err(Kernel::Exists);
        }
        keep_counters(&mut element, Some(&known));
    } else {
        keep_counters(&mut element, None);
    }
    change.put(&element).map(|_: Outcome| ()).map_err(kernel)
}

/// A network may not have more interfaces than the kernel's buckets take.
fn both_kinds(change: &Change, header: &Header, key: &Key) -> Result<(), Kernel> {
    let mut count = beside(change, header, key).len();
    if let Key::Range { low, high } = key {
        let at = usize::from(header.family.words());
        let (mut low, mut high) = (low.clone(), high.clone());
        (low[at], high[at]) = (low[at] ^ 1, high[at] ^ 1);
        count += beside(change, header, &Key::Range { low, high }).len();
    }
    if count >= IFACES {
        Err(Kernel::Full)
    } else {
        Ok(())
    }
}

/// Counters that were not given stay as they are.
fn keep_counters(element: &mut Element, known: Option<&Element>) {
    for (at, count) in element.state.iter_mut().enumerate() {
        if *count == NOT_GIVEN {
            *count = known
                .and_then(|known| known.state.get(at))
                .copied()
                .unwrap_or(0);
        }
    }
}

fn remove(change: &mut Change, header: &Header, key: &Key, exist: bool) -> Result<(), Kernel> {
    let known = if header.kind == Kind::HashNetIface {
        same_iface(change, header, key)
    } else {
        Some(key.clone())
    };
    let removed = known.is_some_and(|key| change.remove(&key).is_ok());
    if removed || exist {
        Ok(())
    } else {
        Err(Kernel::Missing)
    }
}

/// One key of an entry: the first.
pub fn first_key(header: &Header, entry: &Entry, verb: Verb) -> Result<Bounds, Kernel> {
    let mut first = None;
    let walked = each_key(header, &entry.parts, false, verb, &mut |bounds| {
        first.get_or_insert(bounds);
        Ok(())
    });
    walked.and(first.ok_or(Kernel::InvalidArgument))
}
