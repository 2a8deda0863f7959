//! The warden's loop: one thread, one wait, every source handled in turn.

mod ending;
mod upgrade;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sandbox_protocol::SessionId;
use sandbox_protocol::local::warden::{EndReason, Event, Refusal, Request, StartSession};

use self::ending::never_ready;
use self::upgrade::Upgrade;
use super::certificate;
use super::config::TlsFiles;
use super::daemon::{Birth, Daemon, LinkError, next_pause};
use super::error::WardenError;
use super::ground::{Ground, missing_extras};
use super::listen::Listeners;
use super::request::Wanted;
use super::session::{Outgoing, Session, Source, Turn, refusal};
use crate::clock;
use crate::cover::Cover;
use crate::limits::{DAEMON_END_TIMEOUT, REQUESTS_PER_TURN};
use crate::sys::process::Process;

/// What the daemon is started with, again and again.
#[derive(Debug)]
pub(crate) struct Household {
    pub(crate) ids: (u32, u32),
    /// What is hidden from it.
    pub(crate) cover: Option<Cover>,
    pub(crate) config: OwnedFd,
    /// How long sessions outlive the last daemon.
    pub(crate) session_timeout: Duration,
    pub(crate) tls: Option<TlsFiles>,
}

/// The whole server, seen from its first process.
#[derive(Debug)]
pub(crate) struct Warden<'a> {
    ground: &'a Ground<'a>,
    listeners: Listeners,
    household: Household,
    signals: OwnedFd,
    daemon: DaemonState,
    upgrade: Upgrade,
    /// What daemons are started from, once an upgrade has brought another file than our own.
    upgraded: Option<OwnedFd>,
    pause: Option<Duration>,
    was_ready: bool,
    /// Since when no daemon serves.
    daemonless: Option<Instant>,
    sessions: BTreeMap<SessionId, Session>,
    strays: Vec<Process>,
    out: Vec<Outgoing>,
    life: Life,
}

#[derive(Debug)]
enum DaemonState {
    Running(Daemon),
    Due(Instant),
    /// The server ends: no other follows.
    Gone,
}

#[derive(Debug)]
enum Life {
    Serving,
    /// The daemon may end by itself until then.
    Ending {
        deadline: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    Signals,
    DaemonLink,
    DaemonExit,
    NextLink,
    NextExit,
    Session(SessionId, Source),
    Stray,
}

impl<'a> Warden<'a> {
    pub(crate) fn new(
        ground: &'a Ground<'a>,
        listeners: Listeners,
        household: Household,
        signals: OwnedFd,
    ) -> Self {
        let now = clock::now();
        Self {
            ground,
            listeners,
            household,
            signals,
            daemon: DaemonState::Due(now),
            upgrade: Upgrade::None,
            upgraded: None,
            pause: None,
            was_ready: false,
            daemonless: Some(now),
            sessions: BTreeMap::new(),
            strays: Vec::new(),
            out: Vec::new(),
            life: Life::Serving,
        }
    }

