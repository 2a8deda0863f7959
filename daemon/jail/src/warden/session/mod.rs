//! One session: from the request over three jails to nothing left.

mod build;
mod memory;
mod refusal;
mod worker;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use sandbox_protocol::local::warden::{EndReason, Event};
use sandbox_protocol::local::worker::ToWarden;
use sandbox_protocol::{SessionId, Size, codec};

pub(crate) use refusal::refusal;
use refusal::shortened;

use self::worker::Succession;
use super::ground::Ground;
use super::home::Opening;
use super::log::JailLog;
use super::request::Wanted;
use super::stage::Stage;
use super::wire::{self, Received};
use crate::cgroup::{SessionGroups, Shortage};
use crate::jail::{Jail, Report};
use crate::layer::LayerError;
use crate::limits::{CLEANUP_PAUSE, CLEANUP_TIMEOUT, START_TIMEOUT};
use crate::plan::JailKind;
use crate::sys::process::{Exit, Process};

/// An event for the daemon with the descriptors that go with it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) event: Event,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl From<Event> for Outgoing {
    fn from(event: Event) -> Self {
        Self {
            event,
            descriptors: Vec::new(),
        }
    }
}

/// What a turn of the loop works with.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) ground: &'a Ground<'a>,
    pub(crate) now: Instant,
    /// For the daemon, in order.
    pub(crate) out: &'a mut Vec<Outgoing>,
    /// Processes that were given up and are collected whenever they end.
    pub(crate) strays: &'a mut Vec<Process>,
}

/// What of a session became readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Link(JailKind),
    Log(JailKind),
    Worker,
    Home,
    Memory,
    Exit(JailKind),
}

#[derive(Debug)]
enum Phase {
    Starting {
        deadline: Instant,
    },
    Running,
    Ending {
        deadline: Instant,
        retry: Instant,
        /// The daemon knows this session and is told; a refused one it knows already.
        tell: Option<EndReason>,
    },
}

/// The session of one desktop.
#[derive(Debug)]
pub(crate) struct Session {
    wanted: Wanted,
    phase: Phase,
    stage: Stage,
    groups: SessionGroups,
    shortage: Option<Shortage>,
    jails: BTreeMap<JailKind, Jail>,
    logs: BTreeMap<JailKind, JailLog>,
    home: Option<Opening>,
    worker: Option<OwnedFd>,
    worker_ready: Option<Size>,
    succession: Succession,
    programs: Gate,
    weaker: Vec<String>,
    began: Instant,
}

/// How far the programs jail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Building,
    Sealed,
    Released,
}

impl Session {
    fn id(&self) -> SessionId {
        self.wanted.session
    }

