//! A directory that only we can change, held open, so that renaming it changes nothing for us.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Unusable;

/// What a file is called until it is whole. Whoever was killed before left it behind; see `sweep.rs`.
pub(super) const DRAFT: &str = ".new";

/// What others may not do with the directory: anything.
const REACHABLE: u32 = 0o077;

/// A private directory.
pub(super) struct PrivateDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl PrivateDir {
    /// Opens it, or makes it.
    pub(super) fn open(path: &Path) -> Result<PrivateDir, Unusable> {
        // A slash at the end would follow a link.
        let path: PathBuf = path.components().collect();
        let missing = |errno: Errno| Unusable::Missing(errno.into());
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty());
        let fd = match (fd, made) {
            (Ok(fd), _) => fd,
            (Err(Errno::NOTDIR | Errno::LOOP), _) if fs::symlink_metadata(&path).is_ok() => {
                return Err(Unusable::NotADirectory);
            }
            (Err(_), Err(error)) => return Err(Unusable::Missing(error)),
            (Err(errno), Ok(())) => return Err(missing(errno)),
        };
        let found = rustix::fs::fstat(&fd).map_err(missing)?;
        check(&found)?;
        check_above(&path)?;
        Ok(PrivateDir { fd, path })
    }

    /// As it was named.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file to read it, unless it is a link. This never waits, whatever the file is.
    pub(super) fn file(&self, name: &str) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map(File::from)
    }

    /// What is known of a file, or of a link itself.
    pub(super) fn stat(&self, name: &str) -> rustix::io::Result<Stat> {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The names of all that is in it.
    pub(super) fn names(&self) -> rustix::io::Result<Vec<String>> {
        let entries = Dir::read_from(&self.fd)?.collect::<rustix::io::Result<Vec<_>>>()?;
        let name =
            |entry: &rustix::fs::DirEntry| entry.file_name().to_str().ok().map(str::to_owned);
        Ok(entries.iter().filter_map(name).collect())
    }

    /// Removes a file or a link.
    pub(super) fn remove(&self, name: &str) -> rustix::io::Result<()> {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())
    }

    /// Makes room where something is that cannot be renamed over. A folder with something in it is not ours to delete:
    /// it is put beside.
    pub(super) fn clear(&self, name: &str) -> rustix::io::Result<()> {
        match self.remove(name) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            removed => return removed,
        }
        if rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR).is_ok() {
            return Ok(());
        }
        rustix::fs::renameat(&self.fd, name, &self.fd, format!("{name}.aside"))
    }

    /// Waits for its turn among all processes; the turn is over when what this gives is dropped. `None` where the file
    /// system has no such locks.
    pub(super) fn lock(&self) -> Option<File> {
        let again = self.file(".").ok()?;
        rustix::fs::flock(&again, FlockOperation::LockExclusive).ok()?;
        Some(again)
    }
}

fn check(found: &Stat) -> Result<(), Unusable> {
    if found.st_uid != us() {
        return Err(Unusable::Owner(found.st_uid));
    }
    if found.st_mode & REACHABLE != 0 {
        return Err(Unusable::Open(found.st_mode & 0o7777));
    }
    Ok(())
}

/// Checks that nobody can put another directory in the place of this one. From the root down: below a directory that
/// only its owner can enter, modes say nothing any more.
fn check_above(path: &Path) -> Result<(), Unusable> {
    let path = fs::canonicalize(path).map_err(Unusable::Missing)?;
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    for dir in above.into_iter().rev() {
        let found = fs::symlink_metadata(dir).map_err(Unusable::Missing)?;
        if found.uid() != us() && found.uid() != 0 {
            return Err(Unusable::OwnerAbove {
                dir: dir.to_path_buf(),
                owner: found.uid(),
            });
        }
        let mode = found.mode();
        let is_sticky = mode & 0o1000 != 0;
        if mode & 0o011 == 0 {
            return Ok(());
        }
        if mode & 0o022 != 0 && !is_sticky {
            return Err(Unusable::OpenAbove {
                dir: dir.to_path_buf(),
            });
        }
    }
    Ok(())
}

/// Whose files we trust.
pub(super) fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A file that gets its name when it is whole, so that nobody ever reads half of it. One that is dropped is gone.
pub(super) struct Draft<'a> {
    dir: &'a PrivateDir,
    name: &'a str,
    draft: String,
    file: File,
}

impl<'a> Draft<'a> {
    /// Writes all of it under a name that nobody else uses, not even a process of the same number in another container.
    pub(super) fn new(
        dir: &'a PrivateDir,
        name: &'a str,
        parts: &[&[u8]],
    ) -> io::Result<Draft<'a>> {
        let mut random = [0; 8];
        fill(&mut random)?;
        let draft = format!("{name}.{:016x}{DRAFT}", u64::from_ne_bytes(random));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir.fd, &*draft, flags, Mode::RUSR | Mode::WUSR)?;
        let mut draft = Draft {
            dir,
            name,
            draft,
            file: file.into(),
        };
        parts
            .iter()
            .try_for_each(|part| draft.file.write_all(part))?;
        Ok(draft)
    }

    /// Names it, in place of whatever has that name.
    pub(super) fn replace(self) -> io::Result<()> {
        match self.rename() {
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                self.dir.clear(self.name)?;
                Ok(self.rename()?)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Names it, unless the name is taken: of several at once, one is first.
    pub(super) fn be_first(self) -> io::Result<()> {
        self.file.sync_all()?;
        let fd = &self.dir.fd;
        match rustix::fs::linkat(fd, &*self.draft, fd, self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            // A file system without links.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(self.rename()?),
            Err(errno) => Err(errno.into()),
        }
    }

    fn rename(&self) -> rustix::io::Result<()> {
        let fd = &self.dir.fd;
        rustix::fs::renameat(fd, &*self.draft, fd, self.name)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // After a rename there is nothing of this name.
        let _ = self.dir.remove(&self.draft);
    }
}

/// Random bytes.
pub(super) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| io::Error::other("no randomness"))
}
