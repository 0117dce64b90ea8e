//! The nodes of a tree of boxes: comparing, choosing, splitting, building.

use std::sync::Arc;

use arrayvec::ArrayVec;
use rayon::prelude::*;

use crate::sets::hits::Lanes;
use crate::sets::line::{self, Line};
use crate::sets::spec::MAX_WORDS;
use crate::sets::structure::Rows;

/// Children of a node.
pub(super) const FAN: usize = 16;

/// A leaf with fewer elements is dissolved.
const SPARSE: usize = 4;

/// Bulk loads of more elements are split between cores.
const PARALLEL: usize = 4096;

/// The first and last word of every field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) low: ArrayVec<u32, MAX_WORDS>,
    pub(super) high: ArrayVec<u32, MAX_WORDS>,
}

#[derive(Clone, Debug)]
pub(super) enum Children {
    /// Elements: their tails one after the other.
    Leaf(Vec<u32>),
    Inner(Vec<Arc<Node>>),
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) count: usize,
    /// For each word of the key: the lines of first and of last values of the children.
    pub(super) lines: Box<[Line]>,
    pub(super) children: Children,
}

/// Where the fields of a key lie.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    /// Words of each field.
    pub(super) words: ArrayVec<u8, MAX_WORDS>,
    /// Words of all.
    pub(super) total: usize,
    /// Words of a tail.
    pub(super) tail: usize,
}

/// A box and its tail on the way into a tree.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) bounds: Bounds,
    pub(super) tail: Vec<u32>,
}

impl Bounds {
    pub(super) fn new(low: &[u32], high: &[u32]) -> Self {
        Self {
            low: low.iter().copied().collect(),
            high: high.iter().copied().collect(),
        }
    }

    /// Grows to hold another box.
    pub(super) fn join(&mut self, other: &Self, fields: &Fields) {
        for field in fields.ranges() {
            if other.low[field.clone()] < self.low[field.clone()] {
                self.low[field.clone()].copy_from_slice(&other.low[field.clone()]);
            }
            if other.high[field.clone()] > self.high[field.clone()] {
                self.high[field.clone()].copy_from_slice(&other.high[field]);
            }
        }
    }

    pub(super) fn volume(&self, fields: &Fields) -> f64 {
        fields
            .ranges()
            .map(|field| number(&self.high[field.clone()]) - number(&self.low[field]) + 1.0)
            .product()
    }

    /// Width of each field in steps of 8 bits, 5 bits a field.
    pub(super) fn class(&self, fields: &Fields) -> u64 {
        fields.ranges().fold(0, |class, field| {
            let width = number(&self.high[field.clone()]) - number(&self.low[field]) + 1.0;
            class << 5 | (width.log2() / 8.0) as u64 & 31
        })
    }

    /// Orders by the width of the fields, first field first: the most specific is the least.
    pub(super) fn width(&self, fields: &Fields) -> ArrayVec<u128, MAX_WORDS> {
        fields
            .ranges()
            .map(|field| whole(&self.high[field.clone()]) - whole(&self.low[field]))
            .collect()
    }
}

fn number(words: &[u32]) -> f64 {
    words.iter().fold(0.0, |number, &word| {
        number * 4_294_967_296.0 + f64::from(word)
    })
}

pub(super) fn whole(words: &[u32]) -> u128 {
    words
        .iter()
        .fold(0, |number, &word| number << 32 | u128::from(word))
}

impl Fields {
    pub(super) fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let mut at = 0;
        self.words.iter().map(move |&words| {
            at += usize::from(words);
            at - usize::from(words)..at
        })
    }
}

impl Node {
    pub(super) fn empty(fields: &Fields, leaf: bool) -> Self {
        let mut lines = vec![Line::ZERO; 2 * fields.total];
        for pair in lines.chunks_exact_mut(2) {
            pair[0] = Line([u32::MAX; 16]);
        }
        let children = if leaf {
            Children::Leaf(Vec::new())
        } else {
            Children::Inner(Vec::new())
        };
        Self {
            count: 0,
            lines: lines.into(),
            children,
        }
    }

    pub(super) fn bounds(&self, at: usize) -> Bounds {
        Bounds {
            low: self
                .lines
                .iter()
                .step_by(2)
                .map(|line| line.0[at])
                .collect(),
            high: self
                .lines
                .iter()
                .skip(1)
                .step_by(2)
                .map(|line| line.0[at])
                .collect(),
        }
    }

