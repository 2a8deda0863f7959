//! A server, a viewer, the two directions between them, and a source of updates, on one clock.

mod outcome;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sandbox_protocol::stream::packetize::UpdateKind;
use sandbox_protocol::stream::rate::RateConfig;
use sandbox_protocol::stream::receiver::Receiver;
use sandbox_protocol::stream::recovery::{Demand, Encoder};
use sandbox_protocol::stream::sender::{Readiness, Sender, SenderConfig, Transmit};
use sandbox_protocol::wire::datagram::{Epoch, FromServer, FromViewer};
use sandbox_protocol::{Bitrate, Micros};

use crate::chance::Chance;
use crate::epoch;
use crate::link::Link;
use crate::reliable::{Come, Readers, SEGMENT, Segment, Writers, resend_at};

/// Steps of one world; a machine that spins is found by it.
const STEPS_MAX: u64 = 1_000_000;

/// Packets that leave at one moment.
const AT_ONCE_MAX: u64 = 10_000;

/// What is on its way.
#[derive(Debug)]
enum Carried {
    ToViewer(Vec<u8>),
    ToServer(Vec<u8>),
    Segment(Segment),
    /// A segment that was lost.
    Resend(Segment),
    /// All of an update's stream is acknowledged.
    Arrived((u16, u32)),
    /// The acknowledgement was lost.
    ArrivedAgain((u16, u32)),
    PathChange,
}

/// An update that came out at the viewer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    pub(crate) made: Instant,
    pub(crate) at: Instant,
    pub(crate) is_video_broken: bool,
}

impl Delivered {
    pub(crate) fn took(&self) -> Duration {
        self.at - self.made
    }
}

/// An update that is on its way.
struct Made {
    at: Instant,
    bytes: Vec<u8>,
    is_video: bool,
}

/// What the screen does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    Still,
    /// Updates of so many bytes.
    Fixed(usize),
    /// Updates that fill the target.
    Filling,
}

pub(crate) struct World {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) down: Link,
    pub(crate) up: Link,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) delivered: Vec<Delivered>,
    pub(crate) delivered_bytes: u64,
    /// Times at which the source would have made an update, and was held back.
    pub(crate) skipped: Vec<Instant>,
    pub(crate) demands: Vec<Demand>,
    /// When each sound was made, and when it came.
    pub(crate) sounds: Vec<(Duration, Duration)>,
    /// Places of the pointer that came.
    pub(crate) places: Vec<u16>,
    pub(crate) bulk_bytes: usize,
    /// Updates are video and nothing else.
    pub(crate) is_video: bool,
    /// Nine in ten of what is sent again are lost.
    pub(crate) loses_repairs: bool,
    /// Bytes of a whole picture.
    pub(crate) whole_bytes: usize,
    pub(crate) interval: Duration,
    /// The server holds back what would wait longer.
    pub(crate) wait_max: Option<Duration>,
    /// Where the viewer is: what was sent to another place is lost.
    place: u32,
    server_knows: u32,
    recovers: bool,
    next_frame: Instant,
    made: BTreeMap<(u16, u32), Made>,
    last: Option<(u16, u32)>,
    carried: BTreeMap<(Instant, u64), (u32, Carried)>,
    count: u64,
    writers: Writers,
    readers: Readers,
    chance: Chance,
    out: Vec<u8>,
    steps: u64,
    seed: u64,
}

pub(crate) const RATE: RateConfig = RateConfig {
    start: Bitrate::kbps(10_000),
    min: Bitrate::kbps(150),
    max: Bitrate::kbps(50_000),
};

const fn config(rate: RateConfig) -> SenderConfig {
    SenderConfig {
        rate,
        encoder: Encoder::Invalidates,
        clock: Micros(1_000_000),
    }
}

impl World {
    pub(crate) fn new(seed: u64, one_way: Duration) -> Self {
        Self::with_rate(seed, one_way, RATE)
    }

