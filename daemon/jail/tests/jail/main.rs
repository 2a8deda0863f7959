//! The warden with real jails, a daemon that hands its link to the test, and a small worker.
//!
//! One binary plays every role, as the product does: without arguments it runs the tests.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::exit,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may stop where it stands, prints its outcome and waits in real time"
)]

mod confinement;
mod ground;
mod hold;
mod kill;
mod life;
mod roles;
mod server;
mod unprivileged;
mod x11;

use std::panic::{AssertUnwindSafe, catch_unwind};

type Test = (&'static str, fn());

const TESTS: &[&[Test]] = &[
    confinement::TESTS,
    life::TESTS,
    kill::TESTS,
    unprivileged::TESTS,
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => roles::serve(&arguments[1..]),
        Some("daemon") => roles::daemon(),
        Some("desktop") => roles::desktop(),
        Some("become") => roles::become_daemon(&arguments[1..]),
        Some("show") => server::show(&arguments[1..]),
        _ => run_tests(&arguments),
    }
}

/// Understands what cargo and nextest ask of a test binary.
fn run_tests(arguments: &[String]) {
    let has = |flag| arguments.iter().any(|it| it == flag);
    let mut rest = arguments.iter();
    let mut wanted = None;
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--format" => drop(rest.next()),
            name if !name.starts_with('-') => wanted = Some(name),
            _ => {}
        }
    }
    let is_wanted = |name: &str| match wanted {
        Some(wanted) if has("--exact") => name == wanted,
        Some(wanted) => name.contains(wanted),
        None => true,
    };
    let tests: Vec<&Test> = TESTS
        .iter()
        .flat_map(|it| it.iter())
        // None of them is marked to be ignored.
        .filter(|(name, _)| is_wanted(name) && !has("--ignored"))
        .collect();
    if has("--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    println!("\nrunning {} tests", tests.len());
    if let Some(why) = server::cannot_run() {
        println!("skipped: {why}\n");
        println!(
            "test result: ok. 0 passed; 0 failed; {} ignored;",
            tests.len()
        );
        return;
    }
    let mut failed = Vec::new();
    for (name, test) in &tests {
        let outcome = catch_unwind(AssertUnwindSafe(test));
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {word}");
        if outcome.is_err() {
            failed.push(*name);
        }
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {} passed; {} failed; 0 ignored;\n",
        tests.len() - failed.len(),
        failed.len()
    );
    if !failed.is_empty() {
        println!("failed: {failed:?}");
        std::process::exit(101);
    }
}
