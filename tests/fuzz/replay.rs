//! Replays the corpus through every target, then cuts and mutations of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::chance::Chance;
use crate::mutate::mutated;
use crate::{MEMORY, Target, corpus, is_long, screen, texts, wires};

/// The allocator counts for the whole process: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cuts of one file that are tried: all of them but for large files.
const CUTS_MAX: usize = 400;

#[track_caller]
fn read(target: &Target, bytes: &[u8], whence: &str) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let read = catch_unwind(AssertUnwindSafe(|| (target.read)(bytes)));
    let used = MEMORY.peak_usage().saturating_sub(before);
    let shown = || format!("{} {whence}: {bytes:02x?}", target.name);
    assert!(read.is_ok(), "{}", shown());
    assert!(used <= target.memory_max, "{used} bytes for {}", shown());
}

fn replay(target: &Target) {
    let _turn = turn();
    if std::env::var_os("WRITE_CORPUS").is_some_and(|it| it == "1") {
        corpus::write(target);
    }
    let files = corpus::files(target);
    for valid in (target.valid)() {
        let is_there = files.iter().any(|(_, bytes)| *bytes == valid);
        assert!(is_there, "{}: WRITE_CORPUS=1 adds messages", target.name);
    }
    for (name, bytes) in &files {
        read(target, bytes, name);
        let step = bytes.len().div_ceil(CUTS_MAX).max(1);
        for end in (0..bytes.len()).step_by(step) {
            read(target, &bytes[..end], &format!("{name} cut at {end}"));
        }
    }
    let count = target.mutations * if is_long() { 50 } else { 1 };
    for seed in 0..count {
        let mut chance = Chance::new(seed);
        let [bytes, other] = [(); 2].map(|()| &files[chance.below(files.len() as u64) as usize].1);
        let bytes = mutated(bytes, other, &mut chance);
        read(target, &bytes, &format!("seed {seed}"));
    }
}

#[test]
fn input_packets() {
    replay(&wires::INPUT);
}

#[test]
fn datagrams_from_a_viewer() {
    replay(&wires::FROM_VIEWER);
}

#[test]
fn datagrams_from_a_server() {
    replay(&wires::FROM_SERVER);
}

#[test]
fn the_control_stream_from_a_viewer() {
    replay(&wires::CONTROL_FROM_VIEWER);
}

#[test]
fn the_control_stream_from_a_server() {
    replay(&wires::CONTROL_FROM_SERVER);
}

#[test]
fn headers_of_streams_with_updates() {
    replay(&wires::UPDATE_STREAM);
}

#[test]
fn local_messages() {
    replay(&wires::LOCAL);
}

#[test]
fn headers_of_frames() {
    replay(&wires::FRAME);
}

#[test]
fn updates() {
    replay(&screen::UPDATE);
}

#[test]
fn updates_that_are_applied() {
    replay(&screen::SHADOW);
}

#[test]
fn coded_tiles() {
    replay(&screen::TILE);
}

#[test]
fn signalling() {
    replay(&texts::SIGNAL);
}

#[test]
fn the_ctl_channel() {
    replay(&texts::CTL);
}

#[test]
fn addresses() {
    replay(&texts::ADDRESS);
}

#[test]
fn scripts() {
    replay(&texts::SCRIPT);
}
