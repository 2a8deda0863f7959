//! A viewer's frames: from the worker's access units to RTP, key frames, target and flow.

use std::time::{Duration, Instant};

use sandbox_protocol::Bitrate;
use sandbox_protocol::local::access_unit::AccessUnitHeader;
use sandbox_protocol::local::worker::ToWorker;
use sandbox_protocol::wire::ctl::ToPage;
use str0m::Input;
use str0m::media::{MediaTime, Mid, Pt};

use super::{Phase, Viewer, broken};
use crate::media::flow::{Flow, Link};
use crate::media::keyframes::{Keyframes, SentFrame};
use crate::media::timeline::RtpClock;
use crate::media::{LeftReason, offer};

/// Round trip assumed until one is measured.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(50);

/// Change of the target that the worker is told, in percent: less is noise.
const TARGET_STEP_PERCENT: u64 = 7;

/// The state of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    video: Option<(Mid, Pt)>,
    clock: RtpClock,
    keyframes: Keyframes,
    flow: Flow,
    /// A key frame has been sent: what follows can be decoded.
    is_decodable: bool,
    /// Stamps of the frame just sent, to be told when it has left.
    stamps: Option<Stamps>,
}

#[derive(Debug)]
struct Stamps {
    header: AccessUnitHeader,
    rtp: u32,
    bytes: usize,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            video: None,
            clock: RtpClock::default(),
            keyframes: Keyframes::new(),
            flow: Flow::new(),
            is_decodable: false,
            stamps: None,
        }
    }
}

impl Stream {
    /// The next frame that can be decoded is a key frame of another worker.
    pub(super) const fn handle_rewired(&mut self) {
        self.is_decodable = false;
        self.flow = Flow::new();
    }
}

impl Viewer {
    /// An encoded frame of the worker.
    pub(in crate::media) fn handle_access_unit(
        &mut self,
        now: Instant,
        header: AccessUnitHeader,
        payload: &[u8],
    ) -> Result<(), LeftReason> {
        let is_wanted = self.stream.is_decodable || header.is_keyframe;
        let (Phase::Connected, Some((mid, pt)), true) = (self.phase, self.stream.video, is_wanted)
        else {
            self.counters.frames_dropped += 1;
            return Ok(());
        };
        let rtp = self
            .stream
            .clock
            .stamp(header.captured, self.timeline.micros(now));
        let writer = self.rtc.writer(mid).ok_or(LeftReason::Closed)?;
        writer
            .playout_delay(MediaTime::ZERO, MediaTime::ZERO)
            .write(pt, now, MediaTime::from_90khz(rtp), payload)
            .map_err(broken)?;
        // RTP carries the low 32 bits, and so does what the page reports.
        let rtp = rtp as u32;
        self.stream.is_decodable = true;
        self.stream.keyframes.handle_sent(
            now,
            SentFrame {
                rtp,
                bytes: payload.len(),
                is_keyframe: header.is_keyframe,
                target: self.rate.target(),
            },
        );
        self.stream.stamps = self.channels.is_overlay_open.then_some(Stamps {
            header,
            rtp,
            bytes: payload.len(),
        });
        self.counters.frames += 1;
        self.counters.keyframes += u64::from(header.is_keyframe);
        self.rtc.handle_input(Input::Timeout(now)).map_err(broken)?;
        self.settle(now)
    }

    /// What was sent has left the machine: time for the overlay's stamps.
    pub(in crate::media) fn handle_left(&mut self, now: Instant) -> Result<(), LeftReason> {
        let Some(stamps) = self.stream.stamps.take() else {
            return Ok(());
        };
        let header = stamps.header;
        let frame = ToPage::Frame {
            rtp: stamps.rtp,
            input_seq: header.input_seq,
            injected: header.injected.0,
            damaged: header.damaged.0,
            captured: header.captured.0,
            encoded: header.encoded.0,
            sent: self.timeline.micros(now).0,
            qp: header.qp,
            bytes: u32::try_from(stamps.bytes).unwrap_or(u32::MAX),
            target_kbps: u32::try_from(self.told_target.as_kbps()).unwrap_or(u32::MAX),
        };
        self.write_ctl(now, &frame)?;
        self.settle(now)
    }

    /// Whether [`handle_left`](Self::handle_left) has something to say.
    pub(in crate::media) const fn has_stamps(&self) -> bool {
        self.stream.stamps.is_some()
    }

    pub(super) fn handle_media(&mut self, mid: Mid) {
        if self.stream.video.is_none() {
            self.stream.video = offer::h264(&mut self.rtc, mid).map(|pt| (mid, pt));
        }
    }

    /// The connection stands: frames begin, with a key frame.
    pub(super) fn start_stream(&mut self, now: Instant) {
        self.stream.keyframes.handle_connected(now);
        self.outputs.to_worker.push(ToWorker::Keyframe);
    }

    pub(super) fn handle_keyframe_request(&mut self, now: Instant) {
        self.counters.plis_received += 1;
        if self.stream.keyframes.handle_request(now) {
            self.answer_keyframe_request();
        }
    }

    pub(super) fn handle_presented(&mut self, rtp: u32) {
        self.stream.keyframes.handle_presented(rtp);
    }

    /// The receiver has reported on packets.
    pub(super) fn handle_arrivals(&mut self) {
        if self.rate.in_flight_bytes() == 0 {
            self.stream.keyframes.handle_arrived();
        }
    }

    pub(super) fn handle_stream_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Connected && self.stream.keyframes.handle_timeout(now) {
            self.answer_keyframe_request();
        }
    }

    pub(super) fn stream_timeout(&self) -> Option<Instant> {
        let rate = self.rate.poll_timeout().map(|it| it.at);
        [rate, self.stream.keyframes.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Tells the worker what the link has become.
    pub(super) fn follow_link(&mut self) {
        let target = self.rate.target();
        if is_step(self.told_target, target) {
            self.told_target = target;
            self.outputs.to_worker.push(ToWorker::Target(target));
        }
        let link = Link {
            outstanding_bytes: self.rate.in_flight_bytes() + self.unsent_bytes,
            target,
            round_trip: self.rate.round_trip().unwrap_or(ROUND_TRIP_UNKNOWN),
        };
        if let Some(is_open) = self.stream.flow.handle_link(link) {
            self.outputs.to_worker.push(ToWorker::Flow(is_open));
        }
    }

    fn answer_keyframe_request(&mut self) {
        self.counters.plis_answered += 1;
        self.outputs.to_worker.push(ToWorker::Keyframe);
    }
}

fn is_step(told: Bitrate, target: Bitrate) -> bool {
    told.bps().abs_diff(target.bps()) * 100 > told.bps() * TARGET_STEP_PERCENT
}
