//! `runner --version`: ours, the commit it was built from, and the wasmtime that is in it.

use std::ffi::OsStr;

use serde_json::json;

/// The wasmtime is the one of the lock file, which a test holds against it.
pub(crate) const WASMTIME: &str = "48.0.8";

/// What stands behind `runner`.
pub(crate) const TEXT: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("RUNNER_BUILD"),
    ") wasmtime 48.0.8"
);

/// The same for programs.
pub(crate) fn json() -> String {
    let known = |text: &'static str| (!matches!(text, "" | "unknown")).then_some(text);
    json!({
        "schema": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "commit": known(env!("RUNNER_BUILD_COMMIT")),
        "date": known(env!("RUNNER_BUILD_DATE")),
        "wasmtime": WASMTIME,
    })
    .to_string()
}

/// Whether `--version` has `--format json` behind it, which clap does not read any more then.
pub(crate) fn is_for_programs<'a>(args: impl IntoIterator<Item = &'a OsStr>) -> bool {
    let args: Vec<_> = args.into_iter().collect();
    args.iter().any(|arg| *arg == "--format=json")
        || args.windows(2).any(|pair| pair == ["--format", "json"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_the_wasmtime_of_the_lock_file() {
        let lock = include_str!("../../../Cargo.lock");
        let (_, entry) = lock
            .split_once("name = \"wasmtime\"\nversion = \"")
            .expect("we depend on it");
        let (wasmtime, _) = entry.split_once('"').expect("a version ends");
        assert_eq!(WASMTIME, wasmtime);
        let build = env!("RUNNER_BUILD");
        assert_eq!(TEXT, format!("0.1.0 ({build}) wasmtime {wasmtime}"));
    }

    #[test]
    fn both_ways_to_write_the_format_are_known() {
        let table: [(&[&str], bool); 5] = [
            (&["--version", "--format", "json"], true),
            (&["-V", "--format=json"], true),
            (&["--version"], false),
            (&["--version", "--format", "text"], false),
            (&["--version", "json", "--format"], false),
        ];
        for (args, expected) in table {
            assert_eq!(
                is_for_programs(args.iter().map(OsStr::new)),
                expected,
                "{args:?}"
            );
        }
    }
}
