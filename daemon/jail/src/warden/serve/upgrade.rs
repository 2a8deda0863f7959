//! A daemon from the file that lies on disk takes over from the one that runs.
//!
//! Both have the same listening sockets for a moment. The old one ends when the next one says
//! that it serves; until then it goes on, and so it does where that never happens.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use sandbox_protocol::SessionId;
use sandbox_protocol::local::warden::{EndReason, Event, Request};

use super::{DaemonState, Life, Warden};
use crate::limits::UPGRADE_TIMEOUT;
use crate::sys::signals::{SIGNAL_LEN, UPGRADE};
use crate::warden::certificate;
use crate::warden::daemon::{Daemon, LinkError};
use crate::warden::session::Outgoing;
use crate::warden::trust::Trust;

/// How far an upgrade is.
#[derive(Debug)]
pub(super) enum Upgrade {
    None,
    /// Sessions are being started, of which the next daemon would not know; no further ones are.
    Wanted,
    Starting(Next),
}

/// A daemon that has not said that it serves.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) daemon: Daemon,
    executable: OwnedFd,
    deadline: Instant,
    /// What of the sessions in its greeting has ended since.
    ended: Vec<(SessionId, EndReason)>,
}

impl Upgrade {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Starting(next) => Some(next.deadline),
            Self::None | Self::Wanted => None,
        }
    }

    /// Keeps for the next daemon what the present one is told.
    pub(super) fn note(&mut self, events: &[Outgoing]) {
        let Self::Starting(next) = self else {
            return;
        };
        next.ended
            .extend(events.iter().filter_map(|it| match it.event {
                Event::Ended { session, reason } => Some((session, reason)),
                Event::Hello { .. }
                | Event::Started { .. }
                | Event::Attached { .. }
                | Event::Usage { .. }
                | Event::Refused { .. }
                | Event::Certificate
                | Event::NoCertificate { .. }
                | Event::OutOfMemory { .. } => None,
            }));
    }
}

impl Warden<'_> {
    pub(super) fn handle_signals(&mut self, now: Instant) {
        let mut held_back = [0; SIGNAL_LEN * 8];
        let length = rustix::io::read(&self.signals, &mut held_back).unwrap_or(0);
        let held_back = held_back.get(..length).unwrap_or_default();
        for signal in held_back.chunks_exact(SIGNAL_LEN) {
            let number = signal.first_chunk().map_or(0, |it| i32::from_ne_bytes(*it));
            if number != UPGRADE {
                self.end_server(now);
            } else if matches!((&self.life, &self.upgrade), (Life::Serving, Upgrade::None)) {
                self.upgrade = Upgrade::Wanted;
            }
        }
    }

    /// Starts the next daemon once it can know of every session, and gives up one that is late.
    pub(super) fn handle_upgrade_timeout(&mut self, now: Instant) {
        match &self.upgrade {
            Upgrade::None => {}
            Upgrade::Wanted => {
                let is_quiet = self
                    .sessions
                    .values()
                    .all(|it| it.is_running() || it.is_ending());
                if is_quiet {
                    self.start_next(now);
                }
            }
            Upgrade::Starting(next) if now >= next.deadline => {
                let seconds = UPGRADE_TIMEOUT.as_secs();
                self.give_up_next(&format!("it did not serve within {seconds} s"));
            }
            Upgrade::Starting(_) => {}
        }
    }

    fn start_next(&mut self, now: Instant) {
        self.upgrade = Upgrade::None;
        let started = executable_on_disk(self.ground.trust).and_then(|executable| {
            let daemon = Daemon::start(&self.birth(Some(&executable)), now)?;
            Ok((executable, daemon))
        });
        match started {
            Ok((executable, daemon)) => {
                tracing::info!("upgrade: the next daemon starts");
                self.upgrade = Upgrade::Starting(Next {
                    daemon,
                    executable,
                    deadline: now + UPGRADE_TIMEOUT,
                    ended: Vec::new(),
                });
            }
            Err(error) => {
                tracing::error!(%error, "upgrade: no next daemon; the old one goes on");
            }
        }
    }

    /// It says that it serves, or something else.
    pub(super) fn handle_next_link(&mut self, now: Instant) {
        let Upgrade::Starting(next) = &mut self.upgrade else {
            return;
        };
        let heard = match next.daemon.hear() {
            Ok(None) => return,
            Ok(Some(Request::Ready)) => return self.switch(now),
            // The one thing that it needs before it can serve.
            Ok(Some(Request::Certificate)) => {
                let answer = certificate::answer(self.household.tls.as_ref());
                next.daemon.send(std::iter::once(answer))
            }
            Ok(Some(_)) => Err(LinkError::Early),
            Err(error) => Err(error),
        };
        if let Err(error) = heard {
            self.give_up_next(&error.to_string());
        }
    }

    pub(super) fn handle_next_exit(&mut self) {
        let Upgrade::Starting(next) = &self.upgrade else {
            return;
        };
        if let Some(exit) = next.daemon.try_wait() {
            self.give_up_next(&format!("it ended before it served: {exit:?}"));
        }
    }

    fn switch(&mut self, now: Instant) {
        tracing::info!("upgrade: the next daemon serves, the old one ends");
        // Answers to the old one; what concerns the next one is noted.
        self.flush();
        let former = std::mem::replace(&mut self.daemon, DaemonState::Due(now));
        if let DaemonState::Running(mut former) = former {
            former.kill();
            self.strays.push(former.into_process());
        }
        self.promote_next();
    }

    /// The next daemon, ready or not, is the one from here on. `false` where there is none.
    pub(super) fn promote_next(&mut self) -> bool {
        match std::mem::replace(&mut self.upgrade, Upgrade::None) {
            Upgrade::Starting(next) => {
                self.upgraded = Some(next.executable);
                self.daemon = DaemonState::Running(next.daemon);
                self.pause = None;
                self.out.extend(
                    next.ended
                        .into_iter()
                        .map(|(session, reason)| Event::Ended { session, reason }.into()),
                );
                true
            }
            Upgrade::None | Upgrade::Wanted => false,
        }
    }

    fn give_up_next(&mut self, why: &str) {
        tracing::error!(why, "upgrade: no next daemon; the old one goes on");
        self.forget_upgrade();
    }

    pub(super) fn forget_upgrade(&mut self) {
        if let Upgrade::Starting(mut next) = std::mem::replace(&mut self.upgrade, Upgrade::None) {
            next.daemon.kill();
            self.strays.push(next.daemon.into_process());
        }
    }
}

/// What lies where this program was started from; only who is trusted may have changed it.
fn executable_on_disk(trust: Trust) -> io::Result<OwnedFd> {
    const REPLACED: &str = " (deleted)";
    let path = std::env::current_exe()?;
    let path = path.to_string_lossy();
    let path = path.strip_suffix(REPLACED).unwrap_or(&path);
    let path = trust.check(path.as_ref()).map_err(io::Error::other)?;
    Ok(File::open(path)?.into())
}
