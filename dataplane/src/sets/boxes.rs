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

use std::collections::HashMap;
use std::sync::Arc;

use arrayvec::ArrayVec;
use rayon::prelude::*;

use super::error::SetError;
use super::hits::{Column, LANES, Lanes, Sink};
use super::line::{self, Line, prefetch};
use super::spec::MAX_WORDS;
use super::structure::{Row, Rows, Structure};

/// Children of a node.
const FAN: usize = 16;

/// A leaf with fewer elements is dissolved.
const SPARSE: usize = 4;

/// Nodes under way at once in a batched look-up; more are followed one by one.
const FRONT: usize = 256;

/// The class of the tree that small classes share.
const MIXED: u64 = u64::MAX;

/// A class gets a tree of its own from so many elements on, and if they are a tenth of what the shared
/// tree has.
const OWN_TREE: usize = 128;

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
    /// Size class and its tree, big ones first. Classes of few elements share the tree [`MIXED`].
    trees: Vec<(u64, Arc<Node>)>,
    /// Elements of the shared tree.
    mixed: usize,
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

    /// One bit for each child whose box has something in common with another one.
    #[inline]
    fn meeting(&self, low: &[u32], high: &[u32], fields: &Fields) -> u32 {
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
    fn holding(&self, key: &[u32], fields: &Fields) -> u32 {
        self.meeting(key, key, fields)
    }

    /// One bit for each child whose box holds another one.
    fn around_box(&self, bounds: &Bounds, fields: &Fields) -> u32 {
        self.holding(&bounds.low, fields) & self.holding(&bounds.high, fields)
    }

    /// Calls `each` for all elements that meet a box; false stops.
    fn each_meeting(
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

    fn each(&self, fields: &Fields, each: &mut dyn FnMut(&Bounds, &[u32])) {
        for at in 0..self.count {
            match &self.children {
                Children::Leaf(_) => each(&self.bounds(at), self.tail(at, fields)),
                Children::Inner(nodes) => nodes[at].each(fields, each),
            }
        }
    }

    fn find(&self, bounds: &Bounds, fields: &Fields) -> Option<&[u32]> {
        Lanes(u64::from(self.around_box(bounds, fields))).find_map(|at| match &self.children {
            Children::Leaf(_) => (self.bounds(at) == *bounds).then(|| self.tail(at, fields)),
            Children::Inner(nodes) => nodes[at].find(bounds, fields),
        })
    }

    fn replace(&mut self, bounds: &Bounds, tail: &[u32], fields: &Fields) -> bool {
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

    /// A tree over rows, all leaves on one level: `height` levels above them.
    fn build(rows: &Rows, order: &mut [u32], height: u32, fields: &Fields) -> Self {
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
            mixed: 0,
            len: 0,
        }
    }

    fn tree_of_class(&self, class: u64) -> Option<usize> {
        self.trees.iter().position(|&(own, _)| own == class)
    }

    /// The tree that has exactly this box.
    fn tree(&self, bounds: &Bounds) -> Option<usize> {
        let class = self.tree_of_class(bounds.class(&self.fields));
        [class, self.tree_of_class(MIXED)]
            .into_iter()
            .flatten()
            .find(|&at| self.trees[at].1.find(bounds, &self.fields).is_some())
    }

    fn add(&mut self, item: &Item) {
        let own = self.tree_of_class(item.bounds.class(&self.fields));
        let at = own
            .or_else(|| self.tree_of_class(MIXED))
            .unwrap_or_else(|| {
                self.trees
                    .push((MIXED, Arc::new(Node::empty(&self.fields, true))));
                self.trees.len() - 1
            });
        self.add_to(at, item);
        if own.is_none() {
            self.mixed += 1;
            // Looked at whenever it has doubled: what that costs is spread over the elements added.
            if self.mixed >= 2 * OWN_TREE && self.mixed.is_power_of_two() {
                self.divide();
            }
        }
    }

    fn add_to(&mut self, at: usize, item: &Item) {
        let fields = &self.fields;
        let tree = &mut self.trees[at].1;
        if let Some(second) = Arc::make_mut(tree).insert(item, fields) {
            *tree = Arc::new(Node::inner(vec![Arc::clone(tree), second], fields));
        }
    }

    /// Gives big classes of the shared tree trees of their own.
    fn divide(&mut self) {
        let Some(at) = self.tree_of_class(MIXED) else {
            return;
        };
        let (_, shared) = self.trees.remove(at);
        let mut rows = Rows::plain(self.fields.total, self.fields.tail);
        shared.each(&self.fields, &mut |bounds, tail| {
            rows.push(&bounds.low, &bounds.high, tail)
        });
        self.mixed = 0;
        self.plant(&rows);
    }

    /// Trees for rows, beside those that are there.
    fn plant(&mut self, rows: &Rows) {
        let mut classes: Vec<(u64, Vec<u32>)> = Vec::new();
        let mut places = HashMap::new();
        for (index, row) in rows.iter().enumerate() {
            let class = Bounds::new(row.low, row.high).class(&self.fields);
            let place = *places.entry(class).or_insert_with(|| {
                classes.push((class, Vec::new()));
                classes.len() - 1
            });
            classes[place].1.push(index as u32);
        }
        let enough = OWN_TREE.max(rows.len() / 10);
        let (mut own, small): (Vec<_>, Vec<_>) = classes
            .into_iter()
            .partition(|(_, order)| order.len() >= enough);
        let mixed: Vec<u32> = small.into_iter().flat_map(|(_, order)| order).collect();
        self.mixed = mixed.len();
        if !mixed.is_empty() {
            own.push((MIXED, mixed));
        }
        own.sort_by_key(|(_, order)| std::cmp::Reverse(order.len()));
        for (class, mut order) in own {
            let mut height = 0;
            while FAN.pow(height + 1) < order.len() {
                height += 1;
            }
            let tree = Node::build(rows, &mut order, height, &self.fields);
            self.trees.push((class, Arc::new(tree)));
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
        if self.trees[at].0 == MIXED {
            self.mixed -= 1 + orphans.len();
        }
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
            mixed: 0,
            len: 0,
            ..self.clone()
        })
    }

    fn built(&self, rows: &Rows) -> Result<Box<dyn Structure>, usize> {
        for (index, row) in rows.iter().enumerate() {
            if self
                .fields
                .ranges()
                .any(|field| row.low[field.clone()] > row.high[field])
            {
                return Err(index);
            }
        }
        let mut tree = Self {
            trees: Vec::new(),
            len: rows.len(),
            mixed: 0,
            ..self.clone()
        };
        tree.plant(rows);
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
