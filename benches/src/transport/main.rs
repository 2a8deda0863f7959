//! Both ends of the native protocol over real sockets and a relay that delays, loses and queues.
//!
//! `sandbox-bench-transport SEED [SCENARIO...]` prints a line of JSON for each result: its name
//! and its samples in milliseconds. What is timed begins when an update, or a key, is handed to
//! one end and stops when the other end has it.

#[path = "../../../tests/sim/chance.rs"]
#[expect(
    clippy::indexing_slicing,
    reason = "shared with the simulated worlds, where a panic is a failed test"
)]
mod chance;
#[path = "../clock.rs"]
#[expect(dead_code, reason = "shared with the other benches")]
mod clock;
#[path = "../../../tests/sim/link.rs"]
mod link;
mod relay;
mod scenarios;
mod server;
mod shared;
mod sockets;
mod viewer;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use scenarios::{Figure, SCENARIOS};
use serde_json::json;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("usage: sandbox-bench-transport SEED [SCENARIO...], with {}", names())]
    Usage,
    #[error("a socket failed, or the result cannot be written: {0}")]
    Io(#[from] io::Error),
    #[error("the server has no key: {0}")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    Identity(#[from] sandbox_quic::IdentityError),
    #[error(transparent)]
    Connect(#[from] sandbox_quic::ConnectError),
    #[error("{0}")]
    Broken(String),
}

fn names() -> String {
    SCENARIOS.map(|(name, _)| name).join(" ")
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "sandbox-bench-transport: {error}").ok();
            ExitCode::from(if matches!(error, Error::Usage) { 2 } else { 1 })
        }
    }
}

fn run(args: &[String]) -> Result<(), Error> {
    let [seed, wanted @ ..] = args else {
        return Err(Error::Usage);
    };
    let seed: u64 = seed.parse().map_err(|_| Error::Usage)?;
    let is_known = |it: &String| SCENARIOS.iter().any(|(name, _)| name == it);
    if !wanted.iter().all(is_known) {
        return Err(Error::Usage);
    }
    let mut out = io::stdout().lock();
    for (name, scenario) in SCENARIOS {
        if !wanted.is_empty() && !wanted.iter().any(|it| it == name) {
            continue;
        }
        for Figure { name, samples } in scenario(seed)? {
            writeln!(out, "{}", json!({ "name": name, "samples": samples }))?;
        }
    }
    Ok(())
}
