//! Concatenations of intervals: boxes in as many dimensions as the key has fields.
//!
//! A packed tree: elements are split at the median of the field that tells them apart best, down
//! to leaves of a few boxes; every node knows the box around all that lies below. Nodes stand in
//! the order of a walk, each with the node to go on with when the key is outside of its box, so
//! that a look-up is one loop without a stack. Elements do not overlap, so few nodes contain a
//! given key.

use super::{Column, Entry, MAX_WORDS};
use crate::packet::BATCH;

/// Boxes of a leaf.
const LEAF: usize = 8;

/// Where a walk goes on, and what a leaf has.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// The next node that is not below this one.
    skip: u32,
    /// First box of a leaf.
    start: u32,
    /// Boxes of a leaf; 0 for an inner node.
    count: u32,
}

/// The tree; an entry is the number of the row that was given for a box.
#[derive(Debug)]
pub struct Boxes {
    /// Words of each field.
    fields: Vec<usize>,
    words: usize,
    nodes: Vec<Node>,
    /// First and last words of each node's box, side by side.
    bounds: Vec<u32>,
    /// First and last words of each element's box, in the order of the leaves.
    boxes: Vec<u32>,
    rows: Vec<u32>,
}

/// One element's box while the tree is built: first words, last words.
type Bounds = ([u32; MAX_WORDS], [u32; MAX_WORDS]);

