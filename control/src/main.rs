//! The `sluice` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice_control::cli::main()
}
