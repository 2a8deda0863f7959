//! Codes a rectangle's pixels without loss, in the form that suits how many colours it has.

pub(super) mod palette;
mod predicted;
mod runs;

use lz4_flex::block::{self, CompressTable};

use crate::Pixel;
use crate::limits::TILE_PIXELS_MAX;
use crate::wire::update::{Coding, Form};
use palette::{COLOUR_BYTES, Palette};

/// Most colours of each form that has a palette.
const BITS_COLOURS: usize = 2;
const RUNS_COLOURS: usize = 127;
const INDICES_COLOURS: usize = 256;

/// No form has a longer body: a palette, and three bytes for each pixel.
const BODY_BYTES_MAX: usize = INDICES_COLOURS * COLOUR_BYTES + TILE_PIXELS_MAX * COLOUR_BYTES;

/// Below this a Lempel-Ziv coder finds nothing to refer to, nor is there much to be saved.
const PACKED_BYTES_MIN: usize = 48;

/// What takes more than this share of its plain bytes may be a photograph: prediction is tried,
/// which takes as long as all else together.
const PHOTO_SHARE: usize = 4;

/// Codes pixels; its buffers serve one call after the other.
pub struct Coder {
    palette: Palette,
    indices: Vec<u8>,
    body: Vec<u8>,
    packed: Vec<u8>,
    predicted: Vec<u8>,
    table: CompressTable,
}

/// What became of some pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coded<'a> {
    /// All of them have one colour.
    Solid(Pixel),
    /// Bytes of a tile.
    Tile(Coding, &'a [u8]),
}

/// Bytes that are no pixels of their rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tile of {pixels} pixels has a wrong body ({bytes} bytes, {coding:?})")]
pub struct BadTile {
    /// How they were said to be coded.
    pub coding: Coding,
    /// How many there are.
    pub bytes: usize,
    /// How many pixels they should make.
    pub pixels: usize,
}

impl std::fmt::Debug for Coder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coder").finish_non_exhaustive()
    }
}

impl Default for Coder {
    fn default() -> Self {
        Self {
            palette: Palette::default(),
            indices: Vec::with_capacity(TILE_PIXELS_MAX),
            body: Vec::with_capacity(BODY_BYTES_MAX),
            packed: vec![0; block::get_maximum_output_size(BODY_BYTES_MAX)],
            predicted: Vec::with_capacity(BODY_BYTES_MAX),
            table: CompressTable::small(),
        }
    }
}

impl Coder {
    /// Codes rows of `width` pixels.
    ///
    /// # Panics
    ///
    /// When there is no pixel, or more than [`TILE_PIXELS_MAX`].
    pub fn encode(&mut self, pixels: &[Pixel], width: u16) -> Coded<'_> {
        assert!(
            (1..=TILE_PIXELS_MAX).contains(&pixels.len()) && width > 0,
            "a tile of {} pixels in rows of {width}",
            pixels.len()
        );
        let Some(form) = self.write_body(pixels, width) else {
            return Coded::Solid(pixels.first().copied().unwrap_or_default());
        };
        let packed = self.pack();
        let shortest = packed.unwrap_or(self.body.len());
        let has_many_colours = matches!(form, Form::Indices | Form::Plain);
        if has_many_colours
            && shortest > PACKED_BYTES_MIN
            && shortest * PHOTO_SHARE > pixels.len() * COLOUR_BYTES
        {
            self.predicted.clear();
            predicted::write(pixels, width.into(), &mut self.predicted);
            if self.predicted.len() < shortest {
                return Coded::Tile(Coding::of(Form::Predicted), &self.predicted);
            }
        }
        match packed.and_then(|len| self.packed.get(..len)) {
            Some(packed) => Coded::Tile(Coding::of(form).packed(), packed),
            None => Coded::Tile(Coding::of(form), &self.body),
        }
    }

    /// Writes the body in the form that suits the number of colours; `None` for one colour.
    fn write_body(&mut self, pixels: &[Pixel], width: u16) -> Option<Form> {
        self.body.clear();
        let form = match self
            .palette
            .index(pixels, &mut self.indices)
            .map(<[Pixel]>::len)
        {
            Some(1) => return None,
            Some(..=BITS_COLOURS) => Form::Bits,
            Some(..=RUNS_COLOURS) => Form::Runs,
            Some(_) => Form::Indices,
            None => Form::Plain,
        };
        match form {
            Form::Bits => {
                self.palette.write_colours(&mut self.body);
                let bits = self.indices.chunks(8).map(|it| {
                    let pixels = it.iter().enumerate();
                    pixels.fold(0, |bits, (n, index)| bits | index << n)
                });
                self.body.extend(bits);
            }
            Form::Runs => {
                self.palette.write(&mut self.body);
                runs::write(&self.indices, usize::from(width), &mut self.body);
            }
            Form::Indices => {
                self.palette.write(&mut self.body);
                self.body.extend_from_slice(&self.indices);
            }
            Form::Plain | Form::Predicted => (),
        }
        // A few pixels of many colours are shorter without a palette.
        if form == Form::Plain || self.body.len() > pixels.len() * COLOUR_BYTES {
            self.body.clear();
            palette::write(pixels, &mut self.body);
            return Some(Form::Plain);
        }
        Some(form)
    }

    /// Packs the body; returns how long that is, where it is shorter.
    fn pack(&mut self) -> Option<usize> {
        if self.body.len() < PACKED_BYTES_MIN {
            return None;
        }
        block::compress_into_with_table(&self.body, &mut self.packed, &mut self.table)
            .ok()
            .filter(|it| *it < self.body.len())
    }
}

