//! How much memory this process may have: the machine's, or less where its group of processes is limited.

use std::fs;
use std::path::{Path, PathBuf};

/// In bytes; none where the system does not say. See proc(5), and cgroups(7) for both versions of limits.
pub(crate) fn available() -> Option<u64> {
    available_below(Path::new("/"))
}

fn available_below(root: &Path) -> Option<u64> {
    let machine = machine(root);
    machine.into_iter().chain(limits(root)).min()
}

fn machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Of its group, and of all groups around that.
fn limits(root: &Path) -> Vec<u64> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let (mut limits, groups) = (Vec::new(), root.join("sys/fs/cgroup"));
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (top, file) = match controllers {
            "" => (groups.clone(), "memory.max"),
            "memory" => (groups.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        let group: PathBuf = top.join(group.trim_start_matches('/'));
        let around = group.ancestors().take_while(|at| at.starts_with(&top));
        let read = |at: &Path| {
            let text = fs::read_to_string(at.join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        limits.extend(around.filter_map(read));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_around_a_process_is_what_it_may_have() {
        const MACHINE: &str = "MemTotal:       1024 kB\nMemFree: 1 kB\n";
        for (files, expected) in [
            (&[][..], None),
            (&[("proc/meminfo", MACHINE)], Some(1 << 20)),
            (
                &[
                    ("proc/meminfo", MACHINE),
                    ("proc/self/cgroup", "0::/user/app\n"),
                    ("sys/fs/cgroup/user/app/memory.max", "max\n"),
                    ("sys/fs/cgroup/user/memory.max", "4096\n"),
                    ("sys/fs/cgroup/memory.max", "8192\n"),
                ],
                Some(4096),
            ),
            (
                &[
                    ("proc/meminfo", MACHINE),
                    ("proc/self/cgroup", "2:cpu:/\n4:memory:/app\n0::/\n"),
                    ("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "5000\n"),
                    (
                        "sys/fs/cgroup/memory/memory.limit_in_bytes",
                        "9223372036854771712\n",
                    ),
                ],
                Some(5000),
            ),
            (&[("proc/meminfo", "nonsense")], None),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(available_below(root.path()), expected, "{files:?}");
        }
    }
}
