//! Every `runner` under `strace`, where `RUNNER_TESTS_TRACE` names a folder for what it saw: see `cargo xtask traced`.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where one process's calls are written: `N.trace` by `strace`, `N.announced` by the story.
#[derive(Clone)]
pub(crate) struct Trace {
    stem: PathBuf,
}

impl Trace {
    /// The next process's, if there is to be one.
    pub(crate) fn next() -> Option<Trace> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = PathBuf::from(std::env::var_os("RUNNER_TESTS_TRACE")?);
        let name = format!(
            "{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Some(Trace {
            stem: folder.join(name),
        })
    }

    /// The command to start a process under. `runner` may ask the name servers that its arguments name.
    pub(crate) fn command(&self, args: &[&str]) -> Vec<OsString> {
        args.windows(2)
            .filter(|pair| pair[0] == "--dns")
            .for_each(|pair| self.announce(pair[1]));
        let calls = "trace=connect,bind,sendto,sendmsg,sendmmsg";
        let words = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", calls, "-o"];
        let file = self.stem.with_extension("trace").into_os_string();
        words.iter().map(OsString::from).chain([file]).collect()
    }

    /// Notes the address in a log line of the door, if it is one.
    pub(crate) fn line(&self, line: &str) {
        if !line.contains("runner::dial") {
            return;
        }
        let after = |mark| line.split_once(mark).map(|(_, rest): (&str, &str)| rest);
        let Some(rest) = after("\"address\":\"").or(after("address=")) else {
            return;
        };
        self.announce(rest.split(['"', ' ']).next().unwrap_or_default());
    }

    fn announce(&self, address: &str) {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.stem.with_extension("announced"));
        writeln!(file.expect("a writable folder"), "{address}").expect("a writable folder");
    }
}
