//! Many elements in one flat list, for a change that adds them all at once.
//!
//! A row takes the words of its first key, its last key and its data; what few elements have
//! (timeouts, states, comments) lies beside them. A million addresses are 8 MB here, where as
//! [`Element`]s they would be 300.

use std::collections::HashMap;
use std::sync::Arc;

use super::element::{Element, Key};
use super::spec::SetSpec;

/// What few elements have.
#[derive(Clone, Debug)]
struct Extra {
    timeout_ns: Option<u64>,
    expires_ns: Option<u64>,
    state: Box<[u64]>,
    comment: Option<Arc<str>>,
    nomatch: bool,
}

/// Elements side by side, in the order in which they are added. There is no catch-all among them.
#[derive(Clone, Debug)]
pub struct Bulk {
    key: usize,
    data: usize,
    words: Vec<u32>,
    extras: HashMap<usize, Extra>,
}

impl Bulk {
    /// An empty list for elements of a set like this.
    pub fn new(spec: &SetSpec) -> Self {
        Self {
            key: spec.shape.key_words(),
            data: usize::from(spec.data_words),
            words: Vec::new(),
            extras: HashMap::new(),
        }
    }

    fn stride(&self) -> usize {
        2 * self.key + self.data
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.words.len() / self.stride()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Appends an element; false if it is a catch-all or has another number of words.
    #[must_use]
    pub fn push(&mut self, element: &Element) -> bool {
        let Key::Range { low, high } = &element.key else {
            return false;
        };
        if low.len() != self.key || high.len() != self.key || element.data.len() != self.data {
            return false;
        }
        let plain = element.timeout_ns.is_none()
            && element.expires_ns.is_none()
            && element.state.is_empty()
            && element.comment.is_none()
            && !element.nomatch;
        if !plain {
            let extra = Extra {
                timeout_ns: element.timeout_ns,
                expires_ns: element.expires_ns,
                state: element.state.clone(),
                comment: element.comment.clone(),
                nomatch: element.nomatch,
            };
            self.extras.insert(self.len(), extra);
        }
        self.words.extend_from_slice(low);
        self.words.extend_from_slice(high);
        self.words.extend_from_slice(&element.data);
        true
    }

    /// First key, last key and data of an element.
    pub fn row(&self, index: usize) -> (&[u32], &[u32], &[u32]) {
        let row = &self.words[index * self.stride()..][..self.stride()];
        let (low, rest) = row.split_at(self.key);
        let (high, data) = rest.split_at(self.key);
        (low, high, data)
    }

    /// Whether an element has nothing but key and data.
    pub(super) fn is_plain(&self, index: usize) -> bool {
        !self.extras.contains_key(&index)
    }

    /// An element by its number.
    pub fn element(&self, index: usize) -> Element {
        let (low, high, data) = self.row(index);
        let mut element = Element::new(Key::range(low, high)).with_data(data);
        if let Some(extra) = self.extras.get(&index) {
            element.timeout_ns = extra.timeout_ns;
            element.expires_ns = extra.expires_ns;
            element.state.clone_from(&extra.state);
            element.comment.clone_from(&extra.comment);
            element.nomatch = extra.nomatch;
        }
        element
    }

    /// Both keys of an element as one slice.
    pub(super) fn bounds(&self, index: usize) -> &[u32] {
        &self.words[index * self.stride()..][..2 * self.key]
    }
}
