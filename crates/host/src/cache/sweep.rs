//! What nobody needs any more goes at the start: entries long unused, entries beyond the size, drafts of the killed.
//!
//! Who runs an entry has it in memory: removing its file costs the next start one compile.

use std::time::{Duration, SystemTime};

use rustix::fs::Stat;

use super::dir::{DRAFT, PrivateDir};
use super::{is_entry, key};
use crate::caps;

/// What may stay.
pub(super) struct Limits {
    /// All entries together, oldest use first.
    pub(super) bytes: u64,
    /// Since an entry was used.
    pub(super) unused: Duration,
    /// Since a draft was begun.
    pub(super) draft: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: caps::CACHE_BYTES,
            unused: caps::CACHE_UNUSED,
            draft: caps::CACHE_DRAFT,
        }
    }
}

/// Removes what is beyond `limits`. What cannot be removed stays.
pub(super) fn sweep(dir: &PrivateDir, now: SystemTime, limits: &Limits) {
    let mut entries = Vec::new();
    for name in dir.names().unwrap_or_default() {
        let Ok(found) = dir.stat(&name) else { continue };
        let age = age(&found, now);
        if is_draft(&name) && age > limits.draft || is_entry(&name) && age > limits.unused {
            let _ = dir.remove(&name);
        } else if is_entry(&name) {
            entries.push((age, on_disk(&found), name));
        }
    }
    entries.sort_unstable();
    let mut total = 0_u64;
    for (_, bytes, name) in entries {
        if total.saturating_add(bytes) > limits.bytes {
            let _ = dir.remove(&name);
        } else {
            total += bytes;
        }
    }
}

fn is_draft(name: &str) -> bool {
    let of = name
        .strip_suffix(DRAFT)
        .and_then(|name| name.rsplit_once('.'));
    of.is_some_and(|(of, _)| of == key::NAME || is_entry(of))
}

fn age(found: &Stat, now: SystemTime) -> Duration {
    let modified = Duration::from_secs(u64::try_from(found.st_mtime).unwrap_or(0));
    now.duration_since(SystemTime::UNIX_EPOCH + modified)
        .unwrap_or_default()
}

/// What a file takes: one with holes says it is longer.
fn on_disk(found: &Stat) -> u64 {
    u64::try_from(found.st_blocks)
        .unwrap_or(0)
        .saturating_mul(512)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn entry(letter: char) -> String {
        format!("{}-{}.cwasm", letter.to_string().repeat(64), "0".repeat(16))
    }

    #[test]
    fn what_is_long_unused_beyond_the_size_or_never_finished_goes_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let dir = PrivateDir::open(&root.path().join("cache")).unwrap();
        let now = SystemTime::now();
        let draft = |of: &str| format!("{of}.0123456789abcdef.new");
        let kib = 1024;
        // A file, its length, the days since it was used, and whether it stays where 300 KiB may.
        let table = [
            (entry('a'), 100 * kib, 1, true),
            (entry('b'), 100 * kib, 2, true),
            (entry('c'), 150 * kib, 3, false),
            (entry('d'), 0, 89, true),
            (entry('e'), 0, 91, false),
            (draft(&entry('a')), 1, 0, true),
            (draft(&entry('b')), 1, 1, false),
            (draft("key"), 1, 1, false),
            ("key".into(), 32, 1000, true),
            ("letter".into(), 1, 1000, true),
            ("letter.cwasm".into(), 1, 1000, true),
            (draft("letter"), 1, 1000, true),
        ];
        for (name, length, days, _) in &table {
            let path = dir.path().join(name);
            fs::write(&path, vec![1; *length]).unwrap();
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(now - DAY * *days).unwrap();
        }
        // Says that it is huge, and takes nothing.
        let holes = File::create(dir.path().join(entry('f'))).unwrap();
        holes.set_len(1 << 40).unwrap();

        let limits = Limits {
            bytes: 300 * 1024,
            ..Limits::default()
        };
        sweep(&dir, now, &limits);

        for (name, _, days, stays) in table {
            let is_there = dir.path().join(&name).exists();
            assert_eq!(is_there, stays, "{name}, {days} days");
        }
        assert!(dir.path().join(entry('f')).exists());
    }

    #[test]
    fn what_is_used_is_young_again() {
        let root = tempfile::tempdir().unwrap();
        let (cache, _) = super::super::Cache::open(&root.path().join("cache")).unwrap();
        let old = SystemTime::now() - DAY * 89;
        cache.put(&entry('a'), b"code").unwrap();
        let path = cache.path(&entry('a'));
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(old).unwrap();
        cache.get(&entry('a')).unwrap().unwrap();
        assert!(fs::metadata(path).unwrap().modified().unwrap() > old + DAY);
    }
}