    pub(crate) fn with_rate(seed: u64, one_way: Duration, rate: RateConfig) -> Self {
        let start = epoch();
        let mut receiver = Receiver::new(start);
        let mut sender = Sender::new(config(rate), start);
        // The handshake has measured it.
        receiver.handle_round_trip(2 * one_way);
        sender.handle_round_trip(start, 2 * one_way);
        Self {
            start,
            now: start,
            down: Link::new(seed ^ 0xd0, one_way),
            up: Link::new(seed ^ 0x0b, one_way),
            sender,
            receiver,
            delivered: Vec::new(),
            delivered_bytes: 0,
            skipped: Vec::new(),
            demands: Vec::new(),
            sounds: Vec::new(),
            places: Vec::new(),
            bulk_bytes: 0,
            is_video: false,
            loses_repairs: false,
            whole_bytes: 20_000,
            interval: Duration::from_micros(16_667),
            wait_max: None,
            place: 0,
            server_knows: 0,
            recovers: false,
            next_frame: start,
            made: BTreeMap::new(),
            last: None,
            carried: BTreeMap::new(),
            count: 0,
            writers: Writers::default(),
            readers: Readers::default(),
            chance: Chance::new(seed),
            out: Vec::new(),
            steps: 0,
            seed,
        }
    }

    /// The server knows that it speaks inside TCP, and sends no more than real ones do.
    pub(crate) fn in_order(mut self) -> Self {
        let rate = RateConfig {
            max: Bitrate::kbps(20_000),
            ..RATE
        };
        self.sender = Sender::new(config(rate), self.start).in_order();
        self
    }

    /// The viewer says what its path took last time.
    pub(crate) fn hinted(seed: u64, one_way: Duration, kbps: u64) -> Self {
        let mut world = Self::new(seed, one_way);
        world.sender.handle_hint(Bitrate::kbps(kbps));
        world
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration, content: Content) -> &mut Self {
        let end = self.now + time;
        self.next_frame = self.next_frame.max(self.now);
        loop {
            let frame = match content {
                Content::Still => None,
                Content::Fixed(_) | Content::Filling => Some(self.next_frame),
            };
            let room = self.room_at();
            let sender = self.sender.poll_timeout().map(|it| it.at);
            let sender = sender.map(|it| room.map_or(it, |room| it.max(room)));
            let receiver = self.receiver.poll_timeout().map(|it| it.at);
            let deadlines = [sender, receiver, room].into_iter().flatten();
            let arrival = self.carried.keys().next().map(|(at, _)| *at);
            let next = deadlines.chain(frame).chain(arrival).min();
            let Some(next) = next.filter(|it| *it <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.step(content, frame);
        }
        self.now = end;
        self
    }

    fn step(&mut self, content: Content, frame: Option<Instant>) {
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "seed {}: too many steps", self.seed);
        while let Some(entry) = self
            .carried
            .first_entry()
            .filter(|it| it.key().0 <= self.now)
        {
            let (place, carried) = entry.remove();
            self.arrive(place, carried);
        }
        self.sender.handle_timeout(self.now);
        self.receiver.handle_timeout(self.now);
        while let Some(demand) = self.sender.poll_demand() {
            self.demands.push(demand);
            self.recovers |= demand != Demand::Whole;
        }
        if frame.is_some_and(|it| it <= self.now) {
            self.make(content);
            self.next_frame += self.interval;
        }
        self.drain();
    }

    fn make(&mut self, content: Content) {
        let bytes = match (self.sender.readiness(), content) {
            (_, Content::Still) => return,
            (Readiness::Busy, _) => {
                self.skipped.push(self.now);
                return;
            }
            (Readiness::NeedsWhole, _) => {
                let kind = UpdateKind {
                    is_whole: true,
                    ..UpdateKind::default()
                };
                self.send(self.whole_bytes, kind);
                return;
            }
            (Readiness::Ready, Content::Fixed(bytes)) => bytes,
            (Readiness::Ready, Content::Filling) => {
                let bits = self.sender.target().bps() as f64 * self.interval.as_secs_f64();
                (bits / 8.0) as usize
            }
        };
        let kind = UpdateKind {
            is_video_only: self.is_video,
            recovers: std::mem::take(&mut self.recovers),
            ..UpdateKind::default()
        };
        self.send(bytes, kind);
    }

    pub(crate) fn send(&mut self, bytes: usize, kind: UpdateKind) {
        let is_sent = self.try_send(bytes, kind);
        assert!(is_sent, "seed {}: a whole picture is needed", self.seed);
    }

