//! Variables: `define`, `redefine`, `undefine`, one scope a block.

use std::collections::HashMap;
use std::sync::Arc;

use super::ast::{Expr, Text};
use super::misspell;

/// A definition.
#[derive(Clone)]
pub(super) struct Symbol {
    pub(super) value: Arc<Expr>,
    /// How deeply its value is nested, uses of other variables included.
    pub(super) depth: usize,
}

/// The open scopes, innermost last. A name keeps its older values under the newest one.
pub(super) struct Symbols {
    scopes: Vec<HashMap<Text, Vec<Symbol>>>,
}

impl Symbols {
    pub(super) fn new() -> Self {
        Self {
            scopes: vec![HashMap::new()],
        }
    }

    pub(super) fn open(&mut self) {
        self.scopes.push(HashMap::new());
    }

    pub(super) fn close(&mut self) {
        if self.scopes.len() > 1 {
            self.scopes.pop();
        }
    }

    /// Whether the innermost scope has it.
    pub(super) fn is_here(&self, name: &str) -> bool {
        self.scopes
            .last()
            .is_some_and(|scope| scope.contains_key(name))
    }

    pub(super) fn bind(&mut self, name: Text, symbol: Symbol) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.entry(name).or_default().push(symbol);
        }
    }

    /// Forgets the newest value in the innermost scope.
    pub(super) fn unbind(&mut self, name: &str) {
        let Some(scope) = self.scopes.last_mut() else {
            return;
        };
        if let Some(values) = scope.get_mut(name) {
            values.pop();
            if values.is_empty() {
                scope.remove(name);
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Symbol> {
        self.scopes
            .iter()
            .rev()
            .find_map(|scope| scope.get(name).and_then(|values| values.last()))
    }

    /// A name that was perhaps meant.
    pub(super) fn similar(&self, name: &str) -> Option<&str> {
        self.scopes.iter().rev().find_map(|scope| {
            let mut names: Vec<&str> = scope.keys().map(|k| k.as_str()).collect();
            names.sort_unstable();
            misspell::nearest(name, names)
        })
    }
}
