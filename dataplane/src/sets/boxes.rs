//! One interval per field: boxes in as many dimensions as the key has fields.
//!
//! A persistent R-tree: a node has up to 16 children with their bounding boxes, stored a word of all
//! children per cache line, so one key is compared with 16 boxes at once. A look-up follows the
//! children whose box holds the key; all lanes go down level by level, so that their nodes are
//! fetched side by side. Boxes are sorted into one tree per size class (how wide each field is, in
//! steps of 256 times), because a bounding box around wide and narrow ones holds nearly every key.
//!
//! Memory: two keys and the tail for each element, and a sixteenth of that above; bulk loads fill
//! nodes, later additions leave them two thirds full. A change copies the nodes from the root down:
//! `log16(n)` of them.

use std::sync::Arc;

use arrayvec::ArrayVec;
use rayon::prelude::*;

use super::error::SetError;
use super::hits::{Column, LANES, Lanes, Sink};
use super::line::{Line, prefetch};
use super::spec::MAX_WORDS;
use super::structure::{Row, Rows, Structure};

/// Children of a node.
const FAN: usize = 16;

/// A leaf with fewer elements is dissolved.
const SPARSE: usize = 4;

/// Nodes under way at once in a batched look-up; more are followed one by one.
const FRONT: usize = 256;

/// Bulk loads of more elements are split between cores.
const PARALLEL: usize = 4096;

/// The first and last word of every field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bounds {
    low: ArrayVec<u32, MAX_WORDS>,
    high: ArrayVec<u32, MAX_WORDS>,
}

#[derive(Clone, Debug)]
enum Children {
    /// Elements: their tails one after the other.
    Leaf(Vec<u32>),
    Inner(Vec<Arc<Node>>),
}

#[derive(Clone, Debug)]
struct Node {
    count: usize,
    /// For each word of the key: the lines of first and of last values of the children.
    lines: Box<[Line]>,
    children: Children,
}

/// Where the fields of a key lie.
#[derive(Clone, Debug)]
struct Fields {
    /// Words of each field.
    words: ArrayVec<u8, MAX_WORDS>,
    /// Words of all.
    total: usize,
    /// Words of a tail.
    tail: usize,
}

/// A persistent set of boxes.
#[derive(Clone, Debug)]
pub(super) struct Boxes {
    fields: Fields,
    nested: bool,
    /// Size class and its tree.
    trees: Vec<(u64, Arc<Node>)>,
    len: usize,
}

/// A box and its tail on the way into a tree.
#[derive(Clone, Debug)]
struct Item {
    bounds: Bounds,
    tail: Vec<u32>,
}

impl Bounds {
    fn new(low: &[u32], high: &[u32]) -> Self {
        Self {
            low: low.iter().copied().collect(),
            high: high.iter().copied().collect(),
        }
    }

    /// Grows to hold another box.
    fn join(&mut self, other: &Self, fields: &Fields) {
        for field in fields.ranges() {
            if other.low[field.clone()] < self.low[field.clone()] {
                self.low[field.clone()].copy_from_slice(&other.low[field.clone()]);
            }
            if other.high[field.clone()] > self.high[field.clone()] {
                self.high[field.clone()].copy_from_slice(&other.high[field]);
            }
        }
    }

    fn meets(&self, other: &Self, fields: &Fields) -> bool {
        fields.ranges().all(|field| {
            self.low[field.clone()] <= other.high[field.clone()]
                && other.low[field.clone()] <= self.high[field]
        })
    }

    fn holds(&self, other: &Self, fields: &Fields) -> bool {
        fields.ranges().all(|field| {
            self.low[field.clone()] <= other.low[field.clone()]
                && other.high[field.clone()] <= self.high[field]
        })
    }

    fn volume(&self, fields: &Fields) -> f64 {
        fields
            .ranges()
            .map(|field| number(&self.high[field.clone()]) - number(&self.low[field]) + 1.0)
            .product()
    }

