//! Numbers the columns of lines in the order in which they first appear.

use std::num::NonZeroU16;

/// Columns that are told apart: twenty fonts' letters. What has more is no text.
const COLUMNS_MAX: usize = 8_192;

/// Places of the table, a power of two; at most half of them are taken.
const PLACES: usize = 2 * COLUMNS_MAX;

/// Finds the number of a column.
#[derive(Debug)]
pub(super) struct Columns {
    /// All columns' pixels, one column after the other.
    pixels: Vec<u16>,
    columns: Vec<Column>,
    /// A column's number plus one, at a place that its hash says.
    places: Box<[Option<NonZeroU16>]>,
    numbers: Vec<u16>,
    /// Of each column of the line at hand.
    hashes: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    hash: u32,
    at: usize,
    rows: usize,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            pixels: Vec::new(),
            columns: Vec::new(),
            places: vec![None; PLACES].into_boxed_slice(),
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
        self.numbers.clear();
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.columns.len()
    }

    /// All columns' pixels, one column after the other.
    pub(super) fn pixels(&self) -> &[u16] {
        &self.pixels
    }

    /// For each line, from the left, each column's number.
    pub(super) fn numbers(&self) -> &[u16] {
        &self.numbers
    }

    /// Numbers the columns of a line, which is whole rows of `width`; `None` once there are too
    /// many.
    pub(super) fn add_line(&mut self, line: &[u16], width: usize) -> Option<()> {
        self.hash(line, width);
        for x in 0..width {
            let number = self.number(line, x, width)?;
            self.numbers.push(number);
        }
        Some(())
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
        let mut place = (hash ^ hash >> 15) as usize;
        loop {
            let slot = self.places.get_mut(place % PLACES)?;
            let Some(number) = slot else {
                let next = u16::try_from(self.columns.len() + 1).ok()?;
                if self.columns.len() == COLUMNS_MAX {
                    return None;
                }
                *slot = NonZeroU16::new(next);
                let at = self.pixels.len();
                self.pixels.extend(column());
                self.columns.push(Column { hash, at, rows });
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
            place += 1;
        }
    }
}