    pub(super) fn set_bounds(&mut self, at: usize, bounds: &Bounds) {
        for (word, pair) in self.lines.chunks_exact_mut(2).enumerate() {
            pair[0].0[at] = bounds.low[word];
            pair[1].0[at] = bounds.high[word];
        }
    }

    /// The box around all children; there is one.
    pub(super) fn around(&self, fields: &Fields) -> Bounds {
        let mut all = self.bounds(0);
        for at in 1..self.count {
            all.join(&self.bounds(at), fields);
        }
        all
    }

    pub(super) fn tail(&self, at: usize, fields: &Fields) -> &[u32] {
        match &self.children {
            Children::Leaf(tails) => &tails[at * fields.tail..(at + 1) * fields.tail],
            Children::Inner(_) => &[],
        }
    }

    pub(super) fn push_item(&mut self, item: &Item) {
        self.set_bounds(self.count, &item.bounds);
        if let Children::Leaf(tails) = &mut self.children {
            tails.extend_from_slice(&item.tail);
        }
        self.count += 1;
    }

    pub(super) fn push_node(&mut self, node: Arc<Node>, fields: &Fields) {
        self.set_bounds(self.count, &node.around(fields));
        if let Children::Inner(nodes) = &mut self.children {
            nodes.push(node);
        }
        self.count += 1;
    }

    pub(super) fn remove(&mut self, at: usize, fields: &Fields) {
        for pair in self.lines.chunks_exact_mut(2) {
            for line in pair.iter_mut() {
                line.0.copy_within(at + 1.., at);
            }
            pair[0].0[FAN - 1] = u32::MAX;
            pair[1].0[FAN - 1] = 0;
        }
        match &mut self.children {
            Children::Leaf(tails) => {
                tails.drain(at * fields.tail..(at + 1) * fields.tail);
            }
            Children::Inner(nodes) => {
                nodes.remove(at);
            }
        }
        self.count -= 1;
    }

    /// One bit for each child whose box has something in common with another one.
    #[inline]
    pub(super) fn meeting(&self, low: &[u32], high: &[u32], fields: &Fields) -> u32 {
        let mut all = (1u32 << self.count) - 1;
        let mut at = 0;
        for &words in &fields.words {
            let next = at + usize::from(words);
            let pairs = &self.lines[2 * at..2 * next];
            all &= not_above(pairs, &high[at..next]) & not_below(pairs, &low[at..next]);
            at = next;
        }
        all
    }

    /// One bit for each child whose box holds the key.
    #[inline]
    pub(super) fn holding(&self, key: &[u32], fields: &Fields) -> u32 {
        self.meeting(key, key, fields)
    }

    /// One bit for each child whose box holds another one.
    pub(super) fn around_box(&self, bounds: &Bounds, fields: &Fields) -> u32 {
        self.holding(&bounds.low, fields) & self.holding(&bounds.high, fields)
    }

    /// Calls `each` for all elements that meet a box; false stops.
    pub(super) fn each_meeting(
        &self,
        bounds: &Bounds,
        fields: &Fields,
        each: &mut dyn FnMut(&Bounds, &[u32]) -> bool,
    ) -> bool {
        let meeting = self.meeting(&bounds.low, &bounds.high, fields);
        Lanes(u64::from(meeting)).all(|at| match &self.children {
            Children::Leaf(_) => each(&self.bounds(at), self.tail(at, fields)),
            Children::Inner(nodes) => nodes[at].each_meeting(bounds, fields, each),
        })
    }

    pub(super) fn each(&self, fields: &Fields, each: &mut dyn FnMut(&Bounds, &[u32])) {
        for at in 0..self.count {
            match &self.children {
                Children::Leaf(_) => each(&self.bounds(at), self.tail(at, fields)),
                Children::Inner(nodes) => nodes[at].each(fields, each),
            }
        }
    }

    pub(super) fn find(&self, bounds: &Bounds, fields: &Fields) -> Option<&[u32]> {
        Lanes(u64::from(self.around_box(bounds, fields))).find_map(|at| match &self.children {
            Children::Leaf(_) => (self.bounds(at) == *bounds).then(|| self.tail(at, fields)),
            Children::Inner(nodes) => nodes[at].find(bounds, fields),
        })
    }

