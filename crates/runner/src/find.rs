//! Finds the manifest: the file that was named, or the usual names in a folder.

use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// In this order: ours wins where an app has both.
const NAMES: [&str; 2] = ["spin-like.toml", "spin.toml"];

/// What to do where nothing is found: with the flag, or with the argument that named it.
const BY_FLAG: &str = "name the manifest or its folder with `--from`";
const BY_ARGUMENT: &str = "name a manifest, or the folder of one";

/// The manifest that `--from` and `--directory` mean.
pub(crate) fn manifest(from: Option<&Path>, directory: Option<&Path>) -> Result<PathBuf, Failure> {
    at(start(from, directory), BY_FLAG)
}

/// The manifest of an app that is an argument.
pub(crate) fn app(named: &Path, directory: Option<&Path>) -> Result<PathBuf, Failure> {
    at(start(Some(named), directory), BY_ARGUMENT)
}

/// Where the manifest of such an app would be, as nothing is there.
pub(crate) fn missing(named: &Path, directory: Option<&Path>) -> PathBuf {
    let start = start(Some(named), directory);
    match start.is_dir() {
        true => start.join(NAMES[0]),
        false => start,
    }
}

fn start(from: Option<&Path>, directory: Option<&Path>) -> PathBuf {
    match (directory, from) {
        (None, None) => PathBuf::new(),
        (None, Some(from)) => from.to_owned(),
        (Some(directory), None) => directory.to_owned(),
        (Some(directory), Some(from)) => directory.join(from),
    }
}

fn at(start: PathBuf, help: &str) -> Result<PathBuf, Failure> {
    if start.as_os_str().is_empty() || start.is_dir() {
        return NAMES
            .iter()
            .map(|name| start.join(name))
            .find(|path| path.is_file())
            .ok_or_else(|| nothing_in(&start, help));
    }
    // Anything but a plain file could block for ever or never end.
    if start.is_file() {
        Ok(start)
    } else {
        Err(no_file(&start, help))
    }
}

fn nothing_in(folder: &Path, help: &str) -> Failure {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    Failure::new(
        Exit::Usage,
        format!(
            "there is no `spin-like.toml` and no `spin.toml` in `{}`",
            folder.display()
        ),
        help,
    )
}

fn no_file(path: &Path, help: &str) -> Failure {
    let why = if path.exists() {
        "is not a file"
    } else {
        "does not exist"
    };
    Failure::new(
        Exit::Usage,
        format!("the manifest `{}` {why}", path.display()),
        help,
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, write};

    use super::*;

    #[test]
    fn the_named_file_or_the_usual_names() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        for folder in ["both", "spin", "none"] {
            create_dir(at(folder)).expect("a folder");
        }
        for file in [
            "both/spin-like.toml",
            "both/spin.toml",
            "spin/spin.toml",
            "none/other.toml",
        ] {
            write(at(file), "").expect("a file");
        }
        let table = [
            ("both", Some("both/spin-like.toml")),
            ("spin", Some("spin/spin.toml")),
            ("none", None),
            ("none/other.toml", Some("none/other.toml")),
            ("missing", None),
        ];
        for (from, expected) in table {
            assert_eq!(
                manifest(Some(&at(from)), None).ok(),
                expected.map(at),
                "{from}"
            );
            assert_eq!(
                manifest(Some(Path::new(from)), Some(root.path())).ok(),
                expected.map(at),
                "{from}"
            );
        }
        assert_eq!(
            manifest(None, Some(&at("spin"))).ok(),
            Some(at("spin/spin.toml"))
        );
        let failure = manifest(Some(Path::new("/dev/zero")), None).expect_err("not a file");
        assert_eq!(
            failure.to_string(),
            "error: the manifest `/dev/zero` is not a file\nhelp: name the manifest or its folder with `--from`"
        );
        let failure = app(Path::new("/dev/zero"), None).expect_err("not a file");
        assert_eq!(
            failure.to_string(),
            "error: the manifest `/dev/zero` is not a file\nhelp: name a manifest, or the folder of one"
        );
    }
}
