//! Numbers the columns of lines in the order in which they first appear.

use std::num::NonZeroU16;

use crate::limits::TEXT_COLUMNS_MAX;

/// Places of the table, a power of two; at most half of them are taken.
const PLACES: usize = 2 * TEXT_COLUMNS_MAX;

/// Finds the number of a column.
#[derive(Debug)]
pub(super) struct Columns {
    /// All columns' pixels, one column after the other.
    pixels: Vec<u16>,
    columns: Vec<Column>,
    /// A column's number plus one, at a place that its hash says.
    places: Box<[Option<NonZeroU16>]>,
    /// Those of the text at hand, in the order in which they first appear in it.
    used: Vec<u16>,
    /// For each column its place there plus one.
    places_used: Vec<Option<NonZeroU16>>,
    /// Of each column of each line: its place there.
    numbers: Vec<u16>,
    /// Of each column of the line at hand.
    hashes: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    hash: u32,
    at: usize,
    rows: usize,
    place: usize,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            pixels: Vec::new(),
            columns: Vec::new(),
            places: vec![None; PLACES].into_boxed_slice(),
            used: Vec::new(),
            places_used: Vec::new(),
            numbers: Vec::new(),
            hashes: Vec::new(),
        }
    }
}

impl Columns {
    pub(super) fn clear(&mut self) {
        self.pixels.clear();
        self.columns.clear();
        self.places.fill(None);
    }

    /// Forgets all but the first ones.
    pub(super) fn truncate(&mut self, len: usize) {
        while self.columns.len() > len {
            let Some(column) = self.columns.pop() else {
                break;
            };
            self.pixels.truncate(column.at);
            // What came later is gone: nothing was put behind it.
            if let Some(place) = self.places.get_mut(column.place) {
                *place = None;
            }
        }
    }

    /// The lines that are added from now on are of another text.
    pub(super) fn begin(&mut self) {
        self.used.clear();
        self.places_used.clear();
        self.places_used.resize(self.columns.len(), None);
        self.numbers.clear();
    }

    /// The columns of the text, in the order in which they first appear in it.
    pub(super) fn used(&self) -> &[u16] {
        &self.used
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.columns.len()
    }

    /// All columns' pixels, one column after the other.
    pub(super) fn pixels(&self) -> &[u16] {
        &self.pixels
    }

    /// The pixels of all columns but the first ones.
    pub(super) fn pixels_from(&self, column: usize) -> &[u16] {
        let at = self
            .columns
            .get(column)
            .map_or(self.pixels.len(), |it| it.at);
        self.pixels.split_at(at).1
    }

    /// For each line of the text, from the left, each column's place among those that are used.
    pub(super) fn numbers(&self) -> &[u16] {
        &self.numbers
    }

    /// Numbers the columns of a line, which is whole rows of `width`; `None` once there are too
    /// many.
    pub(super) fn add_line(&mut self, line: &[u16], width: usize) -> Option<()> {
        self.hash(line, width);
        for x in 0..width {
            let column = self.number(line, x, width)?;
            let number = self.place_used(column)?;
            self.numbers.push(number);
        }
        Some(())
    }

    fn place_used(&mut self, column: u16) -> Option<u16> {
        let at = usize::from(column);
        if at == self.places_used.len() {
            self.places_used.push(None);
        }
        let known = self.places_used.get_mut(at)?;
        let place = match *known {
            Some(place) => place,
            None => {
                self.used.push(column);
                let place = NonZeroU16::new(u16::try_from(self.used.len()).ok()?)?;
                *known = Some(place);
                place
            }
        };
        Some(place.get() - 1)
    }

    /// FNV-1a, all columns at once: so it goes through memory in order.
    fn hash(&mut self, line: &[u16], width: usize) {
        self.hashes.clear();
        self.hashes.resize(width, 0x811C_9DC5);
        for row in line.chunks_exact(width) {
            for (hash, pixel) in self.hashes.iter_mut().zip(row) {
                *hash = (*hash ^ u32::from(*pixel)).wrapping_mul(0x0100_0193);
            }
        }
    }

    fn number(&mut self, line: &[u16], x: usize, width: usize) -> Option<u16> {
        let rows = line.len() / width;
        let hash = *self.hashes.get(x)?;
        let column = || line.iter().skip(x).step_by(width);
        // The lowest bits of small numbers are the worst mixed ones.
        let mut place = (hash ^ hash >> 15) as usize % PLACES;
        loop {
            let slot = self.places.get_mut(place)?;
            let Some(number) = slot else {
                let next = u16::try_from(self.columns.len() + 1).ok()?;
                if self.columns.len() == TEXT_COLUMNS_MAX {
                    return None;
                }
                *slot = NonZeroU16::new(next);
                let at = self.pixels.len();
                self.pixels.extend(column());
                self.columns.push(Column {
                    hash,
                    at,
                    rows,
                    place,
                });
                return Some(next - 1);
            };
            let number = number.get() - 1;
            let known = self.columns.get(usize::from(number))?;
            if (known.hash, known.rows) == (hash, rows) {
                let pixels = self.pixels.get(known.at..known.at + rows)?;
                if pixels.iter().eq(column()) {
                    return Some(number);
                }
            }
            place = (place + 1) % PLACES;
        }
    }
}