    pub(super) fn replace(&mut self, bounds: &Bounds, tail: &[u32], fields: &Fields) -> bool {
        for at in Lanes(u64::from(self.around_box(bounds, fields))) {
            let own = self.bounds(at);
            match &mut self.children {
                Children::Leaf(tails) if own == *bounds => {
                    tails[at * fields.tail..(at + 1) * fields.tail].copy_from_slice(tail);
                    return true;
                }
                Children::Inner(nodes) if nodes[at].find(bounds, fields).is_some() => {
                    return Arc::make_mut(&mut nodes[at]).replace(bounds, tail, fields);
                }
                _ => {}
            }
        }
        false
    }

    /// Puts an item in; yields a second node if this one had to be split.
    pub(super) fn insert(&mut self, item: &Item, fields: &Fields) -> Option<Arc<Node>> {
        let best = match &self.children {
            Children::Leaf(_) => None,
            Children::Inner(_) => (0..self.count)
                .map(|at| {
                    let mut joined = self.bounds(at);
                    let before = joined.volume(fields);
                    joined.join(&item.bounds, fields);
                    (joined.volume(fields) - before, before, at)
                })
                .min_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
                .map(|(.., at)| at),
        };
        let Some(at) = best else {
            if self.count < FAN {
                self.push_item(item);
                return None;
            }
            let mut items = self.items(fields);
            items.push(item.clone());
            let (left, right) = halves(items, |item| item.bounds.clone(), fields);
            *self = Self::leaf(&left, fields);
            return Some(Arc::new(Self::leaf(&right, fields)));
        };
        let Children::Inner(nodes) = &mut self.children else {
            return None;
        };
        let second = Arc::make_mut(&mut nodes[at]).insert(item, fields);
        let around = nodes[at].around(fields);
        self.set_bounds(at, &around);
        let second = second?;
        if self.count < FAN {
            self.push_node(second, fields);
            return None;
        }
        let Children::Inner(nodes) = &mut self.children else {
            return None;
        };
        let mut nodes = std::mem::take(nodes);
        nodes.push(second);
        let (left, right) = halves(nodes, |node| node.around(fields), fields);
        *self = Self::inner(left, fields);
        Some(Arc::new(Self::inner(right, fields)))
    }

