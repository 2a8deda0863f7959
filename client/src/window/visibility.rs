//! Whether anybody can see the window: a picture that nobody sees is not asked for.

use std::time::{Duration, Instant};

/// A window that is covered, or brought to the background, for less goes on: after it a whole
/// picture has to come.
const HIDDEN_MIN: Duration = Duration::from_secs(1);

/// What is known of it. Window systems tell of some ways to be hidden only when they are asked.
#[derive(Debug, Default)]
pub(super) struct Visibility {
    doubted: Option<Instant>,
    is_hidden: bool,
}

impl Visibility {
    /// The window may be hidden.
    pub(super) fn handle_doubt(&mut self, now: Instant) {
        if !self.is_hidden {
            self.doubted.get_or_insert(now);
        }
    }

    /// Lets time pass; `is_hidden` looks. Returns whether the window counts as hidden from here
    /// on.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        is_hidden: impl FnOnce() -> bool,
    ) -> bool {
        let is_due = self.poll_timeout().is_some_and(|it| it <= now);
        if is_due {
            self.doubted = None;
            self.is_hidden = is_hidden();
        }
        is_due && self.is_hidden
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.doubted.map(|it| it + HIDDEN_MIN)
    }

    /// It may be seen; `is_hidden` looks. Returns whether it counts as seen again from here on.
    pub(super) fn handle_hope(&mut self, is_hidden: impl FnOnce() -> bool) -> bool {
        if !self.is_hidden || is_hidden() {
            return false;
        }
        *self = Self::default();
        true
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_hidden_counts() {
        let mut it = Visibility::default();
        let now = Instant::now();
        assert!(!it.handle_hope(|| false), "it was seen before");
        it.handle_doubt(now);
        let later = now + HIDDEN_MIN / 2;
        it.handle_doubt(later);
        assert!(!it.handle_timeout(later, || true));
        assert_eq!(it.poll_timeout(), Some(now + HIDDEN_MIN));
        assert!(!it.handle_timeout(now + HIDDEN_MIN, || false));
        assert_eq!(it.poll_timeout(), None, "nobody looks without a reason");

        it.handle_doubt(now);
        assert!(it.handle_timeout(now + HIDDEN_MIN, || true));
        it.handle_doubt(now);
        assert_eq!(it.poll_timeout(), None, "it is known");
        assert!(!it.handle_hope(|| true), "another part is still covered");
        assert!(it.handle_hope(|| false));
        assert!(!it.handle_hope(|| false), "told once");
    }
}
