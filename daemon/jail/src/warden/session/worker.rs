//! The worker of a running session: its attaches, its end, and the one that follows it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::net::SocketType;
use sandbox_protocol::codec;
use sandbox_protocol::local::warden::{EndReason, Event, Refusal};
use sandbox_protocol::local::worker::{Begin, FromWarden};

use super::{Outgoing, Phase, Session, Turn};
use crate::layer::LayerError;
use crate::limits::{
    ATTACH_BUFFER_BYTES, ATTACH_TIMEOUT, OWED_MAX, START_TIMEOUT, WORKER_ENDS_MAX,
    WORKER_ENDS_PERIOD,
};
use crate::plan::JailKind;
use crate::sys::process::Exit;
use crate::warden::wire;

/// What of a worker outlives it, and what waits for the next one.
#[derive(Debug, Default)]
pub(super) struct Succession {
    /// The X connection that the next worker takes over: the one that is ready has opened it.
    pub(super) spare: Option<OwnedFd>,
    /// The spare of the worker that is not ready yet.
    pub(super) next_spare: Option<OwnedFd>,
    /// When the next worker must be ready.
    due: Option<Instant>,
    /// Attaches that the worker has not answered, oldest first: when each must be.
    attaches: Vec<Instant>,
    ends: VecDeque<Instant>,
    owed: VecDeque<Owed>,
}

/// A request that waits for the next worker; its answers keep their order.
#[derive(Clone, Copy, Debug)]
enum Owed {
    Attach,
    Usage,
}

impl Succession {
    /// How the next worker comes to its connections, and the one that it takes over.
    pub(super) fn next(&mut self) -> (Begin, Option<OwnedFd>) {
        let begin = match (&self.spare, self.ends.is_empty()) {
            (Some(_), _) => Begin::Succeed,
            (None, true) => Begin::First,
            (None, false) => Begin::Again,
        };
        (begin, self.spare.take())
    }

    pub(super) fn handle_ready(&mut self, now: Instant) {
        self.due = None;
        self.spare = self.next_spare.take();
        // What it was sent while it started it can answer from here on.
        self.attaches.fill(now + ATTACH_TIMEOUT);
    }

    /// The worker has taken its viewer's sockets.
    pub(super) fn handle_attached(&mut self) {
        if !self.attaches.is_empty() {
            self.attaches.remove(0);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.or_else(|| self.attaches.first().copied())
    }

    /// What a worker did not do in time, if anything.
    fn handle_timeout(&mut self, now: Instant) -> Option<&'static str> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return None;
        }
        if self.due.take().is_some() {
            return Some("the next worker is not ready in time");
        }
        self.attaches.clear();
        Some("the worker does not answer")
    }

    /// Notes an end; whether another worker may follow.
    fn handle_end(&mut self, now: Instant) -> bool {
        self.due = None;
        self.attaches.clear();
        self.next_spare = None;
        self.ends
            .retain(|it| now.duration_since(*it) < WORKER_ENDS_PERIOD);
        self.ends.push_back(now);
        self.ends.len() < WORKER_ENDS_MAX
    }
}

impl Session {
    /// The worker of a running session has ended: the next one goes on with the same X server.
    pub(super) fn handle_worker_end(&mut self, exit: Exit, turn: &mut Turn<'_>) {
        tracing::error!(session = %self.id(), ?exit, "the worker ended");
        self.worker = None;
        self.worker_ready = None;
        if !self.succession.handle_end(turn.now) {
            tracing::error!(session = %self.id(), ends = WORKER_ENDS_MAX, "no further worker");
            return self.end(EndReason::WorkerEnded, turn);
        }
        if let Err(error) = self.start_worker(turn) {
            tracing::error!(session = %self.id(), %error, "no next worker");
            return self.end(EndReason::WorkerEnded, turn);
        }
        self.succession.due = Some(turn.now + START_TIMEOUT);
        for owed in std::mem::take(&mut self.succession.owed) {
            match owed {
                Owed::Attach => self.attach(turn),
                Owed::Usage => self.report_usage(turn),
            }
        }
    }

    /// A worker that is late counts as one that ended.
    pub(super) fn handle_worker_timeout(&mut self, now: Instant) {
        if let Some(why) = self.succession.handle_timeout(now) {
            tracing::error!(session = %self.id(), why, "the worker is replaced");
            self.kill_worker();
        }
    }

