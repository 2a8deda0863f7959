//! Asks and answers, one at a time, without I/O and clock.

use std::io;
use std::time::{Duration, Instant};

use sandbox_hw::Planes;
use sandbox_protocol::{Rect, Size};

use super::wire::{ANSWER_BYTES, Answer, Ask, Malformed, samples_bytes};

/// What decodes 3840×2160 in 0.2 s on a slow and busy machine has failed after so long.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Why the process is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It cannot be started.
    #[error("it cannot be started: {0}")]
    Start(#[source] io::Error),
    /// It cannot be spoken to.
    #[error("it cannot be spoken to: {0}")]
    Io(#[from] io::Error),
    /// Nobody is at the other end.
    #[error("it is gone")]
    Gone,
    /// It has no answer.
    #[error("no answer within {} s", ANSWER_MAX.as_secs())]
    Silent,
    /// It says something without being asked.
    #[error("it spoke unasked")]
    Unasked,
    /// Its answer is none.
    #[error("it answered wrongly: {0}")]
    Malformed(#[from] Malformed),
    /// It could not decode what it was given.
    #[error("it refused what came")]
    Refused,
}

/// The asking end.
#[derive(Debug)]
pub(super) struct Exchange {
    number: u32,
    state: State,
    head: [u8; ANSWER_BYTES],
    samples: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Nothing is expected.
    Idle,
    /// The beginning of an answer.
    Head { asked: Asked, got: usize },
    /// The rest of it.
    Samples {
        asked: Asked,
        is_keyframe: bool,
        got: usize,
    },
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    ask: Ask,
    until: Instant,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture<'a> {
    pub(super) planes: Planes<'a>,
    pub(super) is_keyframe: bool,
}

/// An answer is whole: what [`Exchange::picture`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    area: Rect,
    is_keyframe: bool,
}

impl Exchange {
    pub(super) const fn new() -> Self {
        Self {
            number: 0,
            state: State::Idle,
            head: [0; ANSWER_BYTES],
            samples: Vec::new(),
        }
    }

    /// Something is asked: the bytes go before the temporal unit.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        unit_bytes: usize,
        size: Size,
        area: Rect,
    ) -> [u8; super::wire::ASK_BYTES] {
        assert!(matches!(self.state, State::Idle), "one at a time");
        self.number = self.number.wrapping_add(1);
        let ask = Ask {
            number: self.number,
            size,
            area,
            unit_bytes,
        };
        // Of what was asked for, not of what the answer will claim.
        self.samples.resize(samples_bytes(area), 0);
        let until = now + ANSWER_MAX;
        let asked = Asked { ask, until };
        self.state = State::Head { asked, got: 0 };
        ask.encode()
    }

    /// Where the next bytes go; never empty.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let room = match self.state {
            State::Idle => self.head.get_mut(..),
            State::Head { got, .. } => self.head.get_mut(got..),
            State::Samples { got, .. } => self.samples.get_mut(got..),
        };
        room.expect("what came found room")
    }

    /// So many bytes, at least one, were read to where there was room.
    ///
    /// # Errors
    ///
    /// Returns [`Fault`] for what does not answer; nothing more is to be read then.
    pub(super) fn handle_bytes(&mut self, count: usize) -> Result<Option<Answered>, Fault> {
        match &mut self.state {
            State::Idle => Err(Fault::Unasked),
            State::Head { asked, got } => {
                *got += count;
                if *got < ANSWER_BYTES {
                    return Ok(None);
                }
                let asked = *asked;
                match Answer::decode(&self.head, &asked.ask)? {
                    Answer::Refused => Err(Fault::Refused),
                    Answer::Picture { is_keyframe } => {
                        self.state = State::Samples {
                            asked,
                            is_keyframe,
                            got: 0,
                        };
                        Ok(None)
                    }
                }
            }
            State::Samples {
                asked,
                is_keyframe,
                got,
            } => {
                *got += count;
                if *got < self.samples.len() {
                    return Ok(None);
                }
                let answered = Answered {
                    area: asked.ask.area,
                    is_keyframe: *is_keyframe,
                };
                self.state = State::Idle;
                Ok(Some(answered))
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Idle => None,
            State::Head { asked, .. } | State::Samples { asked, .. } => Some(asked.until),
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    ///
    /// Returns [`Fault::Silent`] where an answer is overdue.
    pub(super) fn handle_timeout(&self, now: Instant) -> Result<(), Fault> {
        match self.poll_timeout() {
            Some(until) if until <= now => Err(Fault::Silent),
            Some(_) | None => Ok(()),
        }
    }

    /// The samples of the newest answer.
    pub(super) fn picture(&self, answered: Answered) -> Picture<'_> {
        let area = answered.area;
        let luma_bytes = usize::from(area.width) * usize::from(area.height);
        let (luma, chroma) = self.samples.split_at(luma_bytes);
        let (blue, red) = chroma.split_at(luma_bytes / 4);
        let stride = usize::from(area.width);
        Picture {
            planes: Planes {
                area,
                samples: [luma, blue, red],
                strides: [stride, stride / 2, stride / 2],
            },
            is_keyframe: answered.is_keyframe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SIZE: Size = Size {
        width: 640,
        height: 400,
    };
    const AREA: Rect = Rect {
        x: 2,
        y: 4,
        width: 4,
        height: 2,
    };

    fn asked() -> Exchange {
        let mut exchange = Exchange::new();
        exchange.ask(clock::now(), 7, SIZE, AREA);
        exchange
    }

    /// Feeds bytes in pieces of at most `piece`, as long as they are taken.
    fn feed(exchange: &mut Exchange, bytes: &[u8], piece: usize) -> Result<Vec<Answered>, Fault> {
        let mut answers = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = exchange.room();
            let count = room.len().min(rest.len()).min(piece);
            room[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            answers.extend(exchange.handle_bytes(count)?);
        }
        Ok(answers)
    }

    fn answer(number: u32) -> Vec<u8> {
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.extend([1, 12, 0, 0, 0]);
        bytes.extend(1..=12);
        bytes
    }

    #[test]
    fn an_answer_in_any_pieces_is_the_picture_that_was_asked_for() {
        for piece in 1..=21 {
            let mut exchange = asked();
            let answers = feed(&mut exchange, &answer(1), piece).unwrap();
            assert_eq!(answers.len(), 1);
            let picture = exchange.picture(answers[0]);
            assert!(picture.is_keyframe);
            let [luma, blue, red] = picture.planes.samples;
            assert_eq!(luma, [1, 2, 3, 4, 5, 6, 7, 8]);
            assert_eq!((blue, red), (&[9, 10][..], &[11, 12][..]));
            assert_eq!(exchange.poll_timeout(), None);
        }
    }

    #[test]
    fn what_is_said_before_or_after_is_said_unasked() {
        let early = feed(&mut Exchange::new(), &answer(1), 99);
        assert!(matches!(early, Err(Fault::Unasked)), "{early:?}");
        let mut longer = answer(1);
        longer.push(0);
        let longer = feed(&mut asked(), &longer, 99);
        assert!(matches!(longer, Err(Fault::Unasked)), "{longer:?}");
    }

    #[test]
    fn an_answer_to_something_else_or_of_another_size_is_no_answer() {
        let mut wrong_size = answer(1);
        wrong_size[5] = 13;
        let mut enormous = answer(1);
        enormous[5..9].fill(0xFF);
        for bytes in [answer(0), answer(2), wrong_size, enormous] {
            let came = feed(&mut asked(), &bytes, 99);
            assert!(matches!(came, Err(Fault::Malformed(_))), "{came:?}");
        }
        let refused = feed(&mut asked(), &[1, 0, 0, 0, 2, 0, 0, 0, 0], 99);
        assert!(matches!(refused, Err(Fault::Refused)), "{refused:?}");
    }

    #[test]
    fn an_answer_has_a_second() {
        let now = clock::now();
        let mut exchange = Exchange::new();
        exchange.handle_timeout(now).unwrap();
        exchange.ask(now, 7, SIZE, AREA);
        let until = exchange.poll_timeout().unwrap();
        assert_eq!(until, now + Duration::from_secs(1));
        exchange
            .handle_timeout(until - Duration::from_millis(1))
            .unwrap();
        // A part of an answer wins no time.
        feed(&mut exchange, &answer(1)[..15], 99).unwrap();
        assert_eq!(exchange.poll_timeout(), Some(until));
        let late = exchange.handle_timeout(until);
        assert!(matches!(late, Err(Fault::Silent)));
    }

    #[test]
    fn memory_is_that_of_what_was_asked_for_whatever_comes() {
        let mut state = 1_u64;
        let mut chance = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..20_000 {
            let mut exchange = asked();
            let mut bytes = answer(1);
            for _ in 0..chance(4) {
                let at = chance(bytes.len() as u64) as usize;
                bytes[at] = chance(256) as u8;
            }
            bytes.truncate(chance(30) as usize);
            let piece = 1 + chance(30) as usize;
            // Taken or refused, it ends.
            let _refused = feed(&mut exchange, &bytes, piece);
            assert_eq!(exchange.samples.len(), 12);
        }
    }
}
