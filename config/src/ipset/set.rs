//! The sets as the ruleset holds them.
//!
//! A name is a place: rules and lists of sets refer to names, and `swap` exchanges what lies behind
//! two of them. What commands and packets change of a set is one content for all generations, in
//! the engine's [`Set`](sets::Set); a list of sets is a value of the model, and publishing makes what
//! packets see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use imbl::Vector;
use sluice_dataplane::sets::{self, Shape};

use super::create::{Cut, Header};
use super::kind::Kind;
use super::refusal::Kernel;
use crate::store::Name;

/// Most sets, as in the kernel.
const MOST: usize = 65534;

/// All sets, by place; a place whose set was destroyed is taken by the next one.
#[derive(Clone, Debug, Default)]
pub struct IpSets {
    places: Vector<Option<Arc<IpSet>>>,
}

/// A named set.
#[derive(Clone, Debug)]
pub struct IpSet {
    /// Its name.
    pub name: Name,
    /// What it was made with.
    pub header: Arc<Header>,
    /// Its elements.
    pub content: Content,
}

/// What is in a set.
#[derive(Clone, Debug)]
pub enum Content {
    /// Elements.
    Elements(Arc<sets::Set>),
    /// Names of sets, in order.
    Names(Arc<[Arc<Member>]>),
}

/// A set in a list.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: Name,
    /// When it leaves the list, monotonic; `None` stays.
    pub expires_at_ns: Option<u64>,
    /// Packets and bytes that found something in it.
    pub counts: Arc<[AtomicU64; 2]>,
    /// Its comment.
    pub comment: Option<Arc<str>>,
    /// Mark, mask, class and queue.
    pub skb: [u32; 4],
}

impl Member {
    /// Whether its time is over.
    pub fn expired(&self, now_ns: u64) -> bool {
        self.expires_at_ns.is_some_and(|at| at <= now_ns)
    }

    /// Packets and bytes.
    pub fn counted(&self) -> (u64, u64) {
        let read = |at: usize| self.counts[at].load(Ordering::Relaxed);
        (read(0), read(1))
    }
}

/// Where what an element carries lies in its data words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataLayout {
    /// Flags: [`NOMATCH`].
    pub flags: Option<usize>,
    /// Whether the Ethernet address is known, and its two words.
    pub mac: Option<usize>,
    /// Mark, mask, class, queue.
    pub skb: Option<usize>,
    /// All words.
    pub words: usize,
}

/// The element is an exception.
pub const NOMATCH: u32 = 1;

impl DataLayout {
    /// Of a set with this header.
    pub fn of(header: &Header) -> Self {
        let mut words = 0;
        let mut take = |wanted: bool, count: usize| {
            let at = words;
            words += if wanted { count } else { 0 };
            wanted.then_some(at)
        };
        let flags = take(header.ty().has_nets(), 1);
        let mac = take(header.kind == Kind::BitmapIpMac, 3);
        let skb = take(header.skbinfo, 4);
        Self {
            flags,
            mac,
            skb,
            words,
        }
    }
}

/// The shape of a set's keys in the engine.
pub fn shape(header: &Header) -> Shape {
    let ip = header.family.words();
    let boxes = |fields: &[u8]| Shape::Boxes {
        fields: fields.iter().copied().collect(),
        nested: true,
    };
    let exact = |words| Shape::Exact { words };
    let last = || {
        let span = header
            .span
            .map_or(0, |span| u64::from(span.last - span.first));
        (span / header.hosts()) as u32
    };
    match header.kind {
        Kind::BitmapIp | Kind::BitmapIpMac | Kind::BitmapPort => Shape::Bitmap {
            first: 0,
            last: last(),
        },
        Kind::HashIp => exact(ip),
        Kind::HashMac => exact(2),
        Kind::HashIpMac => exact(ip + 2),
        Kind::HashNet => Shape::Prefix { words: ip },
        Kind::HashNetNet => boxes(&[ip, ip]),
        Kind::HashIpPort | Kind::HashIpMark => exact(ip + 1),
        Kind::HashNetPort => boxes(&[ip, 1]),
        Kind::HashIpPortIp => exact(2 * ip + 1),
        Kind::HashIpPortNet | Kind::HashNetPortNet => boxes(&[ip, 1, ip]),
        Kind::HashNetIface => boxes(&[ip, 1, 4]),
        Kind::ListSet => exact(1),
    }
}

