//! Tests alone: see `tests/schema.rs`.
