//! Whole-system tests: what they share (the tests themselves lie in `tests/tests`).
