//! The packed rule program: instructions, encoding, verifier, and the interpreter that runs one
//! instruction over a whole batch.
//!
//! A program comes from a [`ProgramBuilder`] or from bytes ([`Program::from_bytes`]); both run the
//! verifier, and nothing else makes a program.

pub mod block;
pub mod cell;
pub mod connection;
pub mod counters;
pub mod encoding;
pub mod engines;
pub mod fact;
pub mod hash;
pub mod key;
pub mod lane_set;
pub mod lanes;
pub mod nat;
pub mod op;
pub mod small_set;
pub mod tables;
pub mod vm;
pub mod walk;

mod builder;
mod decoded;
mod load;
#[cfg(test)]
mod op_tests;
mod packets;
#[cfg(test)]
mod property_tests;
mod reject;
mod route;
mod statement;
pub(crate) mod synproxy;
#[cfg(test)]
pub(crate) mod testing;
mod track;
#[cfg(test)]
mod track_tests;
mod verdict;
mod verify;
mod write;

pub use block::{Block, BlockBuilder};
pub use builder::{Chain, DEPTH, Program, ProgramBuilder};
pub use encoding::Malformed;
pub use fact::{FactKind, Facts, Way};
pub use key::{
    Base, CtKey, Direction, Exthdr, FibResult, KeyDesc, Meta, Requires, RtKey, Slot, Source,
};
pub use op::{
    CellId, ChainId, Checksum, Combine, CounterSlot, ElementStatement, EngineObjectId, Icmpx,
    LogId, MetaSetKey, NatKind, ObjectKind, Op, Reject, Relation, RuleRef, SetAction, SetId, Slots,
    Value, Verdict,
};
pub use packets::Packets;
pub use tables::{CellKind, Log, MapTargets, SetData, SetDesc, Tables};
pub use walk::{Class, Entry, Family, Hook, Names, Policy, bare_gateway, name_words};