/// What the engine makes a set from. With `by_packets`, rules add elements to it: exact keys are then
/// kept in the table that is made for that.
pub fn spec(header: &Header, by_packets: bool) -> sets::SetSpec {
    let seconds = |seconds: u32| u64::from(seconds) * 1_000_000_000;
    sets::SetSpec {
        data_words: DataLayout::of(header).words as u8,
        timed: header.timeout.is_some(),
        default_timeout_ns: header.timeout.filter(|timeout| *timeout > 0).map(seconds),
        initial_state: if header.counters {
            [0, 0].into()
        } else {
            Box::default()
        },
        comments: header.comment,
        size: (!header.ty().is_bitmap()).then_some(header.maxelem),
        forceadd: header.forceadd,
        dynamic: true,
        in_place: !by_packets,
        ..sets::SetSpec::new(shape(header))
    }
}

impl IpSet {
    /// An empty set; `seed` keys its hashing.
    ///
    /// # Errors
    /// When the engine does not make such a set.
    pub fn new(name: &str, header: Header, seed: u64) -> Result<Self, sets::SetError> {
        let content = if header.ty().is_list() {
            Content::Names(Arc::new([]))
        } else {
            Content::Elements(sets::Set::new(spec(&header, false), seed)?)
        };
        Ok(Self {
            name: name.into(),
            header: Arc::new(header),
            content,
        })
    }

    /// Whether both have the very same content, not only an equal one.
    pub fn same_content(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Content::Elements(one), Content::Elements(other)) => Arc::ptr_eq(one, other),
            (Content::Names(one), Content::Names(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Whether addresses are cut before they are compared.
    pub fn is_cut(&self) -> bool {
        self.header.cut != Cut::Whole
    }
}

impl IpSets {
    /// A set by name.
    pub fn get(&self, name: &str) -> Option<&Arc<IpSet>> {
        self.places.iter().flatten().find(|set| &*set.name == name)
    }

    fn place(&self, name: &str) -> Option<usize> {
        let is = |set: &Option<Arc<IpSet>>| set.as_ref().is_some_and(|set| &*set.name == name);
        self.places.iter().position(is)
    }

    /// All sets in the order of places.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<IpSet>> {
        self.places.iter().flatten()
    }

    /// All sets in the order of listings: lists of sets come last.
    pub fn listed(&self) -> impl Iterator<Item = &Arc<IpSet>> {
        let is_list = |set: &&Arc<IpSet>| set.header.ty().is_list();
        let plain = self.iter().filter(move |set| !is_list(set));
        plain.chain(self.iter().filter(is_list))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Adds a set whose name is free.
    ///
    /// # Errors
    /// When there are too many.
    pub fn insert(&mut self, set: IpSet) -> Result<(), Kernel> {
        match self.places.iter().position(Option::is_none) {
            Some(free) => {
                self.places.set(free, Some(Arc::new(set)));
            }
            None if self.places.len() >= MOST => return Err(Kernel::TooManySets),
            None => self.places.push_back(Some(Arc::new(set))),
        }
        Ok(())
    }

    /// Puts other content behind a name.
    pub fn replace(&mut self, set: IpSet) {
        if let Some(place) = self.place(&set.name) {
            self.places.set(place, Some(Arc::new(set)));
        }
    }

    /// Takes a set out.
    pub fn remove(&mut self, name: &str) {
        if let Some(place) = self.place(name) {
            self.places.set(place, None);
        }
        while self.places.last().is_some_and(Option::is_none) {
            self.places.pop_back();
        }
    }

    /// Gives a set another name.
    pub fn rename(&mut self, from: &str, to: &str) {
        if let Some(place) = self.place(from)
            && let Some(Some(set)) = self.places.get(place)
        {
            let set = IpSet {
                name: to.into(),
                ..IpSet::clone(set)
            };
            self.places.set(place, Some(Arc::new(set)));
        }
    }

    /// Exchanges what lies behind two names.
    pub fn swap(&mut self, one: &str, other: &str) {
        let (Some(a), Some(b)) = (self.get(one).cloned(), self.get(other).cloned()) else {
            return;
        };
        let named = |name: &Name, set: &IpSet| IpSet {
            name: name.clone(),
            ..set.clone()
        };
        self.replace(named(&a.name, &b));
        self.replace(named(&b.name, &a));
    }

    /// The names of the lists that have a set.
    pub fn lists_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Name> {
        let has = move |set: &&Arc<IpSet>| match &set.content {
            Content::Names(members) => members.iter().any(|one| &*one.name == name),
            Content::Elements(_) => false,
        };
        self.iter().filter(has).map(|set| &set.name)
    }

    /// How many lists have a set.
    pub fn lists_with(&self, name: &str, now_ns: u64) -> usize {
        let has = |one: &&Arc<Member>| &*one.name == name && !one.expired(now_ns);
        let names = |set: &Arc<IpSet>| match &set.content {
            Content::Names(members) => members.iter().filter(has).count(),
            Content::Elements(_) => 0,
        };
        self.iter().map(names).sum()
    }
}
