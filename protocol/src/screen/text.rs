//! Codes lines of text without loss: a line is cut into columns one pixel wide, and a column that
//! was there before is told by its number. The letters of a screen repeat to the pixel.

mod colours;
mod columns;
mod lines;

use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::coding::palette::{self, COLOUR_BYTES};
use super::picture::Picture;
use crate::limits::{TEXT_COLOURS_MAX, TEXT_LINE_ROWS_MAX, TEXT_PIXELS_MAX, text_body_bytes_max};
use crate::{Pixel, Rect};
use colours::Colours;
use columns::Columns;
use lines::Lines;

/// Deflates lazily, with so many looks back: with more it takes longer than finding the columns.
const DEFLATE_FLAGS: u32 = 48;

/// Pixels of an alphabet's columns, which one line needs as well as a page.
const ALPHABET_PIXELS: usize = 4_096;

/// What a byte can number.
const BYTE_COUNT: usize = 256;

/// Codes text; its buffers serve one call after the other, and grow with the largest.
pub(super) struct TextCoder {
    colours: Colours,
    /// Of all pixels' colours, row by row.
    indices: Vec<u16>,
    lines: Lines,
    columns: Columns,
    body: Vec<u8>,
    packed: Vec<u8>,
    compressor: CompressorOxide,
}

/// Coded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<'a> {
    /// How long the bytes become.
    pub(super) body_len: usize,
    /// Deflated.
    pub(super) bytes: &'a [u8],
}

/// Bytes that are no text of their rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text in {rect:?} has a wrong body ({bytes} bytes)")]
pub struct BadText {
    /// Where it should be.
    pub rect: Rect,
    /// How many there are.
    pub bytes: usize,
}

impl std::fmt::Debug for TextCoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextCoder").finish_non_exhaustive()
    }
}

impl Default for TextCoder {
    fn default() -> Self {
        Self {
            colours: Colours::default(),
            indices: Vec::new(),
            lines: Lines::default(),
            columns: Columns::default(),
            body: Vec::new(),
            packed: Vec::new(),
            compressor: CompressorOxide::new(DEFLATE_FLAGS),
        }
    }
}

impl TextCoder {
    /// Codes a rectangle of the picture; `None` where its pixels do not repeat as text does.
    ///
    /// # Panics
    ///
    /// When the rectangle is empty, or of more than [`TEXT_PIXELS_MAX`] pixels.
    pub(super) fn encode(&mut self, picture: &Picture, rect: Rect) -> Option<Text<'_>> {
        assert!(
            (1..=TEXT_PIXELS_MAX).contains(&rect.area()),
            "text in {rect:?}"
        );
        self.colours.clear();
        self.indices.clear();
        for row in picture.rows(rect) {
            self.colours.index(row, &mut self.indices)?;
        }
        let width = usize::from(rect.width);
        let lines = self.lines.find(&self.indices, width);
        self.columns.clear();
        let mut rest = self.indices.as_slice();
        for rows in lines {
            let (line, below) = rest.split_at_checked(usize::from(*rows) * width)?;
            self.columns.add_line(line, width)?;
            // Text that repeats needs few columns: this is something else.
            if self.columns.pixels().len() > rect.area() / 8 + ALPHABET_PIXELS {
                return None;
            }
            rest = below;
        }
        self.write_body();
        if self.body.len() > text_body_bytes_max(rect.area()) {
            return None;
        }
        self.deflate()
    }

    fn write_body(&mut self) {
        let colours = self.colours.all();
        let lines = self.lines.found();
        let columns = self.columns.len();
        self.body.clear();
        for count in [colours.len(), lines.len(), columns] {
            let count = u16::try_from(count).expect("all are bounded far below");
            self.body.extend(count.to_le_bytes());
        }
        palette::write(colours, &mut self.body);
        self.body.extend_from_slice(lines);
        write_numbers(self.columns.numbers(), columns, &mut self.body);
        write_numbers(self.columns.pixels(), colours.len(), &mut self.body);
    }

    fn deflate(&mut self) -> Option<Text<'_>> {
        let body_len = self.body.len();
        self.packed.resize(body_len, 0);
        self.compressor.reset();
        let (status, _, len) = compress(
            &mut self.compressor,
            &self.body,
            &mut self.packed,
            TDEFLFlush::Finish,
        );
        let bytes = self.packed.get(..len)?;
        (status == TDEFLStatus::Done).then_some(Text { body_len, bytes })
    }
}

