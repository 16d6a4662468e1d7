//! The `runner` that the stories start: the same `main`, built for this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    runner::main()
}
