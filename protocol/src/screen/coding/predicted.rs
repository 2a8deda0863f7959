//! Photographs: what each pixel differs from what its neighbours suggest, in few bits.
//!
//! The suggestion is the median of left, above, and left + above - corner (as in LOCO-I). The
//! differences of blue and red are taken less that of green, and written as Rice codes whose
//! parameter follows what came before.

use super::palette::COLOUR_BYTES;
use crate::Pixel;

/// So many ones say that the value follows as it is.
const ONES_MAX: u32 = 12;
const VALUE_BITS: u32 = 8;

/// What the differences of one channel have been lately: 16 times their mean.
#[derive(Clone, Copy)]
struct Level(u32);

impl Level {
    const START: Self = Self(64);

    /// How many low bits are written as they are.
    const fn low_bits(self) -> u32 {
        u32::BITS - (self.0 >> 5).leading_zeros()
    }

    fn add(&mut self, value: u8) {
        self.0 = self.0 - (self.0 >> 4) + u32::from(value);
    }
}

/// Appends the codes of rows of `width` pixels.
pub(super) fn write(pixels: &[Pixel], width: usize, out: &mut Vec<u8>) {
    let mut bits = Writer {
        out,
        held: 0,
        count: 0,
    };
    let mut levels = [Level::START; COLOUR_BYTES];
    let mut above: &[Pixel] = &[];
    for row in pixels.chunks(width) {
        let mut neighbours = Neighbours::default();
        for (x, pixel) in row.iter().enumerate() {
            neighbours.enter(above.get(x).copied().unwrap_or_default(), x == 0);
            let values = fold(channels(*pixel), neighbours.suggest());
            for (value, level) in values.into_iter().zip(&mut levels) {
                bits.put_code(value, level.low_bits());
                level.add(value);
            }
            neighbours.left = *pixel;
        }
        above = row;
    }
    bits.finish();
}

/// Fills rows of `width` pixels; `None` where the codes are too few or too many.
pub(super) fn read(bytes: &[u8], width: usize, pixels: &mut [Pixel]) -> Option<()> {
    let mut bits = Reader {
        rest: bytes,
        held: 0,
        count: 0,
    };
    let mut levels = [Level::START; COLOUR_BYTES];
    let mut above: &[Pixel] = &[];
    for row in pixels.chunks_mut(width) {
        let mut neighbours = Neighbours::default();
        for (x, pixel) in row.iter_mut().enumerate() {
            neighbours.enter(above.get(x).copied().unwrap_or_default(), x == 0);
            let mut values = [0; COLOUR_BYTES];
            for (value, level) in values.iter_mut().zip(&mut levels) {
                *value = bits.take_code(level.low_bits())?;
                level.add(*value);
            }
            let [blue, green, red] = unfold(values, neighbours.suggest());
            *pixel = u32::from_le_bytes([blue, green, red, 0]);
            neighbours.left = *pixel;
        }
        above = row;
    }
    bits.is_finished().then_some(())
}

/// Pixels that are known before the one in question. Outside of the rectangle everything is
/// black, but for the left of a row, which is as the pixel above.
#[derive(Default)]
struct Neighbours {
    left: Pixel,
    above: Pixel,
    corner: Pixel,
}

impl Neighbours {
    fn enter(&mut self, above: Pixel, is_first: bool) {
        if is_first {
            (self.left, self.above) = (above, above);
        }
        self.corner = self.above;
        self.above = above;
    }

    fn suggest(&self) -> [u8; COLOUR_BYTES] {
        let mut suggested = channels(self.left);
        let others = channels(self.above).into_iter().zip(channels(self.corner));
        for (left, (above, corner)) in suggested.iter_mut().zip(others) {
            let (low, high) = (above.min(*left), above.max(*left));
            let plane = i16::from(*left) + i16::from(above) - i16::from(corner);
            let median = plane.clamp(low.into(), high.into());
            *left = u8::try_from(median).unwrap_or(high);
        }
        suggested
    }
}

