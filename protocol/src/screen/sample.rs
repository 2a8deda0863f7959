//! Pictures for tests: seeded chance, and text in a small font.

use crate::{Pixel, Rect, Size};

use super::Picture;

/// Xorshift: the same numbers from the same seed, everywhere.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) const fn next_u32(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// A number below `bound`; 0 where that is 0.
    pub(crate) const fn below(&mut self, bound: u32) -> u32 {
        match self.next_u32().checked_rem(bound) {
            Some(it) => it,
            None => 0,
        }
    }

    pub(crate) fn short(&mut self, bound: u16) -> u16 {
        u16::try_from(self.below(bound.into())).unwrap()
    }
}

/// Pixels of a character and its surroundings.
pub(crate) const CELL: (u16, u16) = (8, 16);

const INK: Pixel = 0x0020_2428;
const PAPER: Pixel = 0x00FC_FCFA;

/// A picture to draw on.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) picture: Picture,
    pub(crate) ink: Pixel,
    pub(crate) paper: Pixel,
    /// Letters have soft edges, as antialiasing makes them.
    pub(crate) is_soft: bool,
}

impl Page {
    pub(crate) fn new(width: u16, height: u16) -> Self {
        let size = Size { width, height };
        let mut picture = Picture::new(size);
        picture.fill(Rect::whole(size), PAPER);
        Self {
            picture,
            ink: INK,
            paper: PAPER,
            is_soft: false,
        }
    }

    pub(crate) fn pixels(&self) -> Vec<Pixel> {
        self.picture.pixels().to_vec()
    }

    /// The bytes of a framebuffer with this picture, its X bytes full of rubbish.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let pixels = self.picture.pixels().iter().enumerate();
        pixels
            .flat_map(|(n, it)| {
                let rubbish = u32::try_from(n % 253).unwrap() << 24;
                (it | rubbish).to_le_bytes()
            })
            .collect()
    }

    /// Draws a text from a place on; what leaves the page is cut.
    pub(crate) fn text(&mut self, x: u16, y: u16, text: &str) {
        for (row, line) in (0..).zip(text.lines()) {
            for (column, letter) in (0..).zip(line.chars()) {
                self.letter(x + column * CELL.0, y + row * CELL.1, letter);
            }
        }
    }

    pub(crate) fn letter(&mut self, x: u16, y: u16, letter: char) {
        let cell = Rect {
            x,
            y,
            width: CELL.0,
            height: CELL.1,
        };
        let whole = Rect::whole(self.picture.size());
        if !whole.contains(cell) {
            return;
        }
        self.picture.fill(cell, self.paper);
        // Five columns of seven dots each, drawn twice as high.
        for (column, dots) in (0..).zip(glyph(letter)) {
            for row in (0..7).filter(|row| dots >> row & 1 == 1) {
                self.dot(x + 1 + column, y + 1 + 2 * row);
            }
        }
    }

    fn dot(&mut self, x: u16, y: u16) {
        if self.is_soft {
            let soft = Rect::between(x, y.saturating_sub(1), x + 2, y + 3);
            let shade = self.paper / 2 + self.ink / 2 + Pixel::from(x % 3) * 0x0010_0804;
            for row in self.picture.rows_mut(soft) {
                for pixel in row.iter_mut().filter(|it| **it != self.ink) {
                    *pixel = shade;
                }
            }
        }
        self.picture
            .fill(Rect::between(x, y, x + 1, y + 2), self.ink);
    }
}

/// Something like a letter: dots that its number decides, denser in the middle.
fn glyph(letter: char) -> [u8; 5] {
    if letter == ' ' {
        return [0; 5];
    }
    let mut random = Random::new(u64::from(u32::from(letter)) + 77);
    let stem = 0x7F;
    let mut columns = [(); 5].map(|()| u8::try_from(random.next_u32() & random.next_u32() & 0x7F));
    columns[(u32::from(letter) % 5) as usize] = Ok(stem);
    columns.map(Result::unwrap)
}

/// Lines of words from a seed.
pub(crate) fn lines(seed: u64, columns: u16, rows: u16) -> String {
    let mut random = Random::new(seed);
    let mut text = String::new();
    for _ in 0..rows {
        let length = random.below(u32::from(columns) + 1);
        for _ in 0..length {
            let letter = b"etaoin shrdlu cmfwyp(){};=.   "[random.below(30) as usize];
            text.push(letter.into());
        }
        text.push('\n');
    }
    text
}
