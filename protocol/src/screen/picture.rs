//! A desktop's pixels.

use xxhash_rust::xxh3::Xxh3Default;

use crate::{Pixel, Point, Rect, Size};

/// Bytes of one pixel where pixels are bytes.
pub(super) const PIXEL_BYTES: usize = 4;

/// Rows of pixels without gaps. Rectangles that its functions are given lie within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    size: Size,
    pixels: Vec<Pixel>,
}

impl Picture {
    /// A black one.
    pub fn new(size: Size) -> Self {
        let area = Rect::whole(size).area();
        Self {
            size,
            pixels: vec![0; area],
        }
    }

    /// Makes it a black one of another size; allocates only to grow.
    pub fn reset(&mut self, size: Size) {
        self.size = size;
        self.pixels.clear();
        self.pixels.resize(Rect::whole(size).area(), 0);
    }

    /// Its size.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// All of its pixels, row by row.
    pub fn pixels(&self) -> &[Pixel] {
        &self.pixels
    }

    /// All of its pixels, row by row, to be painted.
    pub fn pixels_mut(&mut self) -> &mut [Pixel] {
        &mut self.pixels
    }

    /// The rows of a rectangle, from the top.
    pub fn rows(&self, rect: Rect) -> impl DoubleEndedIterator<Item = &[Pixel]> {
        let columns = usize::from(rect.x)..usize::from(rect.right());
        self.pixels
            .chunks_exact(usize::from(self.size.width).max(1))
            .skip(usize::from(rect.y))
            .take(usize::from(rect.height))
            .filter_map(move |it| it.get(columns.clone()))
    }

    /// The rows of a rectangle, from the top, to be painted.
    pub fn rows_mut(&mut self, rect: Rect) -> impl Iterator<Item = &mut [Pixel]> {
        let columns = usize::from(rect.x)..usize::from(rect.right());
        self.pixels
            .chunks_exact_mut(usize::from(self.size.width).max(1))
            .skip(usize::from(rect.y))
            .take(usize::from(rect.height))
            .filter_map(move |it| it.get_mut(columns.clone()))
    }

    /// Appends the pixels of a rectangle to `out`.
    pub fn read(&self, rect: Rect, out: &mut Vec<Pixel>) {
        for row in self.rows(rect) {
            out.extend_from_slice(row);
        }
    }

    /// Paints a rectangle with pixels in rows.
    pub fn write(&mut self, rect: Rect, pixels: &[Pixel]) {
        let rows = pixels.chunks_exact(usize::from(rect.width).max(1));
        for (row, from) in self.rows_mut(rect).zip(rows) {
            row.copy_from_slice(from);
        }
    }

    /// Paints a rectangle with one colour.
    pub fn fill(&mut self, rect: Rect, colour: Pixel) {
        for row in self.rows_mut(rect) {
            row.fill(colour);
        }
    }

    /// Copies a rectangle to another place, as `memmove` does.
    pub fn copy(&mut self, from: Rect, to: Point) {
        let stride = usize::from(self.size.width);
        let mut copy_row = |y: u16| {
            let start = (usize::from(from.y) + usize::from(y)) * stride + usize::from(from.x);
            let at = (usize::from(to.y) + usize::from(y)) * stride + usize::from(to.x);
            let source = start..start + usize::from(from.width);
            if at + source.len() <= self.pixels.len() && source.end <= self.pixels.len() {
                self.pixels.copy_within(source, at);
            }
        };
        // The order in which no row is overwritten before it was copied.
        if to.y <= from.y {
            (0..from.height).for_each(&mut copy_row);
        } else {
            (0..from.height).rev().for_each(&mut copy_row);
        }
    }

    /// What both ends compare: XXH3 (128 bit) of all pixels as bytes BGR0, row by row.
    pub fn hash(&self) -> u128 {
        let mut hasher = Xxh3Default::new();
        let mut bytes = [0; 256 * PIXEL_BYTES];
        for pixels in self.pixels.chunks(256) {
            let bytes = bytes_of(pixels, &mut bytes);
            hasher.update(bytes);
        }
        hasher.digest128()
    }
}

/// The pixels as bytes, in as much of `bytes` as they need.
pub(super) fn bytes_of<'a>(pixels: &[Pixel], bytes: &'a mut [u8]) -> &'a [u8] {
    for (to, from) in bytes.chunks_exact_mut(PIXEL_BYTES).zip(pixels) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    bytes
        .get(..pixels.len() * PIXEL_BYTES)
        .expect("the caller has room for its pixels")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 7,
        height: 5,
    };

    /// Every pixel another colour.
    fn picture() -> Picture {
        let mut picture = Picture::new(SIZE);
        let pixels: Vec<Pixel> = (1..=35).collect();
        picture.write(Rect::whole(SIZE), &pixels);
        picture
    }

    #[test]
    fn a_copy_reads_the_picture_as_it_was() {
        for to_x in 0..4 {
            for to_y in 0..3 {
                let from = Rect::between(1, 1, 4, 4);
                let to = Point { x: to_x, y: to_y };
                let mut copied = picture();
                copied.copy(from, to);
                let mut pixels = Vec::new();
                picture().read(from, &mut pixels);
                let mut expected = picture();
                let at = Rect {
                    x: to_x,
                    y: to_y,
                    ..from
                };
                expected.write(at, &pixels);
                assert_eq!(copied, expected, "to {to:?}");
            }
        }
    }

    #[test]
    fn one_pixel_changes_the_hash() {
        let mut changed = picture();
        assert_eq!(changed.hash(), picture().hash());
        changed.fill(Rect::between(6, 4, 7, 5), 0);
        assert_ne!(changed.hash(), picture().hash());
    }

    /// These numbers are the contract with every viewer that compares hashes.
    #[test]
    fn the_hash_never_changes() {
        assert_eq!(
            Picture::new(SIZE).hash(),
            xxhash_rust::xxh3::xxh3_128(&[0; 140])
        );
        let bytes: Vec<u8> = (1..=35_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(picture().hash(), xxhash_rust::xxh3::xxh3_128(&bytes));
    }

    #[test]
    fn a_reset_picture_is_black() {
        let mut picture = picture();
        picture.reset(SIZE);
        assert_eq!(picture, Picture::new(SIZE));
    }
}
