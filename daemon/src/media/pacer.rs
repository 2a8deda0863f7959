//! Spreads large frames over a few milliseconds: a receiver's socket holds some hundred packets,
//! and what a burst overruns is lost although the link could carry it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use str0m::net::{Protocol, Transmit};

use super::demux::{Kind, classify};

/// Bytes that may leave at once: Linux's default receive buffer holds about 90 full packets.
const BURST_BYTES: f64 = 64_000.0;

/// Bytes a second after that (320 Mbit/s): a full-screen change of 300 KB takes 6 ms.
const BYTES_PER_SECOND: f64 = 40_000_000.0;

/// Time between two releases: each fills one merged send.
const STEP: Duration = Duration::from_millis(1);

/// Bytes waiting: two of the largest access units; more is dropped and asked for again.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// The datagrams of one viewer that have to wait.
#[derive(Debug)]
pub(super) struct Pacer {
    waiting: VecDeque<Transmit>,
    waiting_bytes: usize,
    /// Bytes that may leave now; below zero after the last one that did.
    credit: f64,
    counted: Option<Instant>,
}

impl Default for Pacer {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            credit: BURST_BYTES,
            counted: None,
        }
    }
}

impl Pacer {
    /// A datagram wants to leave: into `out`, or behind those that wait.
    pub(super) fn handle_transmit(
        &mut self,
        now: Instant,
        transmit: Transmit,
        out: &mut Vec<Transmit>,
    ) {
        // TCP paces itself; handshakes, acknowledgements and checks are small and urgent.
        if transmit.proto == Protocol::Tcp || classify(&transmit.contents) != Kind::Rtp {
            out.push(transmit);
            return;
        }
        self.count(now);
        let len = transmit.contents.len();
        if self.waiting.is_empty() && self.credit > 0.0 {
            self.credit -= len as f64;
            out.push(transmit);
        } else if self.waiting_bytes + len <= WAITING_BYTES_MAX {
            self.waiting_bytes += len;
            self.waiting.push_back(transmit);
        }
    }

    /// Lets time pass: what may leave goes into `out`.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Transmit>) {
        self.count(now);
        while self.credit > 0.0
            && let Some(transmit) = self.waiting.pop_front()
        {
            self.waiting_bytes -= transmit.contents.len();
            self.credit -= transmit.contents.len() as f64;
            out.push(transmit);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.counted? + STEP)
    }

    fn count(&mut self, now: Instant) {
        let passed = self
            .counted
            .map_or(Duration::ZERO, |it| now.saturating_duration_since(it));
        self.counted = Some(now);
        self.credit = (self.credit + passed.as_secs_f64() * BYTES_PER_SECOND).min(BURST_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(first: u8, len: usize) -> Transmit {
        let mut contents = vec![0; len];
        contents[0] = first;
        Transmit {
            proto: Protocol::Udp,
            source: "127.0.0.1:1".parse().unwrap(),
            destination: "127.0.0.1:2".parse().unwrap(),
            contents: contents.into(),
        }
    }

    /// Hands over a frame at once; says how many packets left at once, and when all had.
    fn send(packets: usize) -> (usize, Duration) {
        let start = crate::clock::now();
        let mut pacer = Pacer::default();
        let mut out = Vec::new();
        for _ in 0..packets {
            pacer.handle_transmit(start, datagram(0x80, 1_200), &mut out);
        }
        let at_once = out.len();
        let mut now = start;
        while let Some(at) = pacer.poll_timeout() {
            now = at;
            pacer.handle_timeout(now, &mut out);
        }
        assert_eq!(out.len(), packets);
        (at_once, now - start)
    }

    #[test]
    fn a_usual_frame_leaves_at_once_and_a_large_one_within_milliseconds() {
        assert_eq!(send(50), (50, Duration::ZERO));
        let (at_once, took) = send(250);
        assert_eq!(at_once, 54);
        assert!(took <= Duration::from_millis(7), "{took:?}");
    }

    #[test]
    fn checks_and_channels_overtake_frames_that_wait() {
        let now = crate::clock::now();
        let mut pacer = Pacer::default();
        let mut out = Vec::new();
        for _ in 0..100 {
            pacer.handle_transmit(now, datagram(0x80, 1_200), &mut out);
        }
        let before = out.len();
        for first in [0x01, 0x17] {
            pacer.handle_transmit(now, datagram(first, 100), &mut out);
        }
        assert_eq!(out.len(), before + 2);
    }
}
