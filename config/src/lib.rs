//! Text and JSON to model, model to compiled program, model back to text. Opens no socket.

pub mod model;
pub mod syntax;
