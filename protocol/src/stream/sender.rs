//! The server's end of a viewer's stream: updates go in, datagrams come out in the order of their
//! urgency; what the viewer reports decides rate, parity, repairs and recovery.

mod reports;
mod sent;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::reports::Reports;
use self::sent::SentUpdates;
use super::pacer::Pacer;
use super::packetize::{Carriage, Packetizer, UpdateKind};
use super::rate::RateConfig;
use super::recovery::{Demand, Encoder, Recovery};
use super::scheduler::{self, Class, OnlyRefinement, Waiting};
use crate::limits::{DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, SOUND_BYTES_MAX, UPDATE_BYTES_MAX};
use crate::wire::datagram::{
    Cursor, Epoch, Feedback, FragmentFlags, FragmentHeader, Nack, Ping, Pong, ReferenceLost,
    SoundHeader,
};
use crate::wire::update_stream::StreamHeader;
use crate::{Bitrate, Deadline, Micros, Wakeup};

/// Bytes that go to a stream at once, so that datagrams need not wait behind them.
const STREAM_CHUNK: usize = 16 << 10;

/// Repairs that wait to be sent; what is beyond will be asked for again.
const REPAIRS_MAX: usize = 1_024;

/// Sound datagrams that wait; the oldest goes when there are more. The encoder makes one each
/// 10 ms, and late sound is no sound.
const SOUNDS_MAX: usize = 4;

/// Standing queue that the window in front of the encoder allows.
const QUEUE_ALLOWED: Duration = Duration::from_millis(25);

/// Least bytes in flight that do not hold the encoder back: a few packets.
const WINDOW_MIN: usize = 6_000;

/// A report on a packet takes the round trip and at most this.
const REPORT_DELAY: Duration = Duration::from_millis(15);

/// Longest wait between two probes of a path that seems dead.
const PROBE_INTERVAL_MAX: Duration = Duration::from_millis(250);

/// Probes without an answer after which the path counts as dead.
const PROBES_UNTIL_DEAD: u32 = 2;

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

/// What to hand to QUIC next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// The buffer holds a datagram.
    Datagram,
    /// The buffer holds the next bytes of an update's own stream.
    Stream {
        /// Epoch of the update.
        epoch: Epoch,
        /// Its number.
        update: u32,
        /// The stream is to be opened.
        is_first: bool,
        /// The stream ends here.
        is_last: bool,
    },
    /// So many bytes of clipboard or files may be written; tell by
    /// [`Sender::handle_bulk_sent`] how many were.
    Bulk {
        /// At most.
        bytes_max: usize,
    },
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
    repairs: VecDeque<Repair>,
    sounds: VecDeque<Sound>,
    sound_number: u16,
    /// Buffers of sounds that have left.
    spare_sounds: Vec<Sound>,
    cursor: Option<Cursor>,
    cursor_number: u16,
    ping: Option<Ping>,
    reset: Option<(Epoch, u32)>,
    has_bulk: bool,
    bulk: Pacer,
    pacer: Pacer,
    reports: Reports,
    recovery: Recovery,
    /// Counts the packets that feedback speaks of.
    packet: u16,
    datagram_max: usize,
    /// When something that asks for an answer last left, or an answer came.
    last_sign: Instant,
    probes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Repair {
    update: u32,
    index: usize,
}

