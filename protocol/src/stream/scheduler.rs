//! What leaves next. Everything waits here rather than behind something less urgent in QUIC.

/// Kinds of things to send, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Sound and answers to pings: late is lost.
    Sound,
    /// The pointer's place.
    Cursor,
    /// What was asked for again: the picture stands still without it.
    Repair,
    /// Updates, in their order.
    Update,
    /// Parity of updates that are out.
    Parity,
    /// Updates that only make the picture sharper.
    Refinement,
    /// Clipboard and files.
    Bulk,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) sound: bool,
    pub(crate) cursor: bool,
    pub(crate) repair: bool,
    /// An update is not out; only refinement is among those.
    pub(crate) update: Option<OnlyRefinement>,
    pub(crate) parity: bool,
    pub(crate) bulk: bool,
}

/// Whether all updates that wait are refinement. One that others wait behind is as urgent as they.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnlyRefinement(pub(crate) bool);

/// What leaves next, if anything. `is_open` is the pacer's word, and sound and pointer do not ask
/// for it: they are small and count all the same. `may_bulk` is that of bulk's own share.
pub(crate) fn next(waiting: &Waiting, is_open: bool, may_bulk: bool) -> Option<Class> {
    let classes = [
        (waiting.sound, Class::Sound),
        (waiting.cursor, Class::Cursor),
        (is_open && waiting.repair, Class::Repair),
        (
            is_open && waiting.update == Some(OnlyRefinement(false)),
            Class::Update,
        ),
        (is_open && waiting.parity, Class::Parity),
        (is_open && waiting.update.is_some(), Class::Refinement),
        (is_open && waiting.bulk && may_bulk, Class::Bulk),
    ];
    let first = classes.into_iter().find(|(waits, _)| *waits);
    first.map(|(_, class)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Waiting = Waiting {
        sound: true,
        cursor: true,
        repair: true,
        update: Some(OnlyRefinement(false)),
        parity: true,
        bulk: true,
    };

    #[test]
    fn the_most_urgent_leaves_first() {
        let mut waiting = ALL;
        let mut left = Vec::new();
        while let Some(class) = next(&waiting, true, true) {
            left.push(class);
            match class {
                Class::Sound => waiting.sound = false,
                Class::Cursor => waiting.cursor = false,
                Class::Repair => waiting.repair = false,
                Class::Update => waiting.update = Some(OnlyRefinement(true)),
                Class::Parity => waiting.parity = false,
                Class::Refinement => waiting.update = None,
                Class::Bulk => waiting.bulk = false,
            }
        }
        assert!(left.is_sorted(), "{left:?}");
        assert_eq!(left.len(), 7);
    }

    #[test]
    fn a_closed_pacer_holds_all_but_sound_and_pointer() {
        let still = Waiting {
            sound: false,
            ..ALL
        };
        assert_eq!(next(&ALL, false, true), Some(Class::Sound));
        assert_eq!(next(&still, false, true), Some(Class::Cursor));
        let moved = Waiting {
            cursor: false,
            ..still
        };
        assert_eq!(next(&moved, false, true), None);
    }

    #[test]
    fn bulk_waits_for_its_share() {
        let waiting = Waiting {
            bulk: true,
            ..Waiting::default()
        };
        assert_eq!(next(&waiting, true, false), None);
        assert_eq!(next(&waiting, true, true), Some(Class::Bulk));
    }
}
