//! Elements as a structure has them: a key and a tail of words (data, times, exception, slot).

use std::sync::atomic::Ordering;

use super::element::{Element, Key};
use super::error::SetError;
use super::set::Set;

impl Set {
    /// The tail of an element, and when it expires.
    pub(super) fn tail_of(
        &self,
        element: &Element,
        now_ns: u64,
    ) -> Result<(Vec<u32>, u64), SetError> {
        self.fits(element)?;
        let timeout = element
            .timeout_ns
            .or(self.spec.default_timeout_ns)
            .unwrap_or(0);
        let forever = if timeout == 0 {
            u64::MAX
        } else {
            now_ns.saturating_add(timeout)
        };
        let expires = element.expires_ns.unwrap_or(forever);
        let mut tail = vec![0; self.layout.tail];
        tail[..self.layout.data].copy_from_slice(&element.data);
        self.layout.set_expires(&mut tail, expires);
        self.layout.set_timeout(&mut tail, timeout);
        if let Some(at) = self.layout.nomatch {
            tail[at] = u32::from(element.nomatch);
        }
        if let Some(at) = self.layout.slot
            && (!self.spec.initial_state.is_empty() || element.comment.is_some())
        {
            let state = if element.state.is_empty() {
                &self.spec.initial_state
            } else {
                &element.state
            };
            tail[at] = self.slots.take(state, element.comment.clone());
        }
        Ok((tail, expires))
    }

    /// Whether the element has what the set asks for, and nothing else.
    pub(super) fn fits(&self, element: &Element) -> Result<(), SetError> {
        if let Key::Range { low, high } = &element.key
            && (low.len() != self.layout.key || high.len() != self.layout.key)
        {
            return Err(SetError::Key("another number of words"));
        }
        if element.data.len() != self.layout.data {
            return Err(SetError::Element("another number of data words"));
        }
        if self.layout.timed.is_none()
            && (element.timeout_ns.is_some() || element.expires_ns.is_some())
        {
            return Err(SetError::Element("a timeout in a set without timeouts"));
        }
        if self.layout.nomatch.is_none() && element.nomatch {
            return Err(SetError::Element(
                "an exception in a set without exceptions",
            ));
        }
        if !self.spec.comments && element.comment.is_some() {
            return Err(SetError::Element("a comment in a set without comments"));
        }
        if !element.state.is_empty() && element.state.len() != self.spec.initial_state.len() {
            return Err(SetError::Element("another number of state words"));
        }
        Ok(())
    }

    /// The element that a tail belongs to.
    pub(super) fn element(&self, key: Key, tail: &[u32], expires_ns: u64) -> Element {
        let slot = self.layout.slot(tail);
        let timeout = self.layout.timeout(tail);
        Element {
            key,
            data: tail[..self.layout.data].iter().copied().collect(),
            timeout_ns: (timeout > 0).then_some(timeout),
            expires_ns: (expires_ns != u64::MAX).then_some(expires_ns),
            state: self
                .slots
                .state(slot)
                .iter()
                .map(|word| word.load(Ordering::Relaxed))
                .collect(),
            comment: if self.spec.comments {
                self.slots.comment(slot)
            } else {
                None
            },
            nomatch: self.layout.is_nomatch(tail),
        }
    }
}