fn channels(pixel: Pixel) -> [u8; COLOUR_BYTES] {
    let [blue, green, red, _] = pixel.to_le_bytes();
    [blue, green, red]
}

/// The values to be written for a pixel: green, then blue and red less it.
fn fold(pixel: [u8; COLOUR_BYTES], suggested: [u8; COLOUR_BYTES]) -> [u8; COLOUR_BYTES] {
    let [b, g, r] = [0, 1, 2].map(|it: usize| difference(pixel, suggested, it));
    [g, b.wrapping_sub(g), r.wrapping_sub(g)].map(zigzag)
}

fn difference(pixel: [u8; COLOUR_BYTES], suggested: [u8; COLOUR_BYTES], channel: usize) -> u8 {
    let (a, b) = (pixel.get(channel), suggested.get(channel));
    a.zip(b).map_or(0, |(a, b)| a.wrapping_sub(*b))
}

/// The pixel that has these values.
fn unfold(values: [u8; COLOUR_BYTES], suggested: [u8; COLOUR_BYTES]) -> [u8; COLOUR_BYTES] {
    let [green, blue, red] = values.map(unzigzag);
    let [sb, sg, sr] = suggested;
    [
        sb.wrapping_add(blue).wrapping_add(green),
        sg.wrapping_add(green),
        sr.wrapping_add(red).wrapping_add(green),
    ]
}

/// 0, -1, 1, -2, … become 0, 1, 2, 3, …
const fn zigzag(value: u8) -> u8 {
    let signed = value.cast_signed();
    ((signed << 1) ^ (signed >> 7)).cast_unsigned()
}

const fn unzigzag(value: u8) -> u8 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// Bits, the lowest of a byte first.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    count: u32,
}

impl Writer<'_> {
    /// As many ones as the value's high bits say, a zero, and the low bits.
    fn put_code(&mut self, value: u8, low_bits: u32) {
        let value = u32::from(value);
        let ones = value >> low_bits;
        if ones < ONES_MAX {
            let low = value & ((1 << low_bits) - 1);
            self.put(((1 << ones) - 1) | (low << (ones + 1)), ones + 1 + low_bits);
        } else {
            let ones = (1 << ONES_MAX) - 1;
            self.put(ones | (value << ONES_MAX), ONES_MAX + VALUE_BITS);
        }
    }

    /// At most 32 bits.
    fn put(&mut self, bits: u32, count: u32) {
        self.held |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            let [a, b, c, d, ..] = self.held.to_le_bytes();
            self.out.extend_from_slice(&[a, b, c, d]);
            self.held >>= 32;
            self.count -= 32;
        }
    }

    fn finish(self) {
        let bytes = self.held.to_le_bytes();
        let used = self.count.div_ceil(8) as usize;
        self.out.extend(bytes.into_iter().take(used));
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    held: u64,
    count: u32,
}

impl Reader<'_> {
    fn take_code(&mut self, low_bits: u32) -> Option<u8> {
        self.fill();
        let ones = self.held.trailing_ones().min(ONES_MAX);
        let value = if ones < ONES_MAX {
            self.take(ones + 1)?;
            (ones << low_bits) | self.take(low_bits)?
        } else {
            self.take(ONES_MAX)?;
            self.take(VALUE_BITS)?
        };
        u8::try_from(value).ok()
    }

    fn fill(&mut self) {
        while self.count <= u64::BITS - 8
            && let Some((byte, rest)) = self.rest.split_first()
        {
            self.held |= u64::from(*byte) << self.count;
            self.count += 8;
            self.rest = rest;
        }
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        self.count = self.count.checked_sub(count)?;
        let bits = self.held & ((1 << count) - 1);
        self.held >>= count;
        u32::try_from(bits).ok()
    }

    /// Nothing is left but what fills the last byte.
    fn is_finished(&self) -> bool {
        self.rest.is_empty() && self.count < 8 && self.held == 0
    }
}
