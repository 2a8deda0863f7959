//! Who looks at one session, and which of them has control.

use super::AttachId;

/// Viewers of one session at once: more windows than anybody watches, few enough that each gets
/// its copy of a frame in good time.
pub const VIEWERS_MAX: usize = 8;

/// What a viewer comes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To control: it gets control, whoever has it.
    Control,
    /// To observe; it gets control only where nobody has it.
    Observe,
}

/// What follows for a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It has control, for the so-manieth time that control passes.
    Controls(AttachId, u64),
    /// It watches.
    Observes(AttachId),
    /// It is out: there are too many.
    LetGo(AttachId),
}

/// The viewers of one session. Where there are any, exactly one has control.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Viewers {
    /// Oldest first.
    attached: Vec<AttachId>,
    control: Option<AttachId>,
    turn: u64,
}

impl Viewers {
    pub(super) const fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    pub(super) fn contains(&self, attach: AttachId) -> bool {
        self.attached.contains(&attach)
    }

    /// A viewer has come; the oldest observer makes room where there is none.
    pub(super) fn handle_attached(&mut self, attach: AttachId, wish: Wish) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.attached.len() >= VIEWERS_MAX {
            let oldest = self
                .attached
                .iter()
                .position(|it| Some(*it) != self.control);
            changes.extend(oldest.map(|at| Change::LetGo(self.attached.remove(at))));
        }
        self.attached.push(attach);
        match (wish, self.control) {
            (Wish::Control, _) | (Wish::Observe, None) => self.give_control(attach, &mut changes),
            (Wish::Observe, Some(_)) => changes.push(Change::Observes(attach)),
        }
        changes
    }

    /// A viewer wants control.
    pub(super) fn handle_control_wish(&mut self, attach: AttachId) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.contains(attach) && self.control != Some(attach) {
            self.give_control(attach, &mut changes);
        }
        changes
    }

    /// A viewer has left; where it had control, the newest one gets it.
    pub(super) fn handle_left(&mut self, attach: AttachId) -> Vec<Change> {
        let mut changes = Vec::new();
        self.attached.retain(|it| *it != attach);
        if self.control == Some(attach) {
            self.control = None;
            if let Some(newest) = self.attached.last().copied() {
                self.give_control(newest, &mut changes);
            }
        }
        changes
    }

    /// All of them are out.
    pub(super) fn take_all(&mut self) -> Vec<AttachId> {
        self.control = None;
        std::mem::take(&mut self.attached)
    }

    fn give_control(&mut self, attach: AttachId, changes: &mut Vec<Change>) {
        changes.extend(self.control.replace(attach).map(Change::Observes));
        self.turn += 1;
        changes.push(Change::Controls(attach, self.turn));
    }

    #[cfg(test)]
    pub(super) fn control(&self) -> Option<AttachId> {
        self.control
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.attached.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: AttachId = AttachId(1);
    const B: AttachId = AttachId(2);
    const C: AttachId = AttachId(3);

    #[test]
    fn the_newest_takes_control_and_the_one_before_observes() {
        let mut viewers = Viewers::default();
        assert_eq!(
            viewers.handle_attached(A, Wish::Control),
            [Change::Controls(A, 1)]
        );
        assert_eq!(
            viewers.handle_attached(B, Wish::Control),
            [Change::Observes(A), Change::Controls(B, 2)]
        );
        assert_eq!(
            viewers.handle_control_wish(A),
            [Change::Observes(B), Change::Controls(A, 3)]
        );
        assert_eq!(viewers.handle_control_wish(A), []);
        assert_eq!(viewers.handle_control_wish(C), [], "it is not here");
    }

    #[test]
    fn an_observer_that_comes_back_does_not_take_control_away() {
        let mut viewers = Viewers::default();
        assert_eq!(
            viewers.handle_attached(A, Wish::Observe),
            [Change::Controls(A, 1)],
            "nobody has it"
        );
        assert_eq!(
            viewers.handle_attached(B, Wish::Observe),
            [Change::Observes(B)]
        );
    }

    #[test]
    fn control_passes_to_the_newest_when_its_holder_leaves_and_only_then() {
        let mut viewers = Viewers::default();
        for attach in [A, B, C] {
            viewers.handle_attached(attach, Wish::Control);
        }
        assert_eq!(viewers.handle_left(B), []);
        assert_eq!(viewers.handle_left(C), [Change::Controls(A, 4)]);
        assert_eq!(viewers.handle_left(A), []);
        assert!(viewers.is_empty());
        assert_eq!(
            viewers,
            Viewers {
                turn: 4,
                ..Viewers::default()
            }
        );
    }

    #[test]
    fn the_oldest_observer_makes_room_and_never_the_one_in_control() {
        let mut viewers = Viewers::default();
        let count = VIEWERS_MAX as u64;
        for attach in 1..=count {
            viewers.handle_attached(AttachId(attach), Wish::Observe);
        }
        assert_eq!(viewers.control(), Some(A));
        assert_eq!(
            viewers.handle_attached(AttachId(count + 1), Wish::Observe),
            [Change::LetGo(B), Change::Observes(AttachId(count + 1))]
        );
        assert_eq!(viewers.count(), VIEWERS_MAX);
        assert!(viewers.contains(A) && !viewers.contains(B));
    }
}