    /// Whether a daemon can attach to it.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. })
    }

    /// Everything whose readability concerns this session; what explains an end comes before it.
    pub(crate) fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        let mut sources = Vec::new();
        for (kind, jail) in &self.jails {
            sources.extend(jail.link().map(|it| (Source::Link(*kind), it)));
        }
        for (kind, log) in &self.logs {
            sources.extend(log.pipe().map(|it| (Source::Log(*kind), it)));
        }
        sources.extend(self.worker.as_ref().map(|it| (Source::Worker, it.as_fd())));
        sources.extend(self.home.as_ref().map(|it| (Source::Home, it.answer())));
        sources.extend(
            self.shortage
                .as_ref()
                .map(|it| (Source::Memory, it.notice())),
        );
        for (kind, jail) in &self.jails {
            sources.push((Source::Exit(*kind), jail.pidfd()));
        }
        sources
    }

    /// Handles one readable source.
    pub(crate) fn handle_source(&mut self, source: Source, turn: &mut Turn<'_>) {
        match source {
            Source::Link(kind) => self.handle_link(kind, turn),
            Source::Log(kind) => {
                let id = self.id();
                if let Some(log) = self.logs.get_mut(&kind) {
                    log.drain(id, kind, turn.now);
                }
            }
            Source::Worker => self.handle_worker(turn),
            Source::Home => self.handle_home(turn),
            Source::Memory => {
                if let Some(shortage) = &mut self.shortage {
                    shortage.handle_notice(turn.now);
                }
            }
            Source::Exit(kind) => self.handle_exit(kind, turn),
        }
    }

    fn handle_link(&mut self, kind: JailKind, turn: &mut Turn<'_>) {
        let id = self.id();
        let Some(jail) = self.jails.get_mut(&kind).filter(|it| it.link().is_some()) else {
            return;
        };
        match jail.hear() {
            Ok(Some(Report::Sealed)) => {
                let took = turn.now.duration_since(jail.told_to_go());
                tracing::debug!(session = %id, jail = %kind, us = took.as_micros(), "sealed");
                if kind == JailKind::Programs {
                    self.programs = Gate::Sealed;
                    self.release_programs(turn);
                }
            }
            Ok(Some(Report::Weaker(sentence))) => self.weaker.push(sentence),
            Ok(Some(Report::Failed(error))) => self.refuse(&error, turn),
            // Its program runs, or its end is about to be seen.
            Ok(None) => {
                let took = turn.now.duration_since(jail.told_to_go());
                tracing::debug!(session = %id, jail = %kind, us = took.as_micros(), "runs");
                if kind == JailKind::Programs && self.programs == Gate::Released {
                    self.started(turn);
                }
            }
            Err(error) => self.refuse(&LayerError::new("link", error), turn),
        }
    }

    fn handle_worker(&mut self, turn: &mut Turn<'_>) {
        let Some(worker) = &self.worker else {
            return;
        };
        let message = match wire::receive(worker) {
            Ok(Received::Nothing) => return,
            Ok(Received::Packet(bytes)) => codec::decode::<ToWarden>(&bytes),
            Ok(Received::Closed) | Err(_) => return self.kill_worker(),
        };
        match message {
            Ok(ToWarden::Ready { .. }) if self.worker_ready.is_some() => {
                tracing::warn!(session = %self.id(), "the worker said that it is ready twice");
                self.end(EndReason::WorkerEnded, turn);
            }
            Ok(ToWarden::Ready { size, weaker }) => {
                self.succession.handle_ready(turn.now);
                if !self.is_running() {
                    self.weaker
                        .extend(weaker.into_iter().take(8).map(shortened));
                }
                self.worker_ready = Some(size.fit(
                    Size {
                        width: 2,
                        height: 2,
                    },
                    self.wanted.screen,
                ));
                self.release_programs(turn);
            }
            Ok(ToWarden::Failed { layer, detail }) => {
                let layer = if layer.is_empty() {
                    "worker".to_owned()
                } else {
                    layer
                };
                self.refuse(&LayerError::new(shortened(layer), shortened(detail)), turn);
            }
            Ok(ToWarden::Attached) => self.succession.handle_attached(),
            Ok(ToWarden::XHeld) => self.end(EndReason::XHeldByProgram, turn),
            Err(error) => {
                tracing::warn!(session = %self.id(), %error, "the worker sent no message");
                self.end(EndReason::WorkerEnded, turn);
            }
        }
    }

    fn handle_home(&mut self, turn: &mut Turn<'_>) {
        let Some(opening) = self.home.take() else {
            return;
        };
        let outcome = opening.take();
        turn.strays.push(opening.abandon());
        if self.is_ending() {
            return;
        }
        let started = outcome
            .map_err(|error| LayerError::new("home", error))
            .and_then(|home| self.start_programs(turn, &home));
        if let Err(error) = started {
            self.refuse(&error, turn);
        }
    }

    fn release_programs(&mut self, turn: &mut Turn<'_>) {
        if self.worker_ready.is_none() || self.programs != Gate::Sealed {
            return;
        }
        let programs = self.jails.get_mut(&JailKind::Programs);
        let released = programs.map(|it| it.release(turn.now));
        match released {
            Some(Ok(())) => self.programs = Gate::Released,
            Some(Err(error)) => self.refuse(&LayerError::new("link", error), turn),
            None => {}
        }
    }

    fn started(&mut self, turn: &mut Turn<'_>) {
        let (Phase::Starting { .. }, Some(size)) = (&self.phase, self.worker_ready) else {
            return;
        };
        self.phase = Phase::Running;
        let took = turn.now.duration_since(self.began);
        tracing::info!(
            session = %self.id(), user = %self.wanted.user_name, %size,
            ms = took.as_millis(), weaker = ?self.weaker, "desktop started"
        );
        turn.out.push(
            Event::Started {
                session: self.id(),
                size,
                weaker: self.weaker.clone(),
            }
            .into(),
        );
    }

    fn handle_exit(&mut self, kind: JailKind, turn: &mut Turn<'_>) {
        let ended = match self.jails.get(&kind).map(Jail::try_wait) {
            Some(Ok(Some(exit))) => Some(exit),
            Some(Ok(None)) | None => None,
            // Somebody else collected it; it is gone all the same.
            Some(Err(_)) => Some(Exit::Code(125)),
        };
        let Some(exit) = ended else {
            return;
        };
        self.hear_last_words(kind, turn);
        self.jails.remove(&kind);
        match self.phase {
            Phase::Starting { .. } => {
                let tail = self.logs.get(&kind).map_or("", JailLog::tail);
                let detail = format!("ended during the start ({exit:?}): {tail}");
                self.refuse(&LayerError::new(kind, detail), turn);
            }
            Phase::Running if kind == JailKind::Worker => self.handle_worker_end(exit, turn),
            Phase::Running => {
                tracing::info!(session = %self.id(), jail = %kind, ?exit, "a jail ended");
                let reason = match kind {
                    JailKind::Display => EndReason::DisplayEnded,
                    JailKind::Worker => EndReason::WorkerEnded,
                    JailKind::Programs => EndReason::ProgramsEnded,
                };
                self.end(reason, turn);
            }
            Phase::Ending { .. } => {}
        }
    }

    /// A jail that could not be built says why just before it ends.
    fn hear_last_words(&mut self, kind: JailKind, turn: &mut Turn<'_>) {
        if let Some(log) = self.logs.get_mut(&kind) {
            log.drain(self.wanted.session, kind, turn.now);
        }
        while self.jails.get(&kind).is_some_and(|it| it.link().is_some()) && !self.is_ending() {
            self.handle_link(kind, turn);
        }
        if kind == JailKind::Worker && !self.is_ending() {
            self.handle_worker(turn);
        }
    }

    /// Ends a session that a daemon knows.
    pub(crate) fn end(&mut self, reason: EndReason, turn: &mut Turn<'_>) {
        match &mut self.phase {
            Phase::Ending { tell, .. } => {
                tell.get_or_insert(reason);
            }
            Phase::Starting { .. } | Phase::Running => {
                tracing::info!(session = %self.id(), reason = reason.code(), "desktop ends");
                self.enter_end(Some(reason), turn);
            }
        }
    }

    /// Ends a session that never started; one that runs ends with a reason instead.
    fn refuse(&mut self, error: &LayerError, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Starting { .. } => {
                tracing::warn!(session = %self.id(), %error, "no desktop");
                turn.out.push(
                    Event::Refused {
                        session: self.id(),
                        why: refusal(error),
                    }
                    .into(),
                );
                self.enter_end(None, turn);
            }
            Phase::Running => self.handle_worker_failure(error),
            Phase::Ending { .. } => {}
        }
    }

    fn enter_end(&mut self, tell: Option<EndReason>, turn: &mut Turn<'_>) {
        self.phase = Phase::Ending {
            deadline: turn.now + CLEANUP_TIMEOUT,
            retry: turn.now,
            tell,
        };
        for jail in self.jails.values() {
            jail.kill();
        }
        self.stop_watching_memory();
        self.groups.kill();
        self.worker = None;
        if let Some(opening) = self.home.take() {
            turn.strays.push(opening.abandon());
        }
    }

    /// When this session wants to be looked at again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Starting { deadline } => {
                let home = self.home.as_ref().map(|it| it.deadline);
                Some(home.map_or(*deadline, |it| it.min(*deadline)))
            }
            Phase::Running => {
                let memory = self.shortage.as_ref().and_then(Shortage::poll_timeout);
                let worker = self.succession.poll_timeout();
                [memory, worker].into_iter().flatten().min()
            }
            // The last jail's end is seen on its descriptor.
            Phase::Ending {
                deadline, retry, ..
            } => Some(if self.jails.is_empty() {
                *retry
            } else {
                *deadline
            }),
        }
    }

    /// Handles what is due; `true` when nothing of the session is left to do.
    pub(crate) fn handle_timeout(&mut self, turn: &mut Turn<'_>) -> bool {
        match self.phase {
            Phase::Starting { deadline } if turn.now >= deadline => {
                let error = LayerError::new("start", self.what_is_awaited());
                self.refuse(&error, turn);
                false
            }
            Phase::Starting { .. } => {
                if self.home.as_ref().is_some_and(|it| turn.now >= it.deadline) {
                    let error = LayerError::new("home", "the home does not answer");
                    self.refuse(&error, turn);
                }
                false
            }
            Phase::Running => {
                self.look_at_memory(turn);
                self.handle_worker_timeout(turn.now);
                false
            }
            Phase::Ending {
                deadline,
                retry,
                tell,
            } => {
                let is_late = turn.now >= deadline;
                if !is_late && (!self.jails.is_empty() || turn.now < retry) {
                    return false;
                }
                self.clean_up(is_late, tell, turn)
            }
        }
    }

    /// Removes groups and files; a group whose last task is still leaving is tried again.
    fn clean_up(&mut self, is_late: bool, tell: Option<EndReason>, turn: &mut Turn<'_>) -> bool {
        let cleaned = self
            .groups
            .remove()
            .and_then(|()| self.stage.remove(&turn.ground.store.runtime));
        match cleaned {
            Err(_) if !is_late => {
                if let Phase::Ending { retry, .. } = &mut self.phase {
                    *retry = turn.now + CLEANUP_PAUSE;
                }
                return false;
            }
            Err(error) => {
                tracing::error!(
                    session = %self.id(), %error, jails = self.jails.len(),
                    "something of the session is left until the next start"
                );
            }
            Ok(()) => {}
        }
        if let Some(reason) = tell {
            let session = self.id();
            turn.out.push(Event::Ended { session, reason }.into());
        }
        true
    }

    fn what_is_awaited(&self) -> String {
        let display = self.logs.get(&JailKind::Display).map_or("", JailLog::tail);
        let awaited = match (self.worker_ready, self.programs) {
            (None, _) => "the worker",
            (Some(_), Gate::Building) => "the programs jail",
            (Some(_), Gate::Sealed | Gate::Released) => "the window manager",
        };
        format!(
            "{awaited} is not ready after {} s; the X server said: {display:?}",
            START_TIMEOUT.as_secs()
        )
    }
}