/// Reads what a [`Coder`] wrote, or somebody who claims to be one.
#[derive(Debug)]
pub struct Decoder {
    body: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            body: vec![0; BODY_BYTES_MAX],
        }
    }
}

impl Decoder {
    /// Fills `pixels`, rows of `width` of them.
    ///
    /// # Errors
    ///
    /// Returns [`BadTile`] when the bytes are not exactly these pixels; some may have been
    /// written.
    pub fn decode(
        &mut self,
        coding: Coding,
        bytes: &[u8],
        width: u16,
        pixels: &mut [Pixel],
    ) -> Result<(), BadTile> {
        let bad = BadTile {
            coding,
            bytes: bytes.len(),
            pixels: pixels.len(),
        };
        if width == 0 {
            return Err(bad);
        }
        let body = if coding.is_packed {
            let len = block::decompress_into(bytes, &mut self.body).map_err(|_| bad)?;
            self.body.get(..len).ok_or(bad)?
        } else {
            bytes
        };
        let read = match coding.form {
            Form::Bits => read_bits(body, pixels),
            Form::Runs => read_runs(body, usize::from(width), pixels),
            Form::Indices => read_indices(body, pixels),
            Form::Plain => read_plain(body, pixels),
            Form::Predicted => predicted::read(body, width.into(), pixels),
        };
        read.ok_or(bad)
    }
}

fn read_bits(body: &[u8], pixels: &mut [Pixel]) -> Option<()> {
    let (colours, bits) = body.split_at_checked(BITS_COLOURS * COLOUR_BYTES)?;
    let mut colours = palette::colours(colours);
    let (zero, one) = (colours.next()?, colours.next()?);
    if bits.len() != pixels.len().div_ceil(8) {
        return None;
    }
    for (pixels, bits) in pixels.chunks_mut(8).zip(bits) {
        for (n, pixel) in pixels.iter_mut().enumerate() {
            *pixel = if bits >> n & 1 == 0 { zero } else { one };
        }
    }
    Some(())
}

fn read_runs(body: &[u8], width: usize, pixels: &mut [Pixel]) -> Option<()> {
    let (palette, tokens) = palette::split(body)?;
    runs::read(tokens, palette, width, pixels)
}

fn read_indices(body: &[u8], pixels: &mut [Pixel]) -> Option<()> {
    let (palette, indices) = palette::split(body)?;
    if indices.len() != pixels.len() {
        return None;
    }
    for (pixel, index) in pixels.iter_mut().zip(indices) {
        *pixel = palette::colour(palette, usize::from(*index))?;
    }
    Some(())
}

fn read_plain(body: &[u8], pixels: &mut [Pixel]) -> Option<()> {
    if body.len() != pixels.len() * COLOUR_BYTES {
        return None;
    }
    for (pixel, colour) in pixels.iter_mut().zip(palette::colours(body)) {
        *pixel = colour;
    }
    Some(())
}

#[cfg(test)]
#[path = "coding/tests.rs"]
mod tests;
