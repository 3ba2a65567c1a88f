//! Start-up only: see the library for what Tradewind does.

use std::process::ExitCode;

fn main() -> ExitCode {
    tradewind::cli::main()
}
