//! Who looks at one session, and which of them has control.

use super::AttachId;

/// Viewers of one session at once: more windows than anybody watches, few enough that each gets
/// its copy of a frame in good time.
pub const VIEWERS_MAX: usize = 8;

/// What a viewer comes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To control, whoever has it.
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
    attached: Vec<Viewer>,
    control: Option<AttachId>,
    turn: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Viewer {
    attach: AttachId,
    /// Its picture has a way.
    is_connected: bool,
}

impl Viewers {
    pub(super) const fn is_empty(&self) -> bool {
        self.attached.is_empty()
    }

    pub(super) fn contains(&self, attach: AttachId) -> bool {
        self.attached.iter().any(|it| it.attach == attach)
    }

    /// A viewer has come; the oldest observer makes room where there is none. Control it gets only
    /// where nobody has it: it may never find a way for its picture.
    pub(super) fn handle_attached(&mut self, attach: AttachId) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.attached.len() >= VIEWERS_MAX {
            let oldest = self
                .attached
                .iter()
                .position(|it| Some(it.attach) != self.control);
            changes.extend(oldest.map(|at| Change::LetGo(self.attached.remove(at).attach)));
        }
        self.attached.push(Viewer {
            attach,
            is_connected: false,
        });
        match self.control {
            None => self.give_control(attach, &mut changes),
            Some(_) => changes.push(Change::Observes(attach)),
        }
        changes
    }

    /// A viewer's picture has a way.
    pub(super) fn handle_connected(&mut self, attach: AttachId, wish: Wish) -> Vec<Change> {
        let known = self.attached.iter_mut().find(|it| it.attach == attach);
        if let Some(viewer) = known {
            viewer.is_connected = true;
        }
        match wish {
            Wish::Control => self.handle_control_wish(attach),
            Wish::Observe => Vec::new(),
        }
    }

    /// A viewer wants control.
    pub(super) fn handle_control_wish(&mut self, attach: AttachId) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.contains(attach) && self.control != Some(attach) {
            self.give_control(attach, &mut changes);
        }
        changes
    }

    /// A viewer has left; where it had control, the newest one that is connected gets it.
    pub(super) fn handle_left(&mut self, attach: AttachId) -> Vec<Change> {
        let mut changes = Vec::new();
        self.attached.retain(|it| it.attach != attach);
        if self.control == Some(attach) {
            self.control = None;
            let connected = self.attached.iter().rfind(|it| it.is_connected);
            if let Some(next) = connected.or(self.attached.last()) {
                self.give_control(next.attach, &mut changes);
            }
        }
        changes
    }

    /// All of them are out.
    pub(super) fn take_all(&mut self) -> Vec<AttachId> {
        self.control = None;
        let out = std::mem::take(&mut self.attached);
        out.into_iter().map(|it| it.attach).collect()
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

    /// Viewers that have come and are connected, in this order.
    fn connected<const N: usize>(attaches: [(AttachId, Wish); N]) -> Viewers {
        let mut viewers = Viewers::default();
        for (attach, wish) in attaches {
            viewers.handle_attached(attach);
            viewers.handle_connected(attach, wish);
        }
        viewers
    }

    #[test]
    fn the_newest_takes_control_once_it_is_connected_and_the_one_before_observes() {
        let mut viewers = Viewers::default();
        assert_eq!(viewers.handle_attached(A), [Change::Controls(A, 1)]);
        assert_eq!(viewers.handle_connected(A, Wish::Control), []);
        assert_eq!(viewers.handle_attached(B), [Change::Observes(B)]);
        assert_eq!(
            viewers.handle_connected(B, Wish::Control),
            [Change::Observes(A), Change::Controls(B, 2)]
        );
        assert_eq!(
            viewers.handle_control_wish(A),
            [Change::Observes(B), Change::Controls(A, 3)]
        );
        assert_eq!(viewers.handle_control_wish(A), []);
        assert_eq!(viewers.handle_control_wish(C), [], "it is not here");
        assert_eq!(viewers.handle_connected(C, Wish::Control), []);
    }

    #[test]
    fn an_observer_that_comes_back_does_not_take_control_away() {
        let mut viewers = connected([(A, Wish::Observe)]);
        assert_eq!(viewers.control(), Some(A), "nobody had it");
        assert_eq!(viewers.handle_attached(B), [Change::Observes(B)]);
        assert_eq!(viewers.handle_connected(B, Wish::Observe), []);
    }

    #[test]
    fn control_passes_to_the_newest_that_is_connected_when_its_holder_leaves() {
        let mut viewers = connected([A, B, C].map(|it| (it, Wish::Control)));
        viewers.handle_attached(AttachId(4));
        assert_eq!(viewers.handle_left(B), []);
        assert_eq!(viewers.handle_left(C), [Change::Controls(A, 4)]);
        assert_eq!(viewers.handle_left(A), [Change::Controls(AttachId(4), 5)]);
        assert_eq!(viewers.handle_left(AttachId(4)), []);
        assert!(viewers.is_empty() && viewers.control().is_none());
    }

    #[test]
    fn the_oldest_observer_makes_room_and_never_the_one_in_control() {
        let mut viewers = Viewers::default();
        let count = VIEWERS_MAX as u64;
        for attach in 1..=count {
            viewers.handle_attached(AttachId(attach));
        }
        assert_eq!(viewers.control(), Some(A));
        assert_eq!(
            viewers.handle_attached(AttachId(count + 1)),
            [Change::LetGo(B), Change::Observes(AttachId(count + 1))]
        );
        assert_eq!(viewers.count(), VIEWERS_MAX);
        assert!(viewers.contains(A) && !viewers.contains(B));
    }
}
