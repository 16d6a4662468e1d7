//! One component: what runs, and everything it was granted.

mod allow;
mod read;
mod source;
mod unsupported;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{AllowList, Ceilings, ComponentId, Diagnostic, Limits, Place, Value};

pub(crate) use read::{Shared, read};
pub use source::Source;
pub(crate) use unsupported::{INHERITABLE, check_dependencies, unsupported};

/// One `[component.<id>]`: what runs, and everything it was granted.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its name.
    pub id: ComponentId,
    /// What it is for.
    pub description: String,
    /// Where its bytes are.
    pub source: Source,
    /// Its environment, as it is written.
    pub environment: BTreeMap<String, String>,
    /// Its variables, with every template filled in.
    pub variables: BTreeMap<String, Value>,
    /// What it may read.
    pub files: Vec<FileMount>,
    /// Where each of [`Component::files`] is written.
    pub file_places: Vec<Place>,
    /// Globs of what [`Component::files`] leaves out.
    pub exclude_files: Vec<String>,
    /// Where it may connect to.
    pub allow: AllowList,
    /// What it may use, the application's limits included.
    pub limits: Limits,
    /// What the operator lets it have at most.
    pub ceilings: Arc<Ceilings>,
    /// What it needs and this version does not provide: with any of these it must not start.
    pub unsupported: Vec<Unsupported>,
    /// How it is built.
    pub build: Option<Build>,
    /// The header `[component.<id>]`.
    pub place: Place,
    /// Where each key is written that gives it something: `files`, `allowed_outbound_hosts`, `instance_reuse` of its limits.
    pub grants: BTreeMap<&'static str, Place>,
}

impl Component {
    /// A component that is made in code and granted nothing. Its fields say what it is granted and how much it may use.
    ///
    /// ```
    /// use runner_manifest::{AllowList, Component, Source};
    /// let mut shop = Component::new("shop".parse()?, Source::bytes(*b"\0asm"));
    /// assert!(shop.allow.rules().is_empty());
    /// shop.allow = AllowList::parse(["https://api.example.com"])?;
    /// shop.limits.memory = Some(64 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(id: ComponentId, source: Source) -> Component {
        Component {
            id,
            description: String::new(),
            source,
            environment: BTreeMap::new(),
            variables: BTreeMap::new(),
            files: Vec::new(),
            file_places: Vec::new(),
            exclude_files: Vec::new(),
            allow: AllowList::default(),
            limits: Limits::default(),
            ceilings: Arc::default(),
            unsupported: Vec::new(),
            build: None,
            place: Place::nowhere(),
            grants: BTreeMap::new(),
        }
    }
}

impl Component {
    /// Where the ceiling of a limit is written, where the component has as much as that.
    pub fn ceiling(&self, key: &str) -> Option<&Place> {
        let of = |limits: &Limits| {
            let words = limits.words().into_iter().find(|(name, _)| *name == key);
            words.and_then(|(_, words)| words)
        };
        let most = of(self.ceilings.limits())?;
        let has_it = of(&self.limits).is_none_or(|has| has == most);
        self.ceilings.place(key).filter(|_| has_it)
    }
}

/// Files that a component may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileMount {
    /// Files that match, seen from the manifest's folder, at the same path in the guest.
    Glob(String),
    /// A file or folder, and where the guest sees it.
    Directory {
        /// Its path, joined to the manifest's folder.
        source: PathBuf,
        /// An absolute path in the guest.
        destination: String,
    },
}

/// How a component is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Shell commands, in order.
    pub command: Vec<String>,
    /// Where they run, joined to the manifest's folder.
    pub workdir: PathBuf,
    /// Globs of what is watched, seen from `workdir`.
    pub watch: Vec<String>,
}

/// A use of something that this version does not provide.
#[derive(Debug, Clone)]
pub struct Unsupported {
    /// What is used: `key_value_stores`.
    pub what: String,
    /// The message that refuses the component.
    pub diagnostic: Diagnostic,
}
