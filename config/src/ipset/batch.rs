//! Lines that add to one set or delete from it, done together.
//!
//! The original collects such lines in one [`Message`]. This keeps the boundaries of its messages, but hands
//! many of them to the engine at once.

use std::collections::HashMap;
use std::sync::Arc;

use sluice_dataplane::sets::{Bulk, Change, Element, Key, Outcome, Set, SetError};

use super::create::Header;
use super::element::{Entry, Verb};
use super::entry::{NOT_GIVEN, admitted, element};
use super::key::{Bounds, each_key};
use super::kind::Kind;
use super::refusal::Kernel;
use super::set::DataLayout;
use super::waiting::Message;

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
    message: Message,
    set: Arc<Set>,
    bulk: Bulk,
    /// The line of each element.
    lines: Vec<u32>,
    /// Elements before the message that is not full yet.
    sent: usize,
    /// The first line of this message that the kernel will refuse for what it is; those behind it are of
    /// no account.
    refused: Option<Refused>,
    now_ns: u64,
}

impl Batch {
    /// Begins one.
    pub fn new(message: Message, set: &Arc<Set>, now_ns: u64) -> Self {
        Self {
            message,
            set: Arc::clone(set),
            bulk: Bulk::new(set.spec()),
            lines: Vec::new(),
            sent: 0,
            refused: None,
            now_ns,
        }
    }

    /// The message that the original would be filling.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Adds a line. Elements wait until the batch is full or finished.
    ///
    /// # Errors
    /// A refused line before this one.
    pub fn push(&mut self, entry: &Entry, line: usize, exist: bool) -> Result<(), Refused> {
        if !self.message.has_room(entry) {
            if self.refused.is_some() || self.lines.len() >= CHUNK {
                self.finish()?;
            }
            self.sent = self.lines.len();
            self.message.clear();
        }
        if self.message.is_empty() && exist != self.message.exist {
            self.finish()?;
            self.message.exist = exist;
        }
        self.message.count(entry);
        if self.refused.is_none()
            && let Err(error) = self.collect(entry, line)
        {
            self.refused = Some((line, error));
        }
        Ok(())
    }

    /// Collects the elements of a line; those before one that is refused stay.
    fn collect(&mut self, entry: &Entry, line: usize) -> Result<(), Kernel> {
        let header = Arc::clone(&self.message.header);
        admitted(&header, entry)?;
        let (verb, exist) = (self.message.verb, self.message.exist);
        let spec = self.set.spec();
        let room = spec.size.map_or(usize::MAX, |size| size as usize);
        let evicts = spec.forceadd;
        let wildcard = entry.extras.wildcard;
        let begun = self.lines.len();
        each_key(&header, &entry.parts, wildcard, verb, &mut |bounds| {
            let count = self.lines.len() - begun;
            if count > MOST {
                return Err(Kernel::RangeTooLarge);
            }
            // More than fit are refused when the batch is done; no need to collect them all.
            if verb == Verb::Add && count > room && !evicts {
                return Err(Kernel::Full);
            }
            // A key of the shape follows from the type, so the list takes it.
            if self.bulk.push(&element(&header, &bounds, entry, exist)) {
                self.lines.push(u32::try_from(line).unwrap_or(u32::MAX));
            }
            Ok(())
        })
    }

    /// A line could not be understood: what waits for the message to be full is lost.
    pub fn lose_pending(&mut self) {
        let bulk = std::mem::replace(&mut self.bulk, Bulk::new(self.set.spec()));
        for index in 0..self.sent {
            let _ = self.bulk.push(&bulk.element(index));
        }
        self.lines.truncate(self.sent);
        self.refused = None;
        self.message.clear();
    }

    /// Does all lines that wait.
    ///
    /// # Errors
    /// The refused line; those before it are done.
    pub fn finish(&mut self) -> Result<(), Refused> {
        let bulk = std::mem::replace(&mut self.bulk, Bulk::new(self.set.spec()));
        let lines = std::mem::take(&mut self.lines);
        let refused = self.refused.take().map_or(Ok(()), Err);
        self.sent = 0;
        self.message.clear();
        if lines.is_empty() {
            return refused;
        }
        let line = |index: usize| lines.get(index).map_or(0, |line| *line as usize);
        let mut change = self
            .set
            .begin(self.now_ns)
            .map_err(|_| (line(0), Kernel::InvalidArgument))?;
        let done = if self.message.verb == Verb::Add {
            self.add(&mut change, bulk)
        } else {
            (0..bulk.len()).try_for_each(|index| {
                let (header, exist) = (&self.message.header, self.message.exist);
                remove(&mut change, header, &bulk.element(index).key, exist)
                    .map_err(|error| (index, error))
            })
        };
        change.commit();
        done.map_err(|(index, error)| (line(index), error))?;
        refused
    }

    fn add(&self, change: &mut Change, bulk: Bulk) -> Result<(), Refused> {
        let plain = !matches!(
            self.message.header.kind,
            Kind::HashNetIface | Kind::BitmapIpMac
        );
        if plain && !self.message.exist {
            return change
                .load_bulk(bulk)
                .map_err(|(index, error)| (index, kernel(error)));
        }
        if plain && bulk.len() > 1 {
            return self.overwrite(change, bulk);
        }
        (0..bulk.len()).try_for_each(|index| {
            put(
                change,
                &self.message.header,
                &bulk.element(index),
                self.message.exist,
            )
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
                put(change, &self.message.header, &element, true)
                    .map_err(|error| (index, error))?;
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
