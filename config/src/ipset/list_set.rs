//! `add`, `del` and `test` on lists of sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::element::{Entry, Place};
use super::entry::skb;
use super::refusal::Kernel;
use super::set::{Content, IpSet, IpSets, Member};
use crate::store::Name;

/// The members that are still in the list.
fn members(set: &IpSet, now_ns: u64) -> Vec<Arc<Member>> {
    match &set.content {
        Content::Names(members) => members
            .iter()
            .filter(|member| !member.expired(now_ns))
            .cloned()
            .collect(),
        Content::Elements(_) => Vec::new(),
    }
}

/// Name and place of an entry, if both exist.
fn named<'a>(sets: &IpSets, entry: &'a Entry) -> Result<(&'a str, Option<&'a Place>), Kernel> {
    let name = entry.parts.name.as_deref().unwrap_or("");
    let set = sets.get(name).ok_or(Kernel::NoMember)?;
    if set.header.ty().is_list() {
        return Err(Kernel::Loop);
    }
    let place = entry.parts.place.as_ref();
    if place.is_some_and(|place| sets.get(&place.other).is_none()) {
        return Err(Kernel::NoReference);
    }
    Ok((name, place))
}

fn position(members: &[Arc<Member>], name: &str) -> Option<usize> {
    members.iter().position(|member| &*member.name == name)
}

/// Whether a member stands where the entry says.
fn stands(members: &[Arc<Member>], at: usize, place: &Place) -> bool {
    let beside = if place.before {
        members.get(at + 1)
    } else {
        at.checked_sub(1).and_then(|at| members.get(at))
    };
    beside.is_some_and(|other| *other.name == *place.other)
}

/// The list with a member more.
///
/// # Errors
/// What the kernel refuses.
pub fn add(
    sets: &IpSets,
    set: &IpSet,
    entry: &Entry,
    exist: bool,
    now_ns: u64,
) -> Result<IpSet, Kernel> {
    let (name, place) = named(sets, entry)?;
    let mut all = members(set, now_ns);
    let known = position(&all, name);
    let other = match place {
        Some(place) => {
            let other = position(&all, &place.other).filter(|other| Some(*other) != known);
            Some((other.ok_or(Kernel::NotInList)?, place.before))
        }
        None => None,
    };
    match (known, other) {
        (Some(_), _) if !exist => return Err(Kernel::Exists),
        (Some(at), _) => all[at] = Arc::new(member(set, entry, Some(&all[at]), now_ns)),
        (None, None) => all.push(Arc::new(member(set, entry, None, now_ns))),
        (None, Some((other, before))) => {
            let at = if before { other } else { other + 1 };
            all.insert(at, Arc::new(member(set, entry, None, now_ns)));
        }
    }
    Ok(with(set, all))
}

/// The list without a member.
///
/// # Errors
/// What the kernel refuses.
pub fn remove(sets: &IpSets, set: &IpSet, entry: &Entry, now_ns: u64) -> Result<IpSet, Kernel> {
    let (name, place) = named(sets, entry)?;
    let mut all = members(set, now_ns);
    let at = match (position(&all, name), place) {
        (Some(at), None) => at,
        (Some(at), Some(place)) if stands(&all, at, place) => at,
        (_, Some(_)) => return Err(Kernel::NotInList),
        (None, None) => return Err(Kernel::Missing),
    };
    all.remove(at);
    Ok(with(set, all))
}

/// Whether a set is in the list, where the entry says.
pub fn test(sets: &IpSets, set: &IpSet, entry: &Entry, now_ns: u64) -> bool {
    let Ok((name, place)) = named(sets, entry) else {
        return false;
    };
    let all = members(set, now_ns);
    position(&all, name).is_some_and(|at| place.is_none_or(|place| stands(&all, at, place)))
}

/// A list with these members.
fn with(set: &IpSet, members: Vec<Arc<Member>>) -> IpSet {
    IpSet {
        content: Content::Names(members.into()),
        ..set.clone()
    }
}

/// A member from an entry; the counters of the one that was there stay unless others are given.
fn member(set: &IpSet, entry: &Entry, known: Option<&Arc<Member>>, now_ns: u64) -> Member {
    let extras = &entry.extras;
    let counts = known.map_or_else(
        || Arc::new([AtomicU64::new(0), AtomicU64::new(0)]),
        |known| Arc::clone(&known.counts),
    );
    for (at, given) in [extras.packets, extras.bytes].into_iter().enumerate() {
        if let Some(given) = given {
            counts[at].store(given, Ordering::Relaxed);
        }
    }
    let timeout = set.header.timeout.map(|all| extras.timeout.unwrap_or(all));
    let expires_at_ns = timeout
        .filter(|timeout| *timeout > 0)
        .map(|timeout| now_ns.saturating_add(u64::from(timeout) * 1_000_000_000));
    Member {
        name: Name::from(entry.parts.name.as_deref().unwrap_or("")),
        expires_at_ns,
        counts,
        comment: extras
            .comment
            .as_deref()
            .filter(|comment| !comment.is_empty())
            .map(Arc::from),
        skb: skb(extras),
    }
}
