//! Project scripts: `cargo xtask guests` and what joins it. Each command lives in a module of its own; this file only dispatches.

mod error;
mod guests;

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
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Guests(args) => guests::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
