//! The end of sessions and of the server.

use std::time::Instant;

use sandbox_protocol::local::warden::EndReason;

use super::{DaemonState, Life, Warden};
use crate::clock;
use crate::limits::DAEMON_END_TIMEOUT;
use crate::sys::process::Exit;
use crate::warden::error::WardenError;
use crate::warden::session::Turn;

impl Warden<'_> {
    /// The next daemon would not know what these are for.
    pub(super) fn end_unstarted(&mut self, now: Instant) {
        let mut turn = Turn {
            ground: self.ground,
            now,
            out: &mut self.out,
            strays: &mut self.strays,
        };
        for session in self.sessions.values_mut().filter(|it| !it.is_running()) {
            session.end(EndReason::StartFailed, &mut turn);
        }
    }

    pub(super) fn end_sessions(&mut self, reason: EndReason, now: Instant) {
        let mut turn = Turn {
            ground: self.ground,
            now,
            out: &mut self.out,
            strays: &mut self.strays,
        };
        for session in self.sessions.values_mut() {
            session.end(reason, &mut turn);
        }
    }

    pub(super) fn end_server(&mut self, now: Instant) {
        if matches!(self.life, Life::Ending { .. }) {
            return;
        }
        tracing::info!(sessions = self.sessions.len(), "the server ends");
        self.life = Life::Ending {
            deadline: now + DAEMON_END_TIMEOUT,
        };
        match &self.daemon {
            DaemonState::Running(daemon) => daemon.terminate(),
            DaemonState::Due(_) | DaemonState::Gone => self.daemon = DaemonState::Gone,
        }
        self.forget_upgrade();
        self.end_sessions(EndReason::Shutdown, now);
    }

    /// After an error that the loop cannot go on with.
    pub(super) fn end_at_once(&mut self) {
        if let DaemonState::Running(daemon) = &mut self.daemon {
            daemon.kill();
        }
        self.forget_upgrade();
        let now = clock::now();
        self.end_sessions(EndReason::Shutdown, now);
        self.sessions.clear();
    }
}

pub(super) fn never_ready(exit: Exit) -> WardenError {
    match exit {
        Exit::Code(code) => WardenError::Daemon {
            how: format!("exit code {code}"),
            code: u8::try_from(code)
                .ok()
                .filter(|it| (1..=4).contains(it))
                .unwrap_or(1),
        },
        Exit::Signal(signal) => WardenError::Daemon {
            how: format!("signal {signal}"),
            code: 1,
        },
    }
}
