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

mod node;

use std::collections::HashMap;
use std::sync::Arc;

use arrayvec::ArrayVec;
use rayon::prelude::*;

use super::error::SetError;
use super::hits::{Column, LANES, Lanes, Sink};
use super::line::prefetch;
use super::spec::MAX_WORDS;
use super::structure::{Row, Rows, Structure};
use node::{Bounds, Children, FAN, Fields, Item, Node};

/// Nodes under way at once in a batched look-up; more are followed one by one.
const FRONT: usize = 256;

/// The class of the tree that small classes share.
const MIXED: u64 = u64::MAX;

/// A class gets a tree of its own from so many elements on, and if they are a tenth of what the shared
/// tree has.
const OWN_TREE: usize = 128;

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
