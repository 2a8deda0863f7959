//! The pointer's picture as the viewer draws it.

use sandbox_protocol::Size;
use sandbox_protocol::limits::CURSOR_SIDE_MAX;
use sandbox_protocol::local::worker::Cursor;
use x11rb::protocol::xfixes::GetCursorImageReply;

/// Shown in place of a picture that is too large: `#` black, `.` white.
const ARROW: [&str; 17] = [
    "#           ",
    "##          ",
    "#.#         ",
    "#..#        ",
    "#...#       ",
    "#....#      ",
    "#.....#     ",
    "#......#    ",
    "#.......#   ",
    "#........#  ",
    "#.....##### ",
    "#..#..#     ",
    "#.# #..#    ",
    "##  #..#    ",
    "#    #..#   ",
    "     #..#   ",
    "      ##    ",
];

/// What the viewer shall show for X's picture. One without a visible pixel is hidden; one that is
/// too large becomes an arrow.
pub(crate) fn cursor(image: &GetCursorImageReply) -> Cursor {
    let size = Size {
        width: image.width,
        height: image.height,
    };
    if image.cursor_image.iter().all(|it| it >> 24 == 0) {
        return Cursor {
            size: Size {
                width: 0,
                height: 0,
            },
            hot_x: 0,
            hot_y: 0,
            rgba: Vec::new(),
        };
    }
    let pixels = usize::from(size.width) * usize::from(size.height);
    if size.width.max(size.height) > CURSOR_SIDE_MAX || image.cursor_image.len() != pixels {
        return arrow();
    }
    Cursor {
        size,
        hot_x: image.xhot.min(size.width.saturating_sub(1)),
        hot_y: image.yhot.min(size.height.saturating_sub(1)),
        rgba: image.cursor_image.iter().copied().flat_map(rgba).collect(),
    }
}

/// ARGB with the colours multiplied by alpha, to RGBA without.
fn rgba(pixel: u32) -> [u8; 4] {
    let [alpha, red, green, blue] = pixel.to_be_bytes();
    let divided = |colour: u8| {
        let full = (u32::from(colour) * 255 + u32::from(alpha) / 2)
            .checked_div(u32::from(alpha))
            .unwrap_or_default();
        u8::try_from(full).unwrap_or(u8::MAX)
    };
    [divided(red), divided(green), divided(blue), alpha]
}

fn arrow() -> Cursor {
    let pixel = |it| match it {
        b'#' => [0, 0, 0, 255],
        b'.' => [255, 255, 255, 255],
        _ => [0; 4],
    };
    Cursor {
        size: Size {
            width: 12,
            height: 17,
        },
        hot_x: 0,
        hot_y: 0,
        rgba: ARROW
            .iter()
            .flat_map(|it| it.bytes())
            .flat_map(pixel)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: u16, height: u16, pixel: u32) -> GetCursorImageReply {
        GetCursorImageReply {
            width,
            height,
            xhot: width,
            yhot: 1,
            cursor_image: vec![pixel; usize::from(width) * usize::from(height)],
            ..GetCursorImageReply::default()
        }
    }

    #[test]
    fn colours_are_as_bright_as_they_were_before_alpha() {
        assert_eq!(rgba(0xff10_2030), [0x10, 0x20, 0x30, 0xff]);
        assert_eq!(rgba(0x8040_0080), [0x80, 0, 0xff, 0x80]);
        assert_eq!(rgba(0x00ff_ffff), [0; 4]);
        assert_eq!(rgba(0x01ff_0000), [255, 0, 0, 1], "more than its alpha");
    }

    #[test]
    fn a_picture_without_a_visible_pixel_is_hidden() {
        let hidden = cursor(&image(16, 16, 0x00ff_ffff));
        assert!(hidden.rgba.is_empty());
        assert!(cursor(&image(0, 0, 0)).rgba.is_empty());
    }

    #[test]
    fn a_picture_that_is_too_large_becomes_an_arrow() {
        let arrow = cursor(&image(CURSOR_SIDE_MAX + 1, 1, u32::MAX));
        assert_eq!(arrow.size.to_string(), "12x17");
        assert_eq!(arrow.rgba.len(), 12 * 17 * 4);
        let mut short = image(4, 4, u32::MAX);
        short.cursor_image.pop();
        assert_eq!(cursor(&short), arrow);
    }

    #[test]
    fn the_pixel_that_points_lies_within_the_picture() {
        let largest = cursor(&image(CURSOR_SIDE_MAX, CURSOR_SIDE_MAX, u32::MAX));
        assert_eq!((largest.hot_x, largest.hot_y), (CURSOR_SIDE_MAX - 1, 1));
    }
}
