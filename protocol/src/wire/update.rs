//! One update of a viewer's picture. Layout: `docs/PROTOCOL.md`, "Updates". All little endian.
//!
//! An update is a header and a list of ops, applied in order and as one. Reading borrows from the
//! bytes and checks all of them first; [`Draft`] writes.

mod draft;
mod reader;

use crate::limits::{
    ACCESS_UNIT_BYTES_MAX, DESKTOP_SIZE_MAX, DESKTOP_SIZE_MIN, TEXT_PIXELS_MAX, TILE_PIXELS_MAX,
    UPDATE_BYTES_MAX, VIDEO_RECTS_MAX, text_body_bytes_max,
};
use crate::{Pixel, Point, Rect, Size};
pub use draft::Draft;
use reader::Reader;

const FLAG_WHOLE: u8 = 1;
const FLAG_REFINEMENT: u8 = 2;

/// Bytes of a header without a size.
const HEADER_LEN: usize = 16;
/// Bytes of a header with it.
const HEADER_LEN_MAX: usize = HEADER_LEN + 4;

const OP_COPY: u8 = 1;
const OP_FILL: u8 = 2;
const OP_TILE: u8 = 3;
const OP_KEEP: u8 = 4;
const OP_CACHED: u8 = 5;
const OP_VIDEO: u8 = 6;
const OP_TEXT: u8 = 7;
const OP_MORE_TEXT: u8 = 8;

const RECT_LEN: usize = 8;

/// What an update says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The update needs nothing before it: the desktop has this size, and before the first op its
    /// picture is black and the cache is empty.
    pub whole: Option<Size>,
    /// Nothing changed on the desktop: the picture only comes closer to it.
    pub is_refinement: bool,
    /// Quantiser of the video; 0 where there is none.
    pub qp: u8,
    /// Newest input that the picture contains.
    pub input_seq: u32,
    /// When the pixels were copied: the server's clock in microseconds, wrapping.
    pub captured: u32,
    /// From the damage to the copy.
    pub lag: Lapse,
    /// From the copy to the finished update.
    pub encode: Lapse,
}

/// A short time in steps of 16 µs, a second at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lapse(u16);

impl Lapse {
    /// From steps of 16 µs.
    pub const fn from_steps(steps: u16) -> Self {
        Self(steps)
    }

    /// From microseconds; what is longer than it can say becomes the longest.
    pub fn from_micros(micros: u64) -> Self {
        Self(u16::try_from(micros / 16).unwrap_or(u16::MAX))
    }

    /// In microseconds.
    pub fn micros(self) -> u32 {
        u32::from(self.0) * 16
    }
}

/// How pixels became a tile's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// What the bytes mean.
    pub form: Form,
    /// The bytes are an LZ4 block (without its size) of what `form` says.
    pub is_packed: bool,
}

/// What a tile's bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Two colours and a bit for each pixel.
    Bits,
    /// A palette of at most 127 colours, and runs of one colour or of the row above.
    Runs,
    /// A palette of at most 256 colours, and an index for each pixel.
    Indices,
    /// Three bytes for each pixel.
    Plain,
    /// What each pixel differs from what its neighbours suggest.
    Predicted,
}

/// Consecutive tiles of the grid, in rows from the top left, and as many consecutive slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First tile.
    pub tile: u16,
    /// First slot.
    pub slot: u16,
    /// How many, at least one.
    pub count: u8,
}

impl Run {
    /// The tiles with their slots.
    pub fn pairs(self) -> impl Iterator<Item = (u16, u16)> {
        // Sums were checked when the run was read or made.
        (0..u16::from(self.count)).map(move |it| (self.tile + it, self.slot + it))
    }
}