impl Boxes {
    /// Builds the tree over fields of these widths; `None` when two boxes overlap.
    pub fn build<'e>(
        fields: &[u8],
        boxes: impl Iterator<Item = (&'e [u32], &'e [u32])>,
    ) -> Option<Self> {
        let fields: Vec<usize> = fields.iter().map(|&words| usize::from(words)).collect();
        let words = fields.iter().sum();
        let mut items: Vec<(u32, Bounds)> = boxes
            .enumerate()
            .map(|(row, (first, last))| {
                let mut bounds = ([0; MAX_WORDS], [0; MAX_WORDS]);
                bounds.0[..words].copy_from_slice(first);
                bounds.1[..words].copy_from_slice(last);
                (row as u32, bounds)
            })
            .collect();
        let mut tree = Self {
            fields,
            words,
            nodes: Vec::new(),
            bounds: Vec::new(),
            boxes: Vec::new(),
            rows: Vec::new(),
        };
        if !items.is_empty() {
            tree.grow(&mut items);
        }
        let disjoint = items
            .iter()
            .all(|(row, bounds)| !tree.overlaps(*row, bounds));
        disjoint.then_some(tree)
    }

    fn grow(&mut self, items: &mut [(u32, Bounds)]) {
        let node = self.nodes.len();
        self.nodes.push(Node {
            skip: 0,
            start: self.rows.len() as u32,
            count: 0,
        });
        let around = self.around(items);
        self.bounds.extend_from_slice(&around.0[..self.words]);
        self.bounds.extend_from_slice(&around.1[..self.words]);
        if items.len() <= LEAF {
            self.nodes[node].count = items.len() as u32;
            for (row, bounds) in items.iter() {
                self.rows.push(*row);
                self.boxes.extend_from_slice(&bounds.0[..self.words]);
                self.boxes.extend_from_slice(&bounds.1[..self.words]);
            }
        } else {
            let field = self.best_field(items);
            let middle = items.len() / 2;
            items.select_nth_unstable_by(middle, |a, b| {
                a.1.0[field.clone()].cmp(&b.1.0[field.clone()])
            });
            let (low, high) = items.split_at_mut(middle);
            self.grow(low);
            self.grow(high);
        }
        self.nodes[node].skip = self.nodes.len() as u32;
    }

    /// The box around these boxes.
    fn around(&self, items: &[(u32, Bounds)]) -> Bounds {
        let mut around = items[0].1;
        for (_, bounds) in &items[1..] {
            for field in self.ranges() {
                if bounds.0[field.clone()] < around.0[field.clone()] {
                    around.0[field.clone()].copy_from_slice(&bounds.0[field.clone()]);
                }
                if bounds.1[field.clone()] > around.1[field.clone()] {
                    around.1[field.clone()].copy_from_slice(&bounds.1[field.clone()]);
                }
            }
        }
        around
    }

    /// The words of each field.
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let fields = self.fields.clone();
        let mut at = 0;
        fields.into_iter().map(move |words| {
            at += words;
            at - words..at
        })
    }

    /// The field in which a cut at the median leaves the fewest boxes on both sides.
    fn best_field(&self, items: &[(u32, Bounds)]) -> std::ops::Range<usize> {
        let step = (items.len() / 64).max(1);
        let sample: Vec<&Bounds> = items.iter().step_by(step).map(|item| &item.1).collect();
        let cost = |field: &std::ops::Range<usize>| {
            let mut firsts: Vec<&[u32]> = sample
                .iter()
                .map(|bounds| &bounds.0[field.clone()])
                .collect();
            firsts.sort_unstable();
            let cut = firsts[firsts.len() / 2];
            let crossing = sample
                .iter()
                .filter(|bounds| bounds.0[field.clone()] < *cut && bounds.1[field.clone()] >= *cut)
                .count();
            let below = firsts.iter().filter(|first| **first < cut).count();
            // What lies on one side only because it starts at the cut does not divide.
            crossing + (firsts.len() / 2).saturating_sub(below) * 2
        };
        self.ranges().min_by_key(cost).unwrap_or(0..self.words)
    }

    fn overlaps(&self, own: u32, bounds: &Bounds) -> bool {
        self.meeting(
            &bounds.0[..self.words],
            &bounds.1[..self.words],
            &mut |row| row != own,
        )
    }

    /// Whether the box meets one whose row `counts`.
    pub fn meeting(
        &self,
        first: &[u32],
        last: &[u32],
        counts: &mut dyn FnMut(u32) -> bool,
    ) -> bool {
        let meets = |bounds: &[u32]| {
            let (low, high) = bounds.split_at(self.words);
            let mut at = 0;
            self.fields.iter().all(|&words| {
                let field = at..at + words;
                at += words;
                low[field.clone()] <= last[field.clone()] && high[field.clone()] >= first[field]
            })
        };
        let mut at = 0;
        while let Some(node) = self.nodes.get(at) {
            if !meets(&self.bounds[at * 2 * self.words..][..2 * self.words]) {
                at = node.skip as usize;
                continue;
            }
            for slot in node.start as usize..(node.start + node.count) as usize {
                if meets(&self.boxes[slot * 2 * self.words..][..2 * self.words])
                    && counts(self.rows[slot])
                {
                    return true;
                }
            }
            at += 1;
        }
        false
    }

    /// Looks up a key per lane; the entries are rows.
    pub fn look_up(&self, key: &[&Column], lanes: u64, entries: &mut [Entry; BATCH]) -> u64 {
        let mut found = 0;
        let mut rest = lanes;
        while rest != 0 {
            let lane = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let mut words = [0; MAX_WORDS];
            for (word, column) in words.iter_mut().zip(key) {
                *word = column[lane];
            }
            if let Some(row) = self.find(&words[..key.len()]) {
                entries[lane] = Entry(row);
                found |= 1 << lane;
            }
        }
        found
    }

    fn find(&self, key: &[u32]) -> Option<u32> {
        let mut at = 0;
        while let Some(node) = self.nodes.get(at) {
            if !self.contains(&self.bounds[at * 2 * self.words..][..2 * self.words], key) {
                at = node.skip as usize;
                continue;
            }
            for slot in node.start as usize..(node.start + node.count) as usize {
                if self.contains(&self.boxes[slot * 2 * self.words..][..2 * self.words], key) {
                    return Some(self.rows[slot]);
                }
            }
            at += 1;
        }
        None
    }

    #[inline]
    fn contains(&self, bounds: &[u32], key: &[u32]) -> bool {
        let (first, last) = bounds.split_at(self.words);
        let mut at = 0;
        for &words in &self.fields {
            let inside = if words == 1 {
                first[at] <= key[at] && key[at] <= last[at]
            } else {
                let field = at..at + words;
                first[field.clone()] <= key[field.clone()] && key[field.clone()] <= last[field]
            };
            if !inside {
                return false;
            }
            at += words;
        }
        true
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.nodes.len() * size_of::<Node>()
            + (self.bounds.len() + self.boxes.len() + self.rows.len()) * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Box3 = ([u32; 3], [u32; 3]);

    fn inside(b: &Box3, key: [u32; 3]) -> bool {
        // Fields: one word, and two words taken as one number.
        b.0[0] <= key[0] && key[0] <= b.1[0] && b.0[1..] <= key[1..] && key[1..] <= b.1[1..]
    }

    fn disjoint(boxes: &[Box3], new: &Box3) -> bool {
        boxes.iter().all(|b| {
            b.1[0] < new.0[0] || new.1[0] < b.0[0] || b.1[1..] < new.0[1..] || new.1[1..] < b.0[1..]
        })
    }

    fn boxes() -> impl Strategy<Value = Vec<Box3>> {
        let one = (0_u32..40, 0_u32..6, 0_u32..4, 0_u32..2, 0_u32..40, 0_u32..9)
            .prop_map(|(a, al, b, bl, c, cl)| ([a, b, c], [a + al, b + bl, c + cl]));
        prop::collection::vec(one, 0..120)
    }

    proptest! {
        #[test]
        fn agrees_with_a_linear_search(raw in boxes(), keys in prop::collection::vec([0_u32..48, 0_u32..6, 0_u32..50], BATCH)) {
            let mut kept: Vec<Box3> = Vec::new();
            for candidate in raw {
                if disjoint(&kept, &candidate) {
                    kept.push(candidate);
                }
            }
            let tree = Boxes::build(&[1, 2], kept.iter().map(|b| (&b.0[..], &b.1[..]))).unwrap();
            let columns: [Column; 3] = std::array::from_fn(|word| std::array::from_fn(|lane| keys[lane][word]));
            let mut entries = [Entry::NONE; BATCH];
            let found = tree.look_up(&[&columns[0], &columns[1], &columns[2]], u64::MAX, &mut entries);
            for lane in 0..BATCH {
                let expected = kept.iter().position(|b| inside(b, keys[lane]));
                prop_assert_eq!((found >> lane & 1 == 1).then_some(entries[lane]), expected.map(|row| Entry(row as u32)));
            }
        }

        #[test]
        fn overlap_is_found(raw in boxes()) {
            let overlapping = (0..raw.len()).any(|at| !disjoint(&raw[..at], &raw[at]));
            let tree = Boxes::build(&[1, 2], raw.iter().map(|b| (&b.0[..], &b.1[..])));
            prop_assert_eq!(tree.is_none(), overlapping);
        }
    }
}
