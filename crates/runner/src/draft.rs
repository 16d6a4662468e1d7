//! Replaces a file whole: a reader, and a watcher, sees the old text or the new one and never a half.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Puts `text` in the file's place, with these permissions, else for its owner alone.
pub(crate) fn replace(path: &Path, text: &str, permissions: Option<Permissions>) -> io::Result<()> {
    let draft = beside(path);
    let written = write(&draft, text, permissions).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Whether a file can be put there; nothing is left of the trial.
pub(crate) fn try_out(path: &Path) -> io::Result<()> {
    let draft = beside(path);
    create(&draft).and_then(|_| fs::remove_file(&draft))
}

fn write(path: &Path, text: &str, permissions: Option<Permissions>) -> io::Result<()> {
    let mut file = create(path)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Made by nobody else before us, so that nobody can have us write elsewhere.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// In the same folder, because a rename cannot leave a file system.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_new_and_its_owners_or_has_the_permissions_that_were_asked_for() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("file");
        let mode = || fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
        try_out(&file).expect("writable");
        assert!(!file.exists(), "a trial");
        replace(&file, "one", None).expect("replaced");
        assert_eq!(mode(), 0o600);
        replace(&file, "two", Some(Permissions::from_mode(0o644))).expect("replaced");
        assert_eq!(
            (mode(), &*fs::read_to_string(&file).expect("a file")),
            (0o644, "two")
        );
        assert_eq!(fs::read_dir(root.path()).expect("a folder").count(), 1);
    }
}
