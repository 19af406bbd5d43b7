//! The `fitment` binary: reads the command line, runs one command, answers with a stable exit code.

mod cli;
mod client;
mod memory;
mod output;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    memory::bound_arenas();
    let arguments = cli::Arguments::parse();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => output::report_failure(&error),
    }
}
