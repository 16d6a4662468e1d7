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

use rustix::io::Errno;

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
        if self.has_no_descriptor() {
            return "raise the limit on open files, `ulimit -n`".to_owned();
        }
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

    /// Whether it is the directory that is wrong, and not the disk below it: then whoever chose it wants to know. What is
    /// above may be nobody's choice: in a container, folders belong to a user outside.
    pub(crate) fn blames_the_name(&self) -> bool {
        use io::ErrorKind as Kind;
        match &self.what {
            Unusable::NotADirectory
            | Unusable::Owner(_)
            | Unusable::Open(_)
            | Unusable::OpenAbove { .. } => true,
            Unusable::Missing(error) => {
                !self.has_no_descriptor()
                    && !matches!(
                        error.kind(),
                        Kind::ReadOnlyFilesystem | Kind::StorageFull | Kind::QuotaExceeded
                    )
            }
            Unusable::OwnerAbove { .. } | Unusable::Key(_) => false,
        }
    }

    /// Whether nothing at all could be opened.
    fn has_no_descriptor(&self) -> bool {
        let (Unusable::Missing(error) | Unusable::Key(error)) = &self.what else {
            return false;
        };
        let errno = Errno::from_io_error(error);
        matches!(errno, Some(Errno::MFILE | Errno::NFILE))
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Barrier;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    const OTHER: &str = "b";

    struct Story {
        root: tempfile::TempDir,
        cache: Cache,
    }

    impl Story {
        fn new() -> Story {
            let root = tempfile::tempdir().unwrap();
            let (cache, mended) = Cache::open(&root.path().join("cache")).unwrap();
            assert_eq!(mended, None);
            Story { root, cache }
        }

        fn again(&self) -> (Cache, Option<String>) {
            Cache::open(self.cache.dir.path()).unwrap()
        }

        fn at(&self, name: &str) -> PathBuf {
            self.cache.path(name)
        }

        fn entry(&self) -> PathBuf {
            self.at("a")
        }

        fn names(&self) -> Vec<String> {
            let mut names = self.cache.dir.names().unwrap();
            names.retain(|name| !name.starts_with('.'));
            names.sort_unstable();
            names
        }
    }

    fn change(path: &Path, change: impl Fn(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Something that is done to the entry, and what is said of it then.
    type Row = (fn(&Story), &'static str);

    #[test]
    fn an_entry_that_is_not_what_was_written_is_not_given_and_makes_room() {
        let mut rows: Vec<Row> = vec![
            (
                |s| assert!(fs::copy(s.at(OTHER), s.entry()).unwrap() > 0),
                "was written for another component or engine",
            ),
            (
                |s| change(&s.entry(), |b| *b.last_mut().unwrap() ^= 1),
                "was changed after it was written",
            ),
            (
                |s| change(&s.entry(), |b| b[100] ^= 1),
                "was changed after it was written",
            ),
            (
                |s| change(&s.entry(), |b| b.truncate(b.len() - 1)),
                "is cut short",
            ),
            (|s| change(&s.entry(), |b| b.truncate(20)), "is cut short"),
            (|s| change(&s.entry(), Vec::clear), "is empty"),
            (
                |s| change(&s.entry(), |b| b.push(0)),
                "is longer than what was written",
            ),
            (
                |s| fs::write(s.entry(), [b'x'; 4096]).unwrap(),
                "is something else",
            ),
            (
                |s| {
                    let other = Story::new();
                    other.cache.put("a", b"code of a").unwrap();
                    fs::copy(other.entry(), s.entry()).unwrap();
                },
                "was written with another key, by another installation",
            ),
            (
                |s| chmod(&s.entry(), 0o620),
                "is open to others (mode 0620)",
            ),
            (
                |s| chmod(&s.entry(), 0o602),
                "is open to others (mode 0602)",
            ),
            (
                |s| {
                    fs::rename(s.entry(), s.root.path().join("moved")).unwrap();
                    symlink(s.root.path().join("moved"), s.entry()).unwrap();
                },
                "is a link",
            ),
            (
                |s| {
                    fs::remove_file(s.entry()).unwrap();
                    fs::create_dir(s.entry()).unwrap();
                },
                "is not a regular file but a directory",
            ),
            (
                |s| {
                    fs::remove_file(s.entry()).unwrap();
                    mknodat(CWD, s.entry(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
                },
                "is not a regular file but a pipe",
            ),
            (
                |s| {
                    fs::remove_file(s.entry()).unwrap();
                    drop(std::os::unix::net::UnixListener::bind(s.entry()).unwrap());
                },
                "is not a regular file but a socket",
            ),
            // A hundred gigabytes of nothing, behind a good head: they are not read.
            (
                |s| {
                    let file = fs::OpenOptions::new().write(true).open(s.entry()).unwrap();
                    file.set_len(100 << 30).unwrap();
                },
                "is longer than what was written",
            ),
        ];
        if dir::us() == 0 {
            rows.push((
                |s| std::os::unix::fs::chown(s.entry(), Some(12345), None).unwrap(),
                "belongs to user 12345",
            ));
        }
        for (number, (done, said)) in rows.into_iter().enumerate() {
            let story = Story::new();
            story.cache.put("a", b"code of a").unwrap();
            story.cache.put(OTHER, b"code of b").unwrap();
            assert_eq!(story.cache.get("a").unwrap().unwrap(), b"code of a");

            done(&story);

            let fault = story.cache.get("a").unwrap_err();
            assert_eq!(fault.to_string(), said, "row {number}");
            story.cache.put("a", b"code of a").unwrap();
            let (again, mended) = story.again();
            let kept = again.get("a").unwrap().unwrap();
            assert_eq!(
                (kept, mended),
                (b"code of a".to_vec(), None),
                "row {number}"
            );
            assert_eq!(story.names(), ["a", "b", "key"], "row {number}");
        }
    }

    #[test]
    fn no_bit_of_an_entry_can_change() {
        let story = Story::new();
        story.cache.put("a", b"code of a").unwrap();
        let whole = fs::read(story.entry()).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(story.entry(), bytes).unwrap();
            assert!(story.cache.get("a").is_err(), "bit {bit}");
        }
        fs::write(story.entry(), whole).unwrap();
        assert_eq!(story.cache.get("a").unwrap().unwrap(), b"code of a");
        assert!(story.cache.get("missing").unwrap().is_none());
    }

    #[test]
    fn a_folder_in_an_entrys_place_is_put_aside_with_all_that_is_in_it() {
        let story = Story::new();
        fs::create_dir(story.entry()).unwrap();
        fs::write(story.entry().join("letter"), "precious").unwrap();
        story.cache.put("a", b"code of a").unwrap();
        assert_eq!(story.cache.get("a").unwrap().unwrap(), b"code of a");
        let letter = fs::read(story.at("a.aside").join("letter")).unwrap();
        assert_eq!(letter, b"precious");
    }

    #[test]
    fn a_key_that_others_could_know_or_have_written_is_replaced_with_one_word() {
        let mut rows: Vec<Row> = vec![
            (
                |s| chmod(&s.at("key"), 0o640),
                "is open to others (mode 0640)",
            ),
            (
                |s| chmod(&s.at("key"), 0o602),
                "is open to others (mode 0602)",
            ),
            (|s| change(&s.at("key"), Vec::clear), "is empty"),
            (|s| change(&s.at("key"), |b| b.truncate(31)), "is cut short"),
            (
                |s| change(&s.at("key"), |b| b.push(0)),
                "is longer than what was written",
            ),
            (
                |s| {
                    fs::rename(s.at("key"), s.root.path().join("key")).unwrap();
                    symlink(s.root.path().join("key"), s.at("key")).unwrap();
                },
                "is a link",
            ),
            (
                |s| {
                    fs::remove_file(s.at("key")).unwrap();
                    fs::create_dir(s.at("key")).unwrap();
                },
                "is not a regular file but a directory",
            ),
            (
                |s| {
                    fs::remove_file(s.at("key")).unwrap();
                    mknodat(CWD, s.at("key"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
                },
                "is not a regular file but a pipe",
            ),
        ];
        if dir::us() == 0 {
            rows.push((
                |s| std::os::unix::fs::chown(s.at("key"), Some(12345), None).unwrap(),
                "belongs to user 12345",
            ));
        }
        let entry = format!("{}-{}.cwasm", "0".repeat(64), "0".repeat(16));
        for (done, said) in rows {
            let story = Story::new();
            let old = fs::read(story.at("key")).unwrap();
            story.cache.put(&entry, b"code").unwrap();

            done(&story);

            let (cache, mended) = story.again();
            let told = format!(
                "the key of the compile cache in {} {said}; it was replaced, and everything is compiled anew",
                story.cache.dir.path().display()
            );
            assert_eq!(mended, Some(told));
            assert!(cache.get(&entry).unwrap().is_none(), "{said}");
            assert_ne!(fs::read(story.at("key")).unwrap(), old, "{said}");
            let mode = fs::metadata(story.at("key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "{said}");
            assert_eq!(story.again().1, None, "{said}");
            assert_eq!(story.names(), ["key"], "{said}");
        }
    }

    #[test]
    fn of_many_at_once_all_have_the_same_key() {
        const MANY: usize = 16;
        for round in 0..50 {
            let root = tempfile::tempdir().unwrap();
            let dir = root.path().join("cache");
            let spoilt = round % 2 == 0;
            if spoilt {
                drop(Cache::open(&dir).unwrap());
                chmod(&dir.join("key"), 0o644);
            }
            let together = Barrier::new(MANY);
            let open = || {
                together.wait();
                Cache::open(&dir).unwrap()
            };
            let opened: Vec<(Cache, Option<String>)> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..MANY).map(|_| scope.spawn(open)).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            let told = opened.iter().filter(|(_, mended)| mended.is_some());
            assert_eq!(told.count(), usize::from(spoilt));
            for (writer, (cache, _)) in opened.iter().enumerate() {
                let name = writer.to_string();
                cache.put(&name, name.as_bytes()).unwrap();
                for (reader, _) in &opened {
                    assert_eq!(reader.get(&name).unwrap().unwrap(), name.as_bytes());
                }
            }
        }
    }

    #[test]
    fn a_directory_that_others_could_change_or_replace_is_not_used() {
        let (open, sticky, mine) = (0o777, 0o1777, 0o700);
        let below =
            |what: &str| format!("others can write to ROOT/a{what} above it, and replace it");
        // The modes of ROOT/a, of ROOT/a/b and of ROOT/a/b/cache.
        for (a, b, cache, what) in [
            (0o755, 0o755, mine, None),
            (sticky, 0o755, mine, None),
            (0o755, sticky, mine, None),
            (open, 0o755, mine, Some(below(""))),
            (0o755, open, mine, Some(below("/b"))),
            (0o755, 0o775, mine, Some(below("/b"))),
            (0o755, 0o757, mine, Some(below("/b"))),
            // Nobody else comes as far as there.
            (mine, open, mine, None),
            (
                0o755,
                0o755,
                0o755,
                Some("others can reach it (mode 0755)".into()),
            ),
            (
                mine,
                mine,
                0o770,
                Some("others can reach it (mode 0770)".into()),
            ),
            (
                mine,
                mine,
                0o1777,
                Some("others can reach it (mode 1777)".into()),
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            chmod(root.path(), 0o755);
            let dir = root.path().join("a/b/cache");
            fs::create_dir_all(&dir).unwrap();
            for (dir, mode) in dir.ancestors().zip([cache, b, a]) {
                chmod(dir, mode);
            }
            let text = |error: CacheError| {
                let text = error.what.to_string();
                text.replace(&root.path().display().to_string(), "ROOT")
            };
            let found = Cache::open(&dir).err().map(text);
            assert_eq!(found, what, "{a:o} {b:o} {cache:o}");
        }
    }

    #[test]
    fn what_is_no_directory_of_ours_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("real")).unwrap();
        chmod(&at("real"), 0o700);
        symlink(at("real"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        fs::write(at("file"), "").unwrap();
        let not = "it is not a directory (links are not followed)";
        let mut rows = vec![
            ("real", None),
            ("real/", None),
            ("link", Some(not)),
            ("link/", Some(not)),
            ("link/.", Some(not)),
            ("dangling", Some(not)),
            ("file", Some(not)),
            ("file/below", Some("Not a directory (os error 20)")),
        ];
        if dir::us() == 0 {
            fs::create_dir_all(at("theirs/below")).unwrap();
            chmod(&at("theirs/below"), 0o700);
            chmod(&at("theirs"), 0o700);
            std::os::unix::fs::chown(at("theirs"), Some(12345), None).unwrap();
            rows.push(("theirs", Some("it belongs to user 12345")));
            rows.push((
                "theirs/below",
                Some("ROOT/theirs above it belongs to user 12345, who could replace it"),
            ));
        }
        for (name, what) in rows {
            let text = |error: CacheError| {
                let is_above = matches!(error.what, Unusable::OwnerAbove { .. });
                assert_eq!(error.blames_the_name(), !is_above, "{error}");
                let text = error.what.to_string();
                text.replace(&root.path().display().to_string(), "ROOT")
            };
            let found = Cache::open(&at(name)).err().map(text);
            assert_eq!(found.as_deref(), what, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_told_once_and_leaves_nothing_behind() {
        let story = Story::new();
        // As a disk that is full or read-only: nothing can be made here any more, not even by root.
        fs::remove_dir_all(story.cache.dir.path()).unwrap();
        let told = format!(
            "cannot write to the compile cache in {}: No such file or directory (os error 2); what is compiled is not kept",
            story.cache.dir.path().display()
        );
        assert_eq!(story.cache.put("a", b"code").unwrap_err(), told);
        assert_eq!(story.cache.put("b", b"code"), Ok(()));
        assert!(story.cache.get("a").unwrap().is_none());
    }

    #[test]
    fn a_process_without_descriptors_is_not_the_names_fault() {
        for errno in [Errno::MFILE, Errno::NFILE] {
            let error = CacheError {
                dir: "/cache".into(),
                what: Unusable::Missing(errno.into()),
            };
            assert!(!error.blames_the_name(), "{errno}");
            assert_eq!(error.help(), "raise the limit on open files, `ulimit -n`");
        }
    }

    #[test]
    fn a_disk_that_is_full_or_read_only_is_not_the_names_fault() {
        use io::ErrorKind as Kind;
        for (kind, blames) in [
            (Kind::ReadOnlyFilesystem, false),
            (Kind::StorageFull, false),
            (Kind::QuotaExceeded, false),
            (Kind::PermissionDenied, true),
            (Kind::NotADirectory, true),
        ] {
            let error = |what| CacheError {
                dir: "/cache".into(),
                what,
            };
            let missing = error(Unusable::Missing(kind.into()));
            assert_eq!(missing.blames_the_name(), blames, "{kind}");
            assert!(
                !error(Unusable::Key(kind.into())).blames_the_name(),
                "{kind}"
            );
        }
    }
}
