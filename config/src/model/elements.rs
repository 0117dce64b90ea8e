//! Order, bounds and merging of set elements.
//!
//! A listing sorts: sets with ranges by the lower bound, others by the value as the kernel's memory
//! read as a number of the machine, which is why names sort by length first and concatenations by
//! their last part. Concatenations with ranges keep the order in which they were added.

use super::check::{all_ones, prefix_mask};
use super::datatype::{ByteOrder, TypeId};
use super::expr::{Element, Expr, ExprKind};

/// Smallest and largest value of a key that is no concatenation; None for the catch-all.
pub fn bounds(key: &Expr) -> Option<(u128, u128)> {
    match key.kind {
        ExprKind::Value(v) => Some((v, v)),
        ExprKind::Range { lo, hi } => Some((lo, hi)),
        ExprKind::Prefix { value, len } => {
            let host = all_ones(key.bits) & !prefix_mask(key.bits, len);
            Some((value, value | host))
        }
        _ => None,
    }
}

/// The key with these bounds, as a listing shows it: a value, a prefix where the type has
/// prefixes, or a range.
pub fn from_bounds(like: &Expr, lo: u128, hi: u128) -> Expr {
    let kind = if lo == hi {
        ExprKind::Value(lo)
    } else {
        let span = lo ^ hi;
        let is_prefix = span & lo == 0 && span & (span.wrapping_add(1)) == 0 && hi == lo | span;
        let len = like.bits.saturating_sub(128 - span.leading_zeros() as u16);
        let stem = like.ty.is_string() && len.is_multiple_of(8);
        if is_prefix && (stem || (like.ty.info().prefix && like.ty != TypeId::EtherAddr)) {
            ExprKind::Prefix { value: lo, len }
        } else {
            ExprKind::Range { lo, hi }
        }
    };
    Expr {
        kind,
        ..like.clone()
    }
}

/// What [`normalise`] found wrong: the indices of two elements that overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The lower one.
    pub first: usize,
    /// The one that begins within it; nft complains about this one.
    pub second: usize,
}

/// Sorts the elements of a set with ranges; equal ones become one. With `merge`, overlapping and
/// adjacent ones are joined; without, an overlap is an error.
pub fn normalise(elements: Vec<Element>, merge: bool) -> Result<Vec<Element>, Overlap> {
    let mut rest = Vec::new();
    let mut ranges: Vec<(u128, u128, usize, Element)> = Vec::new();
    for (i, element) in elements.into_iter().enumerate() {
        match bounds(&element.key) {
            Some((lo, hi)) => ranges.push((lo, hi, i, element)),
            None => rest.push(element),
        }
    }
    ranges.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
    let mut out: Vec<(u128, u128, usize, Element)> = Vec::with_capacity(ranges.len());
    for (lo, hi, i, element) in ranges {
        if let Some(last) = out.last_mut() {
            if merge && last.1.checked_add(1).is_none_or(|next| lo <= next) {
                last.1 = last.1.max(hi);
                continue;
            }
            if lo <= last.1 {
                if (lo, hi) == (last.0, last.1) && element.data == last.3.data {
                    continue;
                }
                // With the same lower bound, nft has the one that came last in front.
                let (first, second) = if lo == last.0 {
                    (last.2.max(i), last.2.min(i))
                } else {
                    (last.2, i)
                };
                return Err(Overlap { first, second });
            }
        }
        out.push((lo, hi, i, element));
    }
    let mut sorted: Vec<Element> = out
        .into_iter()
        .map(|(lo, hi, _, element)| Element {
            key: from_bounds(&element.key, lo, hi),
            ..element
        })
        .collect();
    sorted.append(&mut rest);
    Ok(sorted)
}

/// Sorts elements as a listing does. `interval`: the set has the flag.
pub fn sort(elements: &mut [Element], interval: bool) {
    let concat = elements
        .first()
        .is_some_and(|e| matches!(e.key.kind, ExprKind::Concat(_)));
    if interval && concat {
        return;
    }
    let flags = elements.first().is_some_and(|e| e.key.ty.is_bitmask());
    if flags && elements.iter().all(|e| e.data.is_none()) {
        // Words of flags with the same first flag come out as the kernel gives them: the last first.
        elements.reverse();
    }
    elements.sort_by_cached_key(|e| sort_key(&e.key, interval));
}

/// What elements are sorted by: the catch-all last, then this number, most significant byte first.
fn sort_key(key: &Expr, interval: bool) -> (bool, Vec<u8>) {
    let bytes = match &key.kind {
        ExprKind::CatchAll => return (true, Vec::new()),
        ExprKind::Concat(parts) => {
            let mut memory = Vec::new();
            for part in parts {
                let lo = bounds(part).map_or(0, |b| b.0);
                let size = usize::from(part.bits.div_ceil(8));
                let be = lo.to_be_bytes();
                let mut raw = be[16 - size..].to_vec();
                if part.order == ByteOrder::Host && !part.ty.is_string() {
                    raw.reverse();
                }
                raw.resize(size.next_multiple_of(4), 0);
                memory.extend(raw);
            }
            memory.reverse();
            memory
        }
        _ => {
            let lo = bounds(key).map_or(0, |b| b.0);
            let mut be = lo.to_be_bytes().to_vec();
            if key.ty.is_string() && !interval {
                be.reverse();
            } else if key.ty.is_bitmask() && !interval && lo != 0 {
                // Flags are sorted by the first one that is printed.
                be = (1u128 << lo.trailing_zeros()).to_be_bytes().to_vec();
            }
            be
        }
    };
    (false, bytes)
}

impl Element {
    /// An element that is only a key.
    pub fn plain(key: Expr) -> Self {
        Element {
            key,
            data: None,
            object: None,
            stmts: Vec::new(),
            timeout_ms: None,
            expires_ms: None,
            comment: None,
        }
    }

    /// Whether the key, or a part of it, is a range or prefix.
    pub fn is_interval(&self) -> bool {
        fn one(e: &Expr) -> bool {
            match &e.kind {
                ExprKind::Prefix { .. } | ExprKind::Range { .. } => true,
                ExprKind::Concat(parts) => parts.iter().any(one),
                _ => false,
            }
        }
        one(&self.key)
    }
}
