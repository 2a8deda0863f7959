//! The viewer's end of its stream: datagrams go in, whole updates come out in order; what the
//! server must know to repair and to adapt comes out as datagrams.

use std::time::{Duration, Instant};

use super::clock::Clock;
use super::feedback::Reporter;
use super::reassemble::{Disagreement, Reassembler, StreamVerdict, Update};
use crate::limits::NACK_UPDATES_MAX;
use crate::wire::datagram::{
    ALL_FRAGMENTS, Epoch, FeedbackHeader, Fragment, Nack, Pong, ReferenceLost, SoundHeader, Wanted,
};
use crate::wire::update_stream::StreamHeader;
use crate::{Deadline, Micros, Wakeup};

/// What is taken for a round trip before one was measured.
const ROUND_TRIP_GUESS: Duration = Duration::from_millis(100);

/// An update is out of time after two round trips and this: a repair and its repair have failed.
const LOST_AFTER: Duration = Duration::from_millis(20);

/// Shortest time between two words about the same lost video.
const LOST_INTERVAL: Duration = Duration::from_millis(50);

/// What the decoder and the screen are up to; reports carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerState {
    /// Updates that wait for the decoder.
    pub decode_queue: u8,
    /// Pictures a second that the screen shows; 0 unknown.
    pub display_hz: u8,
}

/// The viewer's end of one stream.
#[derive(Debug)]
pub struct Receiver {
    updates: Reassembler,
    reporter: Reporter,
    clock: Clock,
    round_trip: Option<Duration>,
    state: ViewerState,
    /// A packet that waits for the report of those before it.
    ahead: Option<u16>,
    /// The oldest update while it misses fragments, and when its video counts as lost.
    blocked: Option<(u32, Instant)>,
    wanted: Vec<Wanted>,
}

impl Receiver {
    /// A stream of which nothing came.
    pub fn new(now: Instant) -> Self {
        Self {
            updates: Reassembler::default(),
            reporter: Reporter::new(now),
            clock: Clock::new(now),
            round_trip: None,
            state: ViewerState::default(),
            ahead: None,
            blocked: None,
            wanted: Vec::with_capacity(NACK_UPDATES_MAX),
        }
    }

    /// A fragment came.
    ///
    /// # Errors
    ///
    /// Returns [`Disagreement`] when it contradicts another: the connection is to be closed.
    pub fn handle_fragment(
        &mut self,
        now: Instant,
        fragment: &Fragment<'_>,
    ) -> Result<(), Disagreement> {
        self.handle_packet(now, fragment.header.packet);
        self.updates.handle_fragment(now, fragment)?;
        self.look_at_blockage(now);
        Ok(())
    }

    /// Sound came; it is the caller's.
    pub fn handle_sound(&mut self, now: Instant, header: &SoundHeader) {
        self.handle_packet(now, header.packet);
    }

    /// An update's stream was opened.
    pub fn handle_stream(&mut self, now: Instant, header: &StreamHeader) -> StreamVerdict {
        self.clock.handle_media(now);
        self.updates.handle_stream(now, header)
    }

    /// An update's stream was read to its end.
    ///
    /// # Errors
    ///
    /// Returns [`Disagreement`] when it is not as long as its header says.
    pub fn handle_stream_update(
        &mut self,
        now: Instant,
        header: &StreamHeader,
        bytes: Vec<u8>,
    ) -> Result<(), Disagreement> {
        self.updates.handle_stream_update(now, header, bytes)?;
        self.reporter.want(now);
        self.look_at_blockage(now);
        Ok(())
    }

    /// The server's clock came.
    pub fn handle_pong(&mut self, now: Instant, pong: Pong) {
        if let Some(sample) = self.clock.handle_pong(now, pong) {
            self.handle_round_trip(sample);
        }
    }

    /// A round trip was measured elsewhere, as in the handshake.
    pub fn handle_round_trip(&mut self, sample: Duration) {
        self.round_trip = Some(match self.round_trip {
            Some(smooth) => (smooth * 3 + sample) / 4,
            None => sample,
        });
    }

    /// The viewer speaks from another address.
    pub fn handle_path_change(&mut self, now: Instant) {
        self.clock.handle_path_change(now);
        self.reporter.want(now);
    }

