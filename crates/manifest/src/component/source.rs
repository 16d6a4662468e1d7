//! Where a component's bytes are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::raw::{Item, Table, Text};
use crate::{Code, Diagnostic, Place};

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
    /// What a program has in memory, see [`Source::bytes`]; no manifest can say this.
    Bytes {
        /// A component, or a core module that says of which component it is the core.
        bytes: Arc<[u8]>,
        /// [`Place::nowhere`].
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

impl Source {
    /// A component that a program has in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Source {
        Source::Bytes {
            bytes: bytes.into(),
            place: Place::nowhere(),
        }
    }

    /// Where it is written.
    pub fn place(&self) -> &Place {
        match self {
            Source::Local { place, .. }
            | Source::Bytes { place, .. }
            | Source::Remote { place, .. }
            | Source::Registry { place, .. } => place,
        }
    }

    pub(super) fn read(item: &Item<'_>, folder: &Path) -> Option<Source> {
        if item.is_text() {
            return local(&item.text()?, folder, item);
        }
        if !item.is_table() {
            return item.wrong(
                Code::BadSource,
                "a path, or a table with `url` or `package`",
            );
        }
        let table = item.table()?;
        let is_remote = table.item("url").is_some();
        let (url, digest) = (table.text("url"), table.item("digest"));
        let (registry, package, version) = (
            table.owned("registry"),
            table.item("package"),
            table.item("version"),
        );
        let place = table.place.clone();
        if is_remote {
            require(&table, "digest", digest.is_some(), "digest = \"sha256:…\"");
        } else {
            require(
                &table,
                "package",
                package.is_some(),
                "package = \"namespace:name\"",
            );
            require(&table, "version", version.is_some(), "version = \"1.0.0\"");
        }
        table.finish();
        if is_remote {
            let digest = sha256(&digest?)?;
            return Some(Source::Remote {
                url: url?.text.into(),
                digest,
                place,
            });
        }
        let (package, version) = (package?.text()?.text.into(), version?.text()?.text.into());
        Some(Source::Registry {
            registry,
            package,
            version,
            place,
        })
    }
}

fn local(path: &Text<'_>, folder: &Path, item: &Item<'_>) -> Option<Source> {
    if path.text.is_empty() || path.text.contains('\0') {
        return item.unfit(Code::BadSourcePath, "the path of a file");
    }
    Some(Source::Local {
        path: folder.join(path.text),
        place: path.place.clone(),
    })
}

fn require(table: &Table<'_>, key: &'static str, is_there: bool, example: &str) {
    if !is_there {
        let message = format!("a source that is a table needs `{key}`");
        let error = Diagnostic::error(Code::IncompleteSource, message);
        table.findings.error(
            error
                .at(table.place.clone(), format!("`{key}` is missing"))
                .help(format!("add `{example}`")),
        );
    }
}

/// What is fetched must be what was meant.
pub(super) fn sha256(item: &Item<'_>) -> Option<String> {
    let text = item.text()?.text;
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(text.to_ascii_lowercase());
    }
    item.unfit(
        Code::BadDigest,
        "a digest: `sha256:` and 64 hexadecimal digits",
    )
}
