//! The encoder, and the frame that it has seen.

use sandbox_hw::{EncodeError, Encoder, I420, Invalidation, Kind, Quality, Request};
use sandbox_protocol::{Bitrate, Rect, Size};

use super::screen::{PIECE_COLUMNS, PIECE_ROWS, Screen};

/// An encoder with its frame, which follows the screen only where and when it is encoded.
pub(super) struct Video {
    encoder: Box<dyn Encoder>,
    frame: I420,
    behind: Behind,
    bitrate: Bitrate,
    pts: u64,
    /// Viewers cannot decode what refers to anything before the next access unit.
    is_key_due: bool,
}

/// What the encoder said about an access unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    pub is_keyframe: bool,
    pub qp: u8,
}

impl Video {
    pub(super) fn new(encoder: Box<dyn Encoder>, bitrate: Bitrate) -> Self {
        let size = encoder.size();
        Self {
            encoder,
            frame: I420::new(size),
            behind: Behind::new(size),
            bitrate,
            pts: 0,
            is_key_due: false,
        }
    }

    pub(super) fn handle_changed(&mut self, changed: &[Rect]) {
        for rect in changed {
            self.behind.mark(*rect);
        }
    }

    pub(super) fn set_bitrate(&mut self, bitrate: Bitrate) {
        if bitrate == self.bitrate {
            return;
        }
        if let Err(error) = self.encoder.set_bitrate(bitrate) {
            tracing::warn!(%error, "the encoder keeps its bitrate");
        }
        self.bitrate = bitrate;
    }

    /// Begins anew with another size: black.
    pub(super) fn resize(&mut self, size: Size) -> Result<(), EncodeError> {
        self.encoder.resize(size)?;
        self.frame = I420::new(size);
        self.behind = Behind::new(size);
        Ok(())
    }

    /// What the encoder holds for one size ends with that size.
    pub(super) fn rest(&mut self) {
        if let Err(error) = self.encoder.resize(self.frame.size()) {
            tracing::warn!(%error, "the encoder keeps its memory");
        }
    }

    /// The next access unit is a key frame, whenever it comes.
    pub(super) const fn want_keyframe(&mut self) {
        self.is_key_due = true;
    }

    /// The newest access unit and `back` more before it are lost to a viewer.
    pub(super) fn lose(&mut self, back: u32) {
        let first = self.pts.saturating_sub(back.into());
        self.is_key_due |= self.encoder.invalidate(first) == Invalidation::NeedsKeyframe;
    }

    /// Encodes the screen into `access_unit`; where only some rectangles of it will be shown, the
    /// rest is left as the viewers' decoders have it.
    pub(super) fn encode(
        &mut self,
        screen: &Screen,
        shown: Option<&[Rect]>,
        quality: Quality,
        access_unit: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        let whole = [Rect::whole(screen.size())];
        let rects = self.behind.take(shown.unwrap_or(&whole));
        self.frame.update(screen.pixels(), screen.stride(), rects);
        let encoded = match self.encode_frame(quality, access_unit) {
            Err(error) => {
                tracing::error!(%error, "the frame is tried again as a key frame");
                self.encode_frame(quality, access_unit)?
            }
            Ok(encoded) => encoded,
        };
        self.is_key_due = false;
        Ok(encoded)
    }

    fn encode_frame(
        &mut self,
        quality: Quality,
        into: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        self.pts += 1;
        let request = Request {
            pts: self.pts,
            kind: if self.is_key_due {
                Kind::Keyframe
            } else {
                Kind::Auto
            },
            quality,
        };
        let access_unit = self.encoder.encode(&self.frame, request)?;
        into.clear();
        into.extend_from_slice(access_unit.bytes);
        Ok(Encoded {
            is_keyframe: access_unit.is_keyframe,
            qp: access_unit.qp,
        })
    }
}

/// A mark for each piece of the screen that the frame does not show as it is.
struct Behind {
    size: Size,
    marks: Vec<bool>,
    /// Those that were taken last.
    taken: Vec<Rect>,
}

impl Behind {
    fn new(size: Size) -> Self {
        let columns = size.width.div_ceil(PIECE_COLUMNS);
        let rows = size.height.div_ceil(PIECE_ROWS);
        Self {
            size,
            marks: vec![false; usize::from(columns) * usize::from(rows)],
            taken: Vec::new(),
        }
    }

    fn mark(&mut self, rect: Rect) {
        for (_, mark) in pieces(&mut self.marks, self.size, rect) {
            *mark = true;
        }
    }

    /// Takes the marks from all pieces that the rectangles touch; returns where there were some.
    fn take(&mut self, rects: &[Rect]) -> &[Rect] {
        self.taken.clear();
        for rect in rects {
            for (piece, mark) in pieces(&mut self.marks, self.size, *rect) {
                if !std::mem::take(mark) {
                    continue;
                }
                match self.taken.last_mut() {
                    Some(last) if (last.right(), last.y) == (piece.x, piece.y) => {
                        *last = last.union(piece);
                    }
                    Some(_) | None => self.taken.push(piece),
                }
            }
        }
        &self.taken
    }
}

/// The pieces that a rectangle touches, row by row.
fn pieces(marks: &mut [bool], size: Size, rect: Rect) -> impl Iterator<Item = (Rect, &mut bool)> {
    let columns = rect.x / PIECE_COLUMNS..rect.right().div_ceil(PIECE_COLUMNS);
    let rows = rect.y / PIECE_ROWS..rect.bottom().div_ceil(PIECE_ROWS);
    let per_row = usize::from(size.width.div_ceil(PIECE_COLUMNS)).max(1);
    let lines = marks.chunks_exact_mut(per_row).zip(0..);
    let lines = lines.filter(move |(_, row)| rows.contains(row));
    lines.flat_map(move |(marks, row)| {
        let columns = columns.clone();
        let marks = marks.iter_mut().zip(0..);
        let marks = marks.filter(move |(_, column)| columns.contains(column));
        marks.map(move |(mark, column)| {
            let piece = Rect {
                x: column * PIECE_COLUMNS,
                y: row * PIECE_ROWS,
                width: PIECE_COLUMNS,
                height: PIECE_ROWS,
            };
            (piece, mark)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_taken_once_and_only_where_asked_for() {
        let size = Size {
            width: 200,
            height: 40,
        };
        let mut behind = Behind::new(size);
        behind.mark(Rect::between(60, 10, 130, 17));
        assert_eq!(behind.take(&[Rect::between(192, 0, 200, 40)]), []);
        let left = Rect::between(0, 0, 10, 10);
        assert_eq!(behind.take(&[left]), [Rect::between(0, 0, 64, 16)]);
        let whole = [Rect::whole(size)];
        let rest = [Rect::between(64, 0, 192, 16), Rect::between(0, 16, 192, 32)];
        assert_eq!(behind.take(&whole), rest);
        assert_eq!(behind.take(&whole), []);
        behind.mark(Rect::between(199, 39, 200, 40));
        assert_eq!(behind.take(&whole), [Rect::between(192, 32, 256, 48)]);
    }
}