    /// Returns whether the update could be sent.
    pub(crate) fn try_send(&mut self, bytes: usize, kind: UpdateKind) -> bool {
        let mut content = vec![0; bytes.max(1)];
        self.chance.fill(&mut content);
        let sent = self.sender.handle_update(self.now, &content, kind);
        let Ok((epoch, update)) = sent else {
            return false;
        };
        let made = Made {
            at: self.now,
            bytes: content,
            is_video: kind.is_video_only,
        };
        self.made.insert((epoch.0, update), made);
        true
    }

    /// Hands out everything that can leave now.
    pub(crate) fn drain(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        let mut sent = 0;
        while self.room_at().is_none()
            && let Some(transmit) = self.sender.poll_transmit(self.now, &mut out)
        {
            sent += 1;
            assert!(sent < AT_ONCE_MAX, "seed {}: the server spins", self.seed);
            match transmit {
                Transmit::Datagram => self.carry_down(Carried::ToViewer(out.clone())),
                Transmit::Stream {
                    epoch,
                    update,
                    is_last,
                    ..
                } => {
                    for segment in self.writers.write(epoch, update, &out, is_last) {
                        self.carry_down(Carried::Segment(segment));
                    }
                }
                Transmit::Bulk { bytes_max } => {
                    self.sender.handle_bulk_sent(self.now, bytes_max);
                    self.bulk_bytes += bytes_max;
                    for _ in 0..bytes_max.div_ceil(SEGMENT) {
                        self.down.carry(self.now, SEGMENT);
                    }
                }
            }
        }
        while self.receiver.poll_datagram(self.now, &mut out).is_some() {
            sent += 1;
            assert!(sent < AT_ONCE_MAX, "seed {}: the viewer spins", self.seed);
            let arrivals = self.up.carry(self.now, out.len());
            for at in arrivals.into_iter().flatten() {
                self.put(at, Carried::ToServer(out.clone()));
            }
        }
        self.out = out;
        self.take_updates();
    }

    /// When what is held back may leave; `None`: now.
    fn room_at(&self) -> Option<Instant> {
        let room_at = self.down.free_at? - self.wait_max?;
        Some(room_at).filter(|it| *it > self.now)
    }

    fn take_updates(&mut self) {
        while let Some(update) = self.receiver.poll_update() {
            let name = (update.epoch.0, update.number);
            assert!(self.last < Some(name), "seed {}: {name:?} again", self.seed);
            self.last = Some(name);
            let later = self.made.split_off(&name);
            // What was passed over was of an epoch before, or video that was given up.
            for (passed, it) in std::mem::replace(&mut self.made, later) {
                let is_right = passed.0 != name.0 || it.is_video;
                assert!(is_right, "seed {}: {name:?} before {passed:?}", self.seed);
            }
            let made = self.made.remove(&name).expect("an update that was made");
            assert!(made.bytes == update.bytes, "seed {}: {name:?}", self.seed);
            self.delivered_bytes += update.bytes.len() as u64;
            self.delivered.push(Delivered {
                made: made.at,
                at: self.now,
                is_video_broken: update.is_video_broken,
            });
        }
    }

    fn carry_down(&mut self, carried: Carried) {
        // The first bit of the flags of a fragment.
        let is_repair = matches!(&carried, Carried::ToViewer(it) if it[0] == 3 && it[1] & 1 == 1);
        if is_repair && self.loses_repairs && self.chance.happens(0.9) {
            return;
        }
        let bytes = match &carried {
            Carried::ToViewer(bytes) | Carried::ToServer(bytes) => bytes.len(),
            Carried::Segment(it) | Carried::Resend(it) => it.bytes.len(),
            Carried::Arrived(_) | Carried::ArrivedAgain(_) | Carried::PathChange => 0,
        };
        match (self.down.carry(self.now, bytes), carried) {
            ([None, _], Carried::Segment(segment)) => {
                let at = resend_at(self.now, self.down.one_way + self.up.one_way);
                self.put(at, Carried::Resend(segment));
            }
            ([first, copy], Carried::ToViewer(bytes)) => {
                for at in [first, copy].into_iter().flatten() {
                    self.put(at, Carried::ToViewer(bytes.clone()));
                }
            }
            ([Some(at), _], carried) => self.put(at, carried),
            ([None, _], _) => (),
        }
    }

