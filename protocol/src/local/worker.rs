//! What the desktop worker says to the warden (its standard input, for life) and to the daemon
//! (the control socket of one attach). One message is one SEQPACKET packet.

use bincode::{Decode, Encode};

use super::Version;
use crate::wire::input::{Event as InputEvent, Move};
use crate::{Bitrate, Size};

/// From the warden to the worker.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromWarden {
    /// First message. Descriptors, in this order: the framebuffer memfd, then two X connections
    /// (the worker's own, then the spare), then the sealed memfd in which each worker leaves its
    /// notes for the next.
    Start(WorkerPlan),
    /// Descriptors: the worker's end of the control socket, then of the media socket. An older
    /// pair is dropped, half-written output with it; the new stream starts with a key frame.
    Attach,
}

/// Where a worker's two X connections come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Begin {
    /// It is the first: both wait in the backlog of an X server that is starting.
    First,
    /// It follows another: its own is the spare one of the worker before, which got through to
    /// the X server already; the new spare is fresh.
    Succeed,
    /// It follows one that ended before it was ready: both are fresh.
    Again,
}

/// What a worker is started with.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WorkerPlan {
    /// [`VERSION`](super::VERSION) of the warden.
    pub version: u16,
    /// Whether there was a worker before it.
    pub begin: Begin,
    /// Size Xvfb was started with: fixes the framebuffer's stride.
    pub screen_size: Size,
    /// Size the desktop shall have; the first worker shrinks the screen before it
    /// reports ready.
    pub size: Size,
    /// Bytes of XWD header and colour map before the first pixel.
    pub pixels_offset: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// MIT-MAGIC-COOKIE-1 of this display.
    pub cookie: [u8; 16],
    /// Highest frame rate, in frames per second.
    pub fps_max: u16,
    /// Threads that the encoder may use.
    pub encoder_threads: u8,
    /// `auto` or the encoder's name, as in `VIDEO_CODEC`.
    pub codec: String,
    /// `RUST_LOG` for the worker; it logs to standard error.
    pub log_filter: String,
}

/// From the worker to the warden.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToWarden {
    /// Sealed, connected to X, screen has its size, spare connection holds its grab control:
    /// programs may start.
    Ready {
        /// The size the screen has.
        size: Size,
        /// Layers this worker lacks that are only reported, one sentence each.
        weaker: Vec<String>,
    },
    /// The worker cannot do its work and ends.
    Failed {
        /// Required part that is missing (`libx264`, `xvfb`, `seccomp`, …), or empty.
        layer: String,
        /// What happened.
        detail: String,
    },
    /// X has not answered for five seconds.
    XHeld,
    /// Answer to [`FromWarden::Attach`]: the new pair is in use.
    Attached,
}

/// From the daemon to the worker.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToWorker {
    /// First message of an attach.
    Hello {
        /// The worker's version, which the daemon speaks with it.
        version: u16,
        /// First target; later ones by [`ToWorker::Target`].
        bitrate: Bitrate,
        /// Size wanted by the viewer.
        size: Size,
        /// First pictures; others by [`ToWorker::Pictures`].
        pictures: Pictures,
    },
    /// What the viewers take has changed. Updates begin with a whole one where they begin, or
    /// where the cache has another size.
    Pictures(Pictures),
    /// Input, already checked for rate; ordering and once-only are the worker's.
    Input {
        /// The viewer's input stream: a new number starts a new sequence.
        stream: u64,
        /// Sequence number of `events[0]`; the others follow without gap.
        first_seq: u32,
        /// Keys, buttons and wheel steps.
        events: Vec<InputEvent>,
        /// Newest pointer position.
        pointer: Option<Move>,
        /// The held set, where the packet carried one.
        held: Option<Vec<u16>>,
    },
    /// The next access unit must be decodable alone; of updates the next one recovers, soon and
    /// whether it holds video or not.
    Keyframe,
    /// The access units from this number on are lost to a viewer: the next one needs none of
    /// them, and of updates the next one recovers, as with [`ToWorker::Keyframe`]. An encoder that
    /// cannot makes a keyframe.
    Invalidate(u32),
    /// The next update is a whole one.
    Whole,
    /// New target bitrate.
    Target(Bitrate),
    /// `false`: the link is full, capture nothing; `true`: go on.
    Flow(bool),
    /// New size wanted by the viewer.
    Resize(Size),
    /// Text to be offered to the program that pastes; pieces are joined until `last`.
    Paste {
        /// UTF-8 text.
        text: String,
        /// No further piece follows.
        last: bool,
    },
    /// Asks for [`FromWorker::Counters`]; questions that wait together get one answer.
    Count,
    /// A frame follows soon, whether the picture changes or not: by it a viewer sees that it has
    /// missed the end of the one before.
    Touch,
}

