//! What a `.wasm` says of itself, read without compiling it: nothing of it runs.
//!
//! The file may be hostile. It is validated before it is believed, on a thread with room for what it makes its reader
//! do; names are cut and lists are capped.

use std::path::Path;

use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::artifact::{self, Artifact, Form};
use crate::compile::bytes;
use crate::component::{World, world_of};
use crate::{caps, imports};

/// What a `.wasm` says of itself.
///
/// ```
/// let error = runner_host::Inspection::of(std::path::Path::new("/dev/zero")).unwrap_err();
/// assert_eq!(error.to_string(), "it is not a regular file");
/// ```
#[derive(Debug, Clone)]
pub struct Inspection {
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub digest: String,
    /// Length of the file in bytes.
    pub size: u64,
    /// Who made it, as it says: `wit-component 0.254.2, rustc 1.95.0`.
    pub producers: Option<String>,
    /// What kind of file it is.
    pub form: Form,
    /// The HTTP handlers it exports; one that can be served has exactly one.
    pub worlds: Vec<World>,
    /// What it imports.
    pub imports: List<Name>,
    /// What it exports.
    pub exports: List<Name>,
    /// The linear memories that its core modules define.
    pub memories: List<Extent>,
    /// The tables that its core modules define.
    pub tables: List<Extent>,
}

/// At most [`caps::LISTED`] things, and how many more there are.
#[derive(Debug, Clone)]
pub struct List<T> {
    /// Those that are told.
    pub shown: Vec<T>,
    /// How many more there are.
    pub more: u64,
}

/// One import or export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Its name without the version: `wasi:http/types`. It is the file's own text: escape it.
    pub name: String,
    /// Its version, where it has one: `0.2.3`.
    pub version: Option<String>,
    /// Whether this version of runner provides it; always so for exports.
    pub provided: bool,
}

/// How large a memory or table is, as its module declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// In which of the file's core modules, counted from 0.
    pub module: u64,
    /// Bytes or elements at the start.
    pub initial: u64,
    /// Bytes or elements at most; none where it may grow as far as its limit lets it.
    pub maximum: Option<u64>,
}

/// What is said of a file that its reader panics on; none is known.
const PANICKED: &str = "it makes its reader fail";

/// Why a file cannot be inspected.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    message: String,
    /// What to do about it, where somebody named the file.
    pub help: &'static str,
    /// The same where a manifest did.
    pub help_of_source: &'static str,
}

impl Unreadable {
    fn new(message: impl Into<String>, help: &'static str) -> Unreadable {
        Unreadable {
            message: message.into(),
            help,
            help_of_source: help,
        }
    }
}

impl Inspection {
    /// Reads a component, or a core module that can be made one.
    ///
    /// # Errors
    /// When the file is no component that could be loaded.
    pub fn of(path: &Path) -> Result<Inspection, Unreadable> {
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("runner-inspect".into())
            .stack_size(caps::LOADER_STACK)
            .spawn(move || Inspection::read(&path))
            .map_err(|error| {
                Unreadable::new(format!("no thread to read it: {error}"), "free some memory")
            })?
            .join()
            .unwrap_or_else(|_| {
                let help = "no toolchain makes such a component; leave it out";
                Err(Unreadable::new(PANICKED, help))
            })
    }

    fn read(path: &Path) -> Result<Inspection, Unreadable> {
        let artifact = Artifact::read(path)?;
        let size = artifact.bytes.len() as u64;
        let unpacked = artifact::unpack(artifact.bytes.into())?;
        Validator::new_with_features(WasmFeatures::all())
            .validate_all(&unpacked.component)
            .map_err(|error| artifact::broken(&error))?;
        let mut found = Inspection {
            digest: artifact.digest,
            size,
            producers: unpacked.producers,
            form: artifact.form,
            worlds: Vec::new(),
            imports: List::default(),
            exports: List::default(),
            memories: List::default(),
            tables: List::default(),
        };
        found
            .walk(&unpacked.component)
            .map_err(|error| artifact::broken(&error))?;
        Ok(found)
    }

