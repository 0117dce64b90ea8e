//! Stable numbers: what a block names by index keeps its index from generation to generation, so
//! that blocks that were encoded before stay valid.
//!
//! A number that its owner has left is given to the next one of the same kind. Owners are marked
//! by each compilation that meets them; [`Registry::sweep`] frees those that the newest committed
//! generation did not meet.

use std::collections::HashMap;
use std::hash::Hash;

/// Numbers by owner.
#[derive(Debug)]
pub(super) struct Registry<K, T> {
    owners: HashMap<K, Owner<T>>,
    free: Vec<(u32, T)>,
}

#[derive(Debug)]
struct Owner<T> {
    number: u32,
    kind: T,
    seen: u64,
}

impl<K, T> Default for Registry<K, T> {
    fn default() -> Self {
        Self {
            owners: HashMap::new(),
            free: Vec::new(),
        }
    }
}

impl<K: Eq + Hash, T: Eq + Clone> Registry<K, T> {
    /// The owner's number, met by the compilation `now`. `fresh` makes a number of this kind when
    /// none is free.
    pub(super) fn number<E>(
        &mut self,
        owner: K,
        kind: &T,
        now: u64,
        fresh: impl FnOnce() -> Result<u32, E>,
    ) -> Result<u32, E> {
        if let Some(known) = self.owners.get_mut(&owner)
            && known.kind == *kind
        {
            known.seen = now;
            return Ok(known.number);
        }
        let number = match self.free.iter().rposition(|(_, free)| free == kind) {
            Some(at) => self.free.swap_remove(at).0,
            None => fresh()?,
        };
        if let Some(left) = self.owners.insert(
            owner,
            Owner {
                number,
                kind: kind.clone(),
                seen: now,
            },
        ) {
            self.free.push((left.number, left.kind));
        }
        Ok(number)
    }

    /// The owner's number, if it has one.
    pub(super) fn get(&self, owner: &K) -> Option<u32> {
        self.owners.get(owner).map(|known| known.number)
    }

    /// Notes that the compilation `now` met the owner.
    pub(super) fn touch(&mut self, owner: &K, now: u64) {
        if let Some(known) = self.owners.get_mut(owner) {
            known.seen = now;
        }
    }

    /// Frees the numbers of owners that were last met before `since`, and says which.
    pub(super) fn sweep(&mut self, since: u64) -> Vec<u32> {
        let mut freed = Vec::new();
        let free = &mut self.free;
        self.owners.retain(|_, owner| {
            let keep = owner.seen >= since;
            if !keep {
                free.push((owner.number, owner.kind.clone()));
                freed.push(owner.number);
            }
            keep
        });
        freed
    }

    /// Numbers without an owner.
    pub(super) fn idle(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stays_and_is_given_again_to_its_kind_only() {
        let mut registry: Registry<&str, u8> = Registry::default();
        let mut next = 0;
        let mut take = |registry: &mut Registry<&str, u8>, owner, kind, now| {
            registry
                .number(owner, &kind, now, || {
                    next += 1;
                    Ok::<u32, ()>(next - 1)
                })
                .unwrap()
        };
        assert_eq!(take(&mut registry, "a", 1, 1), 0);
        assert_eq!(take(&mut registry, "b", 1, 1), 1);
        assert_eq!(take(&mut registry, "a", 1, 2), 0);
        assert_eq!(registry.sweep(2), [1]);
        assert_eq!(take(&mut registry, "c", 2, 2), 2);
        assert_eq!(take(&mut registry, "d", 1, 2), 1);
        assert_eq!(registry.get(&"b"), None);
    }
}
