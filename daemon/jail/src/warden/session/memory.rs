//! Says when the kernel killed a session's programs for memory.

use std::time::Instant;

use super::Session;

impl Session {
    pub(super) fn look_at_memory(&mut self, now: Instant) {
        if let Some(shortage) = &mut self.shortage {
            let killed = shortage.handle_timeout(now);
            self.tell_killed(killed);
        }
    }

    /// For an end: one by want of memory is told as one.
    pub(super) fn stop_watching_memory(&mut self) {
        if let Some(mut shortage) = self.shortage.take() {
            self.tell_killed(shortage.count());
        }
    }

    fn tell_killed(&self, killed: u64) {
        if killed > 0 {
            tracing::warn!(
                session = %self.id(), user = %self.wanted.user_name, killed,
                "memory was used up: the kernel killed programs; SANDBOX_MEMORY_LIMIT_MB says \
                 how much there is"
            );
        }
    }
}