/// Reads what a [`TextCoder`] wrote, or somebody who claims to be one.
#[derive(Default)]
pub(super) struct TextDecoder {
    inflater: Box<DecompressorOxide>,
    body: Vec<u8>,
    colours: Vec<Pixel>,
    columns: Vec<Column>,
    /// Where the pixels of each of a line's columns begin.
    line: Vec<usize>,
}

/// A column that was there.
#[derive(Clone, Copy, Debug)]
struct Column {
    at: usize,
    rows: u8,
}

impl std::fmt::Debug for TextDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextDecoder").finish_non_exhaustive()
    }
}

impl TextDecoder {
    /// Paints `rect`, which lies within the picture.
    ///
    /// # Errors
    ///
    /// Returns [`BadText`] when the bytes are not exactly these pixels; some may have been
    /// painted.
    pub(super) fn decode(
        &mut self,
        text: Text<'_>,
        rect: Rect,
        picture: &mut Picture,
    ) -> Result<(), BadText> {
        let bad = BadText {
            rect,
            bytes: text.bytes.len(),
        };
        self.inflate(text).ok_or(bad)?;
        self.paint(rect, picture).ok_or(bad)
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

    fn paint(&mut self, rect: Rect, picture: &mut Picture) -> Option<()> {
        let Self {
            body,
            colours,
            columns,
            line,
            ..
        } = self;
        let (colours_len, rest) = short(body)?;
        let (lines_len, rest) = short(rest)?;
        let (columns_len, rest) = short(rest)?;
        if !(1..=TEXT_COLOURS_MAX).contains(&colours_len) {
            return None;
        }
        let (palette, rest) = rest.split_at_checked(colours_len * COLOUR_BYTES)?;
        colours.clear();
        colours.extend(palette::colours(palette));
        let (lines, rest) = rest.split_at_checked(lines_len)?;
        let all: usize = lines.iter().map(|it| usize::from(*it)).sum();
        let is_line = |it: &u8| (1..=TEXT_LINE_ROWS_MAX).contains(it);
        if all != usize::from(rect.height) || !lines.iter().all(is_line) {
            return None;
        }
        let width = usize::from(rect.width);
        let numbers_len = lines_len * width * bytes_of(columns_len);
        let (numbers, pixels) = rest.split_at_checked(numbers_len)?;
        let numbers = Numbers::new(numbers, columns_len)?;
        let pixels = Numbers::new(pixels, colours_len)?;
        columns.clear();
        let mut used = 0;
        let mut painted = picture.rows_mut(rect);
        for (n, rows) in lines.iter().enumerate() {
            line.clear();
            for x in 0..width {
                let number = numbers.get(n * width + x)?;
                if number == columns.len() {
                    let rows = *rows;
                    columns.push(Column { at: used, rows });
                    used += usize::from(rows);
                }
                let column = columns.get(number).filter(|it| it.rows == *rows)?;
                line.push(column.at);
            }
            for (y, row) in painted.by_ref().take((*rows).into()).enumerate() {
                for (pixel, at) in row.iter_mut().zip(&*line) {
                    *pixel = *colours.get(pixels.get(at + y)?)?;
                }
            }
        }
        let is_all = columns.len() == columns_len && used == pixels.low.len();
        is_all.then_some(())
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

    fn get(&self, at: usize) -> Option<usize> {
        let low = *self.low.get(at)?;
        let high = self.high.get(at).copied().unwrap_or_default();
        Some(u16::from_le_bytes([low, high]).into())
    }
}

/// Bytes of a number below a count.
const fn bytes_of(count: usize) -> usize {
    if count > BYTE_COUNT { 2 } else { 1 }
}

fn write_numbers(numbers: &[u16], count: usize, body: &mut Vec<u8>) {
    let bytes = numbers.iter().map(|it| it.to_le_bytes());
    body.extend(bytes.clone().map(|[low, _]| low));
    if bytes_of(count) > 1 {
        body.extend(bytes.map(|[_, high]| high));
    }
}

fn short(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (field, rest) = bytes.split_first_chunk()?;
    Some((u16::from_le_bytes(*field).into(), rest))
}

#[cfg(test)]
#[path = "text/tests.rs"]
mod tests;
