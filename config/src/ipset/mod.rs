//! ipset, as a front end on the ruleset's sets: the command line of ipset 7.17, its texts, its exit
//! codes.
//!
//! | file | what |
//! |---|---|
//! | [`call`], [`words`], [`option`] | a command line, a line of `restore`, options |
//! | [`kind`] | the set types, one row each |
//! | [`create`], [`element`], [`address`], [`port`], [`number`], [`names`] | arguments to values |
//! | [`key`], [`entry`], [`member`] | values to keys and elements of the engine, and back to text |
//! | [`set`], [`session`], [`waiting`], [`batch`], [`list_set`] | the sets, and commands on them |
//! | [`output`], [`help`], [`refusal`] | texts |
//! | [`rule`] | what rules do with the sets |
//!
//! The reference is ipset 7.17 on Linux 6.18. What differs is in `docs/ipset.md`.

pub mod address;
pub mod batch;
pub mod call;
pub mod create;
pub mod element;
pub mod entry;
pub mod help;
pub mod key;
pub mod kind;
pub mod list_set;
pub mod member;
pub mod names;
pub mod number;
pub mod option;
pub mod output;
pub mod port;
pub mod refusal;
pub mod request;
pub mod rule;
pub mod session;
pub mod set;
pub mod waiting;
pub mod words;

pub use request::{Answer, IpsetRequest, run};
pub use session::{Host, Session, Stop};
pub use set::{Content, IpSet, IpSets};
