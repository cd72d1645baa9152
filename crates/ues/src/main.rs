//! The `ues` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ues::main()
}
