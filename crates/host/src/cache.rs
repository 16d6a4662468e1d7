//! Compiled code on disk, in a private directory, each entry authenticated with a key of this installation.
//!
//! Loading compiled code is running it. So nothing is loaded that this installation did not write itself: an entry
//! carries a MAC over its name and its bytes, and one that does not verify is compiled anew and replaced. What is run
//! is read into memory first, so that nobody changes it between the check and the use.
//!
//! Nothing here is worth a start: what cannot be read or written costs time and one warning.

mod dir;
mod entry;
mod key;
mod sweep;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use self::dir::{Draft, PrivateDir};
pub(crate) use self::entry::Fault;
use self::key::Key;
use self::sweep::Limits;

/// What others may not do with an entry. Reading it tells nobody anything.
const WRITABLE: u32 = 0o022;

/// Why a directory is not used as the compile cache.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the cache directory {}: {what}", .dir.display())]
pub struct CacheError {
    dir: PathBuf,
    what: Unusable,
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it is not a directory (links are not followed)")]
    NotADirectory,
    #[error("it belongs to user {0}")]
    Owner(u32),
    #[error("others can reach it (mode {0:04o})")]
    Open(u32),
    #[error("{} above it belongs to user {owner}, who could replace it", .dir.display())]
    OwnerAbove { dir: PathBuf, owner: u32 },
    #[error("others can write to {} above it, and replace it", .dir.display())]
    OpenAbove { dir: PathBuf },
    #[error("{0}")]
    Missing(#[source] io::Error),
    #[error("its key cannot be written: {0}")]
    Key(#[source] io::Error),
}

impl CacheError {
    /// What to do about it.
    pub fn help(&self) -> String {
        let others = "name another with `--cache-dir`";
        match &self.what {
            Unusable::Open(_) => format!("run `chmod 700 {}`, or {others}", self.dir.display()),
            Unusable::OpenAbove { dir } => {
                format!("run `chmod go-w {}`, or {others}", dir.display())
            }
            Unusable::NotADirectory
            | Unusable::Owner(_)
            | Unusable::OwnerAbove { .. }
            | Unusable::Missing(_) => others.to_owned(),
            Unusable::Key(_) => "make room, or let it be written to".to_owned(),
        }
    }

    /// Whether it is the directory that is wrong, and not the disk below it: then whoever named it wants to know.
    pub(crate) fn blames_the_name(&self) -> bool {
        use io::ErrorKind as Kind;
        match &self.what {
            Unusable::NotADirectory
            | Unusable::Owner(_)
            | Unusable::Open(_)
            | Unusable::OwnerAbove { .. }
            | Unusable::OpenAbove { .. } => true,
            Unusable::Missing(error) => !matches!(
                error.kind(),
                Kind::ReadOnlyFilesystem | Kind::StorageFull | Kind::QuotaExceeded
            ),
            Unusable::Key(_) => false,
        }
    }
}

/// The entries, of this and of every other process of this installation.
pub(crate) struct Cache {
    dir: PrivateDir,
    key: Key,
    /// A lock for each name, so that components of one app with the same code compile it once.
    turns: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    failed: AtomicBool,
}

impl Cache {
    /// The cache in `dir`, which is made if it is not there; and what was wrong with it and has been mended.
    pub(crate) fn open(dir: &Path) -> Result<(Cache, Option<String>), CacheError> {
        let broken = |what| CacheError {
            dir: dir.to_path_buf(),
            what,
        };
        let opened = PrivateDir::open(dir).map_err(broken)?;
        let (key, fault) = Key::of(&opened).map_err(|error| broken(Unusable::Key(error)))?;
        sweep::sweep(&opened, SystemTime::now(), &Limits::default());
        let mended = fault.map(|fault| {
            format!(
                "the key of the compile cache in {} {fault}; it was replaced, and everything is compiled anew",
                dir.display()
            )
        });
        let cache = Cache {
            dir: opened,
            key,
            turns: Mutex::default(),
            failed: AtomicBool::new(false),
        };
        Ok((cache, mended))
    }

    /// The name under which the code for what hashes to `digest`, compiled by `engine`, is kept.
    pub(crate) fn name(digest: &str, engine: &wasmtime::Engine) -> String {
        let mut hasher = DefaultHasher::new();
        entry::MAGIC.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        format!("{digest}-{:016x}.cwasm", hasher.finish())
    }

    /// The code kept under `name`, if it is there and it is ours.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Some((mut file, size)) = entry::open(&self.dir, name, WRITABLE)? else {
            return Ok(None);
        };
        let code = entry::read(&mut file, size, name, &self.key)?;
        // What was used last is swept last. Where this cannot be written down, it only goes earlier.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(code))
    }

    /// Keeps `code` under `name`, in place of whatever is there. The first time that fails, says why.
    ///
    /// Nothing is synced: an entry that a power failure tore does not verify, and is compiled anew.
    pub(crate) fn put(&self, name: &str, code: &[u8]) -> Result<(), String> {
        let head = entry::head(name, code, &self.key);
        let written = Draft::new(&self.dir, name, &[&head, code]).and_then(Draft::replace);
        let Err(error) = written else {
            return Ok(());
        };
        if self.failed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        Err(format!(
            "cannot write to the compile cache in {}: {error}; what is compiled is not kept",
            self.dir.path().display()
        ))
    }

    /// Where the entry of this name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The lock of a name, for whoever gets, compiles and puts.
    pub(crate) fn turn(&self, name: &str) -> Arc<Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits or works holds a copy.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(name.to_owned()).or_default().clone()
    }
}

/// Whether a file is one that [`Cache::name`] named.
fn is_entry(name: &str) -> bool {
    let hex = |text: &str, digits| {
        text.len() == digits
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    name.strip_suffix(".cwasm")
        .and_then(|name| name.split_once('-'))
        .is_some_and(|(digest, engine)| hex(digest, 64) && hex(engine, 16))
}
