//! A decoded picture as decoders give it, three planes, and its way into pixels.

use sandbox_protocol::{Rect, Size};
use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_bgra};

/// Bytes per BGRX pixel.
const PIXEL_BYTES: usize = 4;

/// Where decoded pixels go: BGRX rows.
#[derive(Debug)]
pub struct Target<'a> {
    /// Rows of four bytes a pixel.
    pub pixels: &'a mut [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Size of the whole desktop.
    pub size: Size,
}

/// Planes of 4:2:0, BT.709, limited range: luma, blue and red chroma.
#[derive(Clone, Copy, Debug)]
pub struct Planes<'a> {
    /// The part of the desktop that they show, from an even place on.
    pub area: Rect,
    /// From their first sample on.
    pub samples: [&'a [u8]; 3],
    /// From one row to the next.
    pub strides: [usize; 3],
}

/// Pixels that cannot be taken out of a picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PaintError {
    /// A rectangle has an odd edge, which would cut a chroma sample, no pixel, or one outside.
    #[error("{rect:?} cannot be taken out of a picture of {area:?}")]
    Rect {
        /// Which one.
        rect: Rect,
        /// What the picture shows.
        area: Rect,
    },
    /// The planes and the target do not fit together.
    #[error("cannot convert the picture: {0}")]
    Convert(String),
}

impl Planes<'_> {
    /// Writes the pixels of a rectangle, whose edges are even, straight into the target's rows.
    ///
    /// # Errors
    ///
    /// Returns [`PaintError`]; the target may then hold a part of it.
    pub fn paint(&self, rect: Rect, target: &mut Target<'_>) -> Result<(), PaintError> {
        let area = self.area;
        let sides = [rect.x, rect.y, rect.width, rect.height];
        let is_even = sides.iter().all(|it| it.is_multiple_of(2));
        let is_within = area.x <= rect.x
            && area.y <= rect.y
            && right(rect) <= right(area)
            && bottom(rect) <= bottom(area);
        if !is_even || !is_within || rect.is_empty() {
            return Err(PaintError::Rect { rect, area });
        }
        let [x, y] = [rect.x - area.x, rect.y - area.y].map(usize::from);
        let [luma, blue, red] = self.samples;
        let [luma_stride, blue_stride, red_stride] = self.strides;
        let image = YuvPlanarImage {
            y_plane: from(luma, y * luma_stride + x)?,
            y_stride: narrow(luma_stride),
            u_plane: from(blue, y / 2 * blue_stride + x / 2)?,
            u_stride: narrow(blue_stride),
            v_plane: from(red, y / 2 * red_stride + x / 2)?,
            v_stride: narrow(red_stride),
            width: rect.width.into(),
            height: rect.height.into(),
        };
        let first = usize::from(rect.y) * target.stride + usize::from(rect.x) * PIXEL_BYTES;
        let rows = target.pixels.get_mut(first..);
        yuv420_to_bgra(
            &image,
            rows.ok_or_else(|| short("target"))?,
            narrow(target.stride),
            YuvRange::Limited,
            YuvStandardMatrix::Bt709,
        )
        .map_err(|error| PaintError::Convert(error.to_string()))
    }
}

fn right(rect: Rect) -> u32 {
    u32::from(rect.x) + u32::from(rect.width)
}

fn bottom(rect: Rect) -> u32 {
    u32::from(rect.y) + u32::from(rect.height)
}

fn from(plane: &[u8], first: usize) -> Result<&[u8], PaintError> {
    plane.get(first..).ok_or_else(|| short("plane"))
}

fn short(what: &str) -> PaintError {
    PaintError::Convert(format!("{what} is short"))
}

fn narrow(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
