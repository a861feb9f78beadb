//! Slot One's project scripts. Each command lives in a module of its own; this file only dispatches.

mod bench;
mod ci;
mod error;
mod fuzz;
mod guests;
mod host;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Slot One's project scripts.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch and build the real guests into `target/guests/`.
    Guests(guests::Args),
    /// Everything that must hold before a change lands.
    Ci(ci::Args),
    /// Measure us and the named peers in one run.
    Bench(bench::Args),
    /// Fuzz all targets, or one, for a time.
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Guests(args) => guests::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
