//! Picks the role before any thread or library starts.

use std::process::ExitCode;

use sandbox_daemon::{cli, daemon};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned())
        .collect();
    let code = match arguments.first().map(String::as_str) {
        Some("daemon") => {
            sandbox_jail::return_large_blocks();
            cli::report(daemon::run().map_err(|error| cli::Failure::run_time(&error)))
        }
        Some("desktop") => sandbox_desktop::run(|| {
            sandbox_jail::seal::seal_worker().map_err(|error| cli::chain(&error))
        }),
        Some(_) | None => cli::run(&arguments),
    };
    ExitCode::from(code)
}
