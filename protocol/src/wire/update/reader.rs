//! Takes the fields of an update off its bytes.

use super::{RECT_LEN, Run, UpdateError};
use crate::{Pixel, Rect};

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], UpdateError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(UpdateError::Short)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(super) fn slice(&mut self, len: usize) -> Result<&'a [u8], UpdateError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(UpdateError::Short)?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, UpdateError> {
        self.take().map(|[it]| it)
    }

    pub(super) fn short(&mut self) -> Result<u16, UpdateError> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn word(&mut self) -> Result<u32, UpdateError> {
        self.take().map(u32::from_le_bytes)
    }

    /// Three bytes: blue, green, red.
    pub(super) fn colour(&mut self) -> Result<Pixel, UpdateError> {
        self.take()
            .map(|[blue, green, red]| u32::from_le_bytes([blue, green, red, 0]))
    }

    /// A number of things, of which there is at least one.
    pub(super) fn count(&mut self, what: &'static str) -> Result<u8, UpdateError> {
        match self.byte()? {
            0 => Err(UpdateError::Count { what, count: 0 }),
            count => Ok(count),
        }
    }

    pub(super) fn rect(&mut self) -> Result<Rect, UpdateError> {
        let [x0, x1, y0, y1, w0, w1, h0, h1] = self.take::<RECT_LEN>()?;
        let rect = Rect {
            x: u16::from_le_bytes([x0, x1]),
            y: u16::from_le_bytes([y0, y1]),
            width: u16::from_le_bytes([w0, w1]),
            height: u16::from_le_bytes([h0, h1]),
        };
        let ends =
            rect.x.checked_add(rect.width).is_some() && rect.y.checked_add(rect.height).is_some();
        if rect.is_empty() || !ends {
            return Err(UpdateError::Rect(rect));
        }
        Ok(rect)
    }

    pub(super) fn run(&mut self) -> Result<Run, UpdateError> {
        let run = Run {
            tile: self.short()?,
            slot: self.short()?,
            count: self.count("tiles")?,
        };
        let count = u16::from(run.count);
        let ends = run.tile.checked_add(count).is_some() && run.slot.checked_add(count).is_some();
        if !ends {
            return Err(UpdateError::Count {
                what: "tiles",
                count: count.into(),
            });
        }
        Ok(run)
    }
}
