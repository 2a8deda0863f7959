//! Which ids the jails of a user run under, as the warden's user namespace counts them.

use sandbox_protocol::UserIndex;

use crate::limits::{IDS_PER_USER, USER_INDEX_MAX};
use crate::plan::JailKind;

/// Where the ids of all sessions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// [`IDS_PER_USER`] for each of `users` users, from `base` on.
    Many { base: u32, users: u32 },
    /// The warden's alone: everybody shares it.
    One,
}

/// The ids of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserIds {
    /// One for each jail, from this one on.
    From(u32),
    /// The warden's.
    Wardens,
}

impl Ids {
    /// Room for `count` ids from `base` on.
    pub(crate) fn many(base: u32, count: u32) -> Self {
        Self::Many {
            base,
            users: (count / IDS_PER_USER).min(USER_INDEX_MAX + 1),
        }
    }

    /// The user's share, or why there is none.
    pub(crate) fn of_user(self, user: UserIndex) -> Result<UserIds, String> {
        let Self::Many { base, users } = self else {
            return Ok(UserIds::Wardens);
        };
        let index = user.0;
        let first = base.checked_add(index.saturating_mul(IDS_PER_USER));
        match first {
            Some(first) if index < users => Ok(UserIds::From(first)),
            Some(_) | None => Err(format!(
                "user number {index} exceeds {}, the last that has uids on this host",
                users.saturating_sub(1)
            )),
        }
    }
}

impl UserIds {
    /// What the jail's processes are to the warden.
    pub(crate) fn of(self, kind: JailKind) -> u32 {
        match self {
            Self::From(first) => first + kind.id_offset(),
            Self::Wardens => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_jails_of_a_range_share_an_id() {
        let ids = Ids::many(100_001, 65_535);
        let mut all: Vec<u32> = (0..3)
            .flat_map(|user| {
                let own = ids.of_user(UserIndex(user)).unwrap();
                JailKind::ALL.map(|kind| own.of(kind))
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 9);
        assert_eq!(all.first(), Some(&100_001));
    }

    #[test]
    fn a_user_number_never_leaves_the_range() {
        for (ids, index) in [
            (Ids::many(1, 32), 2),
            (Ids::many(1, 15), 0),
            (Ids::many(1, u32::MAX), USER_INDEX_MAX + 1),
            (Ids::many(1, u32::MAX), u32::MAX),
            (Ids::many(u32::MAX - 15, 1_000), 1),
        ] {
            assert!(ids.of_user(UserIndex(index)).is_err(), "{ids:?} {index}");
        }
        assert_eq!(
            Ids::many(1, 32).of_user(UserIndex(1)),
            Ok(UserIds::From(17))
        );
    }

    #[test]
    fn one_id_is_everybodys() {
        let own = Ids::One.of_user(UserIndex(7)).unwrap();
        assert!(JailKind::ALL.iter().all(|kind| own.of(*kind) == 0));
    }
}
