//! Lines of `restore` that wait to be sent.
//!
//! The original collects lines that add to one set, or delete from it, and sends them to the kernel as one
//! message when it is full, when another kind of line has been understood, or at the end. So a line that
//! cannot be understood takes with it those that wait, while a line that the kernel refuses leaves those
//! before it done.

use std::sync::Arc;

use super::batch::Batch;
use super::create::Header;
use super::element::{Entry, Verb};
use super::entry::{wire_bytes, wire_room};

/// The message that the original would be filling.
#[derive(Debug)]
pub struct Message {
    /// The set's name.
    pub name: String,
    /// Whether its lines add or delete.
    pub verb: Verb,
    /// `-exist`, as it was in force when the message was begun: it counts for the whole message.
    pub exist: bool,
    /// The set's header.
    pub header: Arc<Header>,
    /// Bytes of its lines.
    used: usize,
}

impl Message {
    /// An empty one.
    pub fn new(name: &str, verb: Verb, exist: bool, header: &Arc<Header>) -> Self {
        Self {
            name: name.to_owned(),
            verb,
            exist,
            header: Arc::clone(header),
            used: 0,
        }
    }

    /// Whether another line may join: the same set and verb.
    pub fn takes(&self, name: &str, verb: Verb) -> bool {
        self.name == name && self.verb == verb
    }

    /// Whether an entry fits behind those that are there.
    pub fn has_room(&self, entry: &Entry) -> bool {
        self.used + wire_bytes(&self.header, entry) <= wire_room(&self.name)
    }

    /// Counts an entry.
    pub fn count(&mut self, entry: &Entry) {
        self.used += wire_bytes(&self.header, entry);
    }

    /// Whether it has no line.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Begins the next one.
    pub fn clear(&mut self) {
        self.used = 0;
    }
}

/// Lines about a list of sets: at most one message of them.
#[derive(Debug)]
pub struct Members {
    /// The message.
    pub message: Message,
    /// Its entries, each with its line.
    pub entries: Vec<(Entry, usize)>,
}

/// What waits.
#[derive(Debug)]
pub enum Waiting {
    /// Elements.
    Elements(Batch),
    /// Names in a list.
    Members(Members),
}

impl Waiting {
    /// The message that is being filled.
    pub fn message(&self) -> &Message {
        match self {
            Self::Elements(batch) => batch.message(),
            Self::Members(members) => &members.message,
        }
    }

    /// Forgets the lines of the message that is not full yet.
    pub fn lose(&mut self) {
        match self {
            Self::Elements(batch) => batch.lose_pending(),
            Self::Members(members) => members.entries.clear(),
        }
    }
}