/// One step of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Pixels of the picture as it is before this op go to another place, as by `memmove`.
    Copy {
        /// Where they are.
        from: Rect,
        /// Where the upper left one goes.
        to: Point,
    },
    /// One colour.
    Fill {
        /// Where.
        rect: Rect,
        /// Which.
        colour: Pixel,
    },
    /// Pixels.
    Tile {
        /// Where; at most [`TILE_PIXELS_MAX`] pixels.
        rect: Rect,
        /// How they are coded.
        coding: Coding,
        /// The coded pixels.
        bytes: &'a [u8],
    },
    /// The picture's tiles, as they are before this op, go into the cache.
    Keep(Run),
    /// Tiles come out of the cache.
    Cached(Run),
    /// Pixels of a video frame.
    Video {
        /// The only pixels that are taken out of the decoded frame.
        rects: Rects<'a>,
        /// What the decoder gets.
        access_unit: &'a [u8],
    },
    /// Lines of text.
    Text {
        /// Where; at most [`TEXT_PIXELS_MAX`] pixels.
        rect: Rect,
        /// It has the colours and columns of the texts before, and more.
        goes_on: bool,
        /// How long the bytes become; little more than pixels at most.
        body_len: usize,
        /// The coded pixels, deflated (RFC 1951).
        bytes: &'a [u8],
    },
}

/// Rectangles, still in their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rects<'a>(&'a [u8]);

impl Rects<'_> {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Rect> {
        // All of them were read once already.
        self.0
            .chunks_exact(RECT_LEN)
            .filter_map(|it| Reader(it).rect().ok())
    }
}

/// A whole update, checked but for what needs the desktop's size and the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// What it says about itself.
    pub header: Header,
    ops: Ops<'a>,
}

/// The ops of an update, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ops<'a> {
    bytes: &'a [u8],
    left: u16,
}

/// Why bytes were no update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The bytes end inside a field.
    #[error("update ends inside a field")]
    Short,
    /// Larger than an update may be.
    #[error("update of {0} bytes")]
    TooLarge(usize),
    /// A flag, op or value that the layout does not know.
    #[error("update holds an unknown {what} {value}")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// What it held.
        value: u8,
    },
    /// A rectangle without pixels, past the end of numbers, or of too many pixels.
    #[error("update holds the rectangle {0:?}")]
    Rect(Rect),
    /// A desktop that is too small or too large.
    #[error("update for a desktop of {0}")]
    Desktop(Size),
    /// A count of nothing, or of too much.
    #[error("update holds {count} {what}")]
    Count {
        /// Which field.
        what: &'static str,
        /// What it held.
        count: usize,
    },
    /// Bytes follow the last op.
    #[error("{0} bytes after the update")]
    Trailing(usize),
}

impl<'a> Update<'a> {
    /// Reads and checks a whole update; allocates nothing.
    ///
    /// # Errors
    ///
    /// Returns [`UpdateError`] for anything but a whole update within the limits.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, UpdateError> {
        if bytes.len() > UPDATE_BYTES_MAX {
            return Err(UpdateError::TooLarge(bytes.len()));
        }
        let mut reader = Reader(bytes);
        let (header, left) = header(&mut reader)?;
        let ops = Ops {
            bytes: reader.0,
            left,
        };
        let mut videos = 0;
        for _ in 0..left {
            videos += usize::from(matches!(op(&mut reader)?, Op::Video { .. }));
        }
        if videos > 1 {
            return Err(UpdateError::Count {
                what: "access units",
                count: videos,
            });
        }
        match reader.0.len() {
            0 => Ok(Self { header, ops }),
            trailing => Err(UpdateError::Trailing(trailing)),
        }
    }

    /// Its ops, in order.
    pub const fn ops(&self) -> Ops<'a> {
        self.ops
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Op<'a>;

    fn next(&mut self) -> Option<Op<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = Reader(self.bytes);
        // They were all read once already.
        let op = op(&mut reader).ok()?;
        self.bytes = reader.0;
        Some(op)
    }
}

impl Coding {
    const PACKED: u8 = 0x80;

    /// The bytes are what the form says.
    pub const fn of(form: Form) -> Self {
        let is_packed = false;
        Self { form, is_packed }
    }

    /// The same, packed.
    #[must_use]
    pub const fn packed(self) -> Self {
        let is_packed = true;
        Self { is_packed, ..self }
    }

    const fn encode(self) -> u8 {
        let form = match self.form {
            Form::Bits => 0,
            Form::Runs => 1,
            Form::Indices => 2,
            Form::Plain => 3,
            Form::Predicted => 4,
        };
        if self.is_packed {
            form | Self::PACKED
        } else {
            form
        }
    }

