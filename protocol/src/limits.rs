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

/// Pixels of text that are coded as one: a desktop of 1920×1080, and a cache of the processor.
pub const TEXT_PIXELS_MAX: usize = 2 << 20;

/// Bytes of so many pixels of text before they are deflated: colours, and fewer than a byte for
/// each pixel, else tiles are shorter. So small text takes little time, however it was deflated.
pub const fn text_body_bytes_max(pixels: usize) -> usize {
    pixels + 8_192
}

/// Colours of texts that go on: many times those of an antialiased font.
pub const TEXT_COLOURS_MAX: usize = 2_048;

/// Columns of texts that go on: twenty fonts' letters. What has more is no text.
pub const TEXT_COLUMNS_MAX: usize = 8_192;

/// Rows of one line of text.
pub const TEXT_LINE_ROWS_MAX: u8 = 64;

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
/// Bytes of one update in datagrams: its length is a `u16` there. Larger ones take a stream.
pub const DATAGRAM_UPDATE_BYTES_MAX: usize = u16::MAX as usize;

/// Bytes that a QUIC datagram holds on any path: 1,200 of the smallest UDP payload (RFC 9000 §14)
/// less short header, connection id, packet number, tag and frame header.
pub const DATAGRAM_BYTES_MIN: usize = 1_120;

/// Bytes that a QUIC datagram holds at most: an Ethernet frame's.
pub const DATAGRAM_BYTES_MAX: usize = 1_472;

/// Fragments that hold an update's bytes; parity not counted.
pub const FRAGMENTS_MAX: usize = 64;

/// Parity fragments of one update: half of the most data, and one in three for repairs.
pub const PARITY_MAX: usize = 32;

/// Packets that one feedback speaks of: 2 bytes each, one datagram on any path.
pub const FEEDBACK_PACKETS_MAX: usize = 128;

/// Updates that one request for repair names.
pub const NACK_UPDATES_MAX: usize = 32;

/// Updates behind the oldest missing one that a viewer keeps; what comes beyond is sent again.
pub const REORDER_UPDATES_MAX: u32 = 256;

/// Bytes that a viewer keeps of incomplete and waiting updates.
pub const REASSEMBLY_BYTES_MAX: usize = 8 << 20;

/// Bytes of sent updates that a server keeps for repair, per viewer, beside the oldest one; beyond,
/// they are given up and the viewer gets a whole picture.
pub const REPAIR_BYTES_MAX: usize = 4 << 20;

/// Sent updates that a server keeps for repair.
pub const REPAIR_UPDATES_MAX: usize = REORDER_UPDATES_MAX as usize;

/// Bytes of a message on the control stream before sign-in: strangers get little memory.
pub const CONTROL_BYTES_BEFORE_AUTH_MAX: usize = 4 << 10;

/// Bytes of a message on the control stream after sign-in.
pub const CONTROL_BYTES_MAX: usize = 64 << 10;

/// Messages on the control stream that a viewer may send within one second.
pub const CONTROL_MESSAGES_PER_SECOND_MAX: u32 = 200;

/// Datagrams that a viewer may send within one second: input, reports and requests of the widest
/// link, several times over, so that what a stalled path holds back may come at once.
pub const DATAGRAMS_PER_SECOND_MAX: u32 = 10_000;

/// Bytes of a message of a tunnel: one packet of QUIC, which may be somewhat longer than on any
/// path.
pub const TUNNEL_MESSAGE_BYTES_MAX: usize = 2_048;

/// Messages of a tunnel that a viewer may send within one second: its datagrams, and as many
/// acknowledgements.
pub const TUNNEL_MESSAGES_PER_SECOND_MAX: u32 = 2 * DATAGRAMS_PER_SECOND_MAX;

/// Bytes of one sound datagram's content: 10 ms of Opus and a copy of those before.
pub const SOUND_BYTES_MAX: usize = 1_000;

/// Events of input that wait for acknowledgement at a viewer: minutes of typing.
pub const INPUT_WAITING_MAX: usize = 1_024;

/// Displays of a native viewer that form one desktop.
pub const DISPLAYS_MAX: usize = 4;

const _: () = assert!(DATAGRAM_UPDATE_BYTES_MAX / FRAGMENTS_MAX + 64 <= DATAGRAM_BYTES_MIN);
const _: () = assert!(CONTROL_BYTES_MAX <= LOCAL_MESSAGE_BYTES_MAX);
const _: () = assert!(FEEDBACK_PACKETS_MAX * 2 + 64 <= DATAGRAM_BYTES_MIN);
const _: () = assert!(NACK_UPDATES_MAX * 6 + 64 <= DATAGRAM_BYTES_MIN);
const _: () = assert!(SOUND_BYTES_MAX + 64 <= DATAGRAM_BYTES_MIN);
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
