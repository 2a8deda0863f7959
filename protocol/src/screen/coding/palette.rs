//! The colours of a tile, in the order in which they first appear.

use super::INDICES_COLOURS;
use crate::Pixel;

/// Bytes of a colour: blue, green, red.
pub(in crate::screen) const COLOUR_BYTES: usize = 3;

/// Places of the table, a power of two; at most half of them are taken.
const PLACES: usize = 2 * INDICES_COLOURS;

/// Finds the index of a colour.
#[derive(Debug)]
pub(super) struct Palette {
    colours: Vec<Pixel>,
    /// Index into `colours` plus one, at a place that the colour says; 0 where there is none.
    places: [u16; PLACES],
}

impl Default for Palette {
    fn default() -> Self {
        Self {
            colours: Vec::with_capacity(INDICES_COLOURS),
            places: [0; PLACES],
        }
    }
}

impl Palette {
    /// The colours of `pixels`, and for each pixel the index of its colour; `None` for more
    /// colours than an index can name.
    pub(super) fn index(&mut self, pixels: &[Pixel], indices: &mut Vec<u8>) -> Option<&[Pixel]> {
        self.colours.clear();
        self.places.fill(0);
        indices.clear();
        let mut rest = pixels;
        while let Some(colour) = rest.first() {
            let index = self.index_of(*colour)?;
            let run = rest.iter().take_while(|it| *it == colour).count();
            indices.resize(indices.len() + run, index);
            rest = rest.get(run..)?;
        }
        Some(&self.colours)
    }

    fn index_of(&mut self, colour: Pixel) -> Option<u8> {
        // Fibonacci hashing; the topmost bits are the best mixed ones.
        let mut place = colour.wrapping_mul(0x9E37_79B1) as usize >> 23;
        loop {
            let found = self.places.get_mut(place % PLACES)?;
            match usize::from(*found).checked_sub(1) {
                Some(index) if self.colours.get(index) == Some(&colour) => {
                    return u8::try_from(index).ok();
                }
                Some(_) => place += 1,
                None => {
                    let index = u8::try_from(self.colours.len()).ok()?;
                    *found = u16::from(index) + 1;
                    self.colours.push(colour);
                    return Some(index);
                }
            }
        }
    }

    /// Appends how many colours there are, less one, and the colours.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(u8::try_from(self.colours.len().saturating_sub(1)));
        self.write_colours(out);
    }

    /// Appends the colours.
    pub(super) fn write_colours(&self, out: &mut Vec<u8>) {
        write(&self.colours, out);
    }
}

/// Appends colours.
pub(in crate::screen) fn write(colours: &[Pixel], out: &mut Vec<u8>) {
    for colour in colours {
        let [blue, green, red, _] = colour.to_le_bytes();
        out.extend_from_slice(&[blue, green, red]);
    }
}

/// The bytes of a palette's colours, and what follows them.
pub(super) fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = body.split_first()?;
    rest.split_at_checked((usize::from(*count) + 1) * COLOUR_BYTES)
}

/// Each colour of some bytes.
pub(in crate::screen) fn colours(bytes: &[u8]) -> impl Iterator<Item = Pixel> {
    let (colours, _) = bytes.as_chunks::<COLOUR_BYTES>();
    colours
        .iter()
        .map(|[blue, green, red]| u32::from_le_bytes([*blue, *green, *red, 0]))
}

/// One colour out of a palette's bytes.
pub(super) fn colour(palette: &[u8], index: usize) -> Option<Pixel> {
    let (colours, _) = palette.as_chunks::<COLOUR_BYTES>();
    let [blue, green, red] = *colours.get(index)?;
    Some(u32::from_le_bytes([blue, green, red, 0]))
}
