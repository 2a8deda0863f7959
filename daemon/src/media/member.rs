//! A viewer of a session, whichever way it is connected.

use std::time::Instant;

use sandbox_core::permit::{Control, Permit};
use sandbox_protocol::local::frame::{Content, FrameHeader};
use sandbox_protocol::local::worker::FromWorker;

use super::keyframe_gate::Rank;
use super::native::NativeViewer;
use super::shared::Told;
use super::viewer::{Outputs, Viewer};
use super::{LeftReason, StreamCounters};

/// One of an audience.
pub(super) enum Member {
    /// A browser.
    Page(Box<Viewer>),
    /// A native viewer.
    Native(Box<NativeViewer>),
}

impl Member {
    pub(super) fn outputs(&mut self) -> &mut Outputs {
        match self {
            Self::Page(it) => &mut it.outputs,
            Self::Native(it) => &mut it.outputs,
        }
    }

    /// A frame of the worker; each takes those of its kind.
    pub(super) fn handle_frame(
        &mut self,
        now: Instant,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), LeftReason> {
        match (self, header.content) {
            (Self::Page(it), Content::AccessUnit) => it.handle_access_unit(now, header, payload),
            (Self::Page(_), Content::Update { .. }) => Ok(()),
            (Self::Native(it), _) => it.handle_frame(now, header, payload),
        }
    }

    pub(super) fn handle_worker(
        &mut self,
        now: Instant,
        message: FromWorker,
    ) -> Result<(), LeftReason> {
        match self {
            Self::Page(it) => it.handle_worker(now, message),
            Self::Native(it) => it.handle_worker(message),
        }
    }

    pub(super) fn handle_rewired(&mut self, now: Instant) -> Result<(), LeftReason> {
        match self {
            Self::Page(it) => it.handle_rewired(now),
            Self::Native(it) => {
                it.handle_rewired();
                Ok(())
            }
        }
    }

    pub(super) fn handle_control(&mut self, permit: Permit<Control>) {
        match self {
            Self::Page(it) => it.handle_control(permit),
            Self::Native(it) => it.handle_control(permit),
        }
    }

    /// A page is never suspended: it goes by its link alone.
    pub(super) fn handle_company(&mut self, has_company: bool) {
        match self {
            Self::Page(_) => (),
            Self::Native(it) => it.handle_company(has_company),
        }
    }

    pub(super) fn handle_control_lost(&mut self) {
        match self {
            Self::Page(it) => it.handle_control_lost(),
            Self::Native(it) => it.handle_control_lost(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), LeftReason> {
        match self {
            Self::Page(it) => it.handle_timeout(now),
            Self::Native(it) => {
                it.handle_timeout(now);
                Ok(())
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        match self {
            Self::Page(it) => Some(it.poll_timeout()),
            Self::Native(it) => it.poll_timeout(),
        }
    }

    pub(super) fn handle_left(&mut self, now: Instant) -> Result<(), LeftReason> {
        match self {
            Self::Page(it) => it.handle_left(now),
            Self::Native(it) => {
                it.handle_left(now);
                Ok(())
            }
        }
    }

    pub(super) fn has_stamps(&self) -> bool {
        match self {
            Self::Page(it) => it.has_stamps(),
            Self::Native(it) => it.has_stamps(),
        }
    }

    pub(super) fn wanted(&self) -> Told {
        match self {
            Self::Page(it) => it.wanted(),
            Self::Native(it) => it.wanted(),
        }
    }

    pub(super) fn rank(&self) -> Rank {
        match self {
            Self::Page(it) => it.rank(),
            Self::Native(it) => it.rank(),
        }
    }

    pub(super) fn input_stream(&self) -> Option<u64> {
        match self {
            Self::Page(it) => it.input_stream(),
            Self::Native(it) => it.input_stream(),
        }
    }

    pub(super) fn counters(&self) -> StreamCounters {
        match self {
            Self::Page(it) => it.counters(),
            Self::Native(it) => it.counters(),
        }
    }
}