    fn decode(value: u8) -> Result<Self, UpdateError> {
        let form = match value & !Self::PACKED {
            0 => Form::Bits,
            1 => Form::Runs,
            2 => Form::Indices,
            3 => Form::Plain,
            4 => Form::Predicted,
            _ => {
                return Err(UpdateError::Unknown {
                    what: "coding",
                    value,
                });
            }
        };
        Ok(Self {
            form,
            is_packed: value & Self::PACKED != 0,
        })
    }
}

/// Header and number of ops.
fn header(reader: &mut Reader<'_>) -> Result<(Header, u16), UpdateError> {
    let flags = reader.byte()?;
    if flags & !(FLAG_WHOLE | FLAG_REFINEMENT) != 0 {
        return Err(UpdateError::Unknown {
            what: "flag",
            value: flags,
        });
    }
    let qp = reader.byte()?;
    let ops = reader.short()?;
    let mut header = Header {
        whole: None,
        is_refinement: flags & FLAG_REFINEMENT != 0,
        qp,
        input_seq: reader.word()?,
        captured: reader.word()?,
        lag: Lapse(reader.short()?),
        encode: Lapse(reader.short()?),
    };
    if flags & FLAG_WHOLE != 0 {
        let size = Size {
            width: reader.short()?,
            height: reader.short()?,
        };
        let is_desktop = (DESKTOP_SIZE_MIN.width..=DESKTOP_SIZE_MAX.width).contains(&size.width)
            && (DESKTOP_SIZE_MIN.height..=DESKTOP_SIZE_MAX.height).contains(&size.height);
        if !is_desktop {
            return Err(UpdateError::Desktop(size));
        }
        header.whole = Some(size);
    }
    Ok((header, ops))
}

fn op<'a>(reader: &mut Reader<'a>) -> Result<Op<'a>, UpdateError> {
    Ok(match reader.byte()? {
        OP_COPY => Op::Copy {
            from: reader.rect()?,
            to: Point {
                x: reader.short()?,
                y: reader.short()?,
            },
        },
        OP_FILL => Op::Fill {
            rect: reader.rect()?,
            colour: reader.colour()?,
        },
        OP_TILE => {
            let rect = reader.rect()?;
            if rect.area() > TILE_PIXELS_MAX {
                return Err(UpdateError::Rect(rect));
            }
            let coding = Coding::decode(reader.byte()?)?;
            let len = usize::from(reader.short()?);
            Op::Tile {
                rect,
                coding,
                bytes: reader.slice(len)?,
            }
        }
        OP_KEEP => Op::Keep(reader.run()?),
        OP_CACHED => Op::Cached(reader.run()?),
        OP_VIDEO => {
            let count = usize::from(reader.count("video rectangles")?);
            if count > VIDEO_RECTS_MAX {
                return Err(UpdateError::Count {
                    what: "video rectangles",
                    count,
                });
            }
            let rects = reader.slice(count * RECT_LEN)?;
            for rect in rects.chunks_exact(RECT_LEN) {
                Reader(rect).rect()?;
            }
            let len = reader.word()? as usize;
            if len == 0 || len > ACCESS_UNIT_BYTES_MAX {
                return Err(UpdateError::Count {
                    what: "bytes of an access unit",
                    count: len,
                });
            }
            Op::Video {
                rects: Rects(rects),
                access_unit: reader.slice(len)?,
            }
        }
        OP_TEXT => text(reader, false)?,
        OP_MORE_TEXT => text(reader, true)?,
        value => return Err(UpdateError::Unknown { what: "op", value }),
    })
}

fn text<'a>(reader: &mut Reader<'a>, goes_on: bool) -> Result<Op<'a>, UpdateError> {
    let rect = reader.rect()?;
    if rect.area() > TEXT_PIXELS_MAX {
        return Err(UpdateError::Rect(rect));
    }
    let body_len = reader.word()? as usize;
    if body_len > text_body_bytes_max(rect.area()) {
        return Err(UpdateError::Count {
            what: "bytes of text",
            count: body_len,
        });
    }
    let len = reader.word()? as usize;
    Ok(Op::Text {
        rect,
        goes_on,
        body_len,
        bytes: reader.slice(len)?,
    })
}

#[cfg(test)]
#[path = "update/tests.rs"]
mod tests;