    /// The decoder or the screen has changed.
    pub fn handle_state(&mut self, state: ViewerState) {
        self.state = state;
    }

    /// Lets time pass; what follows is handed out by [`poll_datagram`](Self::poll_datagram).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.look_at_blockage(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let nack = self.updates.ask_at().map(|at| Deadline {
            at,
            why: Wakeup::Nack,
        });
        let lost = self.blocked.map(|(_, at)| Deadline {
            at,
            why: Wakeup::Recovery,
        });
        [nack, lost, self.reporter.poll_timeout()]
            .into_iter()
            .fold(self.clock.poll_timeout(), Deadline::soonest)
    }

    /// Hands out the next update, in order.
    pub fn poll_update(&mut self) -> Option<Update<'_>> {
        self.updates.poll_update()
    }

    /// Hands out the next datagram for the server, written into `out`.
    pub fn poll_datagram(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<()> {
        if let Some(ping) = self.clock.poll_ping(now) {
            ping.encode_into(out);
            return Some(());
        }
        self.poll_nack(now, out)
            .or_else(|| self.poll_lost(now, out))
            .or_else(|| self.poll_report(now, out))
    }

    /// The server's clock at `now`; `None` before it was asked.
    pub fn server_clock(&self, now: Instant) -> Option<Micros> {
        self.clock.server_clock(now)
    }

    /// The round trip, where one was measured.
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Epoch of the picture, and the newest update handed out.
    pub fn delivered(&self) -> (Epoch, u32) {
        (self.updates.epoch(), self.updates.delivered())
    }

    /// Bytes of updates that are incomplete or wait for others.
    pub const fn memory(&self) -> usize {
        self.updates.memory()
    }

    fn handle_packet(&mut self, now: Instant, packet: u16) {
        self.clock.handle_media(now);
        if !self.reporter.handle_packet(now, packet) {
            self.ahead = Some(packet);
        }
    }

    fn poll_nack(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<()> {
        let round_trip = self.round_trip.unwrap_or(ROUND_TRIP_GUESS);
        self.wanted.clear();
        for (update, missing, ask) in self.updates.incomplete() {
            if self.wanted.len() == NACK_UPDATES_MAX {
                break;
            }
            if let Some(round) = ask.poll(now, round_trip) {
                // Fewer than `ALL_FRAGMENTS`.
                let count = missing.map_or(ALL_FRAGMENTS, |it| it as u8);
                self.wanted.push(Wanted {
                    update,
                    count,
                    round,
                });
            }
        }
        if self.wanted.is_empty() {
            return None;
        }
        Nack::encode_into(self.updates.epoch(), &self.wanted, out);
        self.look_at_blockage(now);
        Some(())
    }

    fn poll_lost(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<()> {
        self.blocked.filter(|(_, at)| *at <= now)?;
        let (first, last) = self.updates.blocked()?;
        let lost = ReferenceLost {
            epoch: self.updates.epoch(),
            first,
            last,
            good: self.updates.delivered(),
        };
        lost.encode_into(out);
        let round_trip = self.round_trip.unwrap_or(ROUND_TRIP_GUESS);
        self.blocked = Some((first, now + LOST_INTERVAL.max(round_trip)));
        Some(())
    }

    fn poll_report(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<()> {
        let header = FeedbackHeader {
            epoch: self.updates.epoch(),
            delivered: self.updates.delivered(),
            newest: self.updates.newest(),
            decode_queue: self.state.decode_queue,
            display_hz: self.state.display_hz,
            ..FeedbackHeader::default()
        };
        self.reporter.poll_report(now, header, out)?;
        if let Some(packet) = self.ahead.take() {
            self.handle_packet(now, packet);
        }
        Some(())
    }

    /// Starts or stops the time after which the oldest update counts as lost.
    fn look_at_blockage(&mut self, now: Instant) {
        let oldest = self.updates.delivered() + 1;
        if !self.updates.is_blocked() {
            self.blocked = None;
        } else if self.blocked.is_none_or(|(update, _)| update != oldest) {
            let round_trip = self.round_trip.unwrap_or(ROUND_TRIP_GUESS);
            self.blocked = Some((oldest, now + 2 * round_trip + LOST_AFTER));
        }
    }
}