impl ToWorker {
    /// Whether workers of this version know what it says.
    pub fn is_known_to(&self, version: Version) -> bool {
        let is_step = |it: &InputEvent| matches!(it, InputEvent::MoveBy { .. });
        match self {
            Self::Input { events, .. } => {
                version.has_pointer_steps() || !events.iter().any(is_step)
            }
            Self::Hello { .. }
            | Self::Pictures(_)
            | Self::Keyframe
            | Self::Invalidate(_)
            | Self::Whole
            | Self::Target(_)
            | Self::Flow(_)
            | Self::Resize(_)
            | Self::Paste { .. }
            | Self::Count
            | Self::Touch => true,
        }
    }
}

/// What viewers take. Where some take each, an update shows by video all that changes, and by
/// tiles what has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pictures {
    /// Access units alone.
    pub access_units: bool,
    /// Updates, with a cache of so many tiles.
    pub updates: Option<u16>,
}

impl Pictures {
    /// Access units alone.
    pub const ACCESS_UNITS: Self = Self {
        access_units: true,
        updates: None,
    };
}

/// From the worker to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromWorker {
    /// First message of an attach.
    Hello {
        /// [`VERSION`](super::VERSION) of the worker.
        version: u16,
        /// The size the desktop has.
        size: Size,
        /// The encoder in use, for the overlay.
        encoder_name: String,
    },
    /// Everything up to and including `seq` of `stream` has been applied.
    Applied {
        /// The viewer's input stream.
        stream: u64,
        /// Newest applied sequence number.
        seq: u32,
    },
    /// The desktop has a new size; the next access unit is a key frame of it.
    Resized(Size),
    /// The pointer's picture changed.
    Cursor(Cursor),
    /// Answer to [`ToWorker::Count`].
    Counters(Counters),
    /// A piece of the text that the viewer's key or click made a program copy.
    Copied(CopiedPiece),
}

/// The pointer's picture; empty pixels mean "hidden".
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Cursor {
    /// Width and height, at most [`crate::limits::CURSOR_SIDE_MAX`].
    pub size: Size,
    /// The pixel that points, from the left.
    pub hot_x: u16,
    /// The pixel that points, from the top.
    pub hot_y: u16,
    /// RGBA, not premultiplied, row by row.
    pub rgba: Vec<u8>,
}

/// A piece of at most [`crate::limits::COPY_PIECE_BYTES_MAX`] bytes, of a text of at most
/// [`crate::limits::COPY_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CopiedPiece {
    /// UTF-8 text.
    pub text: String,
    /// A text begins; what came of an unfinished one is void.
    pub is_first: bool,
    /// The text is whole.
    pub is_last: bool,
}

/// What a worker did since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Counters {
    /// Captures of the framebuffer.
    pub captures: u64,
    /// Access units encoded.
    pub access_units: u64,
    /// Key frames among them.
    pub keyframes: u64,
    /// Refinement steps among them.
    pub refinements: u64,
    /// Input events applied.
    pub input_applied: u64,
    /// Damage reports received.
    pub damage_reports: u64,
}
