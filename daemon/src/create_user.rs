//! `create-user`: the same as `sandbox-server user add`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = std::env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned());
    let all: Vec<String> = ["user", "add"]
        .map(str::to_owned)
        .into_iter()
        .chain(arguments)
        .collect();
    ExitCode::from(sandbox_daemon::cli::run(&all))
}
