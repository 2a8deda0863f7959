//! What daemon and warden say to each other over the socketpair that the warden made.
//!
//! One message is one SEQPACKET packet, coded by [`crate::codec`]. Requests carry names and
//! numbers within ceilings, never a path, uid, mount, argv or environment. Descriptors travel
//! only from the warden to the daemon, by SCM_RIGHTS, where a message says so.

use bincode::{Decode, Encode};

use crate::{SessionId, Size, UserIndex};

/// From the daemon to the warden.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// The daemon serves; sent once, after which the warden considers the start done.
    Ready,
    /// Build the three jails of a session; answered by [`Event::Started`] or [`Event::Refused`].
    Start(StartSession),
    /// Give worker and daemon a fresh pair of sockets each; answered by [`Event::Attached`] or
    /// [`Event::Refused`]. The worker drops an older pair on receipt.
    Attach {
        /// Which session.
        session: SessionId,
    },
    /// Ask what a session uses; answered by [`Event::Usage`] or [`Event::Refused`].
    Usage {
        /// Which session.
        session: SessionId,
    },
    /// End a session; answered by [`Event::Ended`] once nothing of it is left.
    End {
        /// Which session.
        session: SessionId,
    },
    /// Open the configured certificate and its key; answered by [`Event::Certificate`] or
    /// [`Event::NoCertificate`].
    Certificate,
}

/// What a session shall be.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StartSession {
    /// The name that all later messages use.
    pub session: SessionId,
    /// Whose uid range and home.
    pub user: UserIndex,
    /// The account's name: `[a-z_][a-z0-9_-]{0,31}`; the warden checks it again.
    pub user_name: String,
    /// A profile that the warden knows by this name.
    pub profile: String,
    /// Desktop size; the warden fits it into the profile's bounds.
    pub size: Size,
}

/// From the warden to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// First message. Descriptors, in this order: the configuration (a sealed memfd holding the
    /// daemon's own start configuration), then `tcp` TCP listeners, then `udp` UDP sockets, then
    /// `metrics` TCP listeners.
    Hello {
        /// [`VERSION`](super::VERSION) of the warden.
        version: u16,
        /// Number of HTTP listeners.
        tcp: u8,
        /// Number of media sockets.
        udp: u8,
        /// Number of metrics listeners (0 where the port was taken).
        metrics: u8,
        /// What is weaker on this host than designed, one sentence each, for log and page.
        weaker: Vec<String>,
        /// Sessions that live on from an earlier daemon.
        sessions: Vec<SessionId>,
    },
    /// The desktop runs and can be attached.
    Started {
        /// Which session.
        session: SessionId,
        /// The size it really has.
        size: Size,
        /// Reported (not required) layers that this session lacks, one sentence each.
        weaker: Vec<String>,
    },
    /// Two descriptors: the daemon's end of the control socket, then of the media socket.
    Attached {
        /// Which session.
        session: SessionId,
    },
    /// What a session's cgroups count.
    Usage {
        /// Which session.
        session: SessionId,
        /// CPU time of all three jails since the start.
        cpu_nanos: u64,
        /// Memory of all three jails now.
        memory_bytes: u64,
        /// Processes and threads of the programs jail now.
        pids: u32,
    },
    /// A request could not be done; the session that was to start does not exist.
    Refused {
        /// Which session.
        session: SessionId,
        /// What is missing, full or unknown.
        why: Refusal,
    },
    /// The session is over and nothing of it is left.
    Ended {
        /// Which session.
        session: SessionId,
        /// Why.
        reason: EndReason,
    },
    /// Two descriptors: the certificate's file, then its key's, each opened just now.
    Certificate,
    /// One of the two cannot be opened.
    NoCertificate {
        /// Which, and why.
        why: String,
    },
    /// The kernel ended programs of a session because their memory was used up; the desktop lives.
    /// Since version 2.
    OutOfMemory {
        /// Which session.
        session: SessionId,
        /// How many programs, and which.
        shortage: MemoryShortage,
    },
}

/// Programs that were ended for memory.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MemoryShortage {
    /// What the session's programs may use together, in MiB.
    pub limit_mb: u64,
    /// How many were ended.
    pub killed: u32,
    /// Names of the largest of them, as far as they could be seen; a program chooses its own.
    pub programs: Vec<String>,
}

/// Why the warden did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Refusal {
    /// A required layer or part of the host is missing.
    Missing {
        /// Its name, as `doctor` and the documents have it: `seccomp`, `xvfb`, `libx264`, …
        layer: String,
        /// What was seen and what mends it, one or two sentences.
        detail: String,
    },
    /// A name, number or size in the request is outside what the warden allows.
    Invalid {
        /// Which and why.
        detail: String,
    },
    /// No such session here.
    Unknown,
    /// A resource is exhausted (sessions, descriptors, memory).
    Full {
        /// Which.
        detail: String,
    },
    /// A step failed that should not.
    Failed {
        /// Which step and the cause.
        detail: String,
    },
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EndReason {
    /// The daemon asked for it.
    Requested,
    /// The X server ended.
    DisplayEnded,
    /// The window manager ended for good.
    ProgramsEnded,
    /// The worker ended.
    WorkerEnded,
    /// A step of the start failed or took too long after the jails were up.
    StartFailed,
    /// The X server answers nobody: a program holds it.
    XHeldByProgram,
    /// The node stops.
    Shutdown,
}

impl EndReason {
    /// The stable name used in the API and the records.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::DisplayEnded => "display_ended",
            Self::ProgramsEnded => "programs_ended",
            Self::WorkerEnded => "worker_ended",
            Self::StartFailed => "start_failed",
            Self::XHeldByProgram => "x_held_by_program",
            Self::Shutdown => "shutdown",
        }
    }
}
