//! The manifest: one file, read and checked as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Component, ComponentId, Diagnostic, Error, Level, RouteTable, Variable, Variables};

/// `spin-like.toml`, read and checked: nothing in it can be wrong any more.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file.
    pub path: PathBuf,
    /// The application's name.
    pub name: String,
    /// Its version, `""` when it has none.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// The components, by name.
    pub components: BTreeMap<ComponentId, Component>,
    /// The routes.
    pub routes: RouteTable,
    /// The declared variables, by name.
    pub variables: BTreeMap<String, Variable>,
    /// What is allowed, and probably not meant.
    pub warnings: Vec<Diagnostic>,
}

impl Manifest {
    /// Reads a file.
    pub fn load(path: &Path, provided: &Variables) -> Result<Manifest, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        Manifest::parse(&text, path, provided)
    }

    /// Reads a text; `path` is the file it came from, and its folder is where relative paths begin.
    pub fn parse(text: &str, path: &Path, provided: &Variables) -> Result<Manifest, Error> {
        let _ = (text, provided);
        Err(unreadable(path, &"not built yet"))
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error {
        diagnostics: vec![Diagnostic {
            level: Level::Error,
            message: format!("cannot read `{}`: {why}", path.display()),
            place: None,
            label: String::new(),
            notes: Vec::new(),
            help: Vec::new(),
        }],
    }
}
