//! Finds out whether a desktop comes up and answers keys, and how fast.

use std::time::{Duration, Instant};

use sandbox_protocol::wire::input::Event;
use sandbox_protocol::wire::update::Header;
use serde_json::{Value, json};

use crate::net::Way;

/// A desktop that shows nothing by then has not come up.
const PICTURE_MAX: Duration = Duration::from_secs(20);

/// The picture is still for so long before the first key, so that a program waits for it …
const STILL: Duration = Duration::from_millis(300);

/// … or moves for so long that it never will be.
const STILL_WAIT_MAX: Duration = Duration::from_secs(3);

/// A key without a pixel by then has failed.
const PIXEL_MAX: Duration = Duration::from_secs(2);

/// Keys that are measured.
const PRESSES: usize = 10;

/// Between a pixel and the next key, so that one's blink is not the other's answer.
const PAUSE: Duration = Duration::from_millis(50);

/// A letter, and what takes it away: code and keysym.
const KEYS: [(u16, u32); 2] = [(45, 0x78), (14, 0xff08)];

/// How a probe went, once it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// A desktop came up and answered.
    pub is_ok: bool,
    /// The line to print.
    pub line: Value,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// For the first picture.
    Waiting,
    /// For a still picture, or until a time.
    Settling {
        still_at: Instant,
        until: Instant,
    },
    /// The next key is due.
    Pausing(Instant),
    /// For the pixel of a key.
    Pressed {
        seq: u32,
        at: Instant,
    },
    Over,
}

/// The probe.
#[derive(Debug)]
pub struct Probe {
    began: Instant,
    way: Option<Way>,
    connected: Option<Duration>,
    first_picture: Option<Duration>,
    state: State,
    samples: Vec<Duration>,
}

impl Probe {
    /// One that begins before the connection.
    pub const fn new(now: Instant) -> Self {
        Self {
            began: now,
            way: None,
            connected: None,
            first_picture: None,
            state: State::Waiting,
            samples: Vec::new(),
        }
    }

    /// The server has answered by this way.
    pub const fn handle_answered(&mut self, way: Way) {
        self.way = Some(way);
    }

    /// Attached to a session.
    pub fn handle_attached(&mut self, now: Instant) {
        self.connected.get_or_insert(now - self.began);
    }

    /// An update was applied.
    pub fn handle_update(&mut self, now: Instant, header: &Header) {
        match self.state {
            State::Waiting => {
                self.first_picture = Some(now - self.began);
                self.state = State::Settling {
                    still_at: now + STILL,
                    until: now + STILL_WAIT_MAX,
                };
            }
            State::Settling { until, .. } if !header.is_refinement => {
                self.state = State::Settling {
                    still_at: (now + STILL).min(until),
                    until,
                };
            }
            State::Pressed { seq, at } if header.input_seq >= seq && !header.is_refinement => {
                self.samples.push(now - at);
                self.state = State::Pausing(now + PAUSE);
            }
            State::Settling { .. } | State::Pausing(_) | State::Pressed { .. } | State::Over => (),
        }
    }

    /// Events that are due; tell the number of the first by
    /// [`handle_pressed`](Self::handle_pressed).
    pub fn poll_press(&mut self, now: Instant) -> Option<[Event; 2]> {
        let due = match self.state {
            State::Settling { still_at, .. } => still_at,
            State::Pausing(due) if self.samples.len() < PRESSES => due,
            State::Waiting | State::Pausing(_) | State::Pressed { .. } | State::Over => {
                return None;
            }
        };
        if due > now {
            return None;
        }
        let (code, keysym) = *KEYS.get(self.samples.len() % KEYS.len())?;
        Some([true, false].map(|is_down| Event::Key {
            code,
            keysym,
            is_down,
        }))
    }

    /// The key has the number `seq`.
    pub fn handle_pressed(&mut self, now: Instant, seq: u32) {
        self.state = State::Pressed { seq, at: now };
    }

    /// The outcome, once.
    pub fn poll_outcome(&mut self, now: Instant) -> Option<Outcome> {
        let why = match self.state {
            State::Pausing(_) if self.samples.len() >= PRESSES => None,
            State::Pressed { at, .. } if now >= at + PIXEL_MAX => {
                Some("a key changed no pixel within 2 s")
            }
            State::Waiting if now >= self.began + PICTURE_MAX => {
                Some("no picture came within 20 s")
            }
            State::Waiting
            | State::Settling { .. }
            | State::Pausing(_)
            | State::Pressed { .. }
            | State::Over => return None,
        };
        Some(self.outcome(why))
    }

