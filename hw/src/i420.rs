//! A frame as encoders take it: three planes, 4:2:0, BT.709 limited range.

use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use sandbox_protocol::{Rect, Size};
use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix};

/// Bytes per BGRX pixel.
const PIXEL_BYTES: usize = 4;

/// Rows start at multiples of this, so that vector loads never straddle a cache line.
const STRIDE_ALIGN: usize = 64;

/// Side of a block whose changes are remembered: H.264's macroblock.
const BLOCK: usize = 16;

/// Tells frames apart whose versions would otherwise be taken for one frame's.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Luma of black in limited range.
const BLACK: u8 = 16;

/// Chroma without colour.
const GREY: u8 = 128;

/// A rectangle with even edges that lies within its frame.
#[derive(Clone, Copy, Debug)]
struct Span {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Span {
    /// The smallest one around `rect`, cut to `size`; `None` if nothing is left. Half a chroma
    /// sample cannot be converted.
    fn around(rect: Rect, size: Size) -> Option<Self> {
        let right = (usize::from(rect.x) + usize::from(rect.width)).min(size.width.into());
        let bottom = (usize::from(rect.y) + usize::from(rect.height)).min(size.height.into());
        let left = usize::from(rect.x & !1);
        let top = usize::from(rect.y & !1);
        let right = right.next_multiple_of(2);
        let bottom = bottom.next_multiple_of(2);
        if rect.is_empty() {
            return None;
        }
        Some(Self {
            left,
            top,
            width: right.checked_sub(left).filter(|it| *it > 0)?,
            height: bottom.checked_sub(top).filter(|it| *it > 0)?,
        })
    }
}

/// One frame in 4:2:0, kept and updated in place: only the damaged part is converted.
#[derive(Debug)]
pub struct I420 {
    size: Size,
    luma_stride: usize,
    chroma_stride: usize,
    luma: Vec<u8>,
    blue: Vec<u8>,
    red: Vec<u8>,
    id: u64,
    /// Counts the updates.
    version: u64,
    /// The version that last touched each block, row by row.
    touched: Vec<u64>,
    /// Two screen rows, see [`convert`](Self::convert).
    last_rows: Vec<u8>,
}

impl I420 {
    /// A black frame of `size`.
    ///
    /// # Panics
    ///
    /// When a side is odd or zero: desktops have even sides (`Size::fit`).
    pub fn new(size: Size) -> Self {
        assert!(
            size.width > 0
                && size.height > 0
                && size.width.is_multiple_of(2)
                && size.height.is_multiple_of(2),
            "frame of {size}"
        );
        let luma_stride = usize::from(size.width).next_multiple_of(STRIDE_ALIGN);
        let chroma_stride = usize::from(size.width / 2).next_multiple_of(STRIDE_ALIGN);
        let rows = usize::from(size.height);
        Self {
            size,
            luma_stride,
            chroma_stride,
            // One row more than shown, so that whole strides can be cut out from any column on.
            luma: vec![BLACK; luma_stride * (rows + 1)],
            blue: vec![GREY; chroma_stride * (rows / 2 + 1)],
            red: vec![GREY; chroma_stride * (rows / 2 + 1)],
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            version: 0,
            touched: vec![0; blocks(size.width) * blocks(size.height)],
            last_rows: vec![0; 2 * PIXEL_BYTES * usize::from(size.width)],
        }
    }

    /// Width and height.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Bytes from one luma row to the next.
    pub const fn luma_stride(&self) -> usize {
        self.luma_stride
    }

    /// Bytes from one row of [`blue`](Self::blue) or [`red`](Self::red) to the next.
    pub const fn chroma_stride(&self) -> usize {
        self.chroma_stride
    }

    /// The Y plane.
    pub fn luma(&self) -> &[u8] {
        &self.luma
    }

    /// The Cb plane, half as wide and high.
    pub fn blue(&self) -> &[u8] {
        &self.blue
    }

    /// The Cr plane, half as wide and high.
    pub fn red(&self) -> &[u8] {
        &self.red
    }

