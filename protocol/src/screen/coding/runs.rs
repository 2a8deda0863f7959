//! Runs of one colour, or of the pixels above: what most of a desktop is made of.
//!
//! A token's low seven bits are 0 for "as in the row above", else a colour's index plus one. Its
//! high bit says that a length follows: 2 plus the sum of bytes up to the first that is not 255.
//! Without it the run is one pixel.

use super::palette;
use crate::Pixel;

const ABOVE: u8 = 0;
const HAS_LENGTH: u8 = 0x80;

/// Appends the tokens of rows of `width` indices below 127.
pub(super) fn write(indices: &[u8], width: usize, out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(rest @ [index, ..]) = indices.get(at..) {
        let run = rest.iter().take_while(|it| *it == index).count();
        let above = match at.checked_sub(width) {
            Some(above) => common(rest, indices.get(above..).unwrap_or_default()),
            None => 0,
        };
        let (token, length) = if above > 1 && above >= run {
            (ABOVE, above)
        } else {
            (index + 1, run)
        };
        write_token(token, length, out);
        at += length;
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn write_token(token: u8, length: usize, out: &mut Vec<u8>) {
    let Some(mut more) = length.checked_sub(2) else {
        out.push(token);
        return;
    };
    out.push(token | HAS_LENGTH);
    while let Some(rest) = more.checked_sub(255) {
        out.push(255);
        more = rest;
    }
    out.extend(u8::try_from(more));
}

/// Fills rows of `width` pixels; `None` where the tokens make fewer or more, or name a colour that
/// the palette has not.
pub(super) fn read(
    mut tokens: &[u8],
    palette: &[u8],
    width: usize,
    pixels: &mut [Pixel],
) -> Option<()> {
    let mut at = 0;
    while let Some((token, rest)) = tokens.split_first() {
        tokens = rest;
        let length = if token & HAS_LENGTH == 0 {
            1
        } else {
            read_length(&mut tokens)?
        };
        let end = at + length;
        match usize::from(token & !HAS_LENGTH).checked_sub(1) {
            Some(index) => {
                let colour = palette::colour(palette, index)?;
                pixels.get_mut(at..end)?.fill(colour);
            }
            None => copy_above(pixels, at..end, width)?,
        }
        at = end;
    }
    (at == pixels.len()).then_some(())
}

fn read_length(tokens: &mut &[u8]) -> Option<usize> {
    let mut length = 2;
    loop {
        let (byte, rest) = tokens.split_first()?;
        *tokens = rest;
        length += usize::from(*byte);
        if *byte != 255 {
            return Some(length);
        }
    }
}

/// A run may be longer than a row: then it repeats what it has written itself.
fn copy_above(pixels: &mut [Pixel], run: std::ops::Range<usize>, width: usize) -> Option<()> {
    run.start.checked_sub(width)?;
    if run.end > pixels.len() || width == 0 {
        return None;
    }
    let mut at = run.start;
    while at < run.end {
        let end = run.end.min(at + width);
        pixels.copy_within(at - width..end - width, at);
        at = end;
    }
    Some(())
}
