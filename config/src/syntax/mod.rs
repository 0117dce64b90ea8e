//! nftables text to a syntax tree with spans.
//!
//! Text comes from the command line or from files (through a [`Loader`], so that whoever holds the right to
//! read them does the reading); the tree goes to the model. The language is that of nft 1.0.6, what later
//! versions added where it applies, and our extensions. Nothing is looked up here but variables: words
//! stay words until the model knows which type they have.

pub mod ast;
pub mod diagnostic;
mod keyword;
mod lexer;
pub mod loader;
pub mod misspell;
mod parser;
pub mod source;
mod symbols;
mod token;

pub use loader::{Bundle, Files, Loader, Recorder};
pub use parser::{
    Input, MAX_ERRORS, MAX_INCLUDE_DEPTH, MAX_NESTING, Options, Parsed, is_data_type, parse,
};

pub use diagnostic::{Diagnostic, Severity, render_all};
pub use source::{SourceId, SourceMap, Span, Spanned};
