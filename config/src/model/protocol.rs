//! Headers and their fields: where each lies, its type, and what it requires.

use super::datatype::{ByteOrder, TypeId};
use super::expr::PayloadBase;

/// A header.
#[derive(Debug, PartialEq, Eq)]
pub struct Protocol {
    /// nft's keyword.
    pub name: &'static str,
    /// Where it lies.
    pub base: PayloadBase,
    /// Its fields.
    pub fields: &'static [Field],
}

/// A field of a header.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// The header's keyword.
    pub protocol: &'static str,
    /// nft's keyword for the field.
    pub name: &'static str,
    /// Its type.
    pub ty: TypeId,
    /// First bit within the header.
    pub offset: u16,
    /// Size.
    pub bits: u16,
    /// Byte order.
    pub order: ByteOrder,
}
