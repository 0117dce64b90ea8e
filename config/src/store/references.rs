//! Who uses whom in a table: rules and map elements use chains, sets, objects and flowtables.
//!
//! Kept as counted edges, so that "is it used", "does this close a loop" and "how deep" need no
//! look at rules: one edge from a chain stands for all of its rules that go there.

use imbl::{HashMap, OrdMap};

use super::Name;
use super::place::operands;
use crate::model::expr::{ChainRef, DataType, Element, Expr, ExprKind, Verdict};
use crate::model::stmt::{ObjectTarget, Stmt};
use crate::model::{ObjectKind, Rule};

/// Something that can be used or that uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// A chain: all of its rules.
    Chain(Name),
    /// A set or map: all of its elements.
    Set(Name),
    /// A stateful object.
    Object(ObjectKind, Name),
    /// A flowtable.
    Flowtable(Name),
    /// A set of ipset, which belongs to no table.
    IpSet(Name),
}

/// Deepest nesting of jumps and gotos below a base chain.
pub const MAX_DEPTH: usize = 16;

/// Counted edges.
#[derive(Clone, Debug, Default)]
pub struct References {
    out: HashMap<Node, OrdMap<Node, u32>>,
    users: HashMap<Node, OrdMap<Node, u32>>,
}

impl References {
    /// Adds an edge.
    pub fn add(&mut self, from: &Node, to: Node) {
        *self
            .users
            .entry(to.clone())
            .or_default()
            .entry(from.clone())
            .or_insert(0) += 1;
        *self
            .out
            .entry(from.clone())
            .or_default()
            .entry(to)
            .or_insert(0) += 1;
    }

    /// Takes an edge away.
    pub fn remove(&mut self, from: &Node, to: &Node) {
        lower(&mut self.out, from, to);
        lower(&mut self.users, to, from);
    }

    /// Takes away all that goes out of a node.
    pub fn forget(&mut self, from: &Node) {
        for to in self.out.remove(from).unwrap_or_default().keys() {
            if let Some(users) = self.users.get_mut(to) {
                users.remove(from);
                if users.is_empty() {
                    self.users.remove(to);
                }
            }
        }
    }

    /// Who uses it.
    pub fn users(&self, of: &Node) -> Vec<Node> {
        self.users
            .get(of)
            .map(|users| users.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// How many rules use a set of ipset.
    pub fn ipset_uses(&self, name: &str) -> usize {
        let users = self.users.get(&Node::IpSet(Name::from(name)));
        let counts = users.into_iter().flat_map(OrdMap::values);
        counts.map(|count| *count as usize).sum()
    }

    /// Whether anything uses it.
    pub fn used(&self, node: &Node) -> bool {
        self.users.contains_key(node)
    }

    /// Gives a node another name.
    pub fn rename(&mut self, from: &Node, to: &Node) {
        for (target, count) in self.out.get(from).cloned().unwrap_or_default() {
            let target = if target == *from { to.clone() } else { target };
            for _ in 0..count {
                self.add(to, target.clone());
            }
        }
        for (user, count) in self.users.get(from).cloned().unwrap_or_default() {
            if user != *from {
                for _ in 0..count {
                    self.add(&user, to.clone());
                    self.remove(&user, from);
                }
            }
        }
        self.forget(from);
        self.users.remove(from);
    }

    /// Whether from `start` something leads back to `start`.
    pub fn loops(&self, start: &Node) -> bool {
        let mut seen = std::collections::HashSet::new();
        let mut open: Vec<&Node> = self.targets(start).collect();
        while let Some(node) = open.pop() {
            if node == start {
                return true;
            }
            if seen.insert(node) {
                open.extend(self.targets(node));
            }
        }
        false
    }

    /// How many chains can stand one in the other from here on, this one included. The graph
    /// below has no loop.
    pub fn height(&self, node: &Node) -> usize {
        let mut known = std::collections::HashMap::new();
        self.height_of(node, &mut known)
    }

    fn height_of<'a>(
        &'a self,
        node: &'a Node,
        known: &mut std::collections::HashMap<&'a Node, usize>,
    ) -> usize {
        if let Some(&height) = known.get(node) {
            return height;
        }
        // A placeholder, so that a loop (refused elsewhere) cannot keep us here for ever.
        known.insert(node, 0);
        let below = self
            .targets(node)
            .map(|to| self.height_of(to, known))
            .max()
            .unwrap_or(0);
        let height = below + usize::from(matches!(node, Node::Chain(_)));
        known.insert(node, height);
        height
    }

    /// The chains from which control can come to this one, with itself.
    pub fn ancestors(&self, node: &Node) -> Vec<Node> {
        let mut seen = std::collections::HashSet::new();
        let mut open = vec![node.clone()];
        let mut all = Vec::new();
        while let Some(node) = open.pop() {
            if seen.insert(node.clone()) {
                open.extend(self.users(&node));
                all.push(node);
            }
        }
        all
    }

    /// The nodes to which control can go from this one, with itself.
    pub fn descendants(&self, node: &Node) -> Vec<Node> {
        let mut seen = std::collections::HashSet::new();
        let mut open = vec![node];
        let mut all = Vec::new();
        while let Some(node) = open.pop() {
            if seen.insert(node) {
                open.extend(self.targets(node));
                all.push(node.clone());
            }
        }
        all
    }

    fn targets<'a>(&'a self, node: &Node) -> impl Iterator<Item = &'a Node> {
        self.out
            .get(node)
            .into_iter()
            .flat_map(|to| to.keys())
            .filter(|to| matches!(to, Node::Chain(_) | Node::Set(_)))
    }
}

