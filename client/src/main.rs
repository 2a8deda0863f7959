//! The native thin client: a program around the library of the same name, in one of two roles.

mod cli;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    #[cfg(feature = "av1")]
    if matches!(arguments.as_slice(), [only] if only == sandbox_client::av1::ROLE) {
        return ExitCode::from(sandbox_client::av1::role::run());
    }
    ExitCode::from(cli::run(&arguments))
}
