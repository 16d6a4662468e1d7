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
    let mut total: u64 = 0;
    for (_, bytes, name) in entries {
        total = total.saturating_add(bytes);
        if total > limits.bytes {
            let _ = dir.remove(&name);
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
