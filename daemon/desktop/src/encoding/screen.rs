//! The screen as it was last copied: the pixels that everything here looks at.

use sandbox_protocol::screen::View;
use sandbox_protocol::{Rect, Size};

use crate::framebuffer::{Framebuffer, PIXEL_BYTES};

/// Sides of the pieces in which changes are looked for: a damaged window in which a letter
/// changed is not encoded whole. Rows as high as H.264's blocks, columns as wide as one memory
/// comparison is quick.
pub(super) const PIECE_ROWS: u16 = 16;
pub(super) const PIECE_COLUMNS: u16 = 64;
const PIECE_BYTES: usize = PIECE_COLUMNS as usize * PIXEL_BYTES;

/// A copy of the framebuffer's pixels, and what the newest copying changed.
pub(super) struct Screen {
    framebuffer: Framebuffer,
    size: Size,
    /// BGRX rows of `size` without gaps.
    pixels: Vec<u8>,
    row: Vec<u8>,
    changed: Vec<Rect>,
}

impl Screen {
    pub(super) fn new(framebuffer: Framebuffer, size: Size) -> Self {
        let row_bytes = usize::from(framebuffer.screen().width) * PIXEL_BYTES;
        Self {
            framebuffer,
            size,
            pixels: black(size),
            row: vec![0; row_bytes],
            changed: Vec::new(),
        }
    }

    /// Begins anew with another size: black.
    pub(super) fn resize(&mut self, size: Size) {
        self.size = size;
        self.pixels = black(size);
    }

    pub(super) const fn size(&self) -> Size {
        self.size
    }

    /// Where the newest copying found other pixels than before; no pixel is in two of them.
    pub(super) fn changed(&self) -> &[Rect] {
        &self.changed
    }

    pub(super) fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Bytes from one row to the next.
    pub(super) fn stride(&self) -> usize {
        usize::from(self.size.width) * PIXEL_BYTES
    }

    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.pixels, self.stride(), self.size)
    }

    /// Copies `rects` from the framebuffer once, and notes where pixels really changed: many
    /// programs repaint what was there before.
    pub(super) fn copy(&mut self, rects: &[Rect]) {
        self.changed.clear();
        for rect in rects {
            let bottom = rect.bottom().min(self.size.height);
            let mut top = rect.y;
            while top < bottom {
                let end = (top / PIECE_ROWS + 1) * PIECE_ROWS;
                self.copy_band(rect, top, end.min(bottom));
                top = end;
            }
        }
    }

    /// Copies the rows `top .. bottom` of `rect`; what changed there is one rectangle.
    fn copy_band(&mut self, rect: &Rect, top: u16, bottom: u16) {
        let right = rect.right().min(self.size.width);
        let mut columns: Option<(u16, u16)> = None;
        for y in top..bottom {
            if let Some((from, to)) = self.copy_row(rect.x, right, y) {
                let (left, right) = columns.unwrap_or((from, to));
                columns = Some((left.min(from), right.max(to)));
            }
        }
        let changed = columns.map(|(from, to)| Rect::between(from, top, to, bottom));
        self.changed.extend(changed);
    }

    /// Copies the pixels `left .. right` of row `y`; returns from where to where they are others
    /// than before, to the piece.
    fn copy_row(&mut self, left: u16, right: u16, y: u16) -> Option<(u16, u16)> {
        let bytes = usize::from(right.saturating_sub(left)) * PIXEL_BYTES;
        let at = (usize::from(y) * usize::from(self.size.width) + usize::from(left)) * PIXEL_BYTES;
        let row = self.row.get_mut(..bytes)?;
        let before = self.pixels.get_mut(at..at + bytes)?;
        self.framebuffer.copy_row(left, y, row);
        let mut pieces = row.chunks(PIECE_BYTES).zip(before.chunks(PIECE_BYTES));
        let is_changed = |(row, before): (&[u8], &[u8])| row != before;
        let first = pieces.position(is_changed)?;
        // Exact-size iterators count from the back too.
        let last = row
            .chunks(PIECE_BYTES)
            .zip(before.chunks(PIECE_BYTES))
            .rposition(is_changed)?;
        before.copy_from_slice(row);
        let column = |piece: usize| {
            let offset = u16::try_from(piece).unwrap_or(u16::MAX);
            left.saturating_add(offset.saturating_mul(PIECE_COLUMNS))
        };
        Some((column(first), column(last + 1).min(right)))
    }
}

fn black(size: Size) -> Vec<u8> {
    vec![0; usize::from(size.width) * usize::from(size.height) * PIXEL_BYTES]
}
