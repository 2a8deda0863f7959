//! Words in the window: a few lines in a box, in a built-in font.

use font8x8::legacy::{BASIC_LEGACY, HIRAGANA_LEGACY, LATIN_LEGACY};
use sandbox_protocol::Pixel;

use super::layout::Area;
use super::paint::Canvas;

/// Pixels of a letter's side in the font.
const SIDE: u32 = 8;

/// How often each is repeated.
const SCALE: u32 = 2;

/// Between lines, and around them.
const LEADING: u32 = 6;
const MARGIN: u32 = 16;

const PAPER: Pixel = 0x0010_1418;
const INK: Pixel = 0x00E8_E8E8;

/// Lines of text in a box.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words(Vec<String>);

/// Where a box is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Middle,
    UpperLeft,
}

impl Words {
    /// Breaks a text so that it fits a window.
    pub(super) fn new(text: &str, window: (u32, u32)) -> Self {
        let columns = (window.0.saturating_sub(2 * MARGIN) / (SIDE * SCALE)).max(8) as usize;
        let mut lines = Vec::new();
        for paragraph in text.lines() {
            let mut line = String::new();
            for word in paragraph.split(' ') {
                if !line.is_empty() && line.chars().count() + word.chars().count() >= columns {
                    lines.push(std::mem::take(&mut line));
                }
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            lines.push(line);
        }
        Self(lines)
    }

    /// Where the box is in a window.
    pub(super) fn area(&self, window: (u32, u32), place: Place) -> Area {
        let columns = self.0.iter().map(|it| it.chars().count()).max();
        let width = columns.unwrap_or_default() as u32 * SIDE * SCALE + 2 * MARGIN;
        let height = self.0.len() as u32 * (SIDE * SCALE + LEADING) + 2 * MARGIN - LEADING;
        let (left, top) = match place {
            Place::Middle => (
                window.0.saturating_sub(width) / 2,
                window.1.saturating_sub(height) / 2,
            ),
            Place::UpperLeft => (0, 0),
        };
        Area {
            left,
            top,
            right: (left + width).min(window.0),
            bottom: (top + height).min(window.1),
        }
    }

    pub(super) fn draw(&self, area: Area, canvas: &mut Canvas<'_>) {
        canvas.fill(area, PAPER);
        let mut top = area.top + MARGIN;
        for line in &self.0 {
            let mut left = area.left + MARGIN;
            for letter in line.chars() {
                let cell = Area {
                    left,
                    top,
                    right: (left + SIDE * SCALE).min(area.right),
                    bottom: (top + SIDE * SCALE).min(area.bottom),
                };
                if !cell.is_empty() {
                    draw_letter(letter, cell, canvas);
                }
                left += SIDE * SCALE;
            }
            top += SIDE * SCALE + LEADING;
        }
    }
}

/// What a letter looks like; one that the font lacks is a question mark.
fn glyph(letter: char) -> Option<&'static [u8; 8]> {
    let in_order = |first: char| (letter as usize).checked_sub(first as usize);
    let found = BASIC_LEGACY.get(letter as usize);
    found
        .or_else(|| LATIN_LEGACY.get(in_order('\u{a0}')?))
        .or_else(|| HIRAGANA_LEGACY.get(in_order('\u{3040}')?))
        .or_else(|| BASIC_LEGACY.get('?' as usize))
}

fn draw_letter(letter: char, cell: Area, canvas: &mut Canvas<'_>) {
    let Some(glyph) = glyph(letter) else {
        return;
    };
    for (y, row) in canvas.rows(cell) {
        let bits = glyph.get(((y - cell.top) / SCALE) as usize).copied();
        let bits = bits.unwrap_or_default();
        for (x, pixel) in (0..).zip(row) {
            if bits >> (x / SCALE) & 1 != 0 {
                *pixel = INK;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_between_words_to_fit_the_window() {
        let words = Words::new("one two three\nfour", (2 * MARGIN + 9 * SIDE * SCALE, 200));
        assert_eq!(words.0, ["one two", "three", "four"]);
    }

    #[test]
    fn letters_are_drawn_within_their_box_alone() {
        let window = (200, 100);
        let words = Words::new("Hi", window);
        let area = words.area(window, Place::Middle);
        let mut pixels = vec![1; 200 * 100];
        let mut canvas = Canvas {
            pixels: &mut pixels,
            width: 200,
        };
        words.draw(area, &mut canvas);
        let inside = |x: u32, y: u32| {
            (area.left..area.right).contains(&x) && (area.top..area.bottom).contains(&y)
        };
        for (at, pixel) in (0..).zip(&pixels) {
            assert_eq!(*pixel == 1, !inside(at % 200, at / 200));
        }
        assert!(pixels.contains(&INK));
    }

    #[test]
    fn letters_that_the_font_lacks_are_question_marks() {
        let unknown = glyph('?');
        assert_eq!(glyph('漢'), unknown);
        for letter in ['A', 'é', 'か'] {
            assert_ne!(glyph(letter), unknown, "{letter}");
        }
    }

    #[test]
    fn a_box_larger_than_its_window_is_cut() {
        let window = (30, 20);
        let words = Words::new("a long word: incomprehensibilities", window);
        let mut pixels = vec![1; 600];
        let mut canvas = Canvas {
            pixels: &mut pixels,
            width: 30,
        };
        words.draw(words.area(window, Place::UpperLeft), &mut canvas);
        assert!(!pixels.contains(&1));
    }
}
