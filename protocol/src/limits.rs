//! The constants that both ends of a wire rely on, each with its unit and reason.

use crate::Size;

/// Smallest desktop: what a menu and a window still fit into.
pub const DESKTOP_SIZE_MIN: Size = Size {
    width: 320,
    height: 200,
};

/// Largest desktop: Xvfb starts with this and can only shrink (33 MB of pixels).
pub const DESKTOP_SIZE_MAX: Size = Size {
    width: 3840,
    height: 2160,
};

/// Bytes of one local control message; a SEQPACKET socket holds 208 KB.
pub const LOCAL_MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Bytes of one access unit on the media socket: a 4K key frame at low quantiser fits.
pub const ACCESS_UNIT_BYTES_MAX: usize = 8 << 20;

/// Bytes of one update: every pixel of the largest desktop, hardly compressed.
pub const UPDATE_BYTES_MAX: usize = 16 << 20;

/// Rectangles that one video frame is shown in.
pub const VIDEO_RECTS_MAX: usize = 64;

/// Side of the grid's tiles in pixels, which cache and repainting go by.
pub const TILE_SIDE: u16 = 64;

/// Pixels of one coded rectangle: four tiles of the grid, so that a line of text needs few.
pub const TILE_PIXELS_MAX: usize = 4 * TILE_SIDE as usize * TILE_SIDE as usize;

/// Tiles that a viewer's cache may hold: 256 MiB of pixels.
pub const CACHE_SLOTS_MAX: u16 = 16_384;

/// Bytes of one WebSocket message.
pub const SIGNAL_BYTES_MAX: usize = 64 << 10;

/// Bytes of one message on the `ctl` channel.
pub const CTL_BYTES_MAX: usize = 64 << 10;

/// Bytes of text in one piece of a paste: leaves room for its envelope in a local message.
pub const PASTE_PIECE_BYTES_MAX: usize = 32 << 10;

/// Bytes of text in one paste.
pub const PASTE_BYTES_MAX: usize = 1 << 20;

/// Bytes of text in one copy that leaves the desktop.
pub const COPY_BYTES_MAX: usize = 1 << 20;

/// Bytes of text in one piece of a copy: JSON makes six of one at worst, and the message must fit
/// a `ctl` message.
pub const COPY_PIECE_BYTES_MAX: usize = 8 << 10;

/// Events in one input packet: a packet stays under 600 bytes, one datagram on any path.
pub const INPUT_EVENTS_MAX: usize = 32;

/// Keys that can be held at once: more than hands have fingers, fewer than a flood.
pub const KEYS_HELD_MAX: usize = 32;

/// Input messages a viewer may send within one second; more closes it.
pub const INPUT_MESSAGES_PER_SECOND_MAX: u32 = 2_000;

/// Side of a cursor picture in pixels; larger ones are shown as the default arrow.
pub const CURSOR_SIDE_MAX: u16 = 96;

const _: () = assert!(
    CURSOR_SIDE_MAX as usize * CURSOR_SIDE_MAX as usize * 4 + 64 <= LOCAL_MESSAGE_BYTES_MAX
);
const _: () = assert!(COPY_PIECE_BYTES_MAX * 6 + 64 <= CTL_BYTES_MAX);
const _: () = assert!(PASTE_PIECE_BYTES_MAX + 64 <= LOCAL_MESSAGE_BYTES_MAX);
const _: () = assert!(
    TILE_PIXELS_MAX * 3 <= u16::MAX as usize,
    "a tile says its length in 16 bits"
);
const _: () = assert!(
    DESKTOP_SIZE_MAX.width.div_ceil(TILE_SIDE) as usize
        * DESKTOP_SIZE_MAX.height.div_ceil(TILE_SIDE) as usize
        <= u16::MAX as usize,
    "a tile is named in 16 bits"
);