    /// Converts the parts of a screen that lie in `rects`. `bgrx` starts at the screen's upper
    /// left pixel, `stride` is in bytes. Rectangles are widened to even edges, and cut to the
    /// frame; allocates nothing.
    ///
    /// # Panics
    ///
    /// When `bgrx` holds fewer rows than the frame, or `stride` fewer bytes than one of them.
    pub fn update(&mut self, bgrx: &[u8], stride: usize, rects: &[Rect]) {
        let row_bytes = usize::from(self.size.width) * PIXEL_BYTES;
        let needed = stride * (usize::from(self.size.height) - 1) + row_bytes;
        assert!(
            stride >= row_bytes && bgrx.len() >= needed,
            "{} bytes with stride {stride} for a frame of {}",
            bgrx.len(),
            self.size
        );
        let size = self.size;
        self.version += 1;
        for span in rects.iter().filter_map(|it| Span::around(*it, size)) {
            self.convert(bgrx, stride, span);
            self.touch(span);
        }
    }

    /// Which frame this is, and in which state.
    pub(crate) const fn version(&self) -> (u64, u64) {
        (self.id, self.version)
    }

    /// How many blocks of 16×16 the frame has, rounded up at its edges.
    pub(crate) fn blocks(&self) -> usize {
        self.touched.len()
    }

    /// For each block, row by row: whether it is as it was in `version` of this frame.
    pub(crate) fn unchanged_since(&self, version: u64) -> impl Iterator<Item = bool> {
        self.touched.iter().map(move |touched| *touched <= version)
    }

    fn touch(&mut self, span: Span) {
        let columns = span.left / BLOCK..(span.left + span.width).div_ceil(BLOCK);
        let rows = span.top / BLOCK..(span.top + span.height).div_ceil(BLOCK);
        let per_row = blocks(self.size.width);
        for row in self
            .touched
            .chunks_exact_mut(per_row)
            .take(rows.end)
            .skip(rows.start)
        {
            let touched = row.get_mut(columns.clone());
            touched
                .expect("the span lies within the frame")
                .fill(self.version);
        }
    }

    /// The converter works on row pairs of two whole strides and leaves out a shorter last one.
    /// The planes have a spare row for that, the screen has none: where a span reaches the
    /// screen's end, its last two rows go through a buffer of our own.
    fn convert(&mut self, bgrx: &[u8], stride: usize, span: Span) {
        let at = |row: usize| row * stride + span.left * PIXEL_BYTES;
        let bottom = span.top + span.height;
        if let Some(pixels) = bgrx.get(at(span.top)..at(bottom)) {
            self.convert_pairs(pixels, stride, span);
            return;
        }
        let last = bottom - 2;
        if let Some(pixels) = bgrx.get(at(span.top)..at(last))
            && span.height > 2
        {
            let height = span.height - 2;
            self.convert_pairs(pixels, stride, Span { height, ..span });
        }
        let row_bytes = span.width * PIXEL_BYTES;
        let mut rows = mem::take(&mut self.last_rows);
        for (copy, row) in rows.chunks_exact_mut(row_bytes).zip(last..bottom) {
            let pixels = bgrx.get(at(row)..at(row) + row_bytes);
            copy.copy_from_slice(pixels.expect("update checked that the screen covers the frame"));
        }
        let pair = Span {
            top: last,
            height: 2,
            ..span
        };
        self.convert_pairs(&rows, row_bytes, pair);
        self.last_rows = rows;
    }

    fn convert_pairs(&mut self, pixels: &[u8], stride: usize, span: Span) {
        let luma = span.top * self.luma_stride + span.left;
        let luma = luma..luma + span.height * self.luma_stride;
        let chroma = span.top / 2 * self.chroma_stride + span.left / 2;
        let chroma = chroma..chroma + span.height / 2 * self.chroma_stride;
        let mut image = YuvPlanarImageMut {
            y_plane: part(&mut self.luma, luma),
            y_stride: narrow(self.luma_stride),
            u_plane: part(&mut self.blue, chroma.clone()),
            u_stride: narrow(self.chroma_stride),
            v_plane: part(&mut self.red, chroma),
            v_stride: narrow(self.chroma_stride),
            width: narrow(span.width),
            height: narrow(span.height),
        };
        yuv::bgra_to_yuv420(
            &mut image,
            pixels,
            narrow(stride),
            YuvRange::Limited,
            YuvStandardMatrix::Bt709,
            YuvConversionMode::Balanced,
        )
        .expect("the span lies within frame and screen");
    }
}

/// Blocks along a side.
fn blocks(side: u16) -> usize {
    usize::from(side).div_ceil(BLOCK)
}

fn part(plane: &mut [u8], range: Range<usize>) -> BufferStoreMut<'_, u8> {
    BufferStoreMut::Borrowed(
        plane
            .get_mut(range)
            .expect("the span lies within the plane"),
    )
}