    /// The connection is over before the probe.
    pub fn fail(&mut self, why: &str) -> Outcome {
        self.outcome(Some(why))
    }

    /// When to poll again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Settling { still_at: due, .. } | State::Pausing(due) => Some(due),
            State::Pressed { at, .. } => Some(at + PIXEL_MAX),
            State::Waiting => Some(self.began + PICTURE_MAX),
            State::Over => None,
        }
    }

    fn outcome(&mut self, why: Option<&str>) -> Outcome {
        self.state = State::Over;
        self.samples.sort_unstable();
        let ms = |it: Duration| (it.as_secs_f64() * 100_000.0).round() / 100.0;
        let at = |hundredths: usize| {
            let index = self.samples.len().saturating_sub(1) * hundredths / 100;
            self.samples.get(index).copied().map(ms)
        };
        let line = json!({
            "ok": why.is_none(),
            "transport": self.way.map(Way::name),
            "connect_ms": self.connected.map(ms),
            "first_picture_ms": self.first_picture.map(ms),
            "key_to_pixel_ms_p50": at(50),
            "key_to_pixel_ms_max": at(100),
            "keys": self.samples.len(),
            "why": why,
        });
        Outcome {
            is_ok: why.is_none(),
            line,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use sandbox_protocol::wire::update::Lapse;

    use super::*;

    fn header(input_seq: u32) -> Header {
        Header {
            whole: None,
            is_refinement: false,
            qp: 0,
            input_seq,
            captured: 0,
            lag: Lapse::from_steps(0),
            encode: Lapse::from_steps(0),
        }
    }

    /// Answers `answered` keys, each after 7 ms.
    fn run(answered: u32) -> Outcome {
        let mut now = Instant::now();
        let mut probe = Probe::new(now);
        now += Duration::from_millis(30);
        probe.handle_answered(Way::WebSocket);
        probe.handle_attached(now);
        now += Duration::from_millis(20);
        probe.handle_update(now, &header(0));
        let mut seq = 0;
        loop {
            if let Some(outcome) = probe.poll_outcome(now) {
                return outcome;
            }
            if let Some([down, _]) = probe.poll_press(now) {
                let (code, keysym) = KEYS[seq as usize % 2];
                let is_down = true;
                assert_eq!(
                    down,
                    Event::Key {
                        code,
                        keysym,
                        is_down
                    }
                );
                seq += 1;
                probe.handle_pressed(now, seq * 2);
                if seq <= answered {
                    now += Duration::from_millis(5);
                    // An update of before the key is no answer.
                    probe.handle_update(now, &header(seq * 2 - 1));
                    now += Duration::from_millis(2);
                    probe.handle_update(now, &header(seq * 2));
                }
                continue;
            }
            now = now.max(probe.poll_timeout().unwrap());
        }
    }

    #[test]
    fn a_desktop_that_answers_is_measured() {
        let outcome = run(u32::MAX);
        assert!(outcome.is_ok);
        let line = outcome.line;
        assert_eq!(line["ok"], true);
        assert_eq!(line["transport"], "websocket");
        assert_eq!(line["connect_ms"], 30.0);
        assert_eq!(line["first_picture_ms"], 50.0);
        assert_eq!(line["key_to_pixel_ms_p50"], 7.0);
        assert_eq!(line["keys"], 10);
    }

    #[test]
    fn a_key_without_a_pixel_fails() {
        let outcome = run(3);
        assert!(!outcome.is_ok);
        assert_eq!(outcome.line["ok"], false);
        assert_eq!(outcome.line["keys"], 3);
        let why = outcome.line["why"].as_str().unwrap();
        assert!(why.contains("within 2 s"), "{why}");
    }

    #[test]
    fn a_desktop_without_a_picture_fails() {
        let now = Instant::now();
        let mut probe = Probe::new(now);
        let due = probe.poll_timeout().unwrap();
        assert_eq!(probe.poll_outcome(now), None);
        let line = probe.poll_outcome(due).unwrap().line;
        assert_eq!(line["why"], "no picture came within 20 s");
    }

    #[test]
    fn a_connection_that_fails_is_told() {
        let mut probe = Probe::new(Instant::now());
        let outcome = probe.fail("nobody there");
        assert!(!outcome.is_ok);
        assert_eq!(outcome.line["why"], "nobody there");
        assert_eq!(outcome.line["connect_ms"], Value::Null);
    }
}
