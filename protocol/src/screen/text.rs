//! Codes lines of text without loss: a line is cut into columns one pixel wide, and a column that
//! was there before is told by its number. The letters of a screen repeat to the pixel.

mod columns;
mod lines;

use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::coding::palette::{self, Palette};
use super::picture::Picture;
use crate::Rect;
use crate::limits::{TEXT_BODY_BYTES_MAX, TEXT_LINE_ROWS_MAX, TEXT_PIXELS_MAX};
use columns::Columns;
use lines::Lines;

/// Deflates lazily, with as many looks back as take no longer than finding the columns does.
const DEFLATE_FLAGS: u32 = 16;

/// Columns that a byte can number.
const BYTE_COLUMNS: usize = 256;

/// Codes text; its buffers serve one call after the other, and grow with the largest.
pub(super) struct TextCoder {
    palette: Palette,
    /// Of all pixels, row by row.
    indices: Vec<u8>,
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
            palette: Palette::default(),
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
        self.palette.clear();
        self.indices.clear();
        for row in picture.rows(rect) {
            self.palette.append(row, &mut self.indices)?;
        }
        let width = usize::from(rect.width);
        let lines = self.lines.find(&self.indices, width);
        self.columns.clear();
        let mut rest = self.indices.as_slice();
        for rows in lines {
            let (line, below) = rest.split_at_checked(usize::from(*rows) * width)?;
            self.columns.add_line(line, width)?;
            // Text that repeats needs few columns: this is something else.
            if self.columns.pixels().len() > rect.area() / 8 {
                return None;
            }
            rest = below;
        }
        self.write_body();
        self.deflate()
    }

    fn write_body(&mut self) {
        let lines = self.lines.found();
        let columns = self.columns.len();
        self.body.clear();
        self.palette.write(&mut self.body);
        for count in [lines.len(), columns] {
            let count = u16::try_from(count).expect("both are bounded far below");
            self.body.extend(count.to_le_bytes());
        }
        self.body.extend_from_slice(lines);
        let numbers = self.columns.numbers().iter().map(|it| it.to_le_bytes());
        self.body.extend(numbers.clone().map(|[low, _]| low));
        if columns > BYTE_COLUMNS {
            self.body.extend(numbers.map(|[_, high]| high));
        }
        self.body.extend_from_slice(self.columns.pixels());
    }

    fn deflate(&mut self) -> Option<Text<'_>> {
        let body_len = self.body.len();
        if body_len > TEXT_BODY_BYTES_MAX {
            return None;
        }
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
pub(super) struct TextDecoder {
    inflater: Box<DecompressorOxide>,
    body: Vec<u8>,
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

impl Default for TextDecoder {
    fn default() -> Self {
        Self {
            inflater: Box::default(),
            body: Vec::new(),
            columns: Vec::new(),
            line: Vec::new(),
        }
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
            columns,
            line,
            ..
        } = self;
        let (colours, rest) = palette::split(body)?;
        let mut palette = [0; 1 << u8::BITS];
        let mut count = 0;
        for (slot, colour) in palette.iter_mut().zip(palette::colours(colours)) {
            *slot = colour;
            count += 1;
        }
        let palette = palette.get(..count)?;
        let (lines, rest) = short(rest)?;
        let (columns_max, rest) = short(rest)?;
        let (heights, rest) = rest.split_at_checked(lines.into())?;
        let all: usize = heights.iter().map(|it| usize::from(*it)).sum();
        let is_line = |it: &u8| (1..=TEXT_LINE_ROWS_MAX).contains(it);
        if all != usize::from(rect.height) || !heights.iter().all(is_line) {
            return None;
        }
        let width = usize::from(rect.width);
        let (low, rest) = rest.split_at_checked(heights.len() * width)?;
        let is_byte = usize::from(columns_max) <= BYTE_COLUMNS;
        let high_len = if is_byte { 0 } else { low.len() };
        let (high, pixels) = rest.split_at_checked(high_len)?;
        let mut high = high.chunks_exact(width);
        columns.clear();
        let mut used = 0;
        let mut painted = picture.rows_mut(rect);
        for (rows, low) in heights.iter().zip(low.chunks_exact(width)) {
            let high = high.next().unwrap_or_default();
            line.clear();
            for (x, low) in low.iter().enumerate() {
                let high = high.get(x).copied().unwrap_or_default();
                let number = usize::from(u16::from_le_bytes([*low, high]));
                if number == columns.len() {
                    let rows = *rows;
                    columns.push(Column { at: used, rows });
                    used += usize::from(rows);
                }
                let column = columns.get(number).filter(|it| it.rows == *rows)?;
                line.push(column.at);
            }
            for (n, row) in painted.by_ref().take((*rows).into()).enumerate() {
                for (pixel, at) in row.iter_mut().zip(&*line) {
                    *pixel = *palette.get(usize::from(*pixels.get(at + n)?))?;
                }
            }
        }
        let is_all = columns.len() == columns_max.into() && used == pixels.len();
        is_all.then_some(())
    }
}

fn short(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (field, rest) = bytes.split_first_chunk()?;
    Some((u16::from_le_bytes(*field), rest))
}

#[cfg(test)]
#[path = "text/tests.rs"]
mod tests;
