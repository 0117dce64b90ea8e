//! The tracker against a naive one, under pressure, with several threads, and in virtual time.

mod model;
mod shared;
mod walk;
