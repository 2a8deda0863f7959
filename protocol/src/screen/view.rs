//! Pixels as they come out of a framebuffer: bytes BGRX, whose X means nothing.

use std::ops::Range;

use super::picture::{PIXEL_BYTES, Picture};
use crate::{Pixel, Rect, Size};

/// Where the colour is; the rest of a pixel's four bytes is ignored everywhere.
const COLOUR: u32 = 0x00FF_FFFF;

/// Pixels that are compared at once.
const PIECE: usize = 16;

/// A desktop's pixels, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    bytes: &'a [u8],
    stride: usize,
    size: Size,
}

impl<'a> View<'a> {
    /// `bytes` begins with the upper left pixel, `stride` is in bytes.
    ///
    /// # Panics
    ///
    /// When `bytes` holds fewer rows than `size` says, or `stride` fewer bytes than one of them.
    pub fn new(bytes: &'a [u8], stride: usize, size: Size) -> Self {
        let row_bytes = usize::from(size.width) * PIXEL_BYTES;
        let needed = stride * usize::from(size.height).saturating_sub(1) + row_bytes;
        assert!(
            stride >= row_bytes && bytes.len() >= needed && row_bytes > 0,
            "{} bytes with stride {stride} for a desktop of {size}",
            bytes.len()
        );
        Self {
            bytes,
            stride,
            size,
        }
    }

    /// Its size.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The rows of a rectangle within it.
    pub(super) fn rows(&self, rect: Rect) -> impl DoubleEndedIterator<Item = Row<'a>> {
        let columns = usize::from(rect.x) * PIXEL_BYTES..usize::from(rect.right()) * PIXEL_BYTES;
        // The last row may lack what others have behind their pixels.
        self.bytes
            .chunks(self.stride)
            .take(usize::from(self.size.height))
            .skip(usize::from(rect.y))
            .take(usize::from(rect.height))
            .filter_map(move |it| it.get(columns.clone()).map(Row))
    }

    /// Copies the pixels of a rectangle into a picture of the same size.
    pub fn write(&self, rect: Rect, picture: &mut Picture) {
        for (to, from) in picture.rows_mut(rect).zip(self.rows(rect)) {
            from.write(to);
        }
    }

    /// Appends the pixels of a rectangle to `out`.
    pub(super) fn read(&self, rect: Rect, out: &mut Vec<Pixel>) {
        for row in self.rows(rect) {
            out.extend(row.pixels());
        }
    }
}

/// Some pixels of one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a>(&'a [u8]);

impl<'a> Row<'a> {
    pub(super) fn pixels(self) -> impl DoubleEndedIterator<Item = Pixel> + ExactSizeIterator + 'a {
        let (pixels, _) = self.0.as_chunks::<PIXEL_BYTES>();
        pixels.iter().map(|it| pixel(*it))
    }

    fn write(self, to: &mut [Pixel]) {
        for (to, from) in to.iter_mut().zip(self.pixels()) {
            *to = from;
        }
    }

    /// Some of them.
    pub(super) fn part(self, pixels: Range<usize>) -> Self {
        let bytes = pixels.start * PIXEL_BYTES..pixels.end * PIXEL_BYTES;
        Self(self.0.get(bytes).unwrap_or_default())
    }

    /// Has the same colours.
    pub(super) fn is_same(self, other: &[Pixel]) -> bool {
        let (pixels, _) = self.0.as_chunks::<PIXEL_BYTES>();
        let (pieces, rest) = pixels.as_chunks::<PIECE>();
        let (other_pieces, other_rest) = other.as_chunks::<PIECE>();
        let mut pieces = pieces.iter().zip(other_pieces);
        pieces.all(|(a, b)| difference(a, b) == 0) && difference(rest, other_rest) == 0
    }

    /// From the first pixel with another colour to behind the last one.
    pub(super) fn difference(self, other: &[Pixel]) -> Option<(usize, usize)> {
        if self.is_same(other) {
            return None;
        }
        let mut pairs = self.pixels().zip(other);
        let first = pairs.position(|(a, b)| a != *b)?;
        let last = self.pixels().zip(other).rposition(|(a, b)| a != *b)?;
        Some((first, last + 1))
    }
}

const fn pixel(bytes: [u8; PIXEL_BYTES]) -> Pixel {
    u32::from_le_bytes(bytes) & COLOUR
}

/// Zero for the same colours. Does not stop early: so it is done by vectors.
fn difference(a: &[[u8; PIXEL_BYTES]], b: &[Pixel]) -> u32 {
    let pairs = a.iter().zip(b);
    pairs.fold(0, |sum, (a, b)| sum | (pixel(*a) ^ b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_differs_between_its_first_and_last_other_pixel() {
        for width in [1, 15, 16, 17, 40] {
            let pixels: Vec<Pixel> = (0..width).collect();
            let mut bytes: Vec<u8> = pixels.iter().flat_map(|it| it.to_le_bytes()).collect();
            for (n, byte) in bytes.iter_mut().enumerate().filter(|(n, _)| n % 4 == 3) {
                *byte = u8::try_from(n % 251).unwrap();
            }
            assert_eq!(Row(&bytes).difference(&pixels), None);
            assert!(Row(&bytes).is_same(&pixels));
            for first in 0..width as usize {
                for last in first..width as usize {
                    let mut other = pixels.clone();
                    other[first] ^= 1;
                    other[last] ^= 2;
                    let found = Row(&bytes).difference(&other);
                    assert_eq!(found, Some((first, last + 1)), "{width}");
                    assert!(!Row(&bytes).is_same(&other));
                }
            }
        }
    }

    #[test]
    fn the_last_row_needs_no_gap_behind_it() {
        let size = Size {
            width: 2,
            height: 3,
        };
        let bytes = [9; 12 * 2 + 8];
        let view = View::new(&bytes, 12, size);
        let mut pixels = Vec::new();
        view.read(Rect::whole(size), &mut pixels);
        assert_eq!(pixels, [0x0009_0909; 6]);
    }
}
