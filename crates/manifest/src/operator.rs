//! The operator's file: what components have where no manifest says otherwise, and what no manifest can exceed.

use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use crate::limits::Ceilings;
use crate::manifest::not_toml;
use crate::place::File;
use crate::raw::{Findings, Table};
use crate::{Diagnostic, Error, Limits};

/// What the operator of a host says of every app on it. [`Operator::default`] says nothing.
///
/// ```
/// use std::path::Path;
/// use runner_manifest::{Limits, Operator};
/// let text = "[limits]\nmemory = \"64 MiB\"\n[ceilings]\nmemory = \"256 MiB\"\n";
/// let operator = Operator::parse(text, Path::new("runner.toml"), &Limits::default()).unwrap();
/// assert_eq!(operator.defaults.memory, Some(64 << 20));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Operator {
    /// What a component has where its manifest says nothing; `None` is the host's own default.
    pub defaults: Limits,
    /// What is allowed, and probably not meant.
    pub warnings: Vec<Diagnostic>,
    ceilings: Arc<Ceilings>,
}

impl Operator {
    /// Reads a text; `path` is the file it came from. `usual` is what the host has by itself, which a ceiling lowers.
    ///
    /// # Errors
    /// All that is wrong with it, also defaults that are above its own ceilings.
    pub fn parse(text: &str, path: &Path, usual: &Limits) -> Result<Operator, Error> {
        let file = File::new(path, text);
        let document = DeTable::parse(file.text()).map_err(|mistake| not_toml(&file, mistake))?;
        let findings = Findings::new(file.clone());
        let root = Table::root("the operator's file", document.get_ref(), &findings);
        let ceilings = root.table("ceilings").map(Ceilings::read);
        let ceilings = ceilings.unwrap_or_default();
        let limits = root.table("limits");
        let limits = limits.map(|table| Limits::read(table, &ceilings));
        root.finish();
        let (diagnostics, warnings) = findings.into_parts();
        if !diagnostics.is_empty() {
            return Err(Error { diagnostics });
        }
        let usual = usual.clone().within(ceilings.limits());
        Ok(Operator {
            defaults: limits.unwrap_or_default().or(&usual),
            warnings,
            ceilings: Arc::new(ceilings),
        })
    }

    /// What no manifest can exceed.
    pub fn ceilings(&self) -> &Arc<Ceilings> {
        &self.ceilings
    }

    /// Reads a `limits` table of a manifest.
    pub(crate) fn read(&self, table: Table<'_>) -> Limits {
        Limits::read(table, &self.ceilings)
    }
}
