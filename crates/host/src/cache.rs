//! Compiled code on disk, in a private directory, each entry authenticated with a key of this installation.
//!
//! Loading compiled code is running it. So nothing is loaded that this installation did not write itself: an entry
//! carries a MAC over its name and its bytes, and one that does not verify is thrown away and compiled anew.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::Error;

/// Length of an HMAC-SHA256 tag, and of the key.
const TAG: usize = 32;

/// Largest entry read back: code is a few times its WebAssembly.
const LARGEST: u64 = 2 << 30;

pub(crate) struct Cache {
    dir: PathBuf,
    key: hmac::Key,
}

impl Cache {
    pub(crate) fn open(dir: &Path) -> Result<Cache, Error> {
        let broken = |e: io::Error| {
            Error::Engine(format!(
                "cannot use the cache directory {}: {e}",
                dir.display()
            ))
        };
        make_private(dir).map_err(broken)?;
        let key = read_or_make_key(dir).map_err(broken)?;
        Ok(Cache {
            dir: dir.to_path_buf(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })
    }

    /// The name under which the code for `digest`, compiled by `engine`, is kept.
    pub(crate) fn name(digest: &str, engine: &wasmtime::Engine) -> String {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        format!("{digest}-{:016x}.cwasm", hasher.finish())
    }

    /// The code kept under `name`, if it is there and it is ours.
    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = read_regular(&self.dir.join(name), LARGEST).ok()?;
        let code = bytes.len().checked_sub(TAG)?;
        if hmac::verify(
            &self.key,
            &self.message(name, &bytes[..code]),
            &bytes[code..],
        )
        .is_err()
        {
            tracing::warn!(
                entry = name,
                "a compile cache entry was not written by this installation; compiling anew"
            );
            return None;
        }
        bytes.truncate(code);
        Some(bytes)
    }

    /// Keeps `code` under `name`. A cache that cannot be written costs time, never a start.
    pub(crate) fn put(&self, name: &str, code: &[u8]) {
        if let Err(error) = self.write(name, code) {
            tracing::warn!(%error, dir = %self.dir.display(), "cannot write to the compile cache");
        }
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let tag = hmac::sign(&self.key, &self.message(name, code));
        write_new(&self.dir, name, &[code, tag.as_ref()])
    }

    /// What is authenticated: the name too, or one entry could be put in another's place.
    fn message(&self, name: &str, code: &[u8]) -> Vec<u8> {
        let code = ring::digest::digest(&ring::digest::SHA256, code);
        [name.as_bytes(), b"\0", code.as_ref()].concat()
    }
}

fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let found = fs::symlink_metadata(dir)?;
    let wrong = |what: &str| {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            what.to_owned(),
        ))
    };
    if !found.is_dir() {
        return wrong("it is not a directory (links are not followed)");
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return wrong("it belongs to another user");
    }
    if found.mode() & 0o077 != 0 {
        return wrong(
            "others can reach it; run `chmod 700` on it, or name another with `--cache-dir`",
        );
    }
    Ok(())
}

fn read_or_make_key(dir: &Path) -> io::Result<Vec<u8>> {
    let path = dir.join("key");
    match read_regular(&path, TAG as u64) {
        Ok(key) if key.len() == TAG => return Ok(key),
        Ok(_) => fs::remove_file(&path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = [0; TAG];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| io::Error::other("no randomness"))?;
    write_new(dir, "key", &[&key])?;
    // Another process may have been faster: what the directory holds now is the key.
    read_regular(&path, TAG as u64)
}

fn read_regular(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(no_follow)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() > largest {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a regular file of a plausible size",
        ));
    }
    let mut bytes = Vec::with_capacity(found.len() as usize);
    file.take(largest).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file under a name of its own and renames it, so that nobody ever reads half of it.
fn write_new(dir: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let draft = dir.join(format!(
        "{name}.{}.{:?}.new",
        std::process::id(),
        std::thread::current().id()
    ));
    let write = |mut file: File| parts.iter().try_for_each(|part| file.write_all(part));
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(write)?;
    fs::rename(&draft, dir.join(name)).inspect_err(|_| drop(fs::remove_file(&draft)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_and_a_changed_or_swapped_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("cache");
        let cache = Cache::open(&dir).unwrap();
        cache.put("a", b"code of a");
        cache.put("b", b"code of b");
        assert_eq!(cache.get("a").unwrap(), b"code of a");
        assert_eq!(
            Cache::open(&dir).unwrap().get("a").unwrap(),
            b"code of a",
            "the key is kept"
        );

        fs::copy(dir.join("b"), dir.join("a")).unwrap();
        assert!(cache.get("a").is_none(), "another entry in its place");
        let mut bytes = fs::read(dir.join("b")).unwrap();
        bytes[0] ^= 1;
        fs::write(dir.join("b"), bytes).unwrap();
        assert!(cache.get("b").is_none(), "one bit");
        fs::write(dir.join("b"), b"short").unwrap();
        assert!(cache.get("b").is_none(), "truncated");
        assert!(cache.get("missing").is_none());
    }

    #[test]
    fn a_directory_others_can_reach_or_a_link_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let open = root.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Cache::open(&open).is_err());
        let link = root.path().join("link");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&open, &link).unwrap();
        assert!(Cache::open(&link).is_err());
    }
}
