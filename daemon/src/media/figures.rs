//! Frame rate, bitrate and latency by stage of the last seconds, for whoever asks from outside.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sandbox_protocol::Micros;
use sandbox_protocol::local::frame::FrameHeader;

/// How far back figures reach.
const WINDOW: Duration = Duration::from_secs(5);

/// Frames remembered: the window at 60 a second and some more.
const FRAMES_MAX: usize = 512;

/// The frames of one session that left lately.
#[derive(Debug)]
pub(super) struct Figures {
    frames: VecDeque<Frame>,
    newest_input: u32,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    at: Instant,
    bytes: usize,
    /// None where the frame answers no input.
    inject_damage: Option<Duration>,
    damage_capture: Duration,
    capture_encode: Duration,
    encode_send: Duration,
}

/// What is known of the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    /// Frames per second.
    pub fps: f64,
    /// Bits of access units per second, in thousands.
    pub kbps: f64,
    /// From the injection of input to the damage that follows.
    pub inject_damage: Option<Spread>,
    /// From damage to its capture.
    pub damage_capture: Option<Spread>,
    /// From capture to the encoder's return.
    pub capture_encode: Option<Spread>,
    /// From there to the network.
    pub encode_send: Option<Spread>,
}

/// Middle and tail of some durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Half of them are at most this.
    pub p50: Duration,
    /// 95 % of them are at most this.
    pub p95: Duration,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            // All of it at once: frames come without an allocation.
            frames: VecDeque::with_capacity(FRAMES_MAX),
            newest_input: 0,
        }
    }
}

impl Figures {
    /// A frame has left this machine.
    pub(super) fn handle_sent(
        &mut self,
        now: Instant,
        header: &FrameHeader,
        bytes: usize,
        sent: Micros,
    ) {
        // Only the first frame after an event answers it; a later stream counts anew.
        let is_answer = header.input_seq != self.newest_input && header.injected <= header.damaged;
        self.newest_input = header.input_seq;
        if self.frames.len() == FRAMES_MAX {
            self.frames.pop_front();
        }
        self.frames.push_back(Frame {
            at: now,
            bytes,
            inject_damage: is_answer.then(|| between(header.injected, header.damaged)),
            damage_capture: between(header.damaged, header.captured),
            capture_encode: between(header.captured, header.encoded),
            encode_send: between(header.encoded, sent),
        });
    }

    /// What is known at this moment.
    pub(super) fn recent(&self, now: Instant) -> Recent {
        let is_recent = |it: &&Frame| now.saturating_duration_since(it.at) <= WINDOW;
        let frames: Vec<&Frame> = self.frames.iter().filter(is_recent).collect();
        let bytes: usize = frames.iter().map(|it| it.bytes).sum();
        let spread = |stage: fn(&Frame) -> Option<Duration>| {
            spread(frames.iter().filter_map(|it| stage(it)).collect())
        };
        Recent {
            fps: frames.len() as f64 / WINDOW.as_secs_f64(),
            kbps: bytes as f64 * 8.0 / 1_000.0 / WINDOW.as_secs_f64(),
            inject_damage: spread(|it| it.inject_damage),
            damage_capture: spread(|it| Some(it.damage_capture)),
            capture_encode: spread(|it| Some(it.capture_encode)),
            encode_send: spread(|it| Some(it.encode_send)),
        }
    }
}

fn between(from: Micros, to: Micros) -> Duration {
    Duration::from_micros(to.0.saturating_sub(from.0))
}

fn spread(mut samples: Vec<Duration>) -> Option<Spread> {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    let at = |percent: usize| {
        samples
            .get((samples.len() * percent / 100).min(last))
            .copied()
    };
    Some(Spread {
        p50: at(50)?,
        p95: at(95)?,
    })
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::Size;
    use sandbox_protocol::local::frame::Content;

    use super::*;

    fn header(input_seq: u32, encode_ms: u64) -> FrameHeader {
        FrameHeader {
            content: Content::AccessUnit,
            is_keyframe: false,
            is_refinement: false,
            qp: 20,
            frame: 1,
            size: Size {
                width: 640,
                height: 480,
            },
            input_seq,
            injected: Micros(1_000),
            damaged: Micros(3_000),
            captured: Micros(4_000),
            encoded: Micros(4_000 + encode_ms * 1_000),
        }
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn stages_of_the_last_seconds_are_told_by_their_middle_and_tail() {
        let start = crate::clock::now();
        let mut figures = Figures::default();
        assert_eq!(figures.recent(start), Recent::default());
        for number in 1..=100_u32 {
            let header = header(number / 2, number.into());
            let sent = Micros(header.encoded.0 + 500);
            figures.handle_sent(start, &header, 1_250, sent);
        }
        let recent = figures.recent(start + WINDOW);
        assert_eq!((recent.fps, recent.kbps), (20.0, 200.0));
        let spread = |p50, p95| Some(Spread { p50, p95 });
        assert_eq!(recent.inject_damage, spread(millis(2), millis(2)));
        assert_eq!(recent.damage_capture, spread(millis(1), millis(1)));
        assert_eq!(recent.capture_encode, spread(millis(51), millis(96)));
        let half = Duration::from_micros(500);
        assert_eq!(recent.encode_send, spread(half, half));
        let later = start + WINDOW + Duration::from_nanos(1);
        assert_eq!(figures.recent(later), Recent::default());
    }

    #[test]
    fn a_frame_that_answers_nothing_says_nothing_about_input() {
        let start = crate::clock::now();
        let mut figures = Figures::default();
        let mut idle = header(0, 1);
        figures.handle_sent(start, &idle, 1, Micros(9_000));
        idle.input_seq = 5;
        idle.injected = Micros(3_500);
        figures.handle_sent(start, &idle, 1, Micros(9_000));
        let recent = figures.recent(start);
        assert_eq!(recent.inject_damage, None);
        assert!(recent.damage_capture.is_some());
    }

    #[test]
    fn the_memory_of_frames_is_bounded() {
        let start = crate::clock::now();
        let mut figures = Figures::default();
        for _ in 0..10_000 {
            figures.handle_sent(start, &header(1, 1), 1, Micros(0));
        }
        assert_eq!(figures.frames.len(), FRAMES_MAX);
        assert_eq!(figures.frames.capacity(), FRAMES_MAX);
    }
}
