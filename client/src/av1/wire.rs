//! What the client and the process that decodes for it say to each other.
//!
//! Numbers are little endian. An ask is `number 4 · width 2 · height 2 · area (x, y, width,
//! height, 2 each) · length 4 · temporal unit`; the answer `number 4 · kind 1 · length 4 ·
//! samples`. Either end may have been taken over by what it read.
#![cfg_attr(
    not(feature = "av1"),
    allow(dead_code, reason = "the end that decodes is not built")
)]

use sandbox_protocol::limits::{ACCESS_UNIT_BYTES_MAX, DESKTOP_SIZE_MAX};
use sandbox_protocol::{Rect, Size};

/// Bytes of an ask before its temporal unit.
pub(super) const ASK_BYTES: usize = 20;

/// Bytes of an answer before its samples.
pub(super) const ANSWER_BYTES: usize = 9;

const PICTURE: u8 = 0;
const KEY_PICTURE: u8 = 1;
const REFUSED: u8 = 2;

/// A picture is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// Comes back in the answer.
    pub(super) number: u32,
    /// Size of the picture.
    pub(super) size: Size,
    /// The part of it that is wanted, with even edges.
    pub(super) area: Rect,
    /// Bytes of the temporal unit that follows.
    pub(super) unit_bytes: usize,
}

/// What became of an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The samples of the area follow: luma, blue, red, rows without gaps.
    Picture {
        /// Whether it needed no picture before it.
        is_keyframe: bool,
    },
    /// It could not be decoded; the process ends.
    Refused,
}

/// Bytes that no peer of ours would send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// A picture larger than any desktop, or of nothing.
    #[error("a picture of {0}")]
    Size(Size),
    /// A part that the picture does not have, or that cuts a chroma sample.
    #[error("{0:?} of the picture")]
    Area(Rect),
    /// A temporal unit that no server may send.
    #[error("a temporal unit of {0} bytes")]
    Unit(usize),
    /// An answer to something else.
    #[error("an answer to {0}, not to {1}")]
    Number(u32, u32),
    /// No such answer.
    #[error("an answer of kind {0}")]
    Kind(u8),
    /// The area has another number of samples.
    #[error("{0} bytes instead of {1}")]
    Length(u32, usize),
}

/// Bytes of an area's samples.
pub(super) const fn samples_bytes(area: Rect) -> usize {
    area.width as usize * area.height as usize * 3 / 2
}

impl Ask {
    pub(super) fn encode(&self) -> [u8; ASK_BYTES] {
        let mut bytes = [0; ASK_BYTES];
        let (number, rest) = bytes.split_at_mut(4);
        number.copy_from_slice(&self.number.to_le_bytes());
        let (sides, length) = rest.split_at_mut(12);
        let (size, area) = (self.size, self.area);
        let numbers = [
            size.width,
            size.height,
            area.x,
            area.y,
            area.width,
            area.height,
        ];
        for (to, number) in sides.chunks_exact_mut(2).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        let unit_bytes = u32::try_from(self.unit_bytes).unwrap_or(u32::MAX);
        length.copy_from_slice(&unit_bytes.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; ASK_BYTES]) -> Result<Self, Malformed> {
        let [n0, n1, n2, n3, sides @ .., l0, l1, l2, l3] = bytes;
        let sides: &[u8; 12] = sides;
        let mut numbers = [0; 6];
        for (number, bytes) in numbers.iter_mut().zip(sides.as_chunks().0) {
            *number = u16::from_le_bytes(*bytes);
        }
        let [width, height, x, y, area_width, area_height] = numbers;
        let size = Size { width, height };
        let is_size = |it: u16, most: u16| (1..=most).contains(&it);
        let most = DESKTOP_SIZE_MAX;
        if !is_size(width, most.width) || !is_size(height, most.height) {
            return Err(Malformed::Size(size));
        }
        let area = Rect {
            x,
            y,
            width: area_width,
            height: area_height,
        };
        let is_even = [x, y, area_width, area_height]
            .iter()
            .all(|it| it.is_multiple_of(2));
        let ends = |from: u16, length: u16| u32::from(from) + u32::from(length);
        let is_within =
            ends(x, area_width) <= width.into() && ends(y, area_height) <= height.into();
        if area.is_empty() || !is_even || !is_within {
            return Err(Malformed::Area(area));
        }
        let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
        let unit_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if !(1..=ACCESS_UNIT_BYTES_MAX).contains(&unit_bytes) {
            return Err(Malformed::Unit(unit_bytes));
        }
        Ok(Self {
            number: u32::from_le_bytes([*n0, *n1, *n2, *n3]),
            size,
            area,
            unit_bytes,
        })
    }
}

impl Answer {
    pub(super) fn encode(self, ask: &Ask) -> [u8; ANSWER_BYTES] {
        let kind = match self {
            Self::Picture { is_keyframe: false } => PICTURE,
            Self::Picture { is_keyframe: true } => KEY_PICTURE,
            Self::Refused => REFUSED,
        };
        let length = u32::try_from(self.body_bytes(ask)).unwrap_or(u32::MAX);
        let [n0, n1, n2, n3] = ask.number.to_le_bytes();
        let [l0, l1, l2, l3] = length.to_le_bytes();
        [n0, n1, n2, n3, kind, l0, l1, l2, l3]
    }

