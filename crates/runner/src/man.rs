//! `runner man DIR`: a page for `runner` and one for each of its commands, for whoever packages it.

use std::fs::create_dir_all;
use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::exit::{Exit, Failure};

/// Writes `runner.1`, `runner-up.1` and so on.
pub(crate) fn write(folder: &Path) -> Result<Exit, Failure> {
    create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .map_err(|error| {
            Failure::new(
                Exit::Environment,
                format!("cannot write to `{}`: {error}", folder.display()),
                "name a folder that can be written",
            )
        })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::{read_dir, read_to_string};

    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_examples() {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("man")).expect("it can be written");
        let pages: BTreeSet<String> = read_dir(folder.path().join("man"))
            .expect("it is there")
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        let cli = Cli::command();
        let shown = cli
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        let names: Vec<_> = shown.map(|command| command.get_name().to_owned()).collect();
        let expected: BTreeSet<String> = names
            .iter()
            .map(|name| format!("runner-{name}.1"))
            .chain(["runner.1".to_owned()])
            .collect();
        assert_eq!(pages, expected);
        for name in names {
            let path = folder.path().join(format!("man/runner-{name}.1"));
            let page = read_to_string(path).expect("it is there");
            assert!(page.contains("Examples:"), "{name}");
        }
    }
}