    /// Turns until the server has ended.
    pub(crate) fn serve(&mut self) -> Result<(), WardenError> {
        loop {
            let now = clock::now();
            let failed = self.handle_timeouts(now).err();
            self.flush();
            if let Some(error) = failed {
                self.end_at_once();
                return Err(error);
            }
            if self.is_over() {
                return Ok(());
            }
            let ready = self
                .wait(now)
                .map_err(WardenError::io("wait for the next event"))?;
            let now = clock::now();
            for source in ready {
                if let Err(error) = self.handle(source, now) {
                    self.end_at_once();
                    return Err(error);
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.life, Life::Ending { .. })
            && matches!(self.daemon, DaemonState::Gone)
            && self.sessions.is_empty()
    }

    fn wait(&self, now: Instant) -> io::Result<Vec<Ready>> {
        let mut tokens = vec![Ready::Signals];
        let mut descriptors = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let mut watch = |token, descriptor, flags| {
            tokens.push(token);
            descriptors.push(PollFd::from_borrowed_fd(descriptor, flags));
        };
        if let DaemonState::Running(daemon) = &self.daemon {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, daemon.has_waiting());
            if let Some(link) = daemon.link() {
                watch(Ready::DaemonLink, link, flags);
            }
            watch(Ready::DaemonExit, daemon.pidfd(), PollFlags::IN);
        }
        if let Upgrade::Starting(next) = &self.upgrade {
            if let Some(link) = next.daemon.link() {
                watch(Ready::NextLink, link, PollFlags::IN);
            }
            watch(Ready::NextExit, next.daemon.pidfd(), PollFlags::IN);
        }
        for (id, session) in &self.sessions {
            for (source, descriptor) in session.sources() {
                watch(Ready::Session(*id, source), descriptor, PollFlags::IN);
            }
        }
        for stray in &self.strays {
            watch(Ready::Stray, stray.as_fd(), PollFlags::IN);
        }
        let timeout = self
            .poll_timeout()
            .map(|at| Timespec::try_from(at.saturating_duration_since(now)))
            .transpose()
            .map_err(io::Error::other)?;
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = descriptors.iter().map(|it| !it.revents().is_empty());
        Ok(tokens
            .into_iter()
            .zip(is_ready)
            .filter_map(|(token, is_ready)| is_ready.then_some(token))
            .collect())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let daemon = match self.daemon {
            DaemonState::Due(at) => Some(at),
            DaemonState::Running(_) | DaemonState::Gone => None,
        };
        let ending = match self.life {
            Life::Ending { deadline } if !matches!(self.daemon, DaemonState::Gone) => {
                Some(deadline)
            }
            Life::Ending { .. } | Life::Serving => None,
        };
        self.sessions
            .values()
            .filter_map(Session::poll_timeout)
            .chain(daemon)
            .chain(ending)
            .chain(self.orphans_end())
            .chain(self.upgrade.poll_timeout())
            .min()
    }

    /// When sessions end because no daemon came back.
    fn orphans_end(&self) -> Option<Instant> {
        let since = self.daemonless.filter(|_| !self.sessions.is_empty())?;
        since.checked_add(self.household.session_timeout)
    }

    fn handle_timeouts(&mut self, now: Instant) -> Result<(), WardenError> {
        if self.orphans_end().is_some_and(|at| now >= at) {
            self.daemonless = Some(now);
            self.end_sessions(EndReason::Shutdown, now);
        }
        let mut turn = Turn {
            ground: self.ground,
            now,
            out: &mut self.out,
            strays: &mut self.strays,
        };
        self.sessions
            .retain(|_, session| !session.handle_timeout(&mut turn));
        match (&mut self.life, &mut self.daemon) {
            (Life::Ending { deadline }, DaemonState::Running(daemon)) if now >= *deadline => {
                daemon.kill();
                *deadline = now + DAEMON_END_TIMEOUT;
            }
            (Life::Serving, DaemonState::Due(at)) if now >= *at => self.start_daemon(now)?,
            _ => {}
        }
        self.handle_upgrade_timeout(now);
        Ok(())
    }

    fn handle(&mut self, source: Ready, now: Instant) -> Result<(), WardenError> {
        match source {
            Ready::Signals => self.handle_signals(now),
            Ready::DaemonLink => self.handle_daemon_link(now),
            Ready::DaemonExit => self.handle_daemon_exit(now)?,
            Ready::NextLink => self.handle_next_link(now),
            Ready::NextExit => self.handle_next_exit(),
            Ready::Session(id, source) => {
                let mut turn = Turn {
                    ground: self.ground,
                    now,
                    out: &mut self.out,
                    strays: &mut self.strays,
                };
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.handle_source(source, &mut turn);
                }
            }
            Ready::Stray => self.strays.retain(|it| matches!(it.try_wait(), Ok(None))),
        }
        Ok(())
    }

    fn start_daemon(&mut self, now: Instant) -> Result<(), WardenError> {
        self.out.clear();
        let birth = self.birth(self.upgraded.as_ref());
        match Daemon::start(&birth, now) {
            Ok(daemon) => self.daemon = DaemonState::Running(daemon),
            // Sessions that run have time: what is missing now may be there in a moment.
            Err(error) if self.was_ready => {
                let pause = next_pause(self.pause);
                tracing::error!(%error, pause_ms = pause.as_millis(), "no daemon could be started");
                self.pause = Some(pause);
                self.daemon = DaemonState::Due(now + pause);
            }
            Err(error) => return Err(WardenError::io("start the daemon")(error)),
        }
        Ok(())
    }

    fn birth<'b>(&'b self, executable: Option<&'b OwnedFd>) -> Birth<'b> {
        Birth {
            executable: executable.unwrap_or(&self.ground.executable).as_fd(),
            ids: self.household.ids,
            cover: self.household.cover.as_ref(),
            config: &self.household.config,
            listeners: &self.listeners,
            weaker: [
                self.ground.weaker.clone(),
                self.listeners.weaker.clone(),
                missing_extras(),
            ]
            .concat(),
            sessions: self
                .sessions
                .iter()
                .filter(|(_, session)| session.is_running())
                .map(|(id, _)| *id)
                .collect(),
        }
    }

    fn handle_daemon_link(&mut self, now: Instant) {
        for _ in 0..REQUESTS_PER_TURN {
            let DaemonState::Running(daemon) = &mut self.daemon else {
                return;
            };
            let request = daemon.next_request();
            if daemon.is_ready() {
                self.was_ready = true;
                self.daemonless = None;
            }
            match request {
                Ok(Some(request)) => self.handle_request(request, now),
                Ok(None) => return,
                Err(error) => {
                    self.drop_daemon(&error);
                    return;
                }
            }
        }
    }

