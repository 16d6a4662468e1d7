//! The guests: which there are, how each becomes a `.wasm`, and whether the committed one is still true.

mod compiler;
mod lock;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use compiler::Compiler;
pub use lock::digest;
use lock::{Entry, Lock};

/// Where the hashes lie.
const LOCK: &str = "tests/guests/guests.lock";

/// What every new app starts from: built as a proof, its `.wasm` is not kept.
const TEMPLATES: &[&str] = &["templates/http-rust"];

/// One guest.
struct Guest {
    name: &'static str,
    /// Its sources and its `.wasm` lie here.
    folder: &'static str,
    made_by: Maker,
}

/// What turns sources into a `.wasm`.
enum Maker {
    /// cargo, in `workspace`; `shares` are the folders of the packages it depends on there.
    Cargo {
        workspace: &'static str,
        target: &'static str,
        shares: &'static [&'static str],
    },
    /// The text format: `name.wat` becomes `name.wasm`.
    Text,
    /// A toolchain that is not asked for here: the folder has a script, and the committed result is kept.
    Script,
}

const COMPONENT: &str = "wasm32-wasip2";
const MODULE: &str = "wasm32-wasip1";

const GUESTS: &[Guest] = &[
    demo("greeter", "demo/guests/greeter"),
    demo("thief", "demo/guests/thief"),
    demo("upstream", "demo/guests/upstream"),
    story("probe", "tests/guests/probe", COMPONENT),
    story("probe3", "tests/guests/probe3", COMPONENT),
    story("rogue", "tests/guests/rogue", COMPONENT),
    story("rogue3", "tests/guests/rogue3", COMPONENT),
    story("variables", "tests/guests/variables", COMPONENT),
    story("preview1", "tests/guests/preview1", MODULE),
    script("c", "tests/guests/c"),
    script("go", "tests/guests/go"),
    broken("another-type"),
    broken("another-version"),
    broken("both-handlers"),
    broken("command"),
    broken("core-module"),
    broken("exports-nothing"),
    broken("key-value"),
    broken("traps"),
    broken("unknown-interface"),
];

const fn demo(name: &'static str, folder: &'static str) -> Guest {
    Guest {
        name,
        folder,
        made_by: Maker::Cargo {
            workspace: "demo/guests",
            target: COMPONENT,
            shares: &[],
        },
    }
}

const fn story(name: &'static str, folder: &'static str, target: &'static str) -> Guest {
    let shares = &["tests/guests/toolbox"];
    Guest {
        name,
        folder,
        made_by: Maker::Cargo {
            workspace: "tests/guests",
            target,
            shares,
        },
    }
}

const fn script(name: &'static str, folder: &'static str) -> Guest {
    Guest {
        name,
        folder,
        made_by: Maker::Script,
    }
}

const fn broken(name: &'static str) -> Guest {
    Guest {
        name,
        folder: "tests/guests/broken",
        made_by: Maker::Text,
    }
}

impl Guest {
    fn wasm(&self) -> PathBuf {
        Path::new(self.folder)
            .join(self.name)
            .with_extension("wasm")
    }

    /// Every file or folder that its maker reads.
    fn sources(&self) -> Vec<PathBuf> {
        let own = PathBuf::from(self.folder);
        match self.made_by {
            Maker::Cargo {
                workspace, shares, ..
            } => {
                let workspace = Path::new(workspace);
                let shared = shares.iter().map(PathBuf::from);
                [
                    own,
                    workspace.join("Cargo.toml"),
                    workspace.join("Cargo.lock"),
                ]
                .into_iter()
                .chain(shared)
                .collect()
            }
            Maker::Text => vec![own.join(self.name).with_extension("wat")],
            Maker::Script => vec![own],
        }
    }

    /// The component, made anew; `None` when this machine is not asked to make it.
    fn make(&self, root: &Path) -> Result<Option<Vec<u8>>> {
        match self.made_by {
            Maker::Cargo { target, .. } => compiler::artifact(root, target, self.name).map(Some),
            Maker::Text => {
                let text = root.join(self.folder).join(self.name).with_extension("wat");
                let bytes = wat::parse_file(&text)
                    .with_context(|| format!("cannot assemble `{}`", text.display()))?;
                Ok(Some(bytes))
            }
            Maker::Script => Ok(None),
        }
    }
}

/// Builds every guest and every template. The `.wasm` files and the lock go to their places, or into `out`.
/// Returns a table of what was built.
pub fn build(root: &Path, out: Option<&Path>) -> Result<String> {
    let compiler = Compiler::find()?;
    for ((workspace, target), packages) in cargo_builds() {
        compiler.build(root, workspace, target, &packages)?;
    }
    if let Some(out) = out {
        fs::create_dir_all(out).with_context(|| format!("cannot create `{}`", out.display()))?;
    }
    let mut lock = Lock::default();
    for guest in GUESTS {
        let place = root.join(guest.wasm());
        let bytes = match guest.make(root)? {
            Some(bytes) => bytes,
            None => read(&place)?,
        };
        write(
            &out.map_or(place, |out| out.join(guest.name).with_extension("wasm")),
            &bytes,
        )?;
        lock.insert(guest.name, entry(root, guest, &bytes)?);
    }
    write(
        &out.map_or(root.join(LOCK), |out| out.join("guests.lock")),
        lock.to_string().as_bytes(),
    )?;
    Ok(lock.summary())
}

/// Each workspace once for each of its targets, with all packages it has for that target.
fn cargo_builds() -> BTreeMap<(&'static str, &'static str), Vec<&'static str>> {
    let mut builds = BTreeMap::new();
    for guest in GUESTS {
        if let Maker::Cargo {
            workspace, target, ..
        } = guest.made_by
        {
            builds
                .entry((workspace, target))
                .or_insert_with(Vec::new)
                .push(guest.name);
        }
    }
    builds.extend(
        TEMPLATES
            .iter()
            .map(|&template| ((template, COMPONENT), Vec::new())),
    );
    builds
}

/// Compares sources and `.wasm` files with the committed hashes. Returns a line for each difference.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let text = read(&root.join(LOCK))?;
    let committed = Lock::parse(&String::from_utf8_lossy(&text))
        .with_context(|| format!("cannot read `{LOCK}`"))?;
    let mut differences = Vec::new();
    for guest in GUESTS {
        let bytes = fs::read(root.join(guest.wasm())).unwrap_or_default();
        let now = entry(root, guest, &bytes)?;
        differences.extend(committed.differences(guest.name, &now));
    }
    differences.extend(committed.unknown(|name| GUESTS.iter().any(|guest| guest.name == name)));
    Ok(differences)
}

fn entry(root: &Path, guest: &Guest, wasm: &[u8]) -> Result<Entry> {
    Ok(Entry {
        sources: lock::digest_of_files(root, &guest.sources())?,
        wasm: digest(wasm),
        bytes: wasm.len(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))
}
