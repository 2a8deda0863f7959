//! JSON messages of the reliable `ctl` data channel.

use serde::{Deserialize, Serialize};

/// From the page to the server.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "t", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToServer {
    /// The newest frame that the page has presented.
    Presented {
        /// Its RTP timestamp.
        rtp: u32,
    },
    /// Asks for [`ToPage::Pong`]: clock offset and round trip.
    Ping {
        /// The page's clock, milliseconds; comes back unchanged.
        at: f64,
    },
    /// The overlay is open (stage stamps are sent) or closed.
    Overlay {
        /// Open.
        on: bool,
    },
    /// The page's viewport has a new size.
    Resize {
        /// Pixels from left to right.
        width: u16,
        /// Pixels from top to bottom.
        height: u16,
    },
    /// Text the user pasted; pieces are joined until `last`.
    Paste {
        /// A piece of at most [`crate::limits::PASTE_PIECE_BYTES_MAX`] bytes.
        text: String,
        /// No further piece follows.
        last: bool,
    },
}

/// From the server to the page.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ToPage {
    /// First message: the desktop as it is.
    Hello {
        /// Pixels from left to right.
        width: u16,
        /// Pixels from top to bottom.
        height: u16,
        /// Encoder in use.
        encoder: String,
    },
    /// The desktop has a new size.
    Size {
        /// Pixels from left to right.
        width: u16,
        /// Pixels from top to bottom.
        height: u16,
    },
    /// Answer to a ping.
    Pong {
        /// What the ping carried.
        at: f64,
        /// The server's CLOCK_MONOTONIC in microseconds.
        server_us: u64,
    },
    /// The pointer's picture; an empty `rgba` hides it.
    Cursor {
        /// Pixels from left to right.
        width: u16,
        /// Pixels from top to bottom.
        height: u16,
        /// Hot spot from the left.
        hot_x: u16,
        /// Hot spot from the top.
        hot_y: u16,
        /// RGBA rows, base64.
        rgba: String,
    },
    /// A piece of a text that a program copied within two seconds of a key or click of the page.
    Clipboard {
        /// A piece of at most [`crate::limits::COPY_PIECE_BYTES_MAX`] bytes.
        text: String,
        /// A text begins; what came of an unfinished one is void.
        first: bool,
        /// The text is whole.
        last: bool,
    },
    /// Stage stamps of one frame, while the overlay is open. CLOCK_MONOTONIC microseconds.
    Frame {
        /// RTP timestamp.
        rtp: u32,
        /// Newest input contained.
        input_seq: u32,
        /// Input injected.
        injected: u64,
        /// Damage reported.
        damaged: u64,
        /// Capture began.
        captured: u64,
        /// Encoder returned.
        encoded: u64,
        /// Handed to the network.
        sent: u64,
        /// Quantiser.
        qp: u8,
        /// Bytes.
        bytes: u32,
        /// Target bitrate, kbit/s.
        target_kbps: u32,
    },
}
