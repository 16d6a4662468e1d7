//! Chores of this repository. `main.rs` is their command line; this library lets a test ask the same questions.
//!
//! ```
//! let differences = xtask::guests::check(xtask::root()).expect("the tree can be read");
//! assert_eq!(differences, Vec::<String>::new());
//! ```

pub mod bench;
pub mod cost;
pub mod faults;
pub mod guests;
pub mod siege;
pub mod soak;
pub mod torture;
pub mod traced;

use std::path::Path;

/// The repository's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask/ lies in the repository's folder")
}