fn lower(map: &mut HashMap<Node, OrdMap<Node, u32>>, from: &Node, to: &Node) {
    let Some(inner) = map.get_mut(from) else {
        return;
    };
    match inner.get_mut(to) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) => {
            inner.remove(to);
        }
        None => {}
    }
    if inner.is_empty() {
        map.remove(from);
    }
}

/// Calls `f` for everything that a rule uses.
pub fn of_rule(rule: &Rule, f: &mut dyn FnMut(Node)) {
    rule.stmts.iter().for_each(|stmt| of_stmt(stmt, f));
}

fn of_stmt(stmt: &Stmt, f: &mut dyn FnMut(Node)) {
    for expr in operands(stmt).into_iter().flatten() {
        of_expr(expr, f);
    }
    match stmt {
        Stmt::Verdict(verdict) => of_verdict(verdict, f),
        Stmt::Object {
            kind,
            target: ObjectTarget::Name(name),
        } => f(Node::Object(*kind, Name::from(&**name))),
        Stmt::FlowAdd(name) => f(Node::Flowtable(Name::from(&**name))),
        Stmt::SetUpdate(update) => {
            f(Node::Set(Name::from(&*update.set)));
            of_element(&update.element, f);
        }
        Stmt::Meter(meter) => {
            f(Node::Set(Name::from(&*meter.name)));
            of_element(&meter.element, f);
        }
        Stmt::Ipset(used) => f(Node::IpSet(Name::from(&*used.set))),
        Stmt::Nat64(name) => f(Node::Object(ObjectKind::Nat64, Name::from(&**name))),
        Stmt::Siit(name) => f(Node::Object(ObjectKind::Siit, Name::from(&**name))),
        _ => {}
    }
}

/// Calls `f` for everything that an expression uses.
pub fn of_expr(expr: &Expr, f: &mut dyn FnMut(Node)) {
    match &expr.kind {
        ExprKind::Concat(parts) => parts.iter().for_each(|part| of_expr(part, f)),
        ExprKind::Verdict(verdict) => of_verdict(verdict, f),
        ExprKind::Hash(hash) => {
            if let Some(key) = &hash.key {
                of_expr(key, f);
            }
        }
        ExprKind::Binop { left, right, .. } => {
            of_expr(left, f);
            of_expr(right, f);
        }
        ExprKind::Set(set) => {
            let kind = match set.data {
                Some(DataType::Object(kind)) => Some(kind),
                _ => None,
            };
            for element in &set.elements {
                of_element(element, f);
                if let (Some(kind), Some(name)) = (kind, &element.object) {
                    f(Node::Object(kind, Name::from(&**name)));
                }
            }
        }
        ExprKind::SetRef(name) => f(Node::Set(Name::from(&**name))),
        ExprKind::Map { key, map } => {
            of_expr(key, f);
            of_expr(map, f);
        }
        _ => {}
    }
}

fn of_element(element: &Element, f: &mut dyn FnMut(Node)) {
    of_expr(&element.key, f);
    if let Some(data) = &element.data {
        of_expr(data, f);
    }
    element.stmts.iter().for_each(|stmt| of_stmt(stmt, f));
}

/// Calls `f` for the chain of a verdict.
pub fn of_verdict(verdict: &Verdict, f: &mut dyn FnMut(Node)) {
    match verdict {
        Verdict::Jump(ChainRef::Name(name)) | Verdict::Goto(ChainRef::Name(name)) => {
            f(Node::Chain(Name::from(&**name)));
        }
        Verdict::Jump(ChainRef::Anonymous(rules)) | Verdict::Goto(ChainRef::Anonymous(rules)) => {
            rules.iter().for_each(|rule| of_rule(rule, f));
        }
        Verdict::Accept | Verdict::Drop | Verdict::Continue | Verdict::Return => {}
    }
}
