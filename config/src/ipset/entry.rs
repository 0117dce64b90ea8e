//! An entry as the engine takes it.

use std::sync::Arc;

use sluice_dataplane::sets::{Element, Key};

use super::create::Header;
use super::element::{Entry, Extras};
use super::key::Bounds;
use super::kind::Kind;
use super::refusal::Kernel;
use super::set::{DataLayout, NOMATCH};

/// Whether a set was made for what an entry has.
///
/// # Errors
/// What it was not made for.
pub fn fits(header: &Header, extras: &Extras) -> Result<(), Kernel> {
    let checks = [
        (
            extras.timeout.is_some() && header.timeout.is_none(),
            Kernel::NoTimeout,
        ),
        (
            (extras.packets.is_some() || extras.bytes.is_some()) && !header.counters,
            Kernel::NoCounters,
        ),
        (
            extras.comment.is_some() && !header.comment,
            Kernel::NoComment,
        ),
        (
            (extras.skbmark.is_some() || extras.skbprio.is_some() || extras.skbqueue.is_some())
                && !header.skbinfo,
            Kernel::NoSkbinfo,
        ),
    ];
    checks
        .into_iter()
        .find(|(wrong, _)| *wrong)
        .map_or(Ok(()), |(_, error)| Err(error))
}

/// What the kernel looks at before it walks the keys of an element, in its order.
///
/// # Errors
/// What it refuses.
pub fn admitted(header: &Header, entry: &Entry) -> Result<(), Kernel> {
    if let (Some(span), Some((port, _))) = (header.span, entry.parts.bare)
        && !(span.first..=span.last).contains(&u32::from(port))
    {
        return Err(Kernel::OutOfRange);
    }
    fits(header, &entry.extras)
}

/// Mark, mask, class and queue.
pub fn skb(extras: &Extras) -> [u32; 4] {
    let (mark, mask) = extras.skbmark.unwrap_or((0, 0));
    [
        mark,
        mask,
        extras.skbprio.unwrap_or(0),
        extras.skbqueue.unwrap_or(0).into(),
    ]
}

/// A counter that an entry does not give; more than one may be.
pub const NOT_GIVEN: u64 = u64::MAX;

/// The element of the engine for one of an entry's keys. Counters that are not given are
/// [`NOT_GIVEN`] where an element that is there may keep its own.
pub fn element(header: &Header, bounds: &Bounds, entry: &Entry, keeps: bool) -> Element {
    let layout = DataLayout::of(header);
    let extras = &entry.extras;
    let mut element = Element::new(Key::Range {
        low: bounds.low.clone(),
        high: bounds.high.clone(),
    });
    let mut data = [0; 8];
    if let Some(at) = layout.flags {
        data[at] = if extras.nomatch { NOMATCH } else { 0 };
    }
    if let (Some(at), Some(mac)) = (layout.mac, entry.parts.mac) {
        let [a, b, c, d, e, f] = mac;
        data[at] = 1;
        data[at + 1] = u32::from_be_bytes([0, 0, a, b]);
        data[at + 2] = u32::from_be_bytes([c, d, e, f]);
    }
    if let Some(at) = layout.skb {
        data[at..at + 4].copy_from_slice(&skb(extras));
    }
    element.data = data[..layout.words].iter().copied().collect();
    if header.timeout.is_some() {
        element.timeout_ns = extras
            .timeout
            .map(|timeout| u64::from(timeout) * 1_000_000_000);
        // The time begins when the Ethernet address is known.
        if header.kind == Kind::BitmapIpMac && entry.parts.mac.is_none() {
            element.expires_ns = Some(u64::MAX);
        }
    }
    if header.counters && (extras.packets.is_some() || extras.bytes.is_some()) {
        let rest = if keeps { NOT_GIVEN } else { 0 };
        element.state = [extras.packets.unwrap_or(rest), extras.bytes.unwrap_or(rest)].into();
    }
    element.comment = extras
        .comment
        .as_deref()
        .filter(|comment| !comment.is_empty())
        .map(Arc::from);
    element
}

/// Bytes of an entry in the original's messages to the kernel: after how many lines it sends them.
pub fn wire_bytes(header: &Header, entry: &Entry) -> usize {
    let attribute = |bytes: usize| 4 + bytes.next_multiple_of(4);
    let address = 4 + attribute(usize::from(header.family.words()) * 4);
    // The nest around them and the number of the line.
    let mut bytes = 4 + attribute(4);
    for ip in [&entry.parts.ip, &entry.parts.ip2].into_iter().flatten() {
        bytes += address;
        bytes += if ip.to.is_some() { address } else { 0 };
        bytes += if ip.cidr.is_some() { attribute(1) } else { 0 };
    }
    if let Some(ports) = &entry.parts.ports {
        bytes += attribute(1) + attribute(2);
        bytes += if ports.to.is_some() { attribute(2) } else { 0 };
    }
    if let Some((_, to)) = entry.parts.bare {
        bytes += attribute(2) + if to.is_some() { attribute(2) } else { 0 };
    }
    bytes += entry.parts.mac.map_or(0, |_| attribute(6));
    bytes += entry.parts.mark.map_or(0, |_| attribute(4));
    let text = |text: &str| attribute(text.len() + 1);
    bytes += entry.parts.iface.as_ref().map_or(0, |(name, _)| text(name));
    bytes += entry.parts.name.as_deref().map_or(0, text);
    let extras = &entry.extras;
    let flags = extras.nomatch
        || extras.wildcard
        || entry
            .parts
            .iface
            .as_ref()
            .is_some_and(|(_, physical)| *physical)
        || entry.parts.place.as_ref().is_some_and(|place| place.before);
    bytes += if flags { attribute(4) } else { 0 };
    bytes += extras.timeout.map_or(0, |_| attribute(4));
    bytes += extras.packets.map_or(0, |_| attribute(8));
    bytes += extras.bytes.map_or(0, |_| attribute(8));
    bytes += extras.comment.as_deref().map_or(0, text);
    bytes += extras.skbmark.map_or(0, |_| attribute(8));
    bytes += extras.skbprio.map_or(0, |_| attribute(4));
    bytes + extras.skbqueue.map_or(0, |_| attribute(2))
}

/// Bytes of entries that fit one message about a set of this name.
pub fn wire_room(name: &str) -> usize {
    4064 - 32 - (4 + (name.len() + 1).next_multiple_of(4))
}