    /// Width of each field in steps of 8 bits, 5 bits a field.
    fn class(&self, fields: &Fields) -> u64 {
        fields.ranges().fold(0, |class, field| {
            let width = number(&self.high[field.clone()]) - number(&self.low[field]) + 1.0;
            class << 5 | (width.log2() / 8.0) as u64 & 31
        })
    }

    /// Orders by the width of the fields, first field first: the most specific is the least.
    fn width(&self, fields: &Fields) -> ArrayVec<u128, MAX_WORDS> {
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

fn whole(words: &[u32]) -> u128 {
    words
        .iter()
        .fold(0, |number, &word| number << 32 | u128::from(word))
}

impl Fields {
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let mut at = 0;
        self.words.iter().map(move |&words| {
            at += usize::from(words);
            at - usize::from(words)..at
        })
    }
}

impl Node {
    fn empty(fields: &Fields, leaf: bool) -> Self {
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

    fn bounds(&self, at: usize) -> Bounds {
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

    fn set_bounds(&mut self, at: usize, bounds: &Bounds) {
        for (word, pair) in self.lines.chunks_exact_mut(2).enumerate() {
            pair[0].0[at] = bounds.low[word];
            pair[1].0[at] = bounds.high[word];
        }
    }

    /// The box around all children; there is one.
    fn around(&self, fields: &Fields) -> Bounds {
        let mut all = self.bounds(0);
        for at in 1..self.count {
            all.join(&self.bounds(at), fields);
        }
        all
    }

    fn tail(&self, at: usize, fields: &Fields) -> &[u32] {
        match &self.children {
            Children::Leaf(tails) => &tails[at * fields.tail..(at + 1) * fields.tail],
            Children::Inner(_) => &[],
        }
    }

    fn push_item(&mut self, item: &Item) {
        self.set_bounds(self.count, &item.bounds);
        if let Children::Leaf(tails) = &mut self.children {
            tails.extend_from_slice(&item.tail);
        }
        self.count += 1;
    }

    fn push_node(&mut self, node: Arc<Node>, fields: &Fields) {
        self.set_bounds(self.count, &node.around(fields));
        if let Children::Inner(nodes) = &mut self.children {
            nodes.push(node);
        }
        self.count += 1;
    }

    fn remove(&mut self, at: usize, fields: &Fields) {
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

    /// One bit for each child whose box holds the key.
    #[inline]
    fn holding(&self, key: &[u32], fields: &Fields) -> u32 {
        let mut all = [true; FAN];
        let mut at = 0;
        for &words in &fields.words {
            let words = usize::from(words);
            if words == 1 {
                let (low, high) = (&self.lines[2 * at].0, &self.lines[2 * at + 1].0);
                for child in 0..FAN {
                    all[child] &= (low[child] <= key[at]) & (key[at] <= high[child]);
                }
            } else {
                let (mut above, mut below) = ([true; FAN], [true; FAN]);
                for word in (at..at + words).rev() {
                    let (low, high) = (&self.lines[2 * word].0, &self.lines[2 * word + 1].0);
                    for child in 0..FAN {
                        above[child] =
                            (low[child] < key[word]) | ((low[child] == key[word]) & above[child]);
                        below[child] =
                            (high[child] > key[word]) | ((high[child] == key[word]) & below[child]);
                    }
                }
                for child in 0..FAN {
                    all[child] &= above[child] & below[child];
                }
            }
            at += words;
        }
        let mask = all.iter().enumerate().fold(0u32, |mask, (child, &holds)| {
            mask | u32::from(holds) << child
        });
        mask & ((1 << self.count) - 1)
    }

    /// Calls `each` for all elements that meet a box; false stops.
    fn each_meeting(
        &self,
        bounds: &Bounds,
        fields: &Fields,
        each: &mut dyn FnMut(&Bounds, &[u32]) -> bool,
    ) -> bool {
        (0..self.count).all(|at| {
            let own = self.bounds(at);
            !own.meets(bounds, fields)
                || match &self.children {
                    Children::Leaf(_) => each(&own, self.tail(at, fields)),
                    Children::Inner(nodes) => nodes[at].each_meeting(bounds, fields, each),
                }
        })
    }

    fn each(&self, fields: &Fields, each: &mut dyn FnMut(&Bounds, &[u32])) {
        for at in 0..self.count {
            match &self.children {
                Children::Leaf(_) => each(&self.bounds(at), self.tail(at, fields)),
                Children::Inner(nodes) => nodes[at].each(fields, each),
            }
        }
    }

    fn find(&self, bounds: &Bounds, fields: &Fields) -> Option<&[u32]> {
        (0..self.count).find_map(|at| match &self.children {
            Children::Leaf(_) => (self.bounds(at) == *bounds).then(|| self.tail(at, fields)),
            Children::Inner(nodes) if self.bounds(at).holds(bounds, fields) => {
                nodes[at].find(bounds, fields)
            }
            Children::Inner(_) => None,
        })
    }

    fn replace(&mut self, bounds: &Bounds, tail: &[u32], fields: &Fields) -> bool {
        for at in 0..self.count {
            let own = self.bounds(at);
            match &mut self.children {
                Children::Leaf(tails) if own == *bounds => {
                    tails[at * fields.tail..(at + 1) * fields.tail].copy_from_slice(tail);
                    return true;
                }
                Children::Inner(nodes)
                    if own.holds(bounds, fields) && nodes[at].find(bounds, fields).is_some() =>
                {
                    return Arc::make_mut(&mut nodes[at]).replace(bounds, tail, fields);
                }
                _ => {}
            }
        }
        false
    }

    /// Puts an item in; yields a second node if this one had to be split.
    fn insert(&mut self, item: &Item, fields: &Fields) -> Option<Arc<Node>> {
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
    fn take(
        &mut self,
        bounds: &Bounds,
        fields: &Fields,
        root: bool,
        orphans: &mut Vec<Item>,
    ) -> bool {
        for at in 0..self.count {
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
                Children::Inner(nodes)
                    if own.holds(bounds, fields) && nodes[at].find(bounds, fields).is_some() =>
                {
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

    fn items(&self, fields: &Fields) -> Vec<Item> {
        (0..self.count)
            .map(|at| Item {
                bounds: self.bounds(at),
                tail: self.tail(at, fields).to_vec(),
            })
            .collect()
    }

    fn leaf(items: &[Item], fields: &Fields) -> Self {
        let mut node = Self::empty(fields, true);
        items.iter().for_each(|item| node.push_item(item));
        node
    }

    fn inner(nodes: Vec<Arc<Node>>, fields: &Fields) -> Self {
        let mut node = Self::empty(fields, false);
        nodes
            .into_iter()
            .for_each(|child| node.push_node(child, fields));
        node
    }

    fn memory(&self) -> usize {
        let own = size_of::<Self>() + 16 + size_of_val(&*self.lines);
        own + match &self.children {
            Children::Leaf(tails) => tails.capacity() * 4,
            Children::Inner(nodes) => {
                nodes.capacity() * 8 + nodes.iter().map(|node| node.memory()).sum::<usize>()
            }
        }
    }

    /// A tree over items, all leaves on one level: `height` levels above them.
    fn build(items: &mut [Item], height: u32, fields: &Fields) -> Self {
        if height == 0 {
            return Self::leaf(items, fields);
        }
        // Subtrees hold this many elements when they are full.
        let full = FAN.pow(height);
        let mut parts = vec![items];
        while let Some(at) = (0..parts.len()).find(|&at| parts[at].len() > full) {
            let part = parts.swap_remove(at);
            let middle = (part.len() / 2).div_ceil(full) * full;
            let (left, right) = cut(part, middle.min(part.len() - 1), fields);
            parts.push(left);
            parts.push(right);
        }
        let nodes = if parts.iter().map(|part| part.len()).sum::<usize>() > PARALLEL {
            parts
                .into_par_iter()
                .map(|part| Arc::new(Self::build(part, height - 1, fields)))
                .collect()
        } else {
            parts
                .into_iter()
                .map(|part| Arc::new(Self::build(part, height - 1, fields)))
                .collect()
        };
        Self::inner(nodes, fields)
    }
}

/// Cuts items in two at `middle` along the field in which the fewest lie across the cut.
fn cut<'a>(
    items: &'a mut [Item],
    middle: usize,
    fields: &Fields,
) -> (&'a mut [Item], &'a mut [Item]) {
    let mut best = (usize::MAX, 0..0);
    for field in fields.ranges() {
        items.select_nth_unstable_by(middle, |a, b| {
            a.bounds.low[field.clone()].cmp(&b.bounds.low[field.clone()])
        });
        let at: ArrayVec<u32, 4> = items[middle].bounds.low[field.clone()]
            .iter()
            .copied()
            .collect();
        let across = items
            .iter()
            .filter(|item| {
                item.bounds.low[field.clone()] < *at && item.bounds.high[field.clone()] >= *at
            })
            .count();
        let level = items
            .iter()
            .filter(|item| item.bounds.low[field.clone()] == *at)
            .count()
            - 1;
        if across + level < best.0 {
            best = (across + level, field);
        }
    }
    let field = best.1;
    items.select_nth_unstable_by(middle, |a, b| {
        a.bounds.low[field.clone()].cmp(&b.bounds.low[field.clone()])
    });
    items.split_at_mut(middle)
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

/// What has been found for a lane.
struct Best<'a> {
    /// Widths, then first values: of two equally wide boxes the lower one decides.
    width: (ArrayVec<u128, MAX_WORDS>, ArrayVec<u32, MAX_WORDS>),
    tail: &'a [u32],
}

impl Boxes {
    pub(super) fn new(words: ArrayVec<u8, MAX_WORDS>, nested: bool, tail: usize) -> Self {
        let total = words.iter().map(|&words| usize::from(words)).sum();
        Self {
            fields: Fields { words, total, tail },
            nested,
            trees: Vec::new(),
            len: 0,
        }
    }

    fn tree(&self, bounds: &Bounds) -> Option<usize> {
        let class = bounds.class(&self.fields);
        self.trees.iter().position(|&(own, _)| own == class)
    }

    fn add(&mut self, item: &Item) {
        let fields = &self.fields;
        let class = item.bounds.class(fields);
        let at = self
            .trees
            .iter()
            .position(|&(own, _)| own == class)
            .unwrap_or_else(|| {
                self.trees
                    .push((class, Arc::new(Node::empty(fields, true))));
                self.trees.len() - 1
            });
        let tree = &mut self.trees[at].1;
        if let Some(second) = Arc::make_mut(tree).insert(item, fields) {
            *tree = Arc::new(Node::inner(vec![Arc::clone(tree), second], fields));
        }
    }

    /// Follows one node and all below it for one lane.
    fn descend<'a>(
        &'a self,
        node: &'a Node,
        key: &[u32],
        found: &mut dyn FnMut(&'a Node, usize) -> bool,
    ) -> bool {
        Lanes(u64::from(node.holding(key, &self.fields))).all(|at| match &node.children {
            Children::Leaf(_) => found(node, at),
            Children::Inner(nodes) => self.descend(&nodes[at], key, found),
        })
    }

    /// Follows all lanes level by level; `found` says whether its lane wants more.
    fn walk<'a>(
        &'a self,
        keys: &[[u32; MAX_WORDS]; LANES],
        lanes: u64,
        found: &mut dyn FnMut(usize, &'a Node, usize) -> bool,
    ) {
        let mut lanes = lanes;
        for (_, root) in &self.trees {
            let mut front: ArrayVec<(u8, &Node), FRONT> =
                Lanes(lanes).map(|lane| (lane as u8, &**root)).collect();
            while !front.is_empty() {
                let mut next: ArrayVec<(u8, &Node), FRONT> = ArrayVec::new();
                for (lane, node) in front {
                    let lane = usize::from(lane);
                    if lanes >> lane & 1 == 0 {
                        continue;
                    }
                    let key = &keys[lane][..self.fields.total];
                    for at in Lanes(u64::from(node.holding(key, &self.fields))) {
                        let more = match &node.children {
                            Children::Leaf(_) => found(lane, node, at),
                            Children::Inner(nodes) => {
                                let child = &*nodes[at];
                                prefetch(child);
                                match next.try_push((lane as u8, child)) {
                                    Ok(()) => true,
                                    Err(_) => self
                                        .descend(child, key, &mut |node, at| found(lane, node, at)),
                                }
                            }
                        };
                        if !more {
                            lanes &= !(1 << lane);
                            break;
                        }
                    }
                }
                for (_, node) in &next {
                    node.lines.iter().for_each(prefetch);
                }
                front = next;
            }
        }
    }
}

impl Structure for Boxes {
    fn lookup(&self, columns: &[&Column], lanes: u64, sink: &mut Sink<'_>) -> u64 {
        let mut keys = [[0; MAX_WORDS]; LANES];
        for (word, column) in columns.iter().enumerate() {
            for lane in Lanes(lanes) {
                keys[lane][word] = column[lane];
            }
        }
        let mut result = 0;
        if !self.nested {
            self.walk(&keys, lanes, &mut |lane, node, at| {
                let hit = self.fields.tail == 0 || sink.hit(lane, node.tail(at, &self.fields));
                result |= u64::from(hit) << lane;
                !hit
            });
            return result;
        }
        let mut best: [Option<Best<'_>>; LANES] = std::array::from_fn(|_| None);
        let (layout, now_ns) = (sink.layout, sink.now_ns);
        self.walk(&keys, lanes, &mut |lane, node, at| {
            let tail = node.tail(at, &self.fields);
            if !layout.expired(tail, now_ns) {
                let bounds = node.bounds(at);
                let width = (bounds.width(&self.fields), bounds.low);
                if best[lane].as_ref().is_none_or(|best| width < best.width) {
                    best[lane] = Some(Best { width, tail });
                }
            }
            true
        });
        for (lane, best) in best.iter().enumerate() {
            if let Some(best) = best
                && sink.hit(lane, best.tail)
                && !layout.is_nomatch(best.tail)
            {
                result |= 1 << lane;
            }
        }
        result
    }

    fn find(&self, low: &[u32], high: &[u32]) -> Option<&[u32]> {
        let bounds = Bounds::new(low, high);
        self.trees[self.tree(&bounds)?]
            .1
            .find(&bounds, &self.fields)
    }

    fn insert(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> Result<(), SetError> {
        let bounds = Bounds::new(low, high);
        if self
            .fields
            .ranges()
            .any(|field| low[field.clone()] > high[field])
        {
            return Err(SetError::Key("an interval ends before it begins"));
        }
        if !self.nested {
            let mut free = true;
            self.overlapping(low, high, &mut |_| {
                free = false;
                false
            });
            if !free {
                return Err(SetError::Overlap);
            }
        }
        self.len += 1;
        self.add(&Item {
            bounds,
            tail: tail.to_vec(),
        });
        Ok(())
    }

    fn replace(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> bool {
        let bounds = Bounds::new(low, high);
        let Some(tree) = self.tree(&bounds) else {
            return false;
        };
        Arc::make_mut(&mut self.trees[tree].1).replace(&bounds, tail, &self.fields)
    }

    fn remove(&mut self, low: &[u32], high: &[u32]) -> bool {
        let bounds = Bounds::new(low, high);
        let Some(at) = self.tree(&bounds) else {
            return false;
        };
        let mut orphans = Vec::new();
        if !Arc::make_mut(&mut self.trees[at].1).take(&bounds, &self.fields, true, &mut orphans) {
            return false;
        }
        self.len -= 1;
        while let Children::Inner(nodes) = &self.trees[at].1.children
            && nodes.len() == 1
        {
            self.trees[at].1 = Arc::clone(&nodes[0]);
        }
        if self.trees[at].1.count == 0 {
            self.trees.remove(at);
        }
        orphans.iter().for_each(|item| self.add(item));
        true
    }

    fn for_each(&self, each: &mut dyn FnMut(Row<'_>)) {
        for (_, tree) in &self.trees {
            tree.each(&self.fields, &mut |bounds, tail| {
                each(Row {
                    low: &bounds.low,
                    high: &bounds.high,
                    tail,
                });
            });
        }
    }

    fn overlapping(&self, low: &[u32], high: &[u32], each: &mut dyn FnMut(Row<'_>) -> bool) {
        let bounds = Bounds::new(low, high);
        self.trees.iter().all(|(_, tree)| {
            tree.each_meeting(&bounds, &self.fields, &mut |bounds, tail| {
                each(Row {
                    low: &bounds.low,
                    high: &bounds.high,
                    tail,
                })
            })
        });
    }

    fn near(&self, at: u64, count: usize, each: &mut dyn FnMut(Row<'_>)) -> u64 {
        // Leaves are counted; finding them walks the inner nodes, a sixteenth of the memory.
        let mut leaves = Vec::new();
        for (_, tree) in &self.trees {
            collect_leaves(tree, &mut leaves);
        }
        if leaves.is_empty() {
            return 0;
        }
        let mut index = (at % leaves.len() as u64) as usize;
        let mut seen = 0;
        while seen < count && index < leaves.len() {
            leaves[index].each(&self.fields, &mut |bounds, tail| {
                seen += 1;
                each(Row {
                    low: &bounds.low,
                    high: &bounds.high,
                    tail,
                });
            });
            index += 1;
        }
        (index % leaves.len()) as u64
    }

    fn len(&self) -> usize {
        self.len
    }

    fn memory(&self) -> usize {
        size_of::<Self>()
            + self
                .trees
                .iter()
                .map(|(_, tree)| tree.memory() + 16)
                .sum::<usize>()
    }

    fn boxed_clone(&self) -> Box<dyn Structure> {
        Box::new(self.clone())
    }

    fn emptied(&self) -> Box<dyn Structure> {
        Box::new(Self {
            trees: Vec::new(),
            len: 0,
            ..self.clone()
        })
    }

    fn built(&self, rows: &Rows) -> Result<Box<dyn Structure>, usize> {
        let mut classes: Vec<(u64, Vec<Item>)> = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            if self
                .fields
                .ranges()
                .any(|field| row.low[field.clone()] > row.high[field])
            {
                return Err(index);
            }
            let item = Item {
                bounds: Bounds::new(row.low, row.high),
                tail: row.tail.to_vec(),
            };
            let class = item.bounds.class(&self.fields);
            match classes.iter_mut().find(|(own, _)| *own == class) {
                Some((_, items)) => items.push(item),
                None => classes.push((class, vec![item])),
            }
        }
        let trees = classes
            .into_iter()
            .map(|(class, mut items)| {
                let mut height = 0;
                while FAN.pow(height + 1) < items.len() {
                    height += 1;
                }
                (
                    class,
                    Arc::new(Node::build(&mut items, height, &self.fields)),
                )
            })
            .collect();
        let tree = Self {
            trees,
            len: rows.len(),
            ..self.clone()
        };
        let twice = (0..rows.len()).into_par_iter().find_any(|&index| {
            let row = rows.row(index);
            let mut same = 0;
            tree.overlapping(row.low, row.high, &mut |other| {
                same +=
                    usize::from(!self.nested || (other.low == row.low && other.high == row.high));
                same < 2
            });
            same > 1
        });
        match twice {
            Some(index) => Err(index),
            None => Ok(Box::new(tree)),
        }
    }
}

fn collect_leaves<'a>(node: &'a Node, leaves: &mut Vec<&'a Node>) {
    match &node.children {
        Children::Leaf(_) => leaves.push(node),
        Children::Inner(nodes) => nodes.iter().for_each(|node| collect_leaves(node, leaves)),
    }
}
