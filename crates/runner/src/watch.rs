//! Tells when one of a few files has changed.
//!
//! The folders are watched, not the files: editors and compilers write a new file and rename it, which a watch on the
//! old file never sees. What an event says is not trusted; the files themselves are compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout, timeout_at};

use crate::exit::{Exit, Failure};

/// Longer than an editor takes from its first write to its rename, shorter than anyone notices.
const QUIET: Duration = Duration::from_millis(75);

/// A folder that never falls silent (a compiler's) must not put a reload off for ever.
const LONGEST: Duration = Duration::from_millis(500);

/// Watches for as long as it lives, for each app its own files; cheap to clone.
#[derive(Clone)]
pub(crate) struct Watch {
    watched: Arc<Mutex<Watched>>,
}

/// The files of one app.
#[derive(Clone)]
pub(crate) struct Followed {
    watch: Watch,
    at: usize,
}

struct Watched {
    watcher: RecommendedWatcher,
    always: Vec<PathBuf>,
    apps: Vec<Subject>,
    /// By path, with the inode: a folder that was made anew needs a new watch.
    folders: BTreeMap<PathBuf, u64>,
}

/// What is watched for one app, and who is told.
struct Subject {
    files: BTreeMap<PathBuf, Option<Stamp>>,
    wishes: Sender<()>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Watch {
    /// Starts to watch. Must be called within a runtime. `always` are files that are watched for every app, whatever else
    /// is.
    pub(crate) fn start(always: Vec<PathBuf>) -> Result<Watch, Failure> {
        let (stir, stirred) = channel(1);
        let heard = move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| may_change(event.kind)) {
                // A full channel already holds the news.
                let _ = stir.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(heard)
            .map_err(|error| Failure::of(Exit::Environment, &error))?;
        let watched = Watched {
            watcher,
            always,
            apps: Vec::new(),
            folders: BTreeMap::new(),
        };
        let watch = Watch {
            watched: Arc::new(Mutex::new(watched)),
        };
        // The task ends when the last clone and with it the watcher's end of the channel is gone.
        tokio::spawn(tell(Arc::downgrade(&watch.watched), stirred));
        Ok(watch)
    }

    /// For one app more; `wishes` gets one message for each burst of changes of its files.
    pub(crate) fn of_app(&self, wishes: Sender<()>) -> Followed {
        let mut watched = self.lock();
        let at = watched.apps.len();
        let files = BTreeMap::new();
        watched.apps.push(Subject { files, wishes });
        let watch = self.clone();
        Followed { watch, at }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// Watches these files from now on, beside those that are always watched, and no others.
    pub(crate) fn follow(&self, files: &[PathBuf]) {
        let mut watched = self.watch.lock();
        let known = std::mem::take(&mut watched.apps[self.at].files);
        // What is known keeps its stamp: a change since then is still news.
        let files = files.iter().chain(&watched.always);
        let stamped = files.map(|file| {
            (
                file.clone(),
                known.get(file).copied().unwrap_or_else(|| stamp(file)),
            )
        });
        let stamped = stamped.collect();
        watched.apps[self.at].files = stamped;
        watched.watch_folders();
    }
}

impl Watched {
    /// Tells the apps of which a file differs from when it was last looked at.
    fn look(&mut self) {
        self.watch_folders();
        for app in &mut self.apps {
            if app.changed() {
                // A full channel already holds a wish that has not been taken up.
                let _ = app.wishes.try_send(());
            }
        }
    }

    /// Keeps a watch on each file's folder, or on the nearest one above that exists.
    fn watch_folders(&mut self) {
        let wanted: BTreeMap<PathBuf, u64> = self.files().flat_map(|file| folders(file)).collect();
        let stale: Vec<_> = self
            .folders
            .iter()
            .filter(|(path, inode)| wanted.get(*path) != Some(*inode))
            .collect();
        for (path, _) in stale {
            // It may be gone already.
            let _ = self.watcher.unwatch(path);
        }
        self.folders
            .retain(|path, inode| wanted.get(path) == Some(inode));
        for (path, inode) in wanted {
            if !self.folders.contains_key(&path)
                && self
                    .watcher
                    .watch(&path, RecursiveMode::NonRecursive)
                    .is_ok()
            {
                self.folders.insert(path, inode);
            }
        }
    }
}

impl Watched {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.apps.iter().flat_map(|app| app.files.keys())
    }
}

impl Subject {
    /// Whether a file differs from when it was last looked at.
    fn changed(&mut self) -> bool {
        let mut changed = false;
        for (file, known) in &mut self.files {
            let now = stamp(file);
            changed |= now != *known;
            *known = now;
        }
        changed
    }
}

/// Waits for news, lets it settle, and passes on what is a change.
async fn tell(watched: std::sync::Weak<Mutex<Watched>>, mut stirred: Receiver<()>) {
    while stirred.recv().await.is_some() {
        settle(&mut stirred).await;
        let Some(watched) = watched.upgrade() else {
            return;
        };
        let look = move || {
            watched
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .look();
        };
        // It reads the disk.
        let _ = tokio::task::spawn_blocking(look).await;
    }
}

async fn settle(stirred: &mut Receiver<()>) {
    let latest = Instant::now() + LONGEST;
    let until_quiet = async { while let Ok(Some(())) = timeout(QUIET, stirred.recv()).await {} };
    let _ = timeout_at(latest, until_quiet).await;
}

/// Reading is no change, and our own reading must not wake us.
fn may_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

/// The folder in which the name stands, and the one that a link leads to.
fn folders(file: &Path) -> Vec<(PathBuf, u64)> {
    let target = fs::canonicalize(file).ok();
    [Some(file.to_owned()), target]
        .into_iter()
        .flatten()
        .filter_map(|file| folder(&file))
        .collect()
}

fn folder(file: &Path) -> Option<(PathBuf, u64)> {
    let above = file.ancestors().skip(1).map(|path| {
        if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        }
    });
    above
        .filter_map(|path| fs::canonicalize(path).ok())
        .find_map(|path| {
            let inode = fs::metadata(&path).ok()?.ino();
            Some((path, inode))
        })
}

