//! Paints coded text, and remembers its columns for the next one.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::{STEPS, Text, bytes_of};
use crate::limits::{TEXT_COLOURS_MAX, TEXT_COLUMNS_MAX, TEXT_LINE_ROWS_MAX};
use crate::screen::coding::palette::{self, COLOUR_BYTES};
use crate::screen::picture::Picture;
use crate::{Pixel, Rect};

/// Bytes that are no text of their rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text in {rect:?} has a wrong body ({bytes} bytes)")]
pub struct BadText {
    /// Where it should be.
    pub rect: Rect,
    /// How many there are.
    pub bytes: usize,
}

/// Reads what a [`TextCoder`](super::TextCoder) wrote, or somebody who claims to be one.
#[derive(Default)]
pub(in crate::screen) struct TextDecoder {
    inflater: Box<DecompressorOxide>,
    body: Vec<u8>,
    colours: Vec<Pixel>,
    columns: Vec<Column>,
    /// Of all columns, one after the other.
    pixels: Vec<Pixel>,
    /// The columns of the text at hand, in the order in which they first appear in it.
    used: Vec<Column>,
    /// Where the pixels of each of a line's columns begin.
    line: Vec<usize>,
}

/// A column that was there.
#[derive(Clone, Copy, Debug)]
struct Column {
    at: usize,
    rows: u8,
}

impl Column {
    /// A new one: its pixels are added to those of the others.
    fn read(rows: u8, new: &mut impl Iterator<Item = Pixel>, pixels: &mut Vec<Pixel>) -> Self {
        let at = pixels.len();
        pixels.extend(new.take(rows.into()));
        Self { at, rows }
    }
}

impl std::fmt::Debug for TextDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextDecoder").finish_non_exhaustive()
    }
}

impl TextDecoder {
    /// Forgets the texts before.
    pub(in crate::screen) fn clear(&mut self) {
        self.colours.clear();
        self.columns.clear();
        self.pixels.clear();
    }

    /// Paints a text that lies within the picture.
    ///
    /// # Errors
    ///
    /// Returns [`BadText`] when the bytes are not exactly these pixels; some may have been
    /// painted, and no text can go on from there.
    pub(in crate::screen) fn decode(
        &mut self,
        text: Text<'_>,
        picture: &mut Picture,
    ) -> Result<(), BadText> {
        let bad = BadText {
            rect: text.rect,
            bytes: text.bytes.len(),
        };
        if !text.goes_on {
            self.clear();
        }
        self.inflate(text).ok_or(bad)?;
        self.paint(text.goes_on, text.rect, picture).ok_or(bad)
    }

    fn inflate(&mut self, text: Text<'_>) -> Option<()> {
        self.body.resize(text.body_len, 0);
        self.inflater.init();
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, read, written) =
            decompress(&mut self.inflater, text.bytes, &mut self.body, 0, flags);
        let is_whole = read == text.bytes.len() && written == text.body_len;
        (status == TINFLStatus::Done && is_whole).then_some(())
    }

    fn paint(&mut self, goes_on: bool, rect: Rect, picture: &mut Picture) -> Option<()> {
        let Self {
            body,
            colours,
            columns,
            pixels,
            used,
            line,
            ..
        } = self;
        let (new_colours, rest) = short(body)?;
        let (lines, rest) = short(rest)?;
        let (used_len, rest) = short(rest)?;
        let colours_len = colours.len() + new_colours;
        if !(1..=TEXT_COLOURS_MAX).contains(&colours_len) || used_len > TEXT_COLUMNS_MAX {
            return None;
        }
        let (palette, rest) = rest.split_at_checked(new_colours * COLOUR_BYTES)?;
        colours.extend(palette::colours(palette));
        let (lines, rest) = rest.split_at_checked(lines)?;
        let all: usize = lines.iter().map(|it| usize::from(*it)).sum();
        let is_line = |it: &u8| (1..=TEXT_LINE_ROWS_MAX).contains(it);
        if all != usize::from(rect.height) || !lines.iter().all(is_line) {
            return None;
        }
        let steps_len = if goes_on {
            used_len * bytes_of(STEPS)
        } else {
            0
        };
        let (steps, rest) = rest.split_at_checked(steps_len)?;
        let mut sources = Sources {
            steps: goes_on.then_some(Numbers::new(steps, STEPS)?),
            next: if goes_on { 0 } else { columns.len() },
        };
        let width = usize::from(rect.width);
        let numbers_len = lines.len() * width * bytes_of(used_len);
        let (numbers, indices) = rest.split_at_checked(numbers_len)?;
        let numbers = Numbers::new(numbers, used_len)?;
        let indices = Numbers::new(indices, colours_len)?;
        let mut new_pixels = indices.iter().map_while(|it| colours.get(it).copied());
        let before = pixels.len();
        used.clear();
        let mut painted = picture.rows_mut(rect);
        for (n, rows) in lines.iter().enumerate() {
            line.clear();
            for x in 0..width {
                let number = numbers.get(n * width + x)?;
                if number == used.len() {
                    let source = sources.source(number)?;
                    let is_new = source == columns.len();
                    let new = is_new.then(|| Column::read(*rows, &mut new_pixels, pixels));
                    columns.extend(new);
                    used.push(*columns.get(source)?);
                }
                let column = used.get(number).filter(|it| it.rows == *rows)?;
                // Of a new one as well: a short body has too few pixels for it.
                pixels.get(column.at..column.at + usize::from(*rows))?;
                line.push(column.at);
            }
            for (y, row) in painted.by_ref().take((*rows).into()).enumerate() {
                for (pixel, at) in row.iter_mut().zip(&*line) {
                    *pixel = *pixels.get(at + y)?;
                }
            }
        }
        let is_all = used.len() == used_len && pixels.len() - before == indices.low.len();
        (is_all && columns.len() <= TEXT_COLUMNS_MAX).then_some(())
    }
}

/// Where the columns that a text uses are among all.
struct Sources<'a> {
    /// From one to the next; without them all are new.
    steps: Option<Numbers<'a>>,
    next: usize,
}

impl Sources<'_> {
    fn source(&mut self, number: usize) -> Option<usize> {
        let step = self.steps.map_or(Some(0), |it| it.get(number))?;
        let source = (self.next + step) % STEPS;
        self.next = source + 1;
        Some(source)
    }
}

/// Numbers below a count: their low bytes, then, where a byte cannot name all, their high ones.
#[derive(Clone, Copy, Debug)]
struct Numbers<'a> {
    low: &'a [u8],
    high: &'a [u8],
}

impl<'a> Numbers<'a> {
    fn new(bytes: &'a [u8], count: usize) -> Option<Self> {
        let (low, high) = bytes.split_at_checked(bytes.len() / bytes_of(count))?;
        let is_even = high.is_empty() || high.len() == low.len();
        is_even.then_some(Self { low, high })
    }

    fn get(self, at: usize) -> Option<usize> {
        let low = *self.low.get(at)?;
        let high = self.high.get(at).copied().unwrap_or_default();
        Some(u16::from_le_bytes([low, high]).into())
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..self.low.len()).map_while(move |at| self.get(at))
    }
}

fn short(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (field, rest) = bytes.split_first_chunk()?;
    Some((u16::from_le_bytes(*field).into(), rest))
}
