//! Which cluster of a fleet should answer: the one binary.

mod args;
mod drain;
mod explain;
mod fleet;
mod live;
mod plan;
mod progress;
mod serve;
mod simulate;
mod table;
mod up;
mod whatif;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

/// Everything was done, and everything is well.
const WELL: u8 = 0;
/// It was done, and something was found that somebody should look at.
const FOUND: u8 = 1;
/// It could not be done.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("landfall: {error:#}");
            ExitCode::from(FAILED)
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
        Command::Crds => plan::crds(),
    }
}
