//! Which cluster of a fleet should answer: the one binary.

mod actions;
mod args;
mod commands;
mod fleet;
mod progress;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::commands::{drain, explain, plan, serve, simulate, up, whatif};

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
