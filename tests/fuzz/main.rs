//! Bytes and orders that no peer of ours sends: every decoder of a peer's bytes, fed with a corpus
//! and with seeded mutations of it, and the machines that take what was decoded.
//!
//! A failed test prints its seed and the bytes, which then become a file of the corpus. `LONG=1`
//! mutates far more; `WRITE_CORPUS=1` writes the generated part of the corpus anew.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "integration test: a panic is its way to fail"
)]

#[path = "../sim/chance.rs"]
#[expect(dead_code, reason = "the simulated worlds use all of it")]
mod chance;
mod corpus;
mod mutate;
mod orders;
mod replay;
mod screen;
mod texts;
mod valid;
mod wires;

use peak_alloc::PeakAlloc;

/// Counts what decoders allocate.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Something that reads a peer's bytes.
#[derive(Clone, Copy, Debug)]
struct Target {
    /// Its folder in the corpus.
    name: &'static str,
    /// Messages that a peer of ours sends.
    valid: fn() -> Vec<Vec<u8>>,
    /// Reads the bytes and checks what must hold of any; says what became of them, alike for
    /// inputs that took the same way.
    read: fn(&[u8]) -> String,
    /// Bytes that reading may allocate at once, the checks' own included.
    memory_max: usize,
    /// Mutations that `make test` tries.
    mutations: u64,
}

/// Whether tests may take their time.
fn is_long() -> bool {
    std::env::var_os("LONG").is_some_and(|it| it == "1")
}

/// What is alike for inputs that took the same way: names stay, numbers and texts go.
fn way(what: &impl std::fmt::Debug) -> String {
    let text = format!("{what:?}");
    let names = text.split('"').step_by(2).collect::<String>();
    let mut way: String = names
        .chars()
        .filter(|it| it.is_ascii_alphabetic())
        .collect();
    way.truncate(120);
    way
}