    fn carry_arrived(&mut self, name: (u16, u32)) {
        match self.up.carry(self.now, 30) {
            [Some(at), _] => self.put(at, Carried::Arrived(name)),
            [None, _] => {
                let at = resend_at(self.now, self.down.one_way + self.up.one_way);
                self.put(at, Carried::ArrivedAgain(name));
            }
        }
    }

    fn put(&mut self, at: Instant, carried: Carried) {
        self.count += 1;
        let place = match carried {
            Carried::ToServer(_)
            | Carried::Arrived(_)
            | Carried::ArrivedAgain(_)
            | Carried::PathChange => self.place,
            Carried::ToViewer(_) | Carried::Segment(_) | Carried::Resend(_) => self.server_knows,
        };
        self.carried.insert((at, self.count), (place, carried));
    }

    fn arrive(&mut self, place: u32, carried: Carried) {
        match carried {
            // A viewer that has moved hears nothing of what was sent to its old place.
            Carried::ToViewer(_) if place != self.place => (),
            Carried::Segment(segment) if place != self.place => {
                let at = resend_at(self.now, self.down.one_way + self.up.one_way);
                self.put(at, Carried::Resend(segment));
            }
            Carried::ToViewer(bytes) => self.arrive_at_viewer(&bytes),
            Carried::Segment(segment) => {
                for come in self.readers.handle_segment(segment) {
                    match come {
                        Come::Header(header) => {
                            self.receiver.handle_stream(self.now, &header);
                        }
                        Come::Whole(header, bytes) => {
                            let receiver = &mut self.receiver;
                            receiver
                                .handle_stream_update(self.now, &header, bytes)
                                .unwrap();
                            self.carry_arrived((header.epoch.0, header.update));
                        }
                    }
                }
            }
            Carried::Resend(segment) => self.carry_down(Carried::Segment(segment)),
            Carried::ArrivedAgain(name) => self.carry_arrived(name),
            Carried::ToServer(_) | Carried::Arrived(_) | Carried::PathChange
                if place != self.server_knows =>
            {
                self.server_knows = place;
                self.sender.handle_path_change(self.now);
                self.arrive(place, carried);
            }
            Carried::ToServer(bytes) => self.arrive_at_server(&bytes),
            Carried::Arrived((epoch, update)) => {
                let name = (Epoch(epoch), update);
                self.sender.handle_stream_arrived(self.now, name);
            }
            Carried::PathChange => (),
        }
    }

    fn arrive_at_viewer(&mut self, bytes: &[u8]) {
        match FromServer::decode(bytes).unwrap() {
            FromServer::Fragment(it) => self.receiver.handle_fragment(self.now, &it).unwrap(),
            FromServer::Pong(it) => self.receiver.handle_pong(self.now, it),
            FromServer::Sound(header, _) => {
                self.receiver.handle_sound(self.now, &header);
                let taken = Duration::from_micros(u64::from(header.taken));
                self.sounds.push((taken, self.now - self.start));
            }
            FromServer::Cursor(it) => self.places.push(it.x),
            FromServer::InputAck { .. } => (),
        }
    }

    fn arrive_at_server(&mut self, bytes: &[u8]) {
        match FromViewer::decode(bytes).unwrap() {
            FromViewer::Feedback(it) => self.sender.handle_feedback(self.now, &it),
            FromViewer::Nack(it) => self.sender.handle_nack(self.now, &it),
            FromViewer::ReferenceLost(it) => self.sender.handle_reference_lost(self.now, &it),
            FromViewer::Ping(it) => self.sender.handle_ping(it),
            FromViewer::Input(_) => (),
        }
    }

    /// The viewer has another address, and says so at once.
    pub(crate) fn move_viewer(&mut self) {
        self.place += 1;
        self.receiver.handle_path_change(self.now);
        let [Some(at), _] = self.up.carry(self.now, 20) else {
            return;
        };
        self.put(at, Carried::PathChange);
        self.drain();
    }

    /// Both directions are dead for so long.
    pub(crate) fn cut(&mut self, time: Duration) {
        self.down.dead_until = Some(self.now + time);
        self.up.dead_until = Some(self.now + time);
    }
}
