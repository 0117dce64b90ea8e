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

/// The open scopes, innermost last.
pub(super) struct Symbols {
    scopes: Vec<HashMap<Text, Symbol>>,
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

    /// Gives a name a value in the innermost scope, instead of the one that it has there.
    pub(super) fn bind(&mut self, name: Text, symbol: Symbol) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, symbol);
        }
    }

    /// Forgets a name of the innermost scope.
    pub(super) fn unbind(&mut self, name: &str) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.remove(name);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Symbol> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
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
