//! Codes lines of text without loss: a line is cut into columns one pixel wide, and a column that
//! was there before is told by its number. The letters of a screen repeat to the pixel.

mod colours;
mod columns;
mod decoder;
mod lines;

use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress};

use super::coding::palette;
use super::picture::Picture;
use crate::Rect;
use crate::limits::{TEXT_COLOURS_MAX, TEXT_COLUMNS_MAX, TEXT_PIXELS_MAX, text_body_bytes_max};
use colours::Colours;
use columns::Columns;
use lines::{Lines, Missing};

pub use decoder::BadText;
pub(super) use decoder::TextDecoder;

/// Deflates lazily, with so many looks back: with more it takes longer than finding the columns.
const DEFLATE_FLAGS: u32 = 48;

/// Pixels of an alphabet's columns, which one line needs as well as a page.
const ALPHABET_PIXELS: usize = 4_096;

/// What a byte can number.
const BYTE_COUNT: usize = 256;

/// What a step from one column to the next may be.
const STEPS: usize = 1 << 16;

/// Codes text; its buffers serve one call after the other, and grow with the largest.
pub(super) struct TextCoder {
    /// What the viewer knows, and then what the newest text has beside it.
    colours: Colours,
    columns: Columns,
    known: Known,
    /// Of all pixels' colours, row by row.
    indices: Vec<u16>,
    lines: Lines,
    /// From one column that is used to the next.
    steps: Vec<u16>,
    body: Vec<u8>,
    packed: Vec<u8>,
    compressor: CompressorOxide,
}

/// How many colours and columns the viewer has from the texts before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    colours: usize,
    columns: usize,
}

/// Why something is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoText {
    /// It has too many colours, with all that are known.
    Colours,
    /// It has too many columns, with all that are known.
    Columns,
    /// It has too many columns for its size.
    Varied,
    /// It becomes longer than its pixels.
    Long,
}

/// Coded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<'a> {
    /// Where it is painted.
    pub(super) rect: Rect,
    /// It has what the texts before it have, and more.
    pub(super) goes_on: bool,
    /// How long the bytes become.
    pub(super) body_len: usize,
    /// Deflated.
    pub(super) bytes: &'a [u8],
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
            columns: Columns::default(),
            known: Known::default(),
            indices: Vec::new(),
            lines: Lines::default(),
            steps: Vec::new(),
            body: Vec::new(),
            packed: Vec::new(),
            compressor: CompressorOxide::new(DEFLATE_FLAGS),
        }
    }
}

impl TextCoder {
    /// The viewer knows of no text.
    pub(super) fn clear(&mut self) {
        self.colours.clear();
        self.columns.clear();
        self.known = Known::default();
    }

