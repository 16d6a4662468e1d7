//! The one place that reads the process's environment, once, before anything starts.
//!
//! Flags have variables of their own (`RUNNER_LISTEN`, …), which clap reads while it parses the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use runner_manifest::slug;

use crate::exit::{Exit, Failure};
use crate::otel;

/// What the environment told us.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// Where the compile cache lives when no flag says so; `None` without a home.
    pub(crate) cache_dir: Option<PathBuf>,
    /// Where a user's processes keep their sockets, `XDG_RUNTIME_DIR`.
    pub(crate) runtime_dir: Option<PathBuf>,
    /// The filter of runner's own log, `RUNNER_LOG`.
    pub(crate) log: Option<String>,
    /// What OpenTelemetry has for every program.
    pub(crate) otel: otel::Variables,
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Result<Environment, Failure> {
        Environment::of(std::env::vars_os())
    }

    fn of(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Environment, Failure> {
        let mut environment = Environment::default();
        let (mut home, mut xdg) = (None, None);
        let mut from_spin = BTreeMap::new();
        for (name, value) in vars {
            let Some(name) = name.to_str() else { continue };
            if let Some(variable) = name.strip_prefix("RUNNER_VARIABLE_") {
                environment
                    .variables
                    .insert(variable.to_lowercase(), text(name, value)?);
            } else if let Some(variable) = name.strip_prefix("SPIN_VARIABLE_") {
                from_spin.insert(variable.to_lowercase(), text(name, value)?);
            } else if name.starts_with("OTEL_") {
                environment.otel.insert(name.to_owned(), value);
            } else {
                match name {
                    "RUNNER_LOG" => environment.log = Some(text(name, value)?),
                    "HOME" => home = absolute(value),
                    "XDG_RUNTIME_DIR" => environment.runtime_dir = absolute(value),
                    "XDG_CACHE_HOME" => xdg = absolute(value),
                    _ => {}
                }
            }
        }
        for (name, value) in from_spin {
            environment.variables.entry(name).or_insert(value);
        }
        environment.cache_dir = xdg
            .or(home.map(|home| home.join(".cache")))
            .map(|base| base.join("runner"));
        Ok(environment)
    }

    /// The values of the app's variables: those of `--variable` before those of the environment.
    pub(crate) fn variables(&self, flags: &[(String, String)]) -> BTreeMap<String, String> {
        let mut variables = self.variables.clone();
        variables.extend(flags.iter().cloned());
        variables
    }
}

impl Environment {
    /// The values of one app of several: `RUNNER_VARIABLE_SHOP__TOKEN` and `--variable shop:token=…` are for `shop` alone.
    pub(crate) fn variables_of(
        &self,
        app: &str,
        flags: &[(String, String)],
    ) -> BTreeMap<String, String> {
        let own = |(name, value): (&String, &String)| {
            let rest = name.strip_prefix(app)?.strip_prefix("__")?;
            Some((rest.to_owned(), value.clone()))
        };
        let said = |(name, value): &(String, String)| {
            let (of, name) = name.split_once(':')?;
            (slug(of) == app).then(|| (name.to_owned(), value.clone()))
        };
        let mut variables: BTreeMap<_, _> = self.variables.iter().filter_map(own).collect();
        variables.extend(flags.iter().filter_map(said));
        variables
    }
}

fn text(name: &str, value: OsString) -> Result<String, Failure> {
    // The value itself stays out of the message: it may be a secret.
    value.into_string().map_err(|_| {
        Failure::new(
            Exit::Usage,
            format!("the environment variable `{name}` is not UTF-8"),
            format!("unset `{name}` or give it a text"),
        )
    })
}

/// The XDG rule, also for HOME: a path that is empty or relative is as good as none.
fn absolute(value: OsString) -> Option<PathBuf> {
    let path = PathBuf::from(value);
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn of(vars: &[(&str, &str)]) -> Environment {
        Environment::of(vars.iter().map(|(n, v)| (n.into(), v.into()))).expect("all text")
    }

    #[test]
    fn the_cache_lives_where_the_user_keeps_caches() {
        let table = [
            (vec![], None),
            (vec![("HOME", "/h")], Some("/h/.cache/runner")),
            (
                vec![("HOME", "/h"), ("XDG_CACHE_HOME", "/x")],
                Some("/x/runner"),
            ),
            (vec![("XDG_CACHE_HOME", "/x")], Some("/x/runner")),
            (
                vec![("HOME", "/h"), ("XDG_CACHE_HOME", "relative")],
                Some("/h/.cache/runner"),
            ),
            (vec![("HOME", "")], None),
        ];
        for (vars, expected) in table {
            assert_eq!(of(&vars).cache_dir, expected.map(PathBuf::from), "{vars:?}");
        }
    }

    #[test]
    fn sockets_live_where_the_user_keeps_sockets() {
        for (dir, expected) in [
            ("/run/user/1", Some("/run/user/1")),
            ("run", None),
            ("", None),
        ] {
            let environment = of(&[("XDG_RUNTIME_DIR", dir)]);
            assert_eq!(
                environment.runtime_dir,
                expected.map(PathBuf::from),
                "{dir}"
            );
        }
    }

    #[test]
    fn a_flag_wins_over_runner_wins_over_spin() {
        let environment = of(&[
            ("SPIN_VARIABLE_A", "spin"),
            ("RUNNER_VARIABLE_B", "runner"),
            ("SPIN_VARIABLE_B", "spin"),
            ("RUNNER_VARIABLE_C", "runner"),
            ("SPIN_VARIABLE_LONG_NAME", "spin"),
        ]);
        let variables =
            environment.variables(&[("c".into(), "flag".into()), ("d".into(), "flag".into())]);
        let found: Vec<_> = variables
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("a", "spin"),
                ("b", "runner"),
                ("c", "flag"),
                ("d", "flag"),
                ("long_name", "spin")
            ]
        );
    }

    #[test]
    fn no_app_of_several_gets_the_value_of_another() {
        let environment = of(&[
            ("RUNNER_VARIABLE_TOKEN", "for nobody"),
            ("RUNNER_VARIABLE_SHOP__TOKEN", "shop's"),
            ("RUNNER_VARIABLE_MY_SHOP__TOKEN", "my shop's"),
            ("SPIN_VARIABLE_SHOP__URL", "spin"),
        ]);
        let flags = [
            ("Shop:url".to_owned(), "flag".to_owned()),
            ("my shop:url".to_owned(), "other".to_owned()),
            ("url".to_owned(), "for nobody".to_owned()),
        ];
        for (app, expected) in [
            ("shop", vec![("token", "shop's"), ("url", "flag")]),
            ("my_shop", vec![("token", "my shop's"), ("url", "other")]),
            ("blog", vec![]),
        ] {
            let found = environment.variables_of(app, &flags);
            let found: Vec<_> = found
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect();
            assert_eq!(found, expected, "{app}");
        }
    }

    #[test]
    fn a_value_that_is_not_text_is_refused_without_showing_it() {
        let bytes = OsString::from_vec(b"secret\xff".to_vec());
        let failure =
            Environment::of([("RUNNER_VARIABLE_TOKEN".into(), bytes)]).expect_err("not UTF-8");
        assert_eq!(
            failure.to_string(),
            "error: the environment variable `RUNNER_VARIABLE_TOKEN` is not UTF-8\n\
             help: unset `RUNNER_VARIABLE_TOKEN` or give it a text"
        );
    }
}
