//! The apps of a soak, and how they change.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

/// Seconds between two reloads.
pub(super) const EVERY: u64 = 5;

/// Two apps: `a` changes, `b` does not.
pub(super) struct Stage {
    folder: TempDir,
    apps: [PathBuf; 2],
}

impl Stage {
    pub(super) fn new(root: &Path) -> Result<Stage> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        let apps = ["a", "b"].map(|name| folder.path().join(name));
        for app in &apps {
            fs::create_dir_all(app)?;
            fs::copy(
                root.join("tests/guests/probe/probe.wasm"),
                app.join("probe.wasm"),
            )?;
        }
        let stage = Stage { folder, apps };
        stage.write("a", "host = \"a.example\"", "")?;
        stage.write("b", "", "")?;
        Ok(stage)
    }

    pub(super) fn apps(&self) -> Vec<&Path> {
        self.apps.iter().map(PathBuf::as_path).collect()
    }

    /// What `a` is at this turn: itself, itself with another grant, or a mistake.
    pub(super) fn change(&self, turn: u64) -> Result<()> {
        let (which, at) = (turn / EVERY, turn % EVERY);
        if at != 0 {
            return Ok(());
        }
        match which % 3 {
            0 => self.write("a", "host = \"a.example\"", ""),
            1 => self.write(
                "a",
                "host = \"a.example\"",
                "environment = { TURN = \"1\" }",
            ),
            _ => self.write("a", "hots = \"a.example\"", ""),
        }
    }

    fn write(&self, name: &str, http: &str, component: &str) -> Result<()> {
        let manifest = format!(
            "spin_manifest_version = 2\n[application]\nname = \"{name}\"\n\
             [application.trigger.http]\n{http}\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
             [component.probe]\nsource = \"probe.wasm\"\n{component}\n\
             allowed_outbound_hosts = [\"http://self\"]\n"
        );
        let folder = self.folder.path().join(name);
        fs::write(folder.join("new"), manifest)?;
        fs::rename(folder.join("new"), folder.join("spin-like.toml"))?;
        Ok(())
    }
}