    /// The next daemon gets a fresh link; this one ends now.
    fn drop_daemon(&mut self, error: &LinkError) {
        let DaemonState::Running(daemon) = &mut self.daemon else {
            return;
        };
        match self.life {
            Life::Serving => {
                tracing::error!(%error, "the daemon is restarted");
                daemon.kill();
            }
            // It may finish its own work.
            Life::Ending { .. } => daemon.hang_up(),
        }
    }

    fn handle_request(&mut self, request: Request, now: Instant) {
        match request {
            // Kept by the link.
            Request::Ready => {}
            Request::Start(start) => self.start_session(&start, now),
            Request::Attach { session } => {
                self.with_session(session, now, |it, turn| it.attach(turn));
            }
            Request::Usage { session } => {
                self.with_session(session, now, |it, turn| it.report_usage(turn));
            }
            Request::End { session } => {
                self.with_session(session, now, |it, turn| {
                    it.end(EndReason::Requested, turn);
                });
            }
            Request::Certificate => {
                self.out
                    .push(certificate::answer(self.household.tls.as_ref()));
            }
        }
    }

    fn with_session(
        &mut self,
        id: SessionId,
        now: Instant,
        act: impl FnOnce(&mut Session, &mut Turn<'_>),
    ) {
        let mut turn = Turn {
            ground: self.ground,
            now,
            out: &mut self.out,
            strays: &mut self.strays,
        };
        match self.sessions.get_mut(&id) {
            Some(session) => act(session, &mut turn),
            None => self.refuse(id, Refusal::Unknown),
        }
    }

    fn start_session(&mut self, start: &StartSession, now: Instant) {
        let id = start.session;
        let wanted = match self.admit(start) {
            Ok(wanted) => wanted,
            Err(why) => {
                tracing::warn!(session = %id, ?why, "no desktop");
                return self.refuse(id, why);
            }
        };
        let mut turn = Turn {
            ground: self.ground,
            now,
            out: &mut self.out,
            strays: &mut self.strays,
        };
        match Session::start(wanted, &mut turn) {
            Ok(session) => drop(self.sessions.insert(id, session)),
            Err(error) => {
                tracing::warn!(session = %id, %error, "no desktop");
                self.refuse(id, refusal(&error));
            }
        }
    }

    fn admit(&self, start: &StartSession) -> Result<Wanted, Refusal> {
        if matches!(self.life, Life::Ending { .. }) {
            return Err(Refusal::Full {
                detail: "the server ends".to_owned(),
            });
        }
        if !matches!(self.upgrade, Upgrade::None) {
            return Err(Refusal::Full {
                detail: "the server is being upgraded; try again in a moment".to_owned(),
            });
        }
        if self.sessions.contains_key(&start.session) {
            return Err(Refusal::Invalid {
                detail: "this session exists".to_owned(),
            });
        }
        let most = self.ground.sessions_max;
        if self.sessions.len() >= most {
            return Err(Refusal::Full {
                detail: format!("{most} sessions run; SANDBOX_SESSIONS_MAX allows no more"),
            });
        }
        self.ground.check_descriptors().map_err(|error| {
            let detail = format!("the server may open no more files (LimitNOFILE): {error}");
            Refusal::Full { detail }
        })?;
        Wanted::read(start, self.ground.ids)
    }

    fn refuse(&mut self, session: SessionId, why: Refusal) {
        self.out.push(Event::Refused { session, why }.into());
    }

    fn flush(&mut self) {
        self.upgrade.note(&self.out);
        let DaemonState::Running(daemon) = &mut self.daemon else {
            // The next daemon learns from its greeting what runs.
            self.out.clear();
            return;
        };
        if let Err(error) = daemon.send(self.out.drain(..)) {
            self.drop_daemon(&error);
        }
    }

    fn handle_daemon_exit(&mut self, now: Instant) -> Result<(), WardenError> {
        let DaemonState::Running(daemon) = &self.daemon else {
            return Ok(());
        };
        let Some(exit) = daemon.try_wait() else {
            return Ok(());
        };
        let is_proven = daemon.is_proven(now);
        if matches!(self.life, Life::Ending { .. }) {
            self.daemon = DaemonState::Gone;
            return Ok(());
        }
        if !self.was_ready {
            self.daemon = DaemonState::Gone;
            return Err(never_ready(exit));
        }
        self.daemonless.get_or_insert(now);
        self.end_unstarted(now);
        if self.promote_next() {
            tracing::error!(?exit, "the daemon ended during an upgrade");
            return Ok(());
        }
        let pause = next_pause(self.pause.filter(|_| !is_proven));
        tracing::error!(?exit, pause_ms = pause.as_millis(), "the daemon ended");
        self.pause = Some(pause);
        self.daemon = DaemonState::Due(now + pause);
        Ok(())
    }
}
