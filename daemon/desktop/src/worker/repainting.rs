//! When a frame is made although nothing has changed: viewers of updates do not show everything
//! exactly.

use std::time::{Duration, Instant};

use sandbox_protocol::{Deadline, Wakeup};

use crate::encoding::Rest;

/// Changes without a pause put repainting off no longer than this.
const PUT_OFF_MAX: Duration = Duration::from_millis(100);

/// The next portion to be repainted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Repainting {
    /// Viewers show everything exactly, and nothing moves.
    #[default]
    Nothing,
    At(Instant),
    /// It waits until nothing else wants the encoder, and the link has room.
    Due {
        since: Instant,
    },
}

impl Repainting {
    /// A frame leaves, which the link has carried by `carried`.
    pub(crate) fn handle_sent(&mut self, rest: Rest, carried: Instant) {
        let at = if rest.is_behind {
            Some(carried)
        } else {
            rest.handover.map(|it| it.max(carried))
        };
        *self = match (*self, at) {
            // What was due then still is.
            (due @ Self::Due { .. }, Some(_)) if rest.is_behind => due,
            (Self::Nothing | Self::At(_) | Self::Due { .. }, at) => {
                at.map_or(Self::Nothing, Self::At)
            }
        };
    }

    /// Nobody watches any more.
    pub(crate) const fn handle_detached(&mut self) {
        *self = Self::Nothing;
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Self::At(at) = *self
            && at <= now
        {
            *self = Self::Due { since: at };
        }
    }

    /// Whether to repaint. To be asked only when nothing else wants the encoder and the link has
    /// room.
    pub(crate) const fn poll_portion(&mut self) -> bool {
        let is_due = matches!(self, Self::Due { .. });
        if is_due {
            *self = Self::Nothing;
        }
        is_due
    }

    /// Whether to repaint beside a change: it has waited for too long.
    pub(crate) fn poll_overdue(&mut self, now: Instant) -> bool {
        match *self {
            Self::Due { since } if since + PUT_OFF_MAX <= now => self.poll_portion(),
            Self::Nothing | Self::At(_) | Self::Due { .. } => false,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) const fn poll_timeout(&self) -> Option<Deadline> {
        match *self {
            Self::At(at) => Some(Deadline {
                at,
                why: Wakeup::Handover,
            }),
            Self::Nothing | Self::Due { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MS: Duration = Duration::from_millis(1);

    const BEHIND: Rest = Rest {
        is_behind: true,
        handover: None,
    };

    #[test]
    fn a_portion_follows_when_the_link_has_carried_the_one_before() {
        let now = clock::now();
        let mut repainting = Repainting::default();
        repainting.handle_sent(BEHIND, now + 40 * MS);
        assert_eq!(repainting.poll_timeout().unwrap().at, now + 40 * MS);
        repainting.handle_timeout(now + 39 * MS);
        assert!(!repainting.poll_portion());
        repainting.handle_timeout(now + 40 * MS);
        assert_eq!(repainting.poll_timeout(), None, "it waits for the encoder");
        assert!(repainting.poll_portion() && !repainting.poll_portion());
        repainting.handle_sent(Rest::default(), now + 80 * MS);
        assert_eq!(repainting, Repainting::Nothing);
    }

    #[test]
    fn what_moves_is_looked_at_when_it_may_have_come_to_rest() {
        let now = clock::now();
        let mut repainting = Repainting::default();
        let moving = |at| Rest {
            is_behind: false,
            handover: Some(at),
        };
        repainting.handle_sent(moving(now + 80 * MS), now);
        repainting.handle_sent(moving(now + 90 * MS), now);
        assert_eq!(repainting.poll_timeout().unwrap().at, now + 90 * MS);
        repainting.handle_sent(moving(now + 95 * MS), now + 200 * MS);
        assert_eq!(repainting.poll_timeout().unwrap().at, now + 200 * MS);
        repainting.handle_detached();
        assert_eq!(repainting.poll_timeout(), None);
    }

    #[test]
    fn changes_without_a_pause_do_not_put_it_off_for_ever() {
        let now = clock::now();
        let mut repainting = Repainting::default();
        repainting.handle_sent(BEHIND, now);
        for ms in 0..100 {
            repainting.handle_timeout(now + ms * MS);
            assert!(!repainting.poll_overdue(now + ms * MS));
            repainting.handle_sent(BEHIND, now + (ms + 5) * MS);
        }
        assert!(repainting.poll_overdue(now + 100 * MS));
    }
}
