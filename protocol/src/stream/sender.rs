//! The server's end of a viewer's stream: updates go in, datagrams come out in the order of their
//! urgency; what the viewer reports decides rate, parity, repairs and recovery.

mod known;
mod large;
mod repairs;
mod reports;
mod sent;
mod tail;
mod transmit;

pub use self::transmit::Transmit;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::repairs::Repairs;
use self::reports::Reports;
use self::sent::SentUpdates;
use self::tail::Tail;
use super::pacer::Pacer;
use super::packetize::{Carriage, Packetizer, UpdateKind};
use super::rate::RateConfig;
use super::receiver::ViewerState;
use super::recovery::{Demand, Encoder, Recovery};
use crate::limits::{
    DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, REPAIR_UPDATES_MAX, SOUND_BYTES_MAX, UPDATE_BYTES_MAX,
};
use crate::wire::datagram::{Cursor, Epoch, Feedback, Nack, Ping, ReferenceLost};
use crate::{Bitrate, Deadline, Micros, Wakeup};

/// Sound datagrams that wait; the oldest goes when there are more. The encoder makes one each
/// 10 ms, and late sound is no sound.
const SOUNDS_MAX: usize = 4;

/// Standing queue that the window in front of the encoder allows.
const QUEUE_ALLOWED: Duration = Duration::from_millis(12);

/// Least bytes in flight that do not hold the encoder back: a few packets.
const WINDOW_MIN: usize = 6_000;

/// Share of the target that bulk may have, in hundredths.
const BULK_SHARE: u64 = 50;

/// What a path is trusted with at most when it has just changed.
const RATE_AFTER_CHANGE: Bitrate = Bitrate::kbps(5_000);

/// How a stream begins.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// Bounds of the rate.
    pub rate: RateConfig,
    /// What the encoder can do about lost references.
    pub encoder: Encoder,
    /// The server's clock at the start of the stream.
    pub clock: Micros,
}

/// Whether the next update is welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It would leave at once.
    Ready,
    /// Others are still on their way: the newest picture is to be taken later.
    Busy,
    /// It must be a whole picture.
    NeedsWhole,
}

/// What cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The viewer needs a whole picture first.
    #[error("an update needs what was given up: send a whole picture")]
    NeedsWhole,
    /// Nothing in it, or more than a viewer takes.
    #[error("update of {0} bytes, outside 1 to {UPDATE_BYTES_MAX}")]
    Length(usize),
    /// More sound than a datagram holds.
    #[error("sound of {0} bytes, more than {SOUND_BYTES_MAX}")]
    Sound(usize),
}

/// The server's end of one viewer's stream.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    start: Instant,
    epoch: Epoch,
    sent: SentUpdates,
    packetizer: Packetizer,
    repairs: Repairs,
    sounds: VecDeque<Sound>,
    sound_number: u16,
    /// Buffers of sounds that have left.
    spare_sounds: Vec<Sound>,
    cursor: Option<Cursor>,
    cursor_number: u16,
    ping: Option<Ping>,
    /// Streams that nobody needs; as many as updates are kept at most.
    resets: VecDeque<(Epoch, u32)>,
    has_bulk: bool,
    bulk: Pacer,
    pacer: Pacer,
    reports: Reports,
    recovery: Recovery,
    /// Counts the packets that feedback speaks of.
    packet: u16,
    datagram_max: usize,
    tail: Tail,
    viewer: ViewerState,
}

#[derive(Debug, Default)]
struct Sound {
    taken: u32,
    bytes: Vec<u8>,
}

