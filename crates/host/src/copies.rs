//! The private folders with copies of apps' files: each is held by who made it, and removed when nobody holds it any more.
//!
//! A process that is killed removes nothing. What holds a folder is a lock on a file in it, which ends with its process
//! and cannot be mistaken for another's, as a process id can.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tempfile::TempDir;

/// How the name of every such folder begins.
const PREFIX: &str = "runner-files-";
/// Its mode: nobody else on the machine reads it.
const MODE: u32 = 0o700;
/// The file in it that is locked. The folders behind a guest's are numbers.
const LOCK: &str = "lock";

/// A folder for copies, which goes when it is dropped.
pub(crate) struct Folder {
    dir: TempDir,
    /// Holds it.
    _lock: File,
}

impl Folder {
    /// Makes one where the system has temporary files.
    pub(crate) fn new() -> io::Result<Folder> {
        Folder::below(&std::env::temp_dir())
    }

    fn below(parent: &Path) -> io::Result<Folder> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        builder.permissions(fs::Permissions::from_mode(MODE));
        let dir = builder.tempdir_in(parent)?;
        // Locked before it has its name: whoever finds it there finds it locked.
        let unnamed = dir.path().join("new");
        let lock = File::create_new(&unnamed)?;
        lock.lock()?;
        fs::rename(unnamed, dir.path().join(LOCK))?;
        Ok(Folder { dir, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes the copies of apps' files that processes left behind which were killed. It may take a while.
pub fn sweep_files() {
    sweep(&std::env::temp_dir());
}

fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    let ours = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with(PREFIX))
    });
    for path in ours.map(|entry| entry.path()) {
        if let Some(_lock) = abandoned(&path) {
            // What cannot be removed is tried again at the next start.
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// The lock of a folder that is ours and that nobody holds.
fn abandoned(path: &PathBuf) -> Option<File> {
    let found = fs::symlink_metadata(path).ok()?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_dir() || !is_ours || found.mode() & 0o777 != MODE {
        return None;
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut options = File::options();
    let lock = options.read(true).custom_flags(flags);
    let lock = lock.open(path.join(LOCK)).ok()?;
    match lock.try_lock() {
        Ok(()) => Some(lock),
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        let make = |name: &str, mode: u32, lock: bool| {
            fs::create_dir_all(at(name).join("0/deep")).unwrap();
            if lock {
                fs::write(at(name).join(LOCK), "").unwrap();
            }
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        let held = Folder::below(parent.path()).unwrap();
        make("runner-files-gone", MODE, true);
        make("runner-files-of-others", 0o755, true);
        make("runner-files-without", MODE, false);
        make("other", MODE, true);
        fs::write(at("runner-files-file"), "").unwrap();
        std::os::unix::fs::symlink(at("other"), at("runner-files-link")).unwrap();

        sweep(parent.path());

        let left = fs::read_dir(parent.path()).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
        left.sort();
        let mut expected = vec![
            held.path().to_path_buf(),
            at("runner-files-of-others"),
            at("runner-files-without"),
            at("other"),
            at("runner-files-file"),
            at("runner-files-link"),
        ];
        expected.sort();
        assert_eq!(left, expected);
        assert!(at("other").join("0/deep").exists());

        drop(held);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 5);
    }
}