fn stamp(file: &Path) -> Option<Stamp> {
    let about = fs::metadata(file).ok()?;
    Some(Stamp {
        inode: about.ino(),
        size: about.size(),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for any machine; only a failing test waits for it.
    const LONG: Duration = Duration::from_secs(30);

    async fn told(wishes: &mut Receiver<()>) -> bool {
        timeout(LONG, wishes.recv())
            .await
            .is_ok_and(|wish| wish.is_some())
    }

    #[tokio::test]
    async fn every_way_of_writing_a_file_is_seen() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("real")).expect("a folder");
        for file in ["plain", "renamed", "real/target", "gone"] {
            fs::write(at(file), "old").expect("a file");
        }
        std::os::unix::fs::symlink(at("real/target"), at("link")).expect("a link");
        let (wish, mut wishes) = channel(1);
        let watch = Watch::start(Vec::new()).expect("inotify is there");
        let watch = watch.of_app(wish);
        watch.follow(&["plain", "renamed", "link", "gone", "new/later/file"].map(at));

        let steps: [(&str, &dyn Fn()); 6] = [
            ("written in place", &|| {
                fs::write(at("plain"), "new").expect("written")
            }),
            ("renamed over", &|| {
                fs::write(at("temporary"), "new").expect("written");
                fs::rename(at("temporary"), at("renamed")).expect("renamed");
            }),
            ("behind a link", &|| {
                fs::write(at("real/target"), "new").expect("written")
            }),
            ("removed", &|| fs::remove_file(at("gone")).expect("removed")),
            ("made again", &|| {
                fs::write(at("gone"), "back").expect("written")
            }),
            ("made in a folder that was not there", &|| {
                fs::create_dir_all(at("new/later")).expect("a folder");
                fs::write(at("new/later/file"), "new").expect("written");
            }),
        ];
        for (how, step) in steps {
            step();
            assert!(told(&mut wishes).await, "{how}");
        }
    }

    #[test]
    fn a_look_that_finds_nothing_new_is_no_change() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("file");
        fs::write(&file, "old").expect("a file");
        let watcher = notify::recommended_watcher(|_| {}).expect("inotify is there");
        let (wishes, _) = channel(1);
        let mut watched = Watched {
            watcher,
            always: Vec::new(),
            apps: vec![Subject {
                files: BTreeMap::from([(file.clone(), stamp(&file))]),
                wishes,
            }],
            folders: BTreeMap::new(),
        };
        watched.watch_folders();
        let watched = &mut watched.apps[0];
        assert!(!watched.changed());
        fs::write(root.path().join("neighbour"), "new").expect("a file");
        assert!(!watched.changed());
        fs::write(&file, "newer").expect("a file");
        assert!(watched.changed());
        assert!(!watched.changed());
    }
}
