//! Says when the kernel killed a session's programs for memory: in the log, and to the daemon.

use sandbox_protocol::local::warden::{Event, MemoryShortage};

use super::{Session, Turn};
use crate::cgroup::Killed;

impl Session {
    pub(super) fn look_at_memory(&mut self, turn: &mut Turn<'_>) {
        let Some(shortage) = &mut self.shortage else {
            return;
        };
        let killed = shortage.handle_timeout(turn.now);
        self.log_killed(&killed);
        if killed.count > 0 {
            let event = Event::OutOfMemory {
                session: self.id(),
                shortage: MemoryShortage {
                    limit_mb: turn.ground.ceilings.memory_mb,
                    killed: u32::try_from(killed.count).unwrap_or(u32::MAX),
                    programs: killed.names,
                },
            };
            turn.out.push(event.into());
        }
    }

    /// For an end: one by want of memory is told as one.
    pub(super) fn stop_watching_memory(&mut self) {
        if let Some(shortage) = self.shortage.take() {
            self.log_killed(&shortage.finish());
        }
    }

    fn log_killed(&self, killed: &Killed) {
        if killed.count > 0 {
            tracing::warn!(
                session = %self.id(), user = %self.wanted.user_name, killed = killed.count,
                programs = ?killed.names,
                "memory was used up: the kernel killed programs; SANDBOX_MEMORY_LIMIT_MB says \
                 how much there is"
            );
        }
    }
}
