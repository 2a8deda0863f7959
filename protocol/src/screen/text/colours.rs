//! The colours of a text, in the order in which they first appear.

use std::num::NonZeroU16;

use crate::Pixel;
use crate::limits::TEXT_COLOURS_MAX;

/// Places of the table, a power of two; at most half of them are taken.
const PLACES: usize = 2 * TEXT_COLOURS_MAX;

/// Finds the index of a colour.
#[derive(Debug)]
pub(super) struct Colours {
    colours: Vec<Pixel>,
    /// Index into `colours` plus one, at a place that the colour says.
    places: Box<[Option<NonZeroU16>]>,
}

impl Default for Colours {
    fn default() -> Self {
        Self {
            colours: Vec::with_capacity(TEXT_COLOURS_MAX),
            places: vec![None; PLACES].into_boxed_slice(),
        }
    }
}

impl Colours {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.colours.clear();
        self.places.fill(None);
    }

    /// Forgets all but the first ones.
    pub(super) fn truncate(&mut self, len: usize) {
        while self.colours.len() > len {
            let Some(colour) = self.colours.pop() else {
                break;
            };
            // What came later is gone: nothing was put behind it.
            let index = u16::try_from(self.colours.len() + 1).ok();
            let index = index.and_then(NonZeroU16::new);
            let start = place(colour);
            let (before, after) = self.places.split_at_mut(start % PLACES);
            let mut places = after.iter_mut().chain(before);
            if let Some(its_place) = places.find(|it| **it == index) {
                *its_place = None;
            }
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Pixel] {
        &self.colours
    }

    /// Appends for each pixel the index of its colour; `None` once there are too many colours.
    pub(super) fn index(&mut self, pixels: &[Pixel], indices: &mut Vec<u16>) -> Option<()> {
        for run in pixels.chunk_by(|a, b| a == b) {
            let index = self.index_of(*run.first()?)?;
            indices.resize(indices.len() + run.len(), index);
        }
        Some(())
    }

    fn index_of(&mut self, colour: Pixel) -> Option<u16> {
        let mut place = place(colour);
        loop {
            let found = self.places.get_mut(place % PLACES)?;
            match found.map(|it| it.get() - 1) {
                Some(index) if self.colours.get(usize::from(index)) == Some(&colour) => {
                    return Some(index);
                }
                Some(_) => place += 1,
                None if self.colours.len() == TEXT_COLOURS_MAX => return None,
                None => {
                    let index = u16::try_from(self.colours.len()).ok()?;
                    *found = NonZeroU16::new(index + 1);
                    self.colours.push(colour);
                    return Some(index);
                }
            }
        }
    }
}

/// Fibonacci hashing; the topmost bits are the best mixed ones.
const fn place(colour: Pixel) -> usize {
    colour.wrapping_mul(0x9E37_79B1) as usize >> 20
}