    /// What answers `ask`, and nothing else.
    pub(super) fn decode(bytes: &[u8; ANSWER_BYTES], ask: &Ask) -> Result<Self, Malformed> {
        let [n0, n1, n2, n3, kind, l0, l1, l2, l3] = *bytes;
        let number = u32::from_le_bytes([n0, n1, n2, n3]);
        if number != ask.number {
            return Err(Malformed::Number(number, ask.number));
        }
        let answer = match kind {
            PICTURE => Self::Picture { is_keyframe: false },
            KEY_PICTURE => Self::Picture { is_keyframe: true },
            REFUSED => Self::Refused,
            kind => return Err(Malformed::Kind(kind)),
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let expected = answer.body_bytes(ask);
        if usize::try_from(length) != Ok(expected) {
            return Err(Malformed::Length(length, expected));
        }
        Ok(answer)
    }

    const fn body_bytes(self, ask: &Ask) -> usize {
        match self {
            Self::Picture { .. } => samples_bytes(ask.area),
            Self::Refused => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask {
        number: 0x0102_0304,
        size: Size {
            width: 640,
            height: 400,
        },
        area: Rect {
            x: 2,
            y: 4,
            width: 6,
            height: 8,
        },
        unit_bytes: 5,
    };

    #[test]
    fn an_ask_is_read_as_it_was_written() {
        assert_eq!(Ask::decode(&ASK.encode()), Ok(ASK));
    }

    #[test]
    fn an_ask_for_what_no_picture_has_is_refused() {
        #[track_caller]
        fn check(ask: Ask, expected: Malformed) {
            assert_eq!(Ask::decode(&ask.encode()), Err(expected));
        }
        for (width, height) in [
            (0, 400),
            (640, 0),
            (3_842, 400),
            (640, 2_162),
            (65_535, 65_535),
        ] {
            let size = Size { width, height };
            check(Ask { size, ..ASK }, Malformed::Size(size));
        }
        for (x, y, width, height) in [
            (1, 4, 6, 8),
            (2, 5, 6, 8),
            (2, 4, 7, 8),
            (2, 4, 6, 9),
            (2, 4, 0, 8),
            (2, 4, 6, 0),
            (636, 4, 6, 8),
            (2, 394, 6, 8),
            (65_534, 65_534, 65_534, 65_534),
        ] {
            let area = Rect {
                x,
                y,
                width,
                height,
            };
            check(Ask { area, ..ASK }, Malformed::Area(area));
        }
        for unit_bytes in [0, ACCESS_UNIT_BYTES_MAX + 1, u32::MAX as usize] {
            check(Ask { unit_bytes, ..ASK }, Malformed::Unit(unit_bytes));
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        for answer in [
            Answer::Picture { is_keyframe: false },
            Answer::Picture { is_keyframe: true },
            Answer::Refused,
        ] {
            assert_eq!(Answer::decode(&answer.encode(&ASK), &ASK), Ok(answer));
        }
    }

    #[test]
    fn an_answer_that_does_not_fit_what_was_asked_is_refused() {
        let picture = Answer::Picture { is_keyframe: true };
        #[track_caller]
        fn check(bytes: [u8; ANSWER_BYTES], expected: Malformed) {
            assert_eq!(Answer::decode(&bytes, &ASK), Err(expected));
        }
        let other = Ask { number: 9, ..ASK };
        check(picture.encode(&other), Malformed::Number(9, 0x0102_0304));
        let [n0, n1, n2, n3, _, length @ ..] = picture.encode(&ASK);
        let [l0, l1, l2, l3] = length;
        check([n0, n1, n2, n3, 3, l0, l1, l2, l3], Malformed::Kind(3));
        for length in [0_u32, 71, 73, u32::MAX] {
            let [l0, l1, l2, l3] = length.to_le_bytes();
            let bytes = [n0, n1, n2, n3, 1, l0, l1, l2, l3];
            check(bytes, Malformed::Length(length, 72));
        }
        check([n0, n1, n2, n3, 2, 1, 0, 0, 0], Malformed::Length(1, 0));
    }

    #[test]
    fn whatever_the_bytes_are_they_are_read_or_refused_and_never_mean_too_much() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut byte = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        let (mut asks, mut answers) = (0, 0);
        for _ in 0..200_000 {
            let mut bytes = ASK.encode();
            for _ in 0..byte() % 4 {
                let at = usize::from(byte()) % bytes.len();
                bytes[at] = byte();
            }
            if let Ok(ask) = Ask::decode(&bytes) {
                assert!(samples_bytes(ask.area) <= 3_840 * 2_160 * 3 / 2);
                asks += 1;
            }
            let mut bytes = Answer::Refused.encode(&ASK);
            let at = usize::from(byte()) % bytes.len();
            bytes[at] = byte();
            answers += u32::from(Answer::decode(&bytes, &ASK).is_ok());
        }
        assert!(asks > 1_000 && answers > 100, "{asks} {answers}");
    }
}
