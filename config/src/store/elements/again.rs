//! Elements that are added where there are some already: ranges that merge, timeouts that change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{ElementExtra, Elements, StoredElement, Words, successor};

impl Elements {
    /// Adds a range to a set that merges them. Where it lies in one that begins before it, nothing changes;
    /// the comment of what it merges with stays only if that was added by the same command (`merged`,
    /// which gets this one's key) and begins before it. So it is with nft.
    pub fn auto_merge(
        &mut self,
        low: Words,
        mut element: StoredElement,
        merged: &mut HashSet<Words>,
    ) {
        let high = element.high.as_deref().unwrap_or(&low).clone();
        let known = self.map.get(&low).filter(|_| merged.contains(&low));
        let known = known.map(|known| (&low, known));
        if let Some((known_low, known)) = known.or_else(|| self.before(&low)) {
            let known_high = known.high.as_deref().unwrap_or(known_low);
            if *known_high >= high {
                return;
            }
            let meets = *known_high >= low || successor(known_high).is_some_and(|next| next == low);
            if meets && merged.contains(known_low) {
                element.extra.clone_from(&known.extra);
            }
        }
        let (low, high) = self.merge(low, high);
        merged.insert(low.clone());
        let high = (high != low).then(|| Box::new(high));
        self.put(Some(low), StoredElement { high, ..element });
    }

    /// The element with this key (none: the catch-all) is added once more: another timeout than it has
    /// counts from now, and so does a time that is left (`expires`); the rest stays. In one request a timeout
    /// is compared with the one that the element had before (`bases`), as in the kernel.
    pub fn retime(
        &mut self,
        low: &Words,
        again: &StoredElement,
        expires: bool,
        default_ms: Option<u64>,
        bases: &mut HashMap<Words, Option<u64>>,
    ) {
        let known = match low.is_empty() {
            true => self.catch_all.as_mut(),
            false => self.map.get_mut(low),
        };
        let Some(known) = known else { return };
        let own =
            |element: &StoredElement| element.extra.as_ref().and_then(|extra| extra.timeout_ms);
        let base = bases.get(low).copied().unwrap_or_else(|| own(known));
        if !expires && base.or(default_ms) == own(again).or(default_ms) {
            return;
        }
        bases.insert(low.clone(), base);
        let mut extra = known.extra.as_deref().cloned().unwrap_or_default();
        let again = again.extra.as_deref();
        extra.timeout_ms = again.and_then(|again| again.timeout_ms);
        extra.expires_at_ns = again.and_then(|again| again.expires_at_ns);
        known.extra = (extra != ElementExtra::default()).then(|| Arc::new(extra));
        self.version += 1;
    }

    /// Takes out all ranges that touch or adjoin this one, and yields the union.
    fn merge(&mut self, low: Words, high: Words) -> (Words, Words) {
        let (mut low, mut high) = (low, high);
        loop {
            let touching = {
                let before = self.map.range(..=low.clone()).next_back();
                let fits_before = before.filter(|(known_low, known)| {
                    let known_high = known.high.as_deref().unwrap_or(known_low);
                    *known_high >= low || successor(known_high).is_some_and(|next| next == low)
                });
                let limit = successor(&high).unwrap_or_else(|| high.clone());
                let after = || self.map.range(low.clone()..=limit).next();
                fits_before.or_else(after).map(|(known_low, known)| {
                    (
                        known_low.clone(),
                        known.high.as_deref().unwrap_or(known_low).clone(),
                    )
                })
            };
            let Some((known_low, known_high)) = touching else {
                return (low, high);
            };
            self.map.remove(&known_low);
            self.version += 1;
            low = low.min(known_low);
            high = high.max(known_high);
        }
    }
}