    /// Its end is seen, and followed by the next worker, like any other.
    pub(super) fn kill_worker(&mut self) {
        self.worker = None;
        if let Some(jail) = self.jails.get(&JailKind::Worker) {
            jail.kill();
        }
    }

    /// A running session's worker said that it cannot go on.
    pub(super) fn handle_worker_failure(&mut self, error: &LayerError) {
        tracing::error!(session = %self.id(), %error, "the worker gives up");
        self.kill_worker();
    }

    /// Gives worker and daemon a fresh pair of sockets each.
    pub(crate) fn attach(&mut self, turn: &mut Turn<'_>) {
        if self.owes(Owed::Attach) {
            return;
        }
        let session = self.id();
        let outgoing = match self.fresh_pair() {
            Ok(descriptors) => {
                self.succession.attaches.push(turn.now + ATTACH_TIMEOUT);
                Outgoing {
                    event: Event::Attached { session },
                    descriptors,
                }
            }
            Err(error) if self.is_between_workers(&error) => {
                self.succession.owed.push_back(Owed::Attach);
                return;
            }
            Err(error) => Event::Refused {
                session,
                why: Refusal::Failed {
                    detail: format!("attach: {error}"),
                },
            }
            .into(),
        };
        turn.out.push(outgoing);
    }

    /// Answers what the session uses.
    pub(crate) fn report_usage(&mut self, turn: &mut Turn<'_>) {
        if self.owes(Owed::Usage) {
            return;
        }
        let usage = self.groups.usage();
        turn.out.push(
            Event::Usage {
                session: self.id(),
                cpu_nanos: usage.cpu_nanos,
                memory_bytes: usage.memory_bytes,
                pids: usage.pids,
            }
            .into(),
        );
    }

    /// Whether the request must wait behind others.
    fn owes(&mut self, request: Owed) -> bool {
        let owed = &mut self.succession.owed;
        let must_wait = !owed.is_empty() && owed.len() < OWED_MAX;
        if must_wait {
            owed.push_back(request);
        }
        must_wait
    }

    /// Whether the worker's end, seen here or about to be, explains an error.
    fn is_between_workers(&self, error: &io::Error) -> bool {
        let is_gone = matches!(
            error.kind(),
            ErrorKind::NotConnected | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        );
        matches!(self.phase, Phase::Running) && is_gone
    }

    fn fresh_pair(&self) -> io::Result<Vec<OwnedFd>> {
        if !self.is_running() {
            return Err(io::Error::other("the desktop is not up"));
        }
        let worker = self.worker.as_ref().ok_or(ErrorKind::NotConnected)?;
        let (control, worker_control) = wire::pair(SocketType::SEQPACKET)?;
        let (media, worker_media) = wire::pair(SocketType::STREAM)?;
        wire::widen_sending(&worker_media, ATTACH_BUFFER_BYTES)?;
        let bytes = codec::encode(&FromWarden::Attach).map_err(io::Error::other)?;
        wire::send(
            worker,
            &bytes,
            &[worker_control.as_fd(), worker_media.as_fd()],
        )?;
        Ok(vec![control, media])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[test]
    fn a_worker_that_starts_has_that_time_to_answer_too() {
        let now = clock::now();
        let mut succession = Succession {
            due: Some(now + START_TIMEOUT),
            attaches: vec![now + ATTACH_TIMEOUT],
            ..Succession::default()
        };
        assert_eq!(succession.handle_timeout(now + ATTACH_TIMEOUT), None);
        let ready = now + START_TIMEOUT - Duration::from_secs(1);
        succession.handle_ready(ready);
        assert_eq!(succession.poll_timeout(), Some(ready + ATTACH_TIMEOUT));
        succession.handle_attached();
        assert_eq!(succession.poll_timeout(), None);
        succession.handle_attached();
    }

    #[test]
    fn what_is_late_is_said_once() {
        let now = clock::now();
        let mut succession = Succession {
            due: Some(now),
            attaches: vec![now],
            ..Succession::default()
        };
        assert!(
            succession
                .handle_timeout(now)
                .unwrap()
                .contains("not ready")
        );
        assert!(
            succession
                .handle_timeout(now)
                .unwrap()
                .contains("not answer")
        );
        assert_eq!(succession.handle_timeout(now), None);
    }
}