/// Which fragment of an update leaves.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// The next of the first flight.
    Next,
    /// One that is sent because something is missing.
    Repair(usize),
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
            repairs: VecDeque::new(),
            sounds: VecDeque::new(),
            sound_number: 0,
            spare_sounds: Vec::new(),
            cursor: None,
            cursor_number: 0,
            ping: None,
            reset: None,
            has_bulk: false,
            bulk: Pacer::new(),
            pacer: Pacer::new(),
            reports: Reports::new(config.rate),
            recovery,
            packet: 0,
            datagram_max: DATAGRAM_BYTES_MIN,
            last_sign: now,
            probes: 0,
        }
    }

    /// Rate that the encoder should aim for, parity taken off.
    pub fn target(&self) -> Bitrate {
        self.reports.target()
    }

    /// Whether the next update is welcome.
    pub fn readiness(&mut self) -> Readiness {
        if self.probes >= PROBES_UNTIL_DEAD {
            return Readiness::Busy;
        }
        if self.recovery.needs_whole() {
            return Readiness::NeedsWhole;
        }
        let is_full = self.reports.in_flight_bytes() > self.window();
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
        self.pacer = Pacer::new();
        self.set_rate(now);
        self.probes = 0;
        self.last_sign = now;
        self.repairs.clear();
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
        let has_news =
            header.epoch == self.epoch && self.sent.release(header.delivered, &mut self.packetizer);
        if has_news || !feedback.arrivals.is_empty() {
            self.probes = 0;
            self.last_sign = now;
        }
        self.set_rate(now);
    }

    /// The viewer misses fragments.
    pub fn handle_nack(&mut self, now: Instant, nack: &Nack<'_>) {
        if nack.epoch != self.epoch {
            return;
        }
        self.probes = 0;
        self.last_sign = now;
        for wanted in nack.iter() {
            let room = REPAIRS_MAX - self.repairs.len();
            let repairs = &mut self.repairs;
            self.sent.change(wanted.update, |update| {
                let Carriage::Datagrams(fragments) = &mut update.carriage else {
                    return;
                };
                for _ in 0..fragments.answer(wanted).min(room) {
                    fragments.queued += 1;
                    repairs.push_back(Repair {
                        update: wanted.update,
                        index: fragments.next_repair(),
                    });
                }
            });
        }
    }

    /// The viewer cannot wait for some video any longer.
    pub fn handle_reference_lost(&mut self, now: Instant, lost: &ReferenceLost) {
        if lost.epoch == self.epoch && self.sent.may_give_up(lost.first, lost.last) {
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
        self.recovery
            .handle_timeout(now, self.reports.round_trip().smooth());
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
        [paced, probe, self.recovery.poll_timeout()]
            .into_iter()
            .fold(self.reports.poll_timeout(), Deadline::soonest)
    }

    /// Asks the encoder or the composer for something.
    pub fn poll_demand(&mut self) -> Option<Demand> {
        self.recovery.poll_demand()
    }

    /// A stream that is to be reset: what it carries is superseded.
    pub fn poll_reset(&mut self) -> Option<(Epoch, u32)> {
        self.reset.take()
    }

    /// Hands out what leaves next, written into `out`; `None` until the next deadline or input.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        loop {
            let waiting = self.waiting();
            let is_open = self.pacer.is_open(now);
            let may_bulk = self.bulk.is_open(now);
            let transmit = match scheduler::next(&waiting, is_open, may_bulk)? {
                Class::Sound => self.transmit_sound(now, out),
                Class::Cursor => self.transmit_cursor(out),
                Class::Repair => self.transmit_repair(now, out),
                Class::Update | Class::Refinement => self.transmit_update(now, out),
                Class::Parity => self.transmit_parity(now, out),
                Class::Bulk => {
                    return Some(Transmit::Bulk {
                        bytes_max: STREAM_CHUNK,
                    });
                }
            };
            if let Some(transmit) = transmit {
                self.pacer.handle_sent(now, out.len());
                return Some(transmit);
            }
        }
    }

    /// Bytes of memory that grow with what waits.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.sent.bytes()
    }

    fn waiting(&mut self) -> Waiting {
        let waits = self.sent.waiting().is_some();
        Waiting {
            sound: self.ping.is_some() || !self.sounds.is_empty(),
            cursor: self.cursor.is_some(),
            repair: !self.repairs.is_empty(),
            update: waits.then(|| OnlyRefinement(self.sent.waits_only_for_refinement())),
            parity: self.sent.waiting_parity().is_some(),
            bulk: self.has_bulk,
        }
    }

    fn transmit_sound(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(Ping { number }) = self.ping.take() {
            let clock = self.clock(now);
            Pong { number, clock }.encode_into(out);
            return Some(Transmit::Datagram);
        }
        let sound = self.sounds.pop_front()?;
        self.sound_number = self.sound_number.wrapping_add(1);
        let header = SoundHeader {
            epoch: self.epoch,
            packet: self.packet,
            number: self.sound_number,
            taken: sound.taken,
        };
        header.encode_into(&sound.bytes, out);
        self.spare_sounds.push(sound);
        self.count_packet(now, out.len());
        Some(Transmit::Datagram)
    }

    fn transmit_cursor(&mut self, out: &mut Vec<u8>) -> Option<Transmit> {
        self.cursor.take()?.encode_into(out);
        Some(Transmit::Datagram)
    }

    fn transmit_repair(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let Repair { update, index } = self.repairs.pop_front()?;
        self.transmit_fragment(now, update, Which::Repair(index), out)
    }

    fn transmit_update(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let number = self.sent.waiting()?;
        let update = self.sent.get_mut(number)?;
        match &update.carriage {
            Carriage::Datagrams(_) => self.transmit_fragment(now, number, Which::Next, out),
            Carriage::Stream { written } => {
                let is_first = *written == 0;
                out.clear();
                if is_first {
                    out.extend(stream_header(self.epoch, update).encode());
                }
                out.extend(update.write(STREAM_CHUNK));
                let is_last = update.is_out();
                if is_last {
                    self.sent.change(number, |it| it.forget_bytes());
                }
                self.last_sign = now;
                Some(Transmit::Stream {
                    epoch: self.epoch,
                    update: number,
                    is_first,
                    is_last,
                })
            }
            Carriage::Void => None,
        }
    }

    fn transmit_parity(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        let number = self.sent.waiting_parity()?;
        self.transmit_fragment(now, number, Which::Next, out)
    }

    fn transmit_fragment(
        &mut self,
        now: Instant,
        number: u32,
        which: Which,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let (epoch, packet, sent) = (self.epoch, self.packet, self.clock(now) as u32);
        let packetizer = &mut self.packetizer;
        self.sent.change(number, |update| {
            let Carriage::Datagrams(fragments) = &mut update.carriage else {
                return None;
            };
            let index = match which {
                Which::Next => {
                    fragments.left += 1;
                    fragments.left - 1
                }
                Which::Repair(index) => {
                    fragments.queued = fragments.queued.saturating_sub(1);
                    index
                }
            };
            let parity = fragments.unasked() as u8;
            let header = FragmentHeader {
                flags: FragmentFlags {
                    is_repair: matches!(which, Which::Repair(_)),
                    ..update.flags()
                },
                epoch,
                packet,
                update: number,
                sent,
                // Updates in datagrams are at most 65,535 bytes, fragments fewer than 256.
                length: update.length as u16,
                index: index as u8,
                parity,
                void: update.void,
            };
            out.clear();
            out.extend(header.encode());
            out.extend(packetizer.shard(update, index));
            Some(())
        })??;
        self.count_packet(now, out.len());
        self.last_sign = now;
        Some(Transmit::Datagram)
    }

    /// The packet in hand is one that feedback will speak of.
    fn count_packet(&mut self, now: Instant, bytes: usize) {
        self.reports.handle_sent(now, self.packet, bytes);
        self.packet = self.packet.wrapping_add(1);
    }

    fn begin_epoch(&mut self) {
        if let Some(number) = self.sent.waiting()
            && let Some(update) = self.sent.get_mut(number)
            && matches!(update.carriage, Carriage::Stream { written: 1.. })
        {
            self.reset = Some((self.epoch, number));
        }
        self.epoch = self.epoch.next();
        self.forget();
        self.recovery.handle_whole();
    }

    fn forget(&mut self) {
        self.sent.restart(&mut self.packetizer);
        self.repairs.clear();
    }

    /// Returns what the next update says about those given up.
    fn give_up_video(&mut self, first: u32) -> u32 {
        let void = self.sent.give_up_video(first);
        if void.is_none() {
            self.recovery.handle_gone();
            self.forget();
        }
        void.unwrap_or_default()
    }

    /// The tail of what was sent may be lost without a trace: the newest update is touched again,
    /// and the viewer's answer tells what is missing.
    fn probe(&mut self, now: Instant) {
        self.probes += 1;
        self.last_sign = now;
        let Some(number) = self.sent.newest_in_datagrams() else {
            return;
        };
        let repairs = &mut self.repairs;
        self.sent.change(number, |update| {
            if let Carriage::Datagrams(fragments) = &mut update.carriage {
                fragments.queued += 1;
                repairs.push_back(Repair {
                    update: number,
                    index: fragments.next_repair(),
                });
            }
        });
    }

    fn probe_at(&self) -> Option<Instant> {
        if !self.repairs.is_empty() {
            return None;
        }
        self.sent.newest_in_datagrams()?;
        let round_trip = self.reports.round_trip().smooth();
        let patience = round_trip + (round_trip / 2).max(REPORT_DELAY);
        let factor = 1 << self.probes.min(8);
        Some(self.last_sign + (patience * factor).min(PROBE_INTERVAL_MAX.max(patience)))
    }

    fn window(&self) -> usize {
        let time = self.reports.round_trip().smallest() + QUEUE_ALLOWED;
        let bits = self.reports.target().bps() as f64 * time.as_secs_f64();
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

fn stream_header(epoch: Epoch, update: &super::packetize::SentUpdate) -> StreamHeader {
    StreamHeader {
        flags: update.flags(),
        epoch,
        update: update.number,
        void: update.void,
        // At most `UPDATE_BYTES_MAX`.
        length: update.length as u32,
    }
}
