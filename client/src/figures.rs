//! What a second was like: pictures, bytes, losses, and where the time of a picture goes.

use std::time::{Duration, Instant};

use sandbox_protocol::wire::control::Codec;
use sandbox_protocol::wire::update::Header;
use serde_json::{Value, json};

use crate::connection::Counters;
use crate::net::Way;

/// Presses that wait for their picture; what comes beyond is not measured.
const PRESSES_MAX: usize = 64;

/// Figures of the second that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    /// How the packets travel.
    pub way: Option<Way>,
    /// Codec of the video.
    pub codec: Option<Codec>,
    /// Updates that were applied.
    pub updates: u64,
    /// Bytes of packets that came.
    pub bytes_in: u64,
    /// Bytes of packets that left.
    pub bytes_out: u64,
    /// Packets of media that were sent, and those of them that did not come.
    pub packets: u64,
    /// … lost.
    pub lost: u64,
    /// Round trip.
    pub round_trip: Option<Duration>,
    /// Of the newest update.
    pub stages: Stages,
    /// From the newest press to the picture that contains it.
    pub press: Option<Duration>,
}

/// Where the time of a picture went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// From the damage to the copy.
    pub lag: Duration,
    /// From the copy to the finished update.
    pub encode: Duration,
    /// From there to the viewer, once the server's clock is known.
    pub network: Option<Duration>,
    /// Decoding and painting into the picture.
    pub apply: Duration,
    /// Quantiser of its video; 0 where all that it showed is exact.
    pub qp: u8,
}

/// Collects them.
#[derive(Debug)]
pub struct Figures {
    began: Instant,
    since: Instant,
    before: Counters,
    stages: Stages,
    press: Option<Duration>,
    presses: Vec<(u32, Instant)>,
    way: Option<Way>,
    codec: Option<Codec>,
    last: Second,
}

impl Figures {
    /// Begins to count.
    pub const fn new(now: Instant) -> Self {
        Self {
            began: now,
            since: now,
            before: Counters {
                bytes_in: 0,
                bytes_out: 0,
                packets_sent: 0,
                packets_came: 0,
                updates: 0,
            },
            stages: Stages {
                lag: Duration::ZERO,
                encode: Duration::ZERO,
                network: None,
                apply: Duration::ZERO,
                qp: 0,
            },
            press: None,
            presses: Vec::new(),
            way: None,
            codec: None,
            last: Second {
                way: None,
                codec: None,
                updates: 0,
                bytes_in: 0,
                bytes_out: 0,
                packets: 0,
                lost: 0,
                round_trip: None,
                stages: Stages {
                    lag: Duration::ZERO,
                    encode: Duration::ZERO,
                    network: None,
                    apply: Duration::ZERO,
                    qp: 0,
                },
                press: None,
            },
        }
    }

    /// Another connection begins to count from nothing.
    pub fn restart(&mut self, way: Way) {
        self.way = Some(way);
        self.before = Counters::default();
        self.presses.clear();
    }

    /// The stream is of this codec from here on.
    pub const fn handle_codec(&mut self, codec: Codec) {
        self.codec = Some(codec);
    }

    /// A key or button was pressed: the event of this number.
    pub fn handle_press(&mut self, now: Instant, seq: u32) {
        if self.presses.len() < PRESSES_MAX {
            self.presses.push((seq, now));
        }
    }

    /// An update was applied between two moments; `clock` is the server's at the first.
    pub fn handle_update(
        &mut self,
        (came, applied): (Instant, Instant),
        header: &Header,
        clock: Option<u64>,
    ) {
        let micros = |it: u32| Duration::from_micros(it.into());
        let (lag, encode) = (header.lag.micros(), header.encode.micros());
        // The update's clock has the lower half of the server's.
        let since_copy = clock.map(|it| (it as u32).wrapping_sub(header.captured));
        let network = since_copy.and_then(|it| it.checked_sub(encode));
        self.stages = Stages {
            lag: micros(lag),
            encode: micros(encode),
            // Beyond that the clocks are not known well enough yet.
            network: network.filter(|it| *it < 10_000_000).map(micros),
            apply: applied - came,
            qp: header.qp,
        };
        let newest = header.input_seq;
        let shown = self.presses.iter().rfind(|(seq, _)| *seq <= newest);
        if let Some((_, pressed)) = shown.filter(|_| !header.is_refinement) {
            self.press = Some(applied - *pressed);
            self.presses.retain(|(seq, _)| *seq > newest);
        }
    }

    /// A second is over.
    pub fn handle_second(
        &mut self,
        now: Instant,
        counters: Counters,
        round_trip: Option<Duration>,
    ) -> Second {
        let before = std::mem::replace(&mut self.before, counters);
        let packets = counters.packets_sent - before.packets_sent;
        let came = counters.packets_came - before.packets_came;
        self.since = now;
        self.last = Second {
            way: self.way,
            codec: self.codec,
            updates: counters.updates - before.updates,
            bytes_in: counters.bytes_in - before.bytes_in,
            bytes_out: counters.bytes_out - before.bytes_out,
            packets,
            lost: packets.saturating_sub(came),
            round_trip,
            stages: self.stages,
            press: self.press.take(),
        };
        self.last
    }

    /// When the second is over.
    pub fn next_second(&self) -> Instant {
        self.since + Duration::from_secs(1)
    }

    /// A line for a file.
    pub fn line(&self) -> Value {
        let it = &self.last;
        let ms = |it: Duration| it.as_secs_f64() * 1_000.0;
        json!({
            "t_ms": ms(self.since - self.began),
            "transport": it.way.map(Way::name),
            "codec": it.codec.map(Codec::name),
            "updates": it.updates,
            "bytes_in": it.bytes_in,
            "bytes_out": it.bytes_out,
            "packets": it.packets,
            "lost": it.lost,
            "qp": it.stages.qp,
            "round_trip_ms": it.round_trip.map(ms),
            "lag_ms": ms(it.stages.lag),
            "encode_ms": ms(it.stages.encode),
            "network_ms": it.stages.network.map(ms),
            "apply_ms": ms(it.stages.apply),
            "press_to_picture_ms": it.press.map(ms),
        })
    }
}
