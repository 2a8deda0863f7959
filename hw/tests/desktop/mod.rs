//! A desktop made of text, drawn from a seed: what encoders are tested and measured with.
#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "shared by a test and an example, which use different parts; a panic is a failed test"
)]

use sandbox_protocol::{Rect, Size};

/// Bytes per BGRX pixel.
const PIXEL_BYTES: usize = 4;

/// A glyph's cell.
const CELL: (u16, u16) = (8, 16);

/// Colours of a window: paper, ink (blue, green, red).
const DARK: ([u8; 3], [u8; 3]) = ([40, 32, 28], [210, 220, 225]);
const LIGHT: ([u8; 3], [u8; 3]) = ([250, 252, 253], [30, 25, 20]);

/// A generator of chance (xorshift64*).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

/// A screen with a dark terminal on the left and a light document on the right.
pub(crate) struct Desktop {
    pub(crate) size: Size,
    pub(crate) pixels: Vec<u8>,
    /// First line of text that the terminal shows.
    line: u64,
    typed: u16,
}

impl Desktop {
    /// Draws the whole screen; another seed has nothing in common with it but the layout.
    pub(crate) fn new(size: Size, seed: u64) -> Self {
        let bytes = usize::from(size.width) * usize::from(size.height) * PIXEL_BYTES;
        let mut desktop = Self {
            size,
            pixels: vec![0; bytes],
            line: seed << 20,
            typed: 0,
        };
        desktop.fill(Rect::whole(size), |x, y| {
            let shade = |of: u16, base: u8| base + u8::try_from(of / 40).unwrap_or(0);
            [shade(y, 90), shade(x, 60), shade(y, 50)]
        });
        desktop.text(desktop.terminal(), DARK, seed << 20);
        desktop.text(desktop.document(), LIGHT, seed << 20 | 1 << 19);
        desktop
    }

    pub(crate) fn stride(&self) -> usize {
        usize::from(self.size.width) * PIXEL_BYTES
    }

    /// The left window.
    pub(crate) fn terminal(&self) -> Rect {
        Rect {
            x: 24,
            y: 32,
            width: (self.size.width / 2 - 48) & !7,
            height: (self.size.height - 64) & !15,
        }
    }

    /// The right window.
    pub(crate) fn document(&self) -> Rect {
        let left = self.terminal();
        Rect {
            x: self.size.width / 2 + 24,
            ..left
        }
    }

    /// Writes the next character into the terminal.
    pub(crate) fn type_character(&mut self) -> Rect {
        let window = self.terminal();
        let columns = window.width / CELL.0;
        let rows = window.height / CELL.1;
        let cell = Rect {
            x: window.x + self.typed % columns * CELL.0,
            y: window.y + self.typed / columns % rows * CELL.1,
            width: CELL.0,
            height: CELL.1,
        };
        self.typed = self.typed.wrapping_add(1);
        self.glyph(cell, DARK, 7 + u64::from(self.typed));
        cell
    }

    /// Replaces one 64×64 piece of text.
    pub(crate) fn change_patch(&mut self, seed: u64) -> Rect {
        let window = self.document();
        let mut chance = Chance::new(seed);
        let mut place = |from: u16, side: u16| {
            from + u16::try_from(chance.below(u64::from(side / 64))).unwrap_or(0) * 64
        };
        let patch = Rect {
            x: place(window.x, window.width),
            y: place(window.y, window.height),
            width: 64,
            height: 64,
        };
        self.text(patch, LIGHT, seed << 8);
        patch
    }

    /// Moves the terminal's text up by `lines`.
    pub(crate) fn scroll(&mut self, lines: u64) -> Rect {
        self.line += lines;
        let window = self.terminal();
        self.text(window, DARK, self.line);
        window
    }

    /// Fills a window with lines of text; line `n` looks the same wherever it stands.
    fn text(&mut self, window: Rect, colours: ([u8; 3], [u8; 3]), first_line: u64) {
        self.fill(window, |_, _| colours.0);
        for row in 0..window.height / CELL.1 {
            let mut chance = Chance::new(first_line + u64::from(row));
            let columns = u64::from(window.width / CELL.0);
            let length = chance.below(columns) + 1;
            for column in 0..u16::try_from(length).unwrap_or(0) {
                let cell = Rect {
                    x: window.x + column * CELL.0,
                    y: window.y + row * CELL.1,
                    width: CELL.0,
                    height: CELL.1,
                };
                match chance.below(6) {
                    0 => (),
                    _ => self.glyph(cell, colours, chance.below(90)),
                }
            }
        }
    }

    /// A few strokes with soft edges, as anti-aliased text has.
    fn glyph(&mut self, cell: Rect, (paper, ink): ([u8; 3], [u8; 3]), code: u64) {
        let mut chance = Chance::new(code);
        let mut cover = [[0_u16; CELL.0 as usize]; CELL.1 as usize];
        for _ in 0..4 {
            let upright = chance.below(2) == 0;
            let (x, y) = (1 + chance.below(5), 3 + chance.below(9));
            for step in 0..3 + chance.below(5) {
                let (x, y) = if upright {
                    (x, (y + step).min(13))
                } else {
                    ((x + step).min(6), y)
                };
                let (x, y) = (usize::try_from(x).unwrap(), usize::try_from(y).unwrap());
                cover[y][x] = 255;
                cover[y][x + 1] = cover[y][x + 1].max(90);
            }
        }
        self.fill(cell, |x, y| {
            let cover = cover[usize::from(y - cell.y)][usize::from(x - cell.x)];
            let mix = |paper: u8, ink: u8| {
                let sum = u16::from(paper) * (255 - cover) + u16::from(ink) * cover;
                u8::try_from(sum / 255).unwrap()
            };
            [
                mix(paper[0], ink[0]),
                mix(paper[1], ink[1]),
                mix(paper[2], ink[2]),
            ]
        });
    }

    fn fill(&mut self, rect: Rect, colour: impl Fn(u16, u16) -> [u8; 3]) {
        for y in rect.y..rect.y + rect.height {
            for x in rect.x..rect.x + rect.width {
                let at = usize::from(y) * self.stride() + usize::from(x) * PIXEL_BYTES;
                self.pixels[at..at + 3].copy_from_slice(&colour(x, y));
            }
        }
    }
}