    /// Codes a rectangle of the picture. Where lines begin above it or end below it, they are coded
    /// whole, as long as that is within `bounds`: letters that are cut would not be those that are
    /// known.
    ///
    /// # Errors
    ///
    /// Returns [`NoText`] where its pixels do not repeat as text does.
    ///
    /// # Panics
    ///
    /// When the rectangle is empty, or of more than [`TEXT_PIXELS_MAX`] pixels.
    pub(super) fn encode(
        &mut self,
        picture: &Picture,
        rect: Rect,
        bounds: Rect,
    ) -> Result<Text<'_>, NoText> {
        assert!(
            (1..=TEXT_PIXELS_MAX).contains(&rect.area()),
            "text in {rect:?}"
        );
        self.colours.truncate(self.known.colours);
        self.columns.truncate(self.known.columns);
        let rect = match self.read(picture, rect, bounds) {
            Err(NoText::Colours | NoText::Columns) if self.is_crowded() => {
                self.clear();
                self.read(picture, rect, bounds)?
            }
            read => read?,
        };
        self.write_body();
        if self.body.len() > text_body_bytes_max(rect.area()) {
            return Err(NoText::Long);
        }
        self.deflate(rect).ok_or(NoText::Long)
    }

    /// The viewer gets what was coded last.
    pub(super) fn keep(&mut self) {
        self.known = Known {
            colours: self.colours.all().len(),
            columns: self.columns.len(),
        };
    }

    /// The viewer knows something from the texts before.
    fn goes_on(&self) -> bool {
        self.known != Known::default()
    }

    /// What is known from the texts before leaves little room. Else what finds none is no text, and
    /// for a photograph the letters of all windows would be forgotten.
    const fn is_crowded(&self) -> bool {
        let Known { colours, columns } = self.known;
        colours > TEXT_COLOURS_MAX / 2 || columns > TEXT_COLUMNS_MAX / 2
    }

    /// Finds the columns of a rectangle, and adds those that are new. Returns the rectangle with
    /// whole lines.
    fn read(&mut self, picture: &Picture, rect: Rect, bounds: Rect) -> Result<Rect, NoText> {
        self.indices.clear();
        self.index(picture, rect)?;
        let width = usize::from(rect.width);
        self.lines.find(&self.indices, width);
        let rect = self.complete(picture, rect, bounds)?;
        let before = self.columns.pixels().len();
        self.columns.begin();
        let mut rest = self.indices.as_slice();
        for rows in self.lines.found() {
            let (line, below) = rest.split_at(usize::from(*rows) * width);
            let added = self.columns.add_line(line, width);
            added.ok_or(NoText::Columns)?;
            // Text that repeats needs few columns: this is something else.
            if self.columns.pixels().len() - before > rect.area() / 8 + ALPHABET_PIXELS {
                return Err(NoText::Varied);
            }
            rest = below;
        }
        Ok(rect)
    }

    /// Appends the colours of a rectangle.
    fn index(&mut self, picture: &Picture, rect: Rect) -> Result<(), NoText> {
        for row in picture.rows(rect) {
            let indexed = self.colours.index(row, &mut self.indices);
            indexed.ok_or(NoText::Colours)?;
        }
        Ok(())
    }

    /// Adds the rows that the first and the last line lack.
    fn complete(&mut self, picture: &Picture, rect: Rect, bounds: Rect) -> Result<Rect, NoText> {
        let mut rows = self.lines.missing();
        let with = |rows: Missing| Rect {
            y: rect.y.saturating_sub(rows.above.into()),
            height: u16::from(rows.above) + rect.height + u16::from(rows.below),
            ..rect
        };
        if rect.y < bounds.y.saturating_add(rows.above.into()) {
            rows.above = 0;
        }
        if rect.bottom().saturating_add(rows.below.into()) > bounds.bottom() {
            rows.below = 0;
        }
        let whole = with(rows);
        if rows == Missing::default() || whole.area() > TEXT_PIXELS_MAX {
            return Ok(rect);
        }
        let above = Rect::between(rect.x, whole.y, rect.right(), rect.y);
        let below = Rect::between(rect.x, rect.bottom(), rect.right(), whole.bottom());
        self.index(picture, below)?;
        self.index(picture, above)?;
        self.indices.rotate_right(above.area());
        self.lines.complete(rows);
        Ok(whole)
    }

    fn write_body(&mut self) {
        let colours = self.colours.all();
        let (_, new_colours) = colours.split_at(self.known.colours);
        let lines = self.lines.found();
        let used = self.columns.used();
        self.body.clear();
        for count in [new_colours.len(), lines.len(), used.len()] {
            let count = u16::try_from(count).expect("all are bounded far below");
            self.body.extend(count.to_le_bytes());
        }
        palette::write(new_colours, &mut self.body);
        self.body.extend_from_slice(lines);
        if self.goes_on() {
            // A letter's columns were numbered together.
            self.steps.clear();
            let before = std::iter::once(&u16::MAX).chain(used);
            let steps = used.iter().zip(before);
            self.steps
                .extend(steps.map(|(it, before)| it.wrapping_sub(before.wrapping_add(1))));
            write_numbers(&self.steps, STEPS, &mut self.body);
        }
        write_numbers(self.columns.numbers(), used.len(), &mut self.body);
        let pixels = self.columns.pixels_from(self.known.columns);
        write_numbers(pixels, colours.len(), &mut self.body);
    }

    fn deflate(&mut self, rect: Rect) -> Option<Text<'_>> {
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
        let goes_on = self.goes_on();
        let text = Text {
            rect,
            goes_on,
            body_len,
            bytes,
        };
        (status == TDEFLStatus::Done).then_some(text)
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

#[cfg(test)]
#[path = "text/tests.rs"]
mod tests;
