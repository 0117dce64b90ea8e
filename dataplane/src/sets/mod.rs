//! Sets and maps: what the rule program looks keys up in, a batch at a time.
//!
//! A key is a row of 32-bit words, numbers in host order, most significant word first; fields lie
//! side by side (see `docs/architecture.md`). An element has a key (exact, a range, a prefix, one
//! range per field, or the catch-all `*`) and what its set asks for: data words (maps), a timeout,
//! a slot with counters and other state, a comment, the `nomatch` flag. What a set does not ask
//! for costs it nothing.
//!
//! | shape | file | look-up at 1M | bytes per element |
//! |---|---|---|---|
//! | exact keys | [`hash`] | 2 cache lines (+1 a row for keys wider than a word or maps) | 10 to 17 + row |
//! | exact keys that packets write | [`dynamic`] | one line more | 10 to 20 + row |
//! | dense numbers | [`bitmap`] | 1 line | 1 bit |
//! | prefixes, longest match | [`prefix`] | index + about 4 lines | 10 to 17 (IPv4), 40 to 65 (IPv6) |
//! | disjoint intervals | [`interval`] | index + about 4 lines | 10 to 17 (IPv4), 40 to 65 (IPv6) |
//! | one interval per field | [`boxes`] | a path through a tree of depth log16(n) | 2 keys + row |
//! | sets one after the other | [`list`] | that of its members | a pointer |
//!
//! # How changes become visible
//!
//! Every structure but [`dynamic`] is persistent: a clone shares everything, a change copies a page
//! and the index above it. So a [`Change`] works on a clone, committing it makes a [`SetView`] for
//! the next generation, and dropping it leaves nothing behind; readers hold an immutable
//! version and never wait. Sets that packets write (`dynamic` in their [`SetSpec`]) have one content
//! for all generations, because an element that a packet added must be seen by the next packet on
//! any worker: a [`Change`] on one is checked when it is made and applied when it is committed.
//!
//! Time is handed in (`now_ns`). An element never matches from the nanosecond on at which it
//! expires; [`Set::sweep`] gives its memory back later, a bounded number of elements a call.

pub mod bitmap;
pub mod boxes;
mod bulk;
mod change;
mod copy;
pub mod dynamic;
mod element;
mod epoch;
mod error;
pub mod hash;
mod hashing;
mod hits;
pub mod interval;
mod lane;
mod line;
pub mod list;
mod ordered;
pub mod packet;
mod page;
pub mod prefix;
mod scalar;
mod set;
mod slots;
mod sorted;
mod spec;
mod spine;
mod statement;
mod structure;
mod tail;
mod view;

pub use bulk::Bulk;
pub use change::Change;
pub use element::{Element, Key, Words};
pub use error::SetError;
pub use hits::{Column, LANES, Places};
pub use lane::{LaneView, Refused};
pub use list::{Member, SetView};
pub use set::{Outcome, Set, Touched};
pub use spec::{MAX_WORDS, SetSpec, Shape};
pub use statement::{initial_state, state_words};
pub use view::OwnView;
