//! One component: what runs, and everything it was granted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{AllowList, ComponentId, Diagnostic, Limits, Place, Value};

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
    /// Globs of what [`Component::files`] leaves out.
    pub exclude_files: Vec<String>,
    /// Where it may connect to.
    pub allow: AllowList,
    /// What it may use, the application's limits included.
    pub limits: Limits,
    /// What it needs and this version does not provide: with any of these it must not start.
    pub unsupported: Vec<Unsupported>,
    /// How it is built.
    pub build: Option<Build>,
    /// The header `[component.<id>]`.
    pub place: Place,
}

/// Where a component's bytes are.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    Local {
        /// Its path, joined to the manifest's folder.
        path: PathBuf,
        /// Where it is written.
        place: Place,
    },
    /// A URL, with the digest of what must be there.
    Remote {
        /// The URL.
        url: String,
        /// `sha256:` and 64 hexadecimal digits.
        digest: String,
        /// Where it is written.
        place: Place,
    },
    /// A package of a registry.
    Registry {
        /// The registry, when it is not the default one.
        registry: Option<String>,
        /// `namespace:name`.
        package: String,
        /// The version.
        version: String,
        /// Where it is written.
        place: Place,
    },
}

/// Files that a component may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileMount {
    /// Files that match, at the same path in the guest.
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
    /// Globs of what is watched.
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

impl Source {
    /// Where it is written.
    pub fn place(&self) -> &Place {
        match self {
            Source::Local { place, .. }
            | Source::Remote { place, .. }
            | Source::Registry { place, .. } => place,
        }
    }
}
