//! Named sets and maps: what was declared. Elements are in [`super::elements`].

use std::sync::Arc;

use super::elements::Elements;
use super::{Id, Name};
use crate::model::expr::{DataType, SetType};
use crate::model::rule::SetInfo;
use crate::model::stmt::Stmt;

/// A named set or map.
#[derive(Clone, Debug)]
pub struct Set {
    /// Never reused; kept over a reload. The runtime set is keyed by it.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// Its handle.
    pub handle: u64,
    /// Declaration.
    pub spec: Arc<SetSpec>,
    /// Elements from commands.
    pub elements: Elements,
}

/// The declaration of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSpec {
    /// Type of the key.
    pub key: SetType,
    /// What a map yields.
    pub data: Option<DataType>,
    /// `flags constant`.
    pub constant: bool,
    /// `flags interval`.
    pub interval: bool,
    /// `flags timeout`, or a timeout was given.
    pub timeout: bool,
    /// `flags dynamic`.
    pub dynamic: bool,
    /// Made by a `meter` statement.
    pub meter: bool,
    /// Default timeout.
    pub timeout_ms: Option<u64>,
    /// `gc-interval`.
    pub gc_interval_ms: Option<u64>,
    /// `size`.
    pub size: Option<u32>,
    /// `policy memory`; `Some(false)`: `policy performance` was written.
    pub policy_memory: Option<bool>,
    /// `auto-merge`.
    pub auto_merge: bool,
    /// Statements of every element.
    pub stmts: Vec<Stmt>,
    /// Its comment.
    pub comment: Option<Name>,
}

impl Set {
    /// Whether it maps.
    pub fn is_map(&self) -> bool {
        self.spec.data.is_some()
    }

    /// What the checker needs to know.
    pub fn info(&self) -> SetInfo {
        SetInfo {
            name: self.name.to_string(),
            key: self.spec.key.clone(),
            data: self.spec.data.clone(),
            interval: self.spec.interval,
            dynamic: self.spec.dynamic || self.spec.timeout,
            constant: self.spec.constant,
            timeout: self.spec.timeout,
            auto_merge: self.spec.auto_merge,
            stmts: self.spec.stmts.clone(),
        }
    }
}

impl SetSpec {
    /// Whether the kernel takes another declaration for the same set.
    pub fn fits(&self, other: &SetSpec) -> bool {
        let flags = |spec: &SetSpec| {
            (
                spec.constant,
                spec.interval,
                spec.timeout,
                spec.dynamic,
                spec.meter,
            )
        };
        let shape = |ty: &SetType| {
            ty.parts
                .iter()
                .map(|part| (part.ty, part.bits))
                .collect::<Vec<_>>()
        };
        let data = |spec: &SetSpec| match &spec.data {
            Some(DataType::Value(ty)) => Some((false, None, shape(ty))),
            Some(DataType::Interval(ty)) => Some((true, None, shape(ty))),
            Some(DataType::Object(kind)) => Some((false, Some(*kind), Vec::new())),
            Some(DataType::Verdict) => Some((false, None, Vec::new())),
            None => None,
        };
        let stmts = |spec: &SetSpec| {
            spec.stmts
                .iter()
                .map(std::mem::discriminant)
                .collect::<Vec<_>>()
        };
        flags(self) == flags(other)
            && shape(&self.key) == shape(&other.key)
            && data(self) == data(other)
            && stmts(self) == stmts(other)
    }

    /// Whether keys are concatenations with ranges.
    pub fn concat_interval(&self) -> bool {
        self.interval && self.key.parts.len() > 1
    }
}
