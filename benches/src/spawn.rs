//! Times how long other programs take until what they start does something.
//!
//! `sandbox-bench-spawn ROUNDS PROGRAM ARGUMENTS...` starts PROGRAM, again and again, and prints
//! microseconds from before each start to the word of what it starts, as JSON. That is
//! `sandbox-bench-spawn stamp`, which says what the clock is and ends.

use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::str::FromStr;

use rustix::time::{ClockId, clock_gettime};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(text) => {
            let told = writeln!(io::stdout(), "{text}");
            told.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        Err(why) => {
            writeln!(io::stderr(), "sandbox-bench-spawn: {why}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, String> {
    match arguments {
        [stamp] if stamp == "stamp" => Ok(nanos().to_string()),
        [rounds, program, rest @ ..] => {
            let rounds = u32::from_str(rounds).map_err(|it| format!("ROUNDS {rounds}: {it}"))?;
            let micros: Vec<u64> = (0..rounds)
                .map(|_| time(program, rest))
                .collect::<Result<_, _>>()?;
            Ok(format!("{micros:?}"))
        }
        _ => Err("usage: sandbox-bench-spawn ROUNDS PROGRAM ARGUMENTS... | stamp".to_owned()),
    }
}

fn time(program: &str, arguments: &[String]) -> Result<u64, String> {
    let start = nanos();
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let stamp = u64::from_str(text.trim()).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("{program} started nothing that tells the time: {text}{said}")
    })?;
    Ok(stamp.saturating_sub(start) / 1_000)
}

fn nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let [seconds, rest] = [now.tv_sec, now.tv_nsec].map(|it| u64::try_from(it).unwrap_or(0));
    seconds * 1_000_000_000 + rest
}
