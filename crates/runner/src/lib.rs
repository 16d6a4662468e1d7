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
mod allow;
mod banner;
mod check;
mod cli;
mod control;
mod environment;
mod exit;
mod explain;
mod find;
mod inspect;
mod load;
mod print;
mod reload;
mod rights;
mod schema;
mod signals;
mod telemetry;
mod up;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::print::Print;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(&cli).into(),
        Err(error) => {
            // Help and `--version` come this way too, with 0. A reader that has gone away is no error.
            let _ = error.print();
            if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Done.into()
            }
        }
    }
}

fn run(cli: &Cli) -> Exit {
    let print = Print::new(cli.global.color);
    dispatch(cli, &print).unwrap_or_else(|failure| {
        print.talk(&failure.text);
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
        Command::Inspect(args) => inspect::run(args, &cli.global, &environment, print),
        Command::Schema => {
            print.data(&schema::text());
            Ok(Exit::Done)
        }
        Command::ExitCodes => {
            print.data(exit::TABLE);
            Ok(Exit::Done)
        }
    }
}
