//! Text and JSON to model, model to compiled program, model back to text. Opens no socket.

pub mod compile;
pub mod describe;
pub mod engine;
pub mod ipset;
pub mod model;
pub mod set_file;
pub mod store;
pub mod syntax;
