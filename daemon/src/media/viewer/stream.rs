//! A viewer's frames: from the worker's access units to RTP, key frames, target and flow.
//!
//! The worker follows the link of the viewer in control. An observer whose link is full gets no
//! frame until half of it has drained, and then goes on with a key frame.

use std::time::{Duration, Instant};

use sandbox_protocol::Bitrate;
use sandbox_protocol::local::frame::FrameHeader;
use sandbox_protocol::local::worker::ToWorker;
use sandbox_protocol::wire::ctl::ToPage;
use str0m::Input;
use str0m::media::{MediaTime, Mid, Pt};

use super::{LeftFrame, Phase, Viewer, broken};
use crate::media::flow::{Flow, Link};
use crate::media::keyframes::{Keyframes, SentFrame, Wish};
use crate::media::tail::Tail;
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
    pub(super) tail: Tail,
    flow: Flow,
    /// A key frame has been sent: what follows can be decoded.
    is_decodable: bool,
    /// Stamps of the frame just sent, to be told when it has left.
    stamps: Option<Stamps>,
}

#[derive(Debug)]
struct Stamps {
    header: FrameHeader,
    rtp: u32,
    bytes: usize,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            video: None,
            clock: RtpClock::default(),
            keyframes: Keyframes::new(),
            tail: Tail::default(),
            flow: Flow::new(),
            is_decodable: false,
            stamps: None,
        }
    }
}

impl Stream {
    /// Whether the link takes more.
    pub(super) const fn is_open(&self) -> bool {
        self.flow.is_open()
    }

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
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), LeftReason> {
        let is_behind = self.control.is_none() && !self.stream.flow.is_open();
        self.stream.is_decodable &= !is_behind;
        let is_wanted = !is_behind && (self.stream.is_decodable || header.is_keyframe);
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
        self.stream.tail.handle_frame();
        self.stream.keyframes.handle_sent(
            now,
            SentFrame {
                rtp,
                bytes: payload.len(),
                is_keyframe: header.is_keyframe,
                target: self.rate.target(),
            },
        );
        self.stream.stamps = Some(Stamps {
            header,
            rtp,
            bytes: payload.len(),
        });
        self.counters.frames += 1;
        self.counters.keyframes += u64::from(header.is_keyframe);
        self.rtc.handle_input(Input::Timeout(now)).map_err(broken)?;
        self.settle(now)
    }

    /// What was sent has left the machine: time for the last stamp.
    pub(in crate::media) fn handle_left(&mut self, now: Instant) -> Result<(), LeftReason> {
        let Some(stamps) = self.stream.stamps.take() else {
            return Ok(());
        };
        let Stamps { header, rtp, bytes } = stamps;
        let sent = self.timeline.micros(now);
        self.outputs.left = Some(LeftFrame {
            header,
            bytes,
            sent,
        });
        if !self.channels.is_overlay_open {
            return Ok(());
        }
        let frame = ToPage::Frame {
            rtp,
            // An observer's page would take another page's numbers for its own.
            input_seq: self.control.as_ref().map_or(0, |_| header.input_seq),
            injected: header.injected.0,
            damaged: header.damaged.0,
            captured: header.captured.0,
            encoded: header.encoded.0,
            sent: sent.0,
            qp: header.qp,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
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
        self.outputs.wishes.keyframe = true;
    }

    /// Frames that were left out may come again, where they can be decoded.
    pub(super) fn resume_stream(&mut self) {
        if self.phase == Phase::Connected && !self.stream.is_decodable {
            self.outputs.wishes.keyframe = true;
        }
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
    pub(super) fn handle_arrivals(&mut self, now: Instant) {
        if self.stream.tail.is_missing() {
            self.stream.keyframes.handle_missing(now);
        } else if self.rate.in_flight_bytes() == 0 {
            self.stream.keyframes.handle_arrived();
        }
    }

    pub(super) fn handle_stream_timeout(&mut self, now: Instant) {
        if self.phase != Phase::Connected {
            return;
        }
        match self.stream.keyframes.handle_timeout(now) {
            Some(Wish::Touch) => self.outputs.to_worker.push(ToWorker::Touch),
            Some(Wish::Keyframe) => self.answer_keyframe_request(),
            None => {}
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
            if self.control.is_some() {
                self.outputs.to_worker.push(ToWorker::Target(target));
            }
        }
        let link = Link {
            outstanding_bytes: self.rate.in_flight_bytes() + self.unsent_bytes,
            target,
            round_trip: self.rate.round_trip().unwrap_or(ROUND_TRIP_UNKNOWN),
        };
        match (self.stream.flow.handle_link(link), &self.control) {
            (Some(is_open), Some(_)) => self.outputs.to_worker.push(ToWorker::Flow(is_open)),
            (Some(true), None) => self.resume_stream(),
            (Some(false), None) | (None, _) => {}
        }
    }

    fn answer_keyframe_request(&mut self) {
        self.counters.plis_answered += 1;
        self.outputs.wishes.keyframe = true;
    }
}

/// Whether a worker is told of a target at all.
pub(in crate::media) fn is_step(told: Bitrate, target: Bitrate) -> bool {
    told.bps().abs_diff(target.bps()) * 100 > told.bps() * TARGET_STEP_PERCENT
}
