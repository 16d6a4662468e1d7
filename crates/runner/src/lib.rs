//! The command line of `runner`: reads files, starts, stops, prints.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     runner::main()
//! }
//! ```
//!
//! Talk goes to stderr and data to stdout. The environment is read once, in `environment`; what `up` prints goes
//! through `telemetry`, which never blocks a request; how a command ends is an `exit::Exit`.

mod account;
mod admin;
mod allow;
mod banner;
mod check;
mod cli;
mod completions;
mod control;
mod descriptors;
mod dev_errors;
mod draft;
mod environment;
mod exit;
mod explain;
mod find;
mod inherited;
mod inspect;
mod load;
mod man;
mod metrics;
mod operator;
mod otel;
mod print;
mod reload;
mod rights;
mod schema;
mod signals;
mod socket;
mod suggest;
mod telemetry;
mod tenants;
mod trim;
mod up;
mod version;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::{Cli, Color, Command, Format};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::print::Print;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    if let Some(code) = runner_host::compile_if_asked(std::env::args_os()) {
        return code;
    }
    match completions::answered() {
        Ok(true) => return Exit::Done.into(),
        Ok(false) => {}
        Err(error) => return stopped(&error).into(),
    }
    match Cli::try_parse() {
        Ok(cli) => run(&cli).into(),
        Err(error) => stopped(&error).into(),
    }
}

/// Help and `--version` come this way too, with 0.
fn stopped(error: &clap::Error) -> Exit {
    let args: Vec<_> = std::env::args_os().collect();
    let words = args.iter().map(AsRef::as_ref);
    if error.kind() == ErrorKind::DisplayVersion && version::is_for_programs(words) {
        Print::new(Color::Never).data(&version::json());
        return Exit::Done;
    }
    if !error.use_stderr() {
        // A reader that has gone away is no error.
        let _ = error.print();
        return Exit::Done;
    }
    let by_default = std::env::var_os("RUNNER_FORMAT").is_some_and(|format| format == "json");
    if by_default || version::is_for_programs(args.iter().map(AsRef::as_ref)) {
        let failure = Failure::of_command_line(&error.render().to_string());
        Print::new(Color::Never).data(&failure.json());
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

fn run(cli: &Cli) -> Exit {
    let print = Print::new(cli.global.color);
    dispatch(cli, &print).unwrap_or_else(|failure| {
        match cli.command.format() {
            Some(Format::Json) => print.data(&failure.json()),
            Some(Format::Text) | None => print.talk(&failure.text),
        }
        failure.exit
    })
}

fn dispatch(cli: &Cli, print: &Print) -> Result<Exit, Failure> {
    let environment = Environment::read()?;
    match &cli.command {
        Command::Up(args) => Ok(up::run(args, &cli.global, &environment)),
        Command::Check(args) => check::run(args, &cli.global, &environment, print),
        Command::Explain(args) => explain::run(args, &cli.global, &environment, print),
        Command::Allow(args) => allow::run(args, &cli.global, &environment, print),
        Command::Suggest(args) => suggest::run(args, &cli.global, &environment, print),
        Command::Inspect(args) => inspect::run(args, &cli.global, &environment, print),
        Command::Schema => {
            print.data(&schema::text());
            Ok(Exit::Done)
        }
        Command::Completions { shell } => {
            print.data(&completions::script(*shell)?);
            Ok(Exit::Done)
        }
        Command::Man { folder } => man::write(folder),
        Command::ExitCodes => {
            print.data(exit::TABLE);
            Ok(Exit::Done)
        }
    }
}
