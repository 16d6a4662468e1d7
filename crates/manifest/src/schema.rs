//! What a manifest looks like, as data: every table, its keys and what each is for.
//!
//! It stands beside the readers and is no part of them: they say precisely what is wrong, this says to an editor what
//! there is. A test reads a manifest with every table in it and compares the keys that the readers asked for with these,
//! in both directions.

mod tables;

pub use tables::MANIFEST;

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number in this range, both ends included.
    Integer {
        /// The least.
        least: i64,
        /// The most, if there is one.
        most: Option<i64>,
    },
    /// A list of these.
    List(&'static Shape),
    /// A table whose keys are names of the user's own, each with one of these.
    Map(&'static Shape),
    /// A table with keys that are known.
    Table(&'static Keys),
    /// Any of these.
    Either(&'static [Shape]),
    /// Whatever TOML has.
    Anything,
}

/// A table with keys that are known.
#[derive(Debug)]
pub struct Keys {
    /// What it is called: `component`.
    pub name: &'static str,
    /// What it is for.
    pub text: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// What keys that are not known hold; without it there may be none.
    pub others: Option<Shape>,
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub text: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it holds.
    pub shape: Shape,
}

#[cfg(test)]
mod tests;
