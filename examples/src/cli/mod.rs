//! The command line program `virtual-server-2005`: arguments, images, run loop, demonstration.

mod args;
mod demo;
mod failure;
mod fault;
mod grid;
mod images;
mod network;
mod run;
mod screen;
mod session;
mod signals;
mod threads;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::Args;

/// Runs the program and returns its exit status (CLI.md).
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            print!("{e}");
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            // One line: what is wrong, and where the rest stands.
            let text = e.to_string();
            let first: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            let line = first.join(" ");
            let line = line.trim_start_matches("error: ");
            eprintln!("virtual-server-2005: {line}; see --help");
            return ExitCode::from(2);
        }
    };
    match run::run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("virtual-server-2005: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