    /// Takes an element out. Elements of a leaf that became sparse go to `orphans`.
    pub(super) fn take(
        &mut self,
        bounds: &Bounds,
        fields: &Fields,
        root: bool,
        orphans: &mut Vec<Item>,
    ) -> bool {
        for at in Lanes(u64::from(self.around_box(bounds, fields))) {
            let own = self.bounds(at);
            match &mut self.children {
                Children::Leaf(_) if own == *bounds => {
                    self.remove(at, fields);
                    if !root && self.count < SPARSE {
                        orphans.extend(self.items(fields));
                        *self = Self::empty(fields, true);
                    }
                    return true;
                }
                Children::Inner(nodes) if nodes[at].find(bounds, fields).is_some() => {
                    Arc::make_mut(&mut nodes[at]).take(bounds, fields, false, orphans);
                    if nodes[at].count == 0 {
                        self.remove(at, fields);
                    } else {
                        let around = nodes[at].around(fields);
                        self.set_bounds(at, &around);
                    }
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    pub(super) fn items(&self, fields: &Fields) -> Vec<Item> {
        (0..self.count)
            .map(|at| Item {
                bounds: self.bounds(at),
                tail: self.tail(at, fields).to_vec(),
            })
            .collect()
    }

    pub(super) fn leaf(items: &[Item], fields: &Fields) -> Self {
        let mut node = Self::empty(fields, true);
        items.iter().for_each(|item| node.push_item(item));
        node
    }

    pub(super) fn inner(nodes: Vec<Arc<Node>>, fields: &Fields) -> Self {
        let mut node = Self::empty(fields, false);
        nodes
            .into_iter()
            .for_each(|child| node.push_node(child, fields));
        node
    }

    pub(super) fn memory(&self) -> usize {
        let own = size_of::<Self>() + 16 + size_of_val(&*self.lines);
        own + match &self.children {
            Children::Leaf(tails) => tails.capacity() * 4,
            Children::Inner(nodes) => {
                nodes.capacity() * 8 + nodes.iter().map(|node| node.memory()).sum::<usize>()
            }
        }
    }

    /// A tree over rows, all leaves on one level: `height` levels above them.
    pub(super) fn build(rows: &Rows, order: &mut [u32], height: u32, fields: &Fields) -> Self {
        if height == 0 {
            let mut leaf = Self::empty(fields, true);
            for &index in &*order {
                let row = rows.row(index as usize);
                leaf.push_item(&Item {
                    bounds: Bounds::new(row.low, row.high),
                    tail: row.tail.to_vec(),
                });
            }
            return leaf;
        }
        // Subtrees hold this many elements when they are full.
        let full = FAN.pow(height);
        let many = order.len() > PARALLEL;
        let mut parts = vec![order];
        while let Some(at) = (0..parts.len()).find(|&at| parts[at].len() > full) {
            let part = parts.swap_remove(at);
            let middle = (part.len() / 2).div_ceil(full) * full;
            let (left, right) = cut(rows, part, middle.min(part.len() - 1), fields);
            parts.push(left);
            parts.push(right);
        }
        let subtree = |part: &mut [u32]| Arc::new(Self::build(rows, part, height - 1, fields));
        let nodes = if many {
            parts.into_par_iter().map(subtree).collect()
        } else {
            parts.into_iter().map(subtree).collect()
        };
        Self::inner(nodes, fields)
    }
}

/// One bit for each child that begins at or before a value of one field.
#[inline]
fn not_above(pairs: &[Line], value: &[u32]) -> u32 {
    let mut below = 0xffff;
    for (pair, &word) in pairs.chunks_exact(2).zip(value).rev() {
        let line = &pair[0].0;
        below = line::less(line, word) | (line::equal(line, word) & below);
    }
    below
}

/// One bit for each child that ends at or behind a value of one field.
#[inline]
fn not_below(pairs: &[Line], value: &[u32]) -> u32 {
    let mut above = 0xffff;
    for (pair, &word) in pairs.chunks_exact(2).zip(value).rev() {
        let line = &pair[1].0;
        above = line::greater(line, word) | (line::equal(line, word) & above);
    }
    above
}

/// Cuts rows in two at `middle` along the field in which the fewest lie across the cut.
fn cut<'a>(
    rows: &Rows,
    order: &'a mut [u32],
    middle: usize,
    fields: &Fields,
) -> (&'a mut [u32], &'a mut [u32]) {
    let low = |index: u32, field: &std::ops::Range<usize>| {
        whole(&rows.row(index as usize).low[field.clone()])
    };
    let mut best = (usize::MAX, 0..0);
    for field in fields.ranges() {
        order.select_nth_unstable_by_key(middle, |&index| low(index, &field));
        let at = low(order[middle], &field);
        // Those that begin at the cut itself may come to lie on either side of it.
        let across = order.iter().filter(|&&index| {
            let row = rows.row(index as usize);
            let first = whole(&row.low[field.clone()]);
            first == at || (first < at && whole(&row.high[field.clone()]) >= at)
        });
        let across = across.count();
        if across < best.0 {
            best = (across, field);
        }
    }
    order.select_nth_unstable_by_key(middle, |&index| low(index, &best.1));
    order.split_at_mut(middle)
}

/// Splits children in two halves along the field that gives the smallest boxes.
fn halves<C>(
    mut children: Vec<C>,
    bounds: impl Fn(&C) -> Bounds,
    fields: &Fields,
) -> (Vec<C>, Vec<C>) {
    let middle = children.len() / 2;
    let mut best = (f64::INFINITY, 0..0);
    for field in fields.ranges() {
        children.sort_by_cached_key(|child| bounds(child).low[field.clone()].to_vec());
        let volume = |part: &[C]| {
            let mut all = bounds(&part[0]);
            part.iter()
                .for_each(|child| all.join(&bounds(child), fields));
            all.volume(fields)
        };
        let cost = volume(&children[..middle]) + volume(&children[middle..]);
        if cost < best.0 {
            best = (cost, field);
        }
    }
    children.sort_by_cached_key(|child| bounds(child).low[best.1.clone()].to_vec());
    let right = children.split_off(middle);
    (children, right)
}
