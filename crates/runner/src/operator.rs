//! The operator's file, `--config`: read at the start, and again with each reload.

use std::fs::{File, metadata};
use std::io::Read;
use std::path::Path;

use runner_host::caps;
use runner_manifest::Operator;

use crate::exit::{Exit, Failure};

/// Two tables of a dozen keys, with room for comments.
const MAX_SIZE: u64 = 64 * 1024;

/// Reads the file that was named; without one, nothing is said.
pub(crate) fn read(path: Option<&Path>) -> Result<Operator, Failure> {
    let Some(path) = path else {
        return Ok(Operator::default());
    };
    let text = text(path)?;
    Operator::parse(&text, path, &caps::limits())
        .map_err(|error| Failure::diagnosed(Exit::Usage, error))
}

fn text(path: &Path) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        let help = "check the path, and that you may read the file";
        refused(path, &error.to_string(), help)
    };
    // Asked before it is opened: to open a pipe would wait for its writer.
    if !metadata(path).map_err(unreadable)?.is_file() {
        let help = "name the file itself, such as `runner.toml`";
        return Err(refused(path, "it is not a file", help));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SIZE {
        let help = format!("it has at most {MAX_SIZE} bytes");
        return Err(refused(path, "it is too large", &help));
    }
    String::from_utf8(bytes).map_err(|_| refused(path, "it is not UTF-8 text", "save it as UTF-8"))
}

fn refused(path: &Path, why: &str, help: &str) -> Failure {
    let sentence = format!("cannot read `{}`: {why}", path.display());
    Failure::new(Exit::Usage, sentence, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_of_an_operator_is_said_to_be_none() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        std::fs::write(at("large"), " ".repeat(MAX_SIZE as usize + 1)).expect("written");
        std::fs::write(at("latin"), b"# \xe9").expect("written");
        for (path, said) in [
            (
                at("none"),
                "No such file or directory (os error 2)\nhelp: check the path, and that you may read the file",
            ),
            (
                at("."),
                "it is not a file\nhelp: name the file itself, such as `runner.toml`",
            ),
            (
                "/dev/zero".into(),
                "it is not a file\nhelp: name the file itself, such as `runner.toml`",
            ),
            (
                at("large"),
                "it is too large\nhelp: it has at most 65536 bytes",
            ),
            (at("latin"), "it is not UTF-8 text\nhelp: save it as UTF-8"),
        ] {
            let failure = read(Some(&path)).expect_err("it is refused");
            let expected = format!("error: cannot read `{}`: {said}", path.display());
            assert_eq!(failure.to_string(), expected);
        }
    }

    #[test]
    fn a_ceiling_above_what_the_host_has_by_itself_raises_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("runner.toml");
        let ceilings = "[ceilings]\nmemory = \"3 GiB\"\ncpu = \"1 min\"\nrequest_timeout = \"1 h\"\n\
            response_timeout = \"1 h\"\nconcurrency = 9999\nqueue = 9999\nlog_rate = \"1 GiB/s\"\n\
            outbound_concurrency = 9999\ninstance_reuse = \"concurrent\"\n";
        std::fs::write(&path, ceilings).expect("written");
        let operator = read(Some(&path)).expect("it is read");
        assert_eq!(operator.defaults, caps::limits());
    }
}
