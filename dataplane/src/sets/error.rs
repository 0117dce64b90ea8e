//! Why a change to a set is refused.

/// Why a change to a set is refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The set has as many elements as it may have.
    #[error("the set is full")]
    Full,
    /// The element is there already with other data.
    #[error("the element exists with other data")]
    Exists,
    /// The element has keys in common with another one.
    #[error("the element overlaps with another one")]
    Overlap,
    /// The element is not there.
    #[error("the element does not exist")]
    Missing,
    /// The key is not one that this set can have.
    #[error("the key does not fit the set: {0}")]
    Key(&'static str),
    /// The element has something that its set did not ask for, or lacks something.
    #[error("the element does not fit the set: {0}")]
    Element(&'static str),
    /// Another change of the set is open; changes of one set come one after the other.
    #[error("another change of the set is open")]
    Busy,
    /// Packets may not change this set.
    #[error("the set is not dynamic")]
    NotDynamic,
}
