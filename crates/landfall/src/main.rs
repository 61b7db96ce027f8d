//! The `landfall` binary: parses the arguments, runs one command, prints its result.
//!
//! ```text
//! args                       arguments, and how each value is parsed
//! output, process, progress  text to standard output, exit codes; log, runtime, signals; progress of long commands
//! table ─▶ text              tables for people; lists, numbers and costs
//! present                    arguments → an inspection
//! commands                   one file per command
//! ```

mod args;
mod output;
mod process;
mod progress;
mod table;
mod text;
mod present;
mod commands;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::commands::{crds, drain, explain, plan, serve, simulate, up, whatif};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("landfall: {error:#}");
            ExitCode::from(output::FAILED)
        }
    }
}

fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Up(args) => up::run(&args),
        Command::Operator(args) => serve::operator(args),
        Command::Dns(args) => serve::dns(args),
        Command::Plan(args) => plan::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Simulate(args) if args.live.live => whatif::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Crds => crds::run(),
    }
}
