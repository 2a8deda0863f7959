//! One session: from the request over three jails to nothing left.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::net::SocketType;
use sandbox_protocol::local::warden::{EndReason, Event, Refusal};
use sandbox_protocol::local::worker::{self, FromWarden, ToWarden, WorkerPlan};
use sandbox_protocol::{SessionId, Size, codec};

use super::ground::Ground;
use super::home::Opening;
use super::log::JailLog;
use super::request::Wanted;
use super::stage::{Geometry, Stage};
use super::wire::{self, Received};
use crate::cgroup::SessionGroups;
use crate::jail::{Jail, Order, Report, Seats};
use crate::layer::LayerError;
use crate::limits::{CLEANUP_PAUSE, CLEANUP_TIMEOUT, START_TIMEOUT};
use crate::plan::{self, JailKind, Plan, Programs};
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
    jails: BTreeMap<JailKind, Jail>,
    logs: BTreeMap<JailKind, JailLog>,
    home: Option<Opening>,
    worker: Option<OwnedFd>,
    worker_ready: Option<Size>,
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
    /// Begins to build. An error leaves nothing behind.
    pub(crate) fn start(wanted: Wanted, turn: &mut Turn<'_>) -> Result<Self, LayerError> {
        Ground::check_parts()?;
        let ground = turn.ground;
        let runtime = &ground.store.runtime;
        let programs = wanted.ids + JailKind::Programs.id_offset();
        let stage = Stage::create(runtime, wanted.session, wanted.screen, programs)
            .map_err(|error| LayerError::new("stage", error))?;
        let name = format!("sandbox-{}/{}", ground.store.node, wanted.session);
        let groups = SessionGroups::create(
            &ground.own,
            &name,
            ground.ceilings,
            ground.unlimited,
            ground.sys,
        );
        let (groups, weaker) = match groups {
            Ok(made) => made,
            Err(error) => {
                // An empty directory that stays is swept at the next start.
                let _left = stage.remove(runtime);
                return Err(error);
            }
        };
        let mut session = Self {
            wanted,
            phase: Phase::Starting {
                deadline: turn.now + START_TIMEOUT,
            },
            stage,
            groups,
            jails: BTreeMap::new(),
            logs: BTreeMap::new(),
            home: None,
            worker: None,
            worker_ready: None,
            programs: Gate::Building,
            weaker,
            began: turn.now,
        };
        if let Err(error) = session.begin(turn) {
            session.refuse(&error, turn);
        }
        Ok(session)
    }

    fn id(&self) -> SessionId {
        self.wanted.session
    }

    /// Whether a daemon can attach to it.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. })
    }

    /// The home opens while display and worker build themselves.
    fn begin(&mut self, turn: &Turn<'_>) -> Result<(), LayerError> {
        let ground = turn.ground;
        let home = Opening::start(
            ground.store.homes.as_fd(),
            ground.null.as_fd(),
            &self.wanted.user_name,
            self.wanted.ids + JailKind::Programs.id_offset(),
            turn.now,
        );
        self.home = Some(home.map_err(|error| LayerError::new("home", error))?);
        self.start_display(ground)?;
        self.start_worker(ground)
    }

    fn start_display(&mut self, ground: &Ground<'_>) -> Result<(), LayerError> {
        let plan = plan::display(self.wanted.screen, &self.stage.cookie, &ground.shell);
        let (log, writer) = pipe()?;
        let seats = Seats {
            stdio: [ground.null.as_fd(), writer.as_fd(), writer.as_fd()],
            passed: vec![self.stage.listener.as_fd(), self.stage.framebuffer.as_fd()],
            executable: None,
            mounts: Vec::new(),
        };
        let jail = self.jail(ground, &plan, seats, &ground.filters.display)?;
        self.jails.insert(JailKind::Display, jail);
        self.logs.insert(JailKind::Display, JailLog::new(log));
        Ok(())
    }

    fn start_worker(&mut self, ground: &Ground<'_>) -> Result<(), LayerError> {
        let (ours, theirs) =
            wire::pair(SocketType::SEQPACKET).map_err(|it| LayerError::new("worker", it))?;
        let (log, writer) = pipe()?;
        let seats = Seats {
            stdio: [theirs.as_fd(), writer.as_fd(), writer.as_fd()],
            passed: Vec::new(),
            executable: Some(ground.executable.as_fd()),
            mounts: Vec::new(),
        };
        let jail = self.jail(ground, &plan::worker(), seats, &ground.filters.worker)?;
        self.jails.insert(JailKind::Worker, jail);
        self.logs.insert(JailKind::Worker, JailLog::new(log));
        self.tell_worker_its_plan(ground, &ours)
            .map_err(|it| LayerError::new("worker", it))?;
        self.worker = Some(ours);
        Ok(())
    }

    /// The connections wait in the socket's backlog until Xvfb is up.
    fn tell_worker_its_plan(&self, ground: &Ground<'_>, worker: &OwnedFd) -> io::Result<()> {
        let geometry = Geometry::of(self.wanted.screen);
        let plan = FromWarden::Start(WorkerPlan {
            version: worker::VERSION,
            screen_size: self.wanted.screen,
            size: self.wanted.size,
            pixels_offset: geometry.pixels_offset,
            stride: geometry.stride,
            cookie: self.stage.cookie,
            fps_max: ground.fps_max,
            encoder_threads: ground.encoder_threads,
            codec: ground.codec.clone(),
            log_filter: ground.log_filter.clone(),
        });
        let bytes = codec::encode(&plan).map_err(io::Error::other)?;
        let (own, spare) = (self.stage.connect()?, self.stage.connect()?);
        let descriptors = [self.stage.framebuffer.as_fd(), own.as_fd(), spare.as_fd()];
        wire::send(worker, &bytes, &descriptors)
    }

    fn start_programs(&mut self, ground: &Ground<'_>, home: &OwnedFd) -> Result<(), LayerError> {
        let socket = self
            .stage
            .socket_mount()
            .map_err(|error| LayerError::new("x_socket", error))?;
        let plan = plan::programs(&Programs {
            user_name: &self.wanted.user_name,
            cookie: &self.stage.cookie,
        });
        let null = ground.null.as_fd();
        let seats = Seats {
            stdio: [null, null, null],
            passed: Vec::new(),
            executable: None,
            mounts: vec![socket.as_fd(), home.as_fd()],
        };
        let jail = self.jail(ground, &plan, seats, &ground.filters.programs)?;
        self.jails.insert(JailKind::Programs, jail);
        Ok(())
    }

    fn jail(
        &self,
        ground: &Ground<'_>,
        plan: &Plan,
        seats: Seats<'_>,
        filter: &seccompiler::BpfProgram,
    ) -> Result<Jail, LayerError> {
        Jail::start(&Order {
            plan,
            host_id: self.wanted.ids + plan.kind.id_offset(),
            seats,
            filter,
            place: &|pid| self.groups.place(plan.kind, pid),
            sys: ground.sys,
        })
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
            Source::Exit(kind) => self.handle_exit(kind, turn),
        }
    }

    fn handle_link(&mut self, kind: JailKind, turn: &mut Turn<'_>) {
        let Some(jail) = self.jails.get_mut(&kind) else {
            return;
        };
        match jail.hear() {
            Ok(Some(Report::Sealed)) if kind == JailKind::Programs => {
                self.programs = Gate::Sealed;
                self.release_programs(turn);
            }
            Ok(Some(Report::Sealed)) => {}
            Ok(Some(Report::Weaker(sentence))) => self.weaker.push(sentence),
            Ok(Some(Report::Failed(error))) => self.refuse(&error, turn),
            Ok(None) if kind == JailKind::Programs && self.programs == Gate::Released => {
                self.started(turn);
            }
            // Its program runs, or its end is about to be seen.
            Ok(None) => {}
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
            // Its end follows.
            Ok(Received::Closed) | Err(_) => {
                self.worker = None;
                return;
            }
        };
        match message {
            Ok(ToWarden::Ready { size, weaker }) => {
                self.weaker
                    .extend(weaker.into_iter().take(8).map(shortened));
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
            .and_then(|home| self.start_programs(turn.ground, &home));
        if let Err(error) = started {
            self.refuse(&error, turn);
        }
    }

    fn release_programs(&mut self, turn: &mut Turn<'_>) {
        if self.worker_ready.is_none() || self.programs != Gate::Sealed {
            return;
        }
        let released = self.jails.get(&JailKind::Programs).map(Jail::release);
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

    /// Gives worker and daemon a fresh pair of sockets each.
    pub(crate) fn attach(&mut self, turn: &mut Turn<'_>) {
        let session = self.id();
        let outgoing = match self.fresh_pair() {
            Ok(descriptors) => Outgoing {
                event: Event::Attached { session },
                descriptors,
            },
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

    fn fresh_pair(&self) -> io::Result<Vec<OwnedFd>> {
        let worker = self.worker.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let (control, worker_control) = wire::pair(SocketType::SEQPACKET)?;
        let (media, worker_media) = wire::pair(SocketType::STREAM)?;
        let bytes = codec::encode(&FromWarden::Attach).map_err(io::Error::other)?;
        wire::send(
            worker,
            &bytes,
            &[worker_control.as_fd(), worker_media.as_fd()],
        )?;
        Ok(vec![control, media])
    }

    /// Answers what the session uses.
    pub(crate) fn report_usage(&self, turn: &mut Turn<'_>) {
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
            Phase::Running => {
                tracing::warn!(session = %self.id(), %error, "the desktop fails");
                self.end(EndReason::WorkerEnded, turn);
            }
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
            Phase::Running => None,
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
            Phase::Running => false,
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

fn pipe() -> Result<(io::PipeReader, io::PipeWriter), LayerError> {
    io::pipe().map_err(|error| LayerError::new("log", error))
}

/// A peer's words, short enough for a log line and a page.
fn shortened(mut text: String) -> String {
    const LENGTH_MAX: usize = 300;
    if let Some((at, _)) = text.char_indices().nth(LENGTH_MAX) {
        text.truncate(at);
    }
    text
}

/// Steps that are no layer and no part of the host: their failure is ours.
const STEPS: [&str; 8] = [
    "link", "log", "stage", "x_socket", "home", "start", "worker", "display",
];

pub(crate) fn refusal(error: &LayerError) -> Refusal {
    if STEPS.contains(&error.layer.as_str()) || error.layer == JailKind::Programs.name() {
        Refusal::Failed {
            detail: error.to_string(),
        }
    } else {
        Refusal::Missing {
            layer: error.layer.clone(),
            detail: error.detail.clone(),
        }
    }
}