fn narrow(value: usize) -> u32 {
    u32::try_from(value).expect("a screen's side or stride fits 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 70,
        height: 22,
    };
    const STRIDE: usize = 80 * PIXEL_BYTES;

    #[test]
    fn a_converted_frame_is_bt709_limited_within_one_step() {
        let screen = noise(STRIDE * usize::from(SIZE.height), 1);
        let mut frame = I420::new(SIZE);
        frame.update(&screen, STRIDE, &[Rect::whole(SIZE)]);
        assert!(worst_error(&frame, &screen, Rect::whole(SIZE)) <= 1);
    }

    #[test]
    fn white_and_black_have_their_standard_values() {
        for (bgrx, expected) in [
            ([255, 255, 255, 0], [235, 128, 128]),
            ([0, 0, 0, 0], [16, 128, 128]),
            ([128, 128, 128, 0], [126, 128, 128]),
        ] {
            let screen = bgrx.repeat(STRIDE / PIXEL_BYTES * usize::from(SIZE.height));
            let mut frame = I420::new(SIZE);
            frame.update(&screen, STRIDE, &[Rect::whole(SIZE)]);
            assert_eq!([frame.luma()[0], frame.blue()[0], frame.red()[0]], expected);
        }
    }

    #[test]
    fn a_rectangle_is_widened_to_even_edges_and_nothing_else_is_touched() {
        let sides = |x, y, width, height| Rect {
            x,
            y,
            width,
            height,
        };
        for (given, even) in [
            (sides(0, 0, 2, 2), sides(0, 0, 2, 2)),
            (sides(1, 1, 1, 1), sides(0, 0, 2, 2)),
            (sides(3, 5, 33, 7), sides(2, 4, 34, 8)),
            (sides(7, 3, 1, 1), sides(6, 2, 2, 2)),
            (sides(69, 21, 1, 1), sides(68, 20, 2, 2)),
            (sides(33, 0, 37, 22), sides(32, 0, 38, 22)),
            (sides(0, 19, 70, 3), sides(0, 18, 70, 4)),
            (sides(60, 20, u16::MAX, u16::MAX), sides(60, 20, 10, 2)),
        ] {
            check(given, Some(even));
        }
        for outside in [
            sides(70, 0, 5, 5),
            sides(0, 22, 5, 5),
            sides(u16::MAX, u16::MAX, u16::MAX, u16::MAX),
            sides(4, 4, 0, 9),
            sides(4, 4, 9, 0),
        ] {
            check(outside, None);
        }
    }

    #[test]
    fn a_screen_that_ends_with_its_last_pixel_is_converted_whole() {
        let bytes = STRIDE * (usize::from(SIZE.height) - 1) + usize::from(SIZE.width) * PIXEL_BYTES;
        let screen = noise(bytes, 2);
        let mut frame = I420::new(SIZE);
        frame.update(&screen, STRIDE, &[Rect::whole(SIZE)]);
        assert!(worst_error(&frame, &screen, Rect::whole(SIZE)) <= 1);
    }

    #[test]
    #[should_panic(expected = "frame of 71x22")]
    fn an_odd_frame_is_a_bug() {
        I420::new(Size { width: 71, ..SIZE });
    }

    #[test]
    #[should_panic(expected = "6719 bytes with stride 320 for a frame of 70x22")]
    fn a_screen_smaller_than_the_frame_is_a_bug() {
        let bytes = vec![0; 6_719];
        I420::new(SIZE).update(&bytes, STRIDE, &[]);
    }

    #[test]
    fn blocks_remember_when_they_were_touched() {
        let screen = noise(STRIDE * usize::from(SIZE.height), 5);
        let mut frame = I420::new(SIZE);
        assert_eq!(frame.blocks(), 5 * 2);
        let mut update = |x, y, width, height| {
            let rect = Rect {
                x,
                y,
                width,
                height,
            };
            frame.update(&screen, STRIDE, &[rect]);
            let unchanged = frame.unchanged_since(frame.version().1 - 1);
            let picture = unchanged.map(|it| if it { '.' } else { '#' });
            picture.collect::<String>()
        };
        assert_eq!(update(0, 0, 70, 22), "##########");
        assert_eq!(update(0, 0, 0, 0), "..........");
        assert_eq!(update(17, 3, 2, 2), ".#........");
        assert_eq!(update(15, 15, 1, 1), "#.........");
        assert_eq!(update(15, 15, 2, 2), "##...##...");
        assert_eq!(update(69, 21, 9, 9), ".........#");
        assert_eq!(frame.unchanged_since(1).filter(|it| *it).count(), 5);
    }

    /// Converts `given` of a second screen over a first: `even` must show the second, all else
    /// the first.
    #[track_caller]
    fn check(given: Rect, even: Option<Rect>) {
        let before = noise(STRIDE * usize::from(SIZE.height), 3);
        let after = noise(STRIDE * usize::from(SIZE.height), 4);
        let mut frame = I420::new(SIZE);
        frame.update(&before, STRIDE, &[Rect::whole(SIZE)]);
        frame.update(&after, STRIDE, &[given]);
        let mut expected = before;
        if let Some(even) = even {
            assert_eq!(Span::around(given, SIZE).map(Span::rect), Some(even));
            for row in usize::from(even.y)..usize::from(even.y + even.height) {
                let start = row * STRIDE + usize::from(even.x) * PIXEL_BYTES;
                let row = start..start + usize::from(even.width) * PIXEL_BYTES;
                expected[row.clone()].copy_from_slice(&after[row]);
            }
        }
        assert!(
            worst_error(&frame, &expected, Rect::whole(SIZE)) <= 1,
            "{given:?}"
        );
    }

    impl Span {
        fn rect(self) -> Rect {
            let side = |value: usize| u16::try_from(value).unwrap();
            Rect {
                x: side(self.left),
                y: side(self.top),
                width: side(self.width),
                height: side(self.height),
            }
        }
    }

    /// Largest difference from the matrix of BT.709, §3, computed in floating point; chroma is
    /// the mean of four pixels.
    fn worst_error(frame: &I420, screen: &[u8], rect: Rect) -> i32 {
        let pixel = |x: usize, y: usize| {
            let at = y * STRIDE + x * PIXEL_BYTES;
            [screen[at + 2], screen[at + 1], screen[at]].map(f64::from)
        };
        let luma = |[r, g, b]: [f64; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
        let mut worst = 0.0_f64;
        let mut compare = |got: u8, wanted: f64| worst = worst.max((f64::from(got) - wanted).abs());
        for y in usize::from(rect.y)..usize::from(rect.y + rect.height) {
            for x in usize::from(rect.x)..usize::from(rect.x + rect.width) {
                let wanted = 16.0 + 219.0 / 255.0 * luma(pixel(x, y));
                compare(frame.luma()[y * frame.luma_stride() + x], wanted);
                if x % 2 == 0 && y % 2 == 0 {
                    let four = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(r, d)| pixel(x + r, y + d));
                    let mean =
                        |channel: usize| four.iter().map(|it| it[channel]).sum::<f64>() / 4.0;
                    let mean = [mean(0), mean(1), mean(2)];
                    let at = y / 2 * frame.chroma_stride() + x / 2;
                    let scale = 224.0 / 255.0;
                    let blue = (mean[2] - luma(mean)) / 1.8556;
                    let red = (mean[0] - luma(mean)) / 1.5748;
                    compare(frame.blue()[at], 128.0 + scale * blue);
                    compare(frame.red()[at], 128.0 + scale * red);
                }
            }
        }
        // Less than one and a half steps round to one.
        #[expect(clippy::cast_possible_truncation, reason = "an error is at most 255")]
        let worst = worst.round() as i32;
        worst
    }

    /// Bytes from a seed (xorshift64*).
    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut byte = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0]
        };
        (0..len).map(|_| byte()).collect()
    }
}