impl Sender {
    /// A stream about whose path nothing is known. The first update must be whole.
    pub fn new(config: SenderConfig, now: Instant) -> Self {
        let mut recovery = Recovery::new(config.encoder);
        recovery.handle_gone();
        Self {
            config,
            start: now,
            epoch: Epoch::default(),
            sent: SentUpdates::default(),
            packetizer: Packetizer::default(),
            repairs: Repairs::default(),
            sounds: VecDeque::new(),
            sound_number: 0,
            spare_sounds: Vec::new(),
            cursor: None,
            cursor_number: 0,
            ping: None,
            resets: VecDeque::new(),
            has_bulk: false,
            bulk: Pacer::patient(),
            pacer: Pacer::new(config.rate.start),
            reports: Reports::new(config.rate),
            recovery,
            packet: 0,
            datagram_max: DATAGRAM_BYTES_MIN,
            tail: Tail::default(),
            viewer: ViewerState::default(),
        }
    }

    /// Begins after an epoch that the viewer knows from a stream before.
    #[must_use]
    pub fn after(mut self, epoch: Epoch) -> Self {
        self.epoch = epoch;
        self
    }

    /// The path is inside TCP, which delivers in order.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.reports = self.reports.in_order();
        self
    }

    /// Epoch of the newest update.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Rate that the encoder should aim for, parity taken off.
    pub fn target(&self) -> Bitrate {
        self.reports.target_of_data()
    }

    /// What the viewer's decoder and screen are up to, as it last reported.
    pub const fn viewer(&self) -> ViewerState {
        self.viewer
    }

    /// Whether the next update is welcome.
    pub fn readiness(&mut self) -> Readiness {
        if self.tail.is_dead() {
            return Readiness::Busy;
        }
        if self.recovery.needs_whole() {
            return Readiness::NeedsWhole;
        }
        let under_way = self.reports.in_flight_bytes() + self.sent.large_bytes();
        let is_full = under_way > self.window();
        if is_full || !self.repairs.is_empty() || self.sent.waiting().is_some() {
            return Readiness::Busy;
        }
        Readiness::Ready
    }

    /// Takes an update for sending. Returns its number in its epoch.
    ///
    /// # Errors
    ///
    /// Returns [`SendError`] when it cannot be sent.
    pub fn handle_update(
        &mut self,
        now: Instant,
        bytes: &[u8],
        kind: UpdateKind,
    ) -> Result<(Epoch, u32), SendError> {
        if !(1..=UPDATE_BYTES_MAX).contains(&bytes.len()) {
            return Err(SendError::Length(bytes.len()));
        }
        if kind.is_whole {
            self.begin_epoch();
        }
        let void = match kind.recovers.then(|| self.recovery.handle_recovery()) {
            Some(Some(first)) => self.give_up_video(first),
            Some(None) | None => 0,
        };
        if self.recovery.needs_whole() {
            return Err(SendError::NeedsWhole);
        }
        let number = self.sent.next_number();
        let update = self.packetizer.take(number, bytes, kind, void);
        let reports = &mut self.reports;
        let parity = |data| reports.parity(data, now);
        let update = self.packetizer.cut(update, self.datagram_max, parity);
        self.sent.push(update);
        self.set_rate(now);
        while self.sent.is_too_much() {
            self.recovery.handle_gone();
            self.forget();
        }
        Ok((self.epoch, number))
    }

    /// Takes coded sound for sending; `taken` is when it was heard.
    ///
    /// # Errors
    ///
    /// Returns [`SendError::Sound`] when it does not fit a datagram.
    pub fn handle_sound(&mut self, taken: Micros, sound: &[u8]) -> Result<(), SendError> {
        if !(1..=SOUND_BYTES_MAX).contains(&sound.len()) {
            return Err(SendError::Sound(sound.len()));
        }
        if self.sounds.len() == SOUNDS_MAX
            && let Some(oldest) = self.sounds.pop_front()
        {
            self.spare_sounds.push(oldest);
        }
        let mut waiting = self.spare_sounds.pop().unwrap_or_default();
        waiting.taken = taken.0 as u32;
        waiting.bytes.clear();
        waiting.bytes.extend(sound);
        self.sounds.push_back(waiting);
        Ok(())
    }

    /// The pointer is somewhere else; only the newest place is sent.
    pub fn handle_cursor(&mut self, x: u16, y: u16, is_visible: bool) {
        self.cursor_number = self.cursor_number.wrapping_add(1);
        self.cursor = Some(Cursor {
            number: self.cursor_number,
            is_visible,
            x,
            y,
        });
    }

    /// Bulk waits, or does no longer.
    pub fn handle_bulk(&mut self, waits: bool) {
        self.has_bulk = waits;
    }

    /// So many bytes of bulk were written.
    pub fn handle_bulk_sent(&mut self, now: Instant, bytes: usize) {
        self.bulk.handle_sent(now, bytes);
        self.pacer.handle_sent(now, bytes);
    }

    /// The path takes datagrams of so many bytes.
    pub fn handle_datagram_max(&mut self, bytes: usize) {
        self.datagram_max = bytes.clamp(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX);
        self.sent.limit_datagrams(self.datagram_max);
    }

    /// The viewer speaks from another address: what was on the way there is lost, and the new
    /// path's rate is not known.
    pub fn handle_path_change(&mut self, now: Instant) {
        let start = self.reports.target().min(RATE_AFTER_CHANGE);
        self.reports = Reports::new(RateConfig {
            start,
            ..self.config.rate
        });
        self.pacer = Pacer::new(start);
        self.set_rate(now);
        self.handle_answer(now);
        self.repairs.clear();
        self.sent.forget_times();
        let numbers: Vec<u32> = self.sent.numbers_in_datagrams().collect();
        for number in numbers {
            self.sent.change(number, |update| {
                if let Carriage::Datagrams(fragments) = &mut update.carriage {
                    fragments.left = 0;
                    fragments.queued = 0;
                }
            });
        }
        self.sent.handle_resend();
    }

    /// The viewer reports what arrived.
    pub fn handle_feedback(&mut self, now: Instant, feedback: &Feedback<'_>) {
        self.reports.handle_feedback(now, feedback);
        let header = &feedback.header;
        self.viewer = ViewerState {
            decode_queue: header.decode_queue,
            display_hz: header.display_hz,
        };
        let has_news =
            header.epoch == self.epoch && self.sent.release(header.delivered, &mut self.packetizer);
        if has_news || !feedback.arrivals.is_empty() {
            self.handle_answer(now);
        }
        self.set_rate(now);
    }

    /// The viewer misses fragments.
    pub fn handle_nack(&mut self, now: Instant, nack: &Nack<'_>) {
        if nack.epoch != self.epoch {
            return;
        }
        self.hear(now);
        self.tail.handle_sign();
        let run = self.reports.lost_run();
        for wanted in nack.iter() {
            self.repairs.answer(&mut self.sent, wanted, run);
        }
    }

    /// The viewer cannot wait for some video any longer.
    pub fn handle_reference_lost(&mut self, now: Instant, lost: &ReferenceLost) {
        if lost.epoch != self.epoch {
            return;
        }
        self.hear(now);
        self.tail.handle_sign();
        if let Some(naming) = self.sent.naming_void(lost.first) {
            // It has not seen what says so.
            self.repairs.touch(&mut self.sent, naming);
        } else if self.sent.may_give_up(lost.first, lost.last) {
            let round_trip = self.reports.round_trip().smooth();
            self.recovery
                .handle_lost(now, lost.first, lost.good, round_trip);
        }
    }

    /// The viewer asks for the clock.
    pub fn handle_ping(&mut self, ping: Ping) {
        self.ping = Some(ping);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.reports.handle_timeout(now);
        if !self.tail.is_dead() {
            let round_trip = self.reports.round_trip().smooth();
            self.recovery.handle_timeout(now, round_trip);
        }
        if self.probe_at().is_some_and(|it| it <= now) {
            self.probe(now);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and
    /// [`poll_transmit`](Self::poll_transmit) after it.
    pub fn poll_timeout(&mut self) -> Option<Deadline> {
        let waits = self.waiting();
        let is_paced = waits.repair || waits.update.is_some() || waits.parity || waits.bulk;
        let opens = match (self.pacer.opens(), self.bulk.opens()) {
            (pacer, bulk) if waits.bulk => pacer.max(bulk),
            (pacer, _) => pacer,
        };
        let paced = opens.filter(|_| is_paced).map(|at| Deadline {
            at,
            why: Wakeup::Pacer,
        });
        let probe = self.probe_at().map(|at| Deadline {
            at,
            why: Wakeup::TailProbe,
        });
        let recovery = self.recovery.poll_timeout();
        let recovery = recovery.filter(|_| !self.tail.is_dead());
        [paced, probe, recovery]
            .into_iter()
            .fold(self.reports.poll_timeout(), Deadline::soonest)
    }

    /// Asks the encoder or the composer for something.
    pub fn poll_demand(&mut self) -> Option<Demand> {
        self.recovery.poll_demand()
    }

    /// A stream that is to be reset, where it has not come to its end: what it carries is
    /// superseded. To be asked until there is none.
    pub fn poll_reset(&mut self) -> Option<(Epoch, u32)> {
        self.resets.pop_front()
    }

    /// Bytes of updates that are kept for repair.
    pub fn memory(&self) -> usize {
        self.sent.bytes()
    }

    fn begin_epoch(&mut self) {
        self.forget();
        self.epoch = self.epoch.next();
        self.recovery.handle_whole();
    }

    fn forget(&mut self) {
        let epoch = self.epoch;
        self.resets
            .extend(self.sent.streams().map(|number| (epoch, number)));
        // Who never asks has fewer streams than that, and they are of old epochs.
        let excess = self.resets.len().saturating_sub(REPAIR_UPDATES_MAX);
        self.resets.drain(..excess);
        self.sent.restart(&mut self.packetizer);
        self.repairs.clear();
    }

    /// Returns what the next update says about those given up.
    fn give_up_video(&mut self, first: u32) -> u32 {
        let epoch = self.epoch;
        let resets = &mut self.resets;
        let reset = |number| resets.push_back((epoch, number));
        let Some(void) = self.sent.give_up_video(first, reset) else {
            self.recovery.handle_gone();
            self.forget();
            return 0;
        };
        void
    }

    /// The newest update is touched again: the viewer's answer tells what is missing.
    fn probe(&mut self, now: Instant) {
        self.tail.handle_probe(now);
        if let Some(number) = self.sent.newest_in_datagrams() {
            self.repairs.touch(&mut self.sent, number);
        }
    }

    fn probe_at(&self) -> Option<Instant> {
        self.sent
            .newest_in_datagrams()
            .filter(|_| self.repairs.is_empty())?;
        self.tail.probe_at(self.reports.round_trip().smooth())
    }

    /// What was sent is reported: what is on its way has the whole time again.
    fn handle_answer(&mut self, now: Instant) {
        self.hear(now);
        let waits = self.sent.newest_in_datagrams().is_some();
        self.tail.handle_report(now, waits);
    }

    /// The viewer was heard. Where the path was dead the encoder was held back, and has its whole
    /// time again.
    fn hear(&mut self, now: Instant) {
        if self.tail.is_dead() {
            let round_trip = self.reports.round_trip().smooth();
            self.recovery.handle_return(now, round_trip);
        }
    }

    fn window(&self) -> usize {
        let time = self.reports.round_trip().smallest() + QUEUE_ALLOWED;
        let bits = self.reports.trusted().bps() as f64 * time.as_secs_f64();
        WINDOW_MIN.max((bits / 8.0) as usize)
    }

    fn set_rate(&mut self, now: Instant) {
        self.pacer.set_rate(now, self.reports.pace());
        let share = self.reports.target().bps() * BULK_SHARE / 100;
        self.bulk.set_rate(now, Bitrate::from_bps(share));
    }

    /// The server's clock in microseconds.
    fn clock(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start).as_micros();
        self.config.clock.0.wrapping_add(since as u64)
    }
}

#[cfg(test)]
mod tests;
