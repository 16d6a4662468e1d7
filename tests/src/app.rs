//! A folder with a manifest, made for one story.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Where the prebuilt guests lie.
pub fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

/// The prebuilt `.wasm` of one guest, or the one built anew in the folder that `RUNNER_TESTS_GUESTS` names.
pub fn guest(name: &str) -> PathBuf {
    let file = format!("{name}.wasm");
    let rebuilt =
        std::env::var_os("RUNNER_TESTS_GUESTS").map(|folder| Path::new(&folder).join(&file));
    let places = [
        Some(guests().join(name).join(&file)),
        Some(guests().join("broken").join(&file)),
    ];
    let mut found = rebuilt
        .into_iter()
        .chain(places.into_iter().flatten())
        .filter(|path| path.exists());
    found
        .next()
        .unwrap_or_else(|| panic!("there is no guest `{name}`"))
}

/// An app in a folder of its own, which goes when it is dropped.
pub struct App {
    dir: TempDir,
}

impl App {
    /// An app with this manifest. `guest:NAME` in it becomes the path of that guest's `.wasm`.
    pub fn new(manifest: &str) -> App {
        let app = App {
            dir: tempfile::tempdir().expect("a temporary folder"),
        };
        app.write(manifest);
        app
    }

    /// The usual one: the guest `probe` as component `probe` on every path, with these lines in its table.
    pub fn probe(lines: &str) -> App {
        App::new(&format!(
            "spin_manifest_version = 2\n\
             [application]\nname = \"story\"\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
             [component.probe]\nsource = \"guest:probe\"\n{lines}\n"
        ))
    }

    /// Replaces the manifest, by rename, as editors do.
    pub fn write(&self, manifest: &str) {
        self.file("spin-like.toml.new", &expand(manifest));
        fs::rename(self.path().join("spin-like.toml.new"), self.manifest())
            .expect("in the same folder");
    }

    /// Adds a file.
    pub fn file(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("writable");
        fs::write(path, content).expect("writable");
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its manifest.
    pub fn manifest(&self) -> PathBuf {
        self.path().join("spin-like.toml")
    }

    /// What the manifest says now.
    pub fn text(&self) -> String {
        fs::read_to_string(self.manifest()).expect("written before")
    }
}

fn expand(manifest: &str) -> String {
    let mut text = String::new();
    let mut parts = manifest.split("guest:");
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
            .unwrap_or(part.len());
        text.push_str(&guest(&part[..end]).display().to_string());
        text.push_str(&part[end..]);
    }
    text
}
