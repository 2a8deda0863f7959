//! The barcode that the tests' X program shows for each key: its layout, as blocks.
//!
//! The picture is [`COLUMNS`] × [`ROWS`] square blocks of [`BLOCK`] pixels, white = 1, black = 0,
//! whose top left corner lies [`ORIGIN`] pixels from both edges of the screen. Each row is one
//! 16-bit word, most significant bit left:
//!
//! | row | word |
//! |---|---|
//! | 0 | the key's running number, from 1; 0 = no key yet |
//! | 1 | modifiers (8 bits), keycode (8 bits) of the newest key |
//! | 2, 3 | its keysym, high and low half |
//! | 4–11 | the keycodes of the newest 16 keys, two in a row, newest first; 0 = none |
//! | 12 | CRC-16 (CCITT, initial value 0xFFFF) of the rows above, most significant byte first |
//!
//! Blocks are wider than a macroblock and read in their middle, so that they survive any
//! quantiser. The history lets a reader that misses a picture still account for every key.
//! Right of the barcode stands a square of [`SQUARE`] pixels, white after an odd number of keys,
//! black after an even one: the first thing that each key changes.
//!
//! `tests/system/barcode.mjs` reads this layout from video pixels.

/// Side of a block in pixels.
pub const BLOCK: u16 = 24;
/// Blocks in a row.
pub const COLUMNS: u16 = 16;
/// Rows of blocks.
pub const ROWS: u16 = 13;
/// Pixels from the screen's left and upper edge to the first block.
pub const ORIGIN: u16 = 48;
/// Side of the square in pixels.
pub const SQUARE: u16 = 96;
/// Pixels from the screen's left edge to the square.
pub const SQUARE_X: u16 = ORIGIN + BLOCK * COLUMNS + BLOCK;
/// Pixels from the screen's upper edge to the square.
pub const SQUARE_Y: u16 = ORIGIN;
/// Keys in the history.
pub const HISTORY: usize = 16;

const CRC_ROW: usize = ROWS as usize - 1;

/// One pressed key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// X keycode.
    pub keycode: u8,
    /// Low eight bits of the X modifier state.
    pub modifiers: u8,
    /// What the X keymap makes of it.
    pub keysym: u32,
}

/// The keys so far, as far as the barcode shows them.
#[derive(Clone, Debug, Default)]
pub struct Barcode {
    number: u16,
    newest: Key,
    history: [u8; HISTORY],
}

impl Barcode {
    /// Counts one more key.
    pub fn press(&mut self, key: Key) {
        self.number = self.number.wrapping_add(1);
        self.newest = key;
        self.history.rotate_right(1);
        if let Some(first) = self.history.first_mut() {
            *first = key.keycode;
        }
    }

    /// How many keys there were.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// The rows of the picture.
    pub fn rows(&self) -> [u16; ROWS as usize] {
        let [_, _, high, low] = self.newest.keysym.to_be_bytes();
        let [top, upper, ..] = self.newest.keysym.to_be_bytes();
        let mut rows = [0; ROWS as usize];
        let head = [
            self.number,
            u16::from_be_bytes([self.newest.modifiers, self.newest.keycode]),
            u16::from_be_bytes([top, upper]),
            u16::from_be_bytes([high, low]),
        ];
        let (pairs, _) = self.history.as_chunks::<2>();
        let words = head
            .into_iter()
            .chain(pairs.iter().map(|it| u16::from_be_bytes(*it)));
        for (row, word) in rows.iter_mut().zip(words) {
            *row = word;
        }
        let sum = rows
            .iter()
            .take(CRC_ROW)
            .fold(0xFFFF, |crc, row| crc16(crc, *row));
        if let Some(last) = rows.last_mut() {
            *last = sum;
        }
        rows
    }
}

/// The number of the newest key that rows read from pixels show; `None` where they are no
/// barcode, or one that was drawn in part.
pub fn number_of(rows: &[u16; ROWS as usize]) -> Option<u16> {
    let [number, .., last] = rows;
    (*last == sum(rows)).then_some(*number)
}

fn sum(rows: &[u16; ROWS as usize]) -> u16 {
    rows.iter()
        .take(CRC_ROW)
        .fold(0xFFFF, |crc, row| crc16(crc, *row))
}

/// CRC-16/CCITT-FALSE over one more word.
fn crc16(crc: u16, word: u16) -> u16 {
    (0..16).rev().fold(crc, |crc, bit| {
        let is_odd = (crc >> 15) ^ ((word >> bit) & 1) == 1;
        (crc << 1) ^ if is_odd { 0x1021 } else { 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one() {
        // "12345678" has the check value 0xA12B under CRC-16/CCITT-FALSE.
        let words = [0x3132, 0x3334, 0x3536, 0x3738];
        assert_eq!(words.into_iter().fold(0xFFFF, crc16), 0xA12B);
    }

    #[test]
    fn rows_show_number_newest_key_and_history() {
        let mut barcode = Barcode::default();
        for keycode in 1..=18 {
            barcode.press(Key {
                keycode,
                modifiers: 1,
                keysym: 0x0100_20AC,
            });
        }
        let rows = barcode.rows();
        assert_eq!(&rows[..5], &[18, 0x0112, 0x0100, 0x20AC, 0x1211]);
        assert_eq!(rows[11], 0x0403);
        assert_eq!(rows[12], sum(&rows));
        assert_eq!(number_of(&rows), Some(18));
    }

    #[test]
    fn a_barcode_with_a_wrong_block_is_none() {
        let rows = Barcode::default().rows();
        for row in 0..ROWS as usize {
            for bit in 0..16 {
                let mut torn = rows;
                torn[row] ^= 1 << bit;
                assert_eq!(number_of(&torn), None, "row {row}, bit {bit}");
            }
        }
    }

    #[test]
    fn an_empty_barcode_is_no_black_picture() {
        assert_ne!(Barcode::default().rows()[12], 0);
    }
}
