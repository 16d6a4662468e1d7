//! An app's own files: what lies below its folder, once all links are followed.
//!
//! Only where the operator asks for it; else a manifest may name any file, as Spin has it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};

/// The folder of an app, to which it is held.
pub(crate) struct Within {
    /// Without links.
    folder: PathBuf,
}

/// A file that is not the app's own: where its name leads to.
#[derive(Debug, thiserror::Error)]
#[error("leads to `{}`, which is not in the app's own folder", .0.display())]
pub(crate) struct Elsewhere(pub(crate) PathBuf);

impl Within {
    /// # Errors
    /// The folder is not there, or cannot be looked at.
    pub(crate) fn new(app: &Path) -> io::Result<Within> {
        let folder = std::fs::canonicalize(app)?;
        Ok(Within { folder })
    }

    /// Whether a name leads to a file of the app, by what is there now. To be asked first: what is outside is not touched.
    pub(crate) fn named(&self, path: &Path) -> Result<(), Elsewhere> {
        self.holds(std::fs::canonicalize(path).unwrap_or_else(|_| plain(path)))
    }

    /// Whether a file that is open is one of the app. To be asked too: a link can be put there after the first question.
    pub(crate) fn opened(&self, file: &File, path: &Path) -> Result<(), Elsewhere> {
        let opened = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        match opened {
            Ok(path) => self.holds(path),
            // No such folder on this system.
            Err(_) => self.named(path),
        }
    }

    fn holds(&self, path: PathBuf) -> Result<(), Elsewhere> {
        match path.starts_with(&self.folder) {
            true => Ok(()),
            false => Err(Elsewhere(path)),
        }
    }
}

/// A path without `.` and `..`, of what cannot be looked at: links in it are not known.
fn plain(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_the_apps_own_when_all_links_lead_below_its_folder() {
        let root = tempfile::tempdir().unwrap();
        // The folder of the system's temporary files may be a link itself.
        let real = fs::canonicalize(root.path()).unwrap();
        let app = real.join("app");
        for folder in ["app/deep", "application"] {
            fs::create_dir_all(real.join(folder)).unwrap();
        }
        for file in ["app/a", "app/deep/b", "application/c", "d"] {
            fs::write(real.join(file), "").unwrap();
        }
        symlink("/etc", app.join("etc")).unwrap();
        symlink("../d", app.join("out")).unwrap();
        symlink("deep/b", app.join("in")).unwrap();
        symlink(&app, real.join("link")).unwrap();
        let below = |path: &str| real.join(path);
        for (folder, path, leads_to) in [
            ("app", below("app/a"), None),
            ("link", below("app/a"), None),
            ("app", below("link/a"), None),
            ("app", below("app/deep/../in"), None),
            ("app", below("app/none"), None),
            ("app", below("app/none/../../d"), Some(below("d"))),
            ("app", below("app/out"), Some(below("d"))),
            ("app", below("app/../d"), Some(below("d"))),
            ("app", below("application/c"), Some(below("application/c"))),
            ("app", below("app/etc/hosts"), Some("/etc/hosts".into())),
            ("app", "/etc/none".into(), Some("/etc/none".into())),
        ] {
            let within = Within::new(&real.join(folder)).unwrap();
            let named = within.named(&path).err().map(|Elsewhere(to)| to);
            assert_eq!(named, leads_to, "{}", path.display());
            if let Ok(file) = File::open(&path) {
                let opened = within.opened(&file, &path).err();
                let opened = opened.map(|Elsewhere(to)| to);
                assert_eq!(opened, leads_to, "{}, open", path.display());
            }
        }
    }

    #[test]
    fn what_became_a_link_after_it_was_asked_about_is_seen_when_it_is_open() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, "").unwrap();
        let within = Within::new(root.path()).unwrap();
        assert!(within.named(&path).is_ok());
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        let file = File::open(&path).unwrap();
        let Elsewhere(to) = within.opened(&file, &path).unwrap_err();
        assert_eq!(to, Path::new("/etc/passwd"));
    }
}
