//! `cargo xtask ...`: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(xtask::cli::main().code())
}
