//! Another set with the same elements: what a transaction changes while packets use the original.

use std::sync::Arc;

use super::bulk::Bulk;
use super::element::Key;
use super::error::SetError;
use super::set::{Set, Store};
use super::spec::SetSpec;

impl Set {
    /// A set of its own that has the elements of this one, with their timeouts, states and comments.
    /// Structures without slots are shared until one of both changes; else every element is copied.
    /// `seed` is used where the elements are put into a table of their own.
    ///
    /// # Errors
    /// When `spec` is of another shape or does not take what the elements have.
    pub fn copied(
        self: &Arc<Self>,
        spec: SetSpec,
        seed: u64,
        now_ns: u64,
    ) -> Result<Arc<Self>, SetError> {
        let copy = Self::new(spec, seed)?;
        if copy.spec == self.spec
            && self.layout.slot.is_none()
            && let (Store::Versions(own), Store::Versions(new)) = (&self.store, &copy.store)
        {
            new.load().root.store(own.load().root.load_full());
            copy.same_prefixes(self);
            return Ok(copy);
        }
        let mut bulk = Bulk::new(&copy.spec);
        let mut rest = None;
        let mut fits = true;
        self.view().for_each(now_ns, &mut |element| {
            if element.key == Key::CatchAll {
                rest = Some(element);
            } else {
                fits &= bulk.push(&element);
            }
        });
        if !fits {
            return Err(SetError::Key("another number of words"));
        }
        let mut change = copy.begin(now_ns)?;
        change.load_bulk(bulk).map_err(|(_, error)| error)?;
        if let Some(rest) = rest {
            change.add(&rest)?;
        }
        change.commit();
        Ok(copy)
    }
}