    fn walk(&mut self, component: &[u8]) -> wasmparser::Result<()> {
        // What is open: a core module, or a component; the file itself is the first.
        let mut open = Vec::new();
        let mut modules = 0;
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::Version { encoding, .. } => {
                    let is_module = encoding == wasmparser::Encoding::Module;
                    open.push(is_module.then_some(modules));
                    modules += u64::from(is_module);
                }
                Payload::End(_) => drop(open.pop()),
                Payload::ComponentImportSection(section) if open.len() == 1 => {
                    for import in section {
                        self.import(import?.name.name);
                    }
                }
                Payload::ComponentExportSection(section) if open.len() == 1 => {
                    for export in section {
                        self.export(export?.name.name);
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory?;
                        let bytes = |pages| bytes(pages, memory.page_size_log2);
                        self.memories.push(|| Extent {
                            module: current(&open),
                            initial: bytes(memory.initial),
                            maximum: memory.maximum.map(bytes),
                        });
                    }
                }
                Payload::TableSection(section) => {
                    for table in section {
                        let table = table?.ty;
                        self.tables.push(|| Extent {
                            module: current(&open),
                            initial: table.initial,
                            maximum: table.maximum,
                        });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn import(&mut self, name: &str) {
        self.imports
            .push(|| Name::of(name, imports::missing(name).is_none()));
    }

    fn export(&mut self, name: &str) {
        // A name is there once, so there are few versions of two interfaces; the cap is for those who try.
        if self.worlds.len() < caps::LISTED {
            self.worlds.extend(world_of(name));
        }
        self.exports.push(|| Name::of(name, true));
    }
}

/// The module that is open; memories and tables stand in modules alone.
fn current(open: &[Option<u64>]) -> u64 {
    open.last().copied().flatten().unwrap_or_default()
}

impl Name {
    fn of(name: &str, provided: bool) -> Name {
        let cut = |text: &str| text[..text.floor_char_boundary(caps::NAME)].to_owned();
        let (name, version) = match name.rsplit_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (name, None),
        };
        Name {
            name: cut(name),
            version: version.map(cut),
            provided,
        }
    }
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List {
            shown: Vec::new(),
            more: 0,
        }
    }
}

impl<T> List<T> {
    fn push(&mut self, make: impl FnOnce() -> T) {
        if self.shown.len() < caps::LISTED {
            self.shown.push(make());
        } else {
            self.more += 1;
        }
    }
}

impl From<artifact::Error> for Unreadable {
    fn from(error: artifact::Error) -> Unreadable {
        Unreadable {
            message: error.to_string(),
            help: error.help_of_file(),
            help_of_source: error.help(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspect(bytes: &[u8]) -> Result<Inspection, Unreadable> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Inspection::of(file.path())
    }

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    const MODULES: &str = r#"
        (component
            (import "wasi:clocks/wall-clock@0.2.3" (instance))
            (import "acme:vault/keys@1.0.0" (instance))
            (core module (memory 1 2) (table 3 funcref))
            (component (core module (memory 4)) (core module (memory i64 1 1) (table 0 9 funcref)))
            (core module (memory (import "" "m") 7))
            (instance $i)
            (export "wasi:http/incoming-handler@0.2.3" (instance $i))
            (export "other" (instance $i)))"#;

    #[test]
    fn memories_and_tables_of_every_nested_module_and_names_of_the_outermost_alone() {
        let found = inspect(&component(MODULES)).unwrap();
        let extent = |module, initial, maximum| Extent {
            module,
            initial,
            maximum,
        };
        assert_eq!(
            found.memories.shown,
            [
                extent(0, 65536, Some(131_072)),
                extent(1, 4 * 65536, None),
                extent(2, 65536, Some(65536)),
            ],
            "a memory that is imported is another module's"
        );
        assert_eq!(
            found.tables.shown,
            [extent(0, 3, None), extent(2, 0, Some(9))]
        );
        let names = |list: &List<Name>| -> Vec<_> {
            list.shown
                .iter()
                .map(|name| {
                    let version = name.version.clone().unwrap_or_default();
                    (name.name.clone(), version, name.provided)
                })
                .collect()
        };
        let name =
            |name: &str, version: &str, provided| (name.to_owned(), version.to_owned(), provided);
        assert_eq!(
            names(&found.imports),
            [
                name("wasi:clocks/wall-clock", "0.2.3", true),
                name("acme:vault/keys", "1.0.0", false)
            ]
        );
        assert_eq!(
            names(&found.exports),
            [
                name("wasi:http/incoming-handler", "0.2.3", true),
                name("other", "", true)
            ]
        );
        assert_eq!(found.worlds, [World::Http02]);
        assert_eq!(found.form, Form::Component);
    }

    #[test]
    fn a_hostile_file_is_refused_or_told_in_part() {
        let module = format!("(core module {})", "(memory 1)".repeat(100));
        let found = inspect(&component(&format!("(component {})", module.repeat(11)))).unwrap();
        let told = (found.memories.shown.len(), found.memories.more);
        assert_eq!(told, (caps::LISTED, 100));

        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/preview1");
        let built = std::fs::read(format!("{built}/preview1.wasm")).unwrap();
        damage(&component(MODULES), 1);
        damage(&built, built.len() / 100);
        let says = |bytes: &[u8], expected: &str| {
            let error = inspect(bytes).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(!error.help.is_empty());
        };
        says(b"", "it is empty");
        says(
            b"\x7fELF",
            "it is a native program or library (ELF), not WebAssembly",
        );
    }

    /// Cuts and changes at every `step`th byte are errors or harmless, and never a panic.
    fn damage(whole: &[u8], step: usize) {
        for at in (0..whole.len()).step_by(step) {
            let mut changed = whole.to_vec();
            changed[at] ^= 0xff;
            for bytes in [&whole[..at], &changed] {
                let error = inspect(bytes).err().map(|error| error.to_string());
                assert_ne!(error.as_deref(), Some(PANICKED), "at {at}");
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_as_large_as_there_is() {
        let table = [
            (1, None, 65536),
            (u64::MAX, None, u64::MAX),
            (1, Some(0), 1),
            (1, Some(64), u64::MAX),
            (3, Some(63), u64::MAX),
        ];
        for (pages, log2, expected) in table {
            assert_eq!(bytes(pages, log2), expected, "{pages} {log2:?}");
        }
    }
}
