//! Edits a file that others may edit: holds it, and replaces it whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::draft;
use crate::exit::{Exit, Failure};

/// How often a file that another `runner allow` holds is asked for, and with which pause: five seconds in all.
const TRIES: usize = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// Holds the file against others who edit it so, until what is returned is dropped: two edits at once are both kept.
pub(super) fn hold(path: &Path) -> Result<File, Failure> {
    let busy = || {
        let sentence = format!("`{}` is being edited by another runner", path.display());
        Failure::new(Exit::Environment, sentence, "try again when it has ended")
    };
    for _ in 0..TRIES {
        let file = File::open(path).map_err(|error| Failure::of(Exit::Environment, &error))?;
        // It may have been replaced while this waited: then it is another file that has to be held.
        if file.try_lock().is_ok() && is_at(&file, path) {
            return Ok(file);
        }
        thread::sleep(PAUSE);
    }
    Err(busy())
}

fn is_at(file: &File, path: &Path) -> bool {
    let same =
        |own: fs::Metadata, its: fs::Metadata| own.ino() == its.ino() && own.dev() == its.dev();
    let (own, its) = (file.metadata(), fs::metadata(path));
    own.ok()
        .zip(its.ok())
        .is_some_and(|(own, its)| same(own, its))
}

/// Puts `text` in the file's place, with the file's permissions.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    try_replace(path, text).map_err(|error| {
        let sentence = format!("`{}` cannot be written: {error}", path.display());
        Failure::new(
            Exit::Environment,
            sentence,
            "the file is as it was; see who owns its folder",
        )
    })
}

fn try_replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays a link: what it leads to is replaced.
    let path = fs::canonicalize(path)?;
    let about = fs::metadata(&path)?;
    // A rename would go round the file's own permission not to be written.
    OpenOptions::new().write(true).open(&path)?;
    draft::replace(&path, text, Some(about.permissions()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_through_its_link() {
        let root = tempfile::tempdir().expect("a folder");
        let (file, link) = (root.path().join("file"), root.path().join("link"));
        fs::write(&file, "old").expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("permissions");
        symlink("file", &link).expect("a link");
        replace(&link, "new").expect("replaced");
        assert_eq!(fs::read_to_string(&file).expect("a file"), "new");
        assert_eq!(
            fs::metadata(&file).expect("a file").permissions().mode() & 0o777,
            0o640
        );
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        assert_eq!(fs::read_dir(root.path()).expect("a folder").count(), 2);
    }

    #[test]
    fn what_is_not_there_is_not_made() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(replace(&root.path().join("missing"), "new").is_err());
        assert_eq!(fs::read_dir(root.path()).expect("a folder").count(), 0);
    }
}
