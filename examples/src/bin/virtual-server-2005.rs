//! The PC that Microsoft Virtual Server 2005 emulated.

use std::process::ExitCode;

fn main() -> ExitCode {
    slotone_examples::cli::main()
}
