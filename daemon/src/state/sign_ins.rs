//! Sign-ins: token families and single-use codes.

use rusqlite::{Connection, OptionalExtension as _, params};
use sandbox_protocol::UserIndex;

use super::StateError;
use super::devices::DeviceKey;
use super::users::User;

/// How long the token before the newest still yields the newest: two tabs that refresh at once, or
/// an answer that was lost with its connection.
const GRACE_SECONDS: i64 = 30;

/// Names one sign-in: 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilyId(pub [u8; 16]);

/// A sign-in that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub id: FamilyId,
    /// Whose it is.
    pub user: User,
    /// When it ends at the latest, seconds since 1970.
    pub expires_at: i64,
}

/// What a single-use code is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It signs in.
    SignIn,
    /// It enrols a device.
    Enrol,
}

impl Purpose {
    /// The name in the database.
    const fn code(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Enrol => "enrol",
        }
    }
}

/// Writes a sign-in down, with the device whose key made it, and forgets those that ran out.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn begin(
    connection: &mut Connection,
    id: FamilyId,
    user: UserIndex,
    device: Option<DeviceKey>,
    now: i64,
    expires_at: i64,
) -> Result<(), StateError> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM token_families WHERE expires_at <= ?1", [now])?;
    transaction.execute(
        "INSERT INTO token_families (id, user_idx, device, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![id.0, user.0, device.map(|it| it.0), now, expires_at],
    )?;
    Ok(transaction.commit()?)
}

/// The sign-in of this name, where it was neither revoked nor ran out nor belongs to an account
/// that is disabled.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn live(connection: &Connection, id: FamilyId, now: i64) -> Result<Option<Family>, StateError> {
    let sql = "SELECT u.idx, u.name, u.role, u.is_disabled, u.created_at, f.expires_at
               FROM token_families f JOIN users u ON u.idx = f.user_idx
               WHERE f.id = ?1 AND f.revoked_at IS NULL AND f.expires_at > ?2
                 AND u.is_disabled = 0";
    Ok(connection
        .prepare_cached(sql)?
        .query_row(params![id.0, now], |row| {
            Ok(Family {
                id,
                user: super::users::user(row)?,
                expires_at: row.get(5)?,
            })
        })
        .optional()?)
}

/// What a refresh token was good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The sign-in holds, and its newest token has this number.
    Holds {
        /// The sign-in.
        family: Family,
        /// Number of the newest token.
        generation: u32,
    },
    /// A token that was replaced came again, so somebody has a copy: the sign-in has ended.
    Reused(UserIndex),
    /// The sign-in had ended before.
    Over,
}

/// Exchanges the newest token of a sign-in for the next one.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn refresh(
    connection: &mut Connection,
    id: FamilyId,
    generation: u32,
    now: i64,
) -> Result<Refreshed, StateError> {
    let transaction = connection.transaction()?;
    let Some(family) = live(&transaction, id, now)? else {
        return Ok(Refreshed::Over);
    };
    let (newest, refreshed_at): (u32, i64) = transaction.query_row(
        "SELECT generation, refreshed_at FROM token_families WHERE id = ?1",
        params![id.0],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let age = now.saturating_sub(refreshed_at);
    let refreshed = if generation == newest {
        let generation = newest.wrapping_add(1);
        transaction.execute(
            "UPDATE token_families SET generation = ?2, refreshed_at = ?3 WHERE id = ?1",
            params![id.0, generation, now],
        )?;
        Refreshed::Holds { family, generation }
    } else if generation.wrapping_add(1) == newest && (0..=GRACE_SECONDS).contains(&age) {
        Refreshed::Holds {
            family,
            generation: newest,
        }
    } else {
        revoke(&transaction, id, now)?;
        Refreshed::Reused(family.user.index)
    };
    transaction.commit()?;
    Ok(refreshed)
}

/// Ends one sign-in.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn revoke(connection: &Connection, id: FamilyId, now: i64) -> Result<(), StateError> {
    connection.execute(
        "UPDATE token_families SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
        params![id.0, now],
    )?;
    Ok(())
}

/// Ends all sign-ins of an account, and the codes that would make new ones.
pub(super) fn revoke_all(
    connection: &Connection,
    user: UserIndex,
    now: i64,
) -> Result<(), StateError> {
    connection.execute(
        "UPDATE token_families SET revoked_at = ?2 WHERE user_idx = ?1 AND revoked_at IS NULL",
        params![user.0, now],
    )?;
    connection.execute("DELETE FROM once_codes WHERE user_idx = ?1", [user.0])?;
    Ok(())
}

/// Writes down the hash of a single-use code, and forgets those that ran out.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn add_code(
    connection: &mut Connection,
    hash: &[u8; 32],
    purpose: Purpose,
    user: UserIndex,
    now: i64,
    expires_at: i64,
) -> Result<(), StateError> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM once_codes WHERE expires_at <= ?1", [now])?;
    transaction.execute(
        "INSERT INTO once_codes (hash, purpose, user_idx, expires_at) VALUES (?1, ?2, ?3, ?4)",
        params![hash, purpose.code(), user.0, expires_at],
    )?;
    Ok(transaction.commit()?)
}

/// Consumes a single-use code: whoever comes second finds nothing. Commits nothing.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub(super) fn consume_code(
    transaction: &Connection,
    hash: &[u8; 32],
    purpose: Purpose,
    now: i64,
) -> Result<Option<User>, StateError> {
    let taken: Option<(u32, i64)> = transaction
        .query_row(
            "DELETE FROM once_codes WHERE hash = ?1 AND purpose = ?2
             RETURNING user_idx, expires_at",
            params![hash, purpose.code()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    Ok(match taken {
        Some((index, expires_at)) if expires_at > now => transaction
            .query_row(
                "SELECT idx, name, role, is_disabled, created_at FROM users
                 WHERE idx = ?1 AND is_disabled = 0",
                [index],
                super::users::user,
            )
            .optional()?,
        Some(_) | None => None,
    })
}

/// Consumes a code that signs in.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn take_code(
    connection: &mut Connection,
    hash: &[u8; 32],
    now: i64,
) -> Result<Option<User>, StateError> {
    let transaction = connection.transaction()?;
    let user = consume_code(&transaction, hash, Purpose::SignIn, now)?;
    transaction.commit()?;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::super::tests::memory;
    use super::super::users::{self, Role};
    use super::*;

    fn with_user() -> (Connection, UserIndex) {
        let connection = memory();
        let user = users::create(&connection, "demo", Role::User, "h", 1)
            .unwrap()
            .unwrap();
        (connection, user)
    }

    #[test]
    fn a_sign_in_holds_until_it_runs_out_is_revoked_or_its_account_is_disabled() {
        let (mut connection, user) = with_user();
        let id = FamilyId([7; 16]);
        begin(&mut connection, id, user, None, 100, 200).unwrap();
        let holds = |connection: &Connection, now| live(connection, id, now).unwrap().is_some();
        assert!(holds(&connection, 199));
        assert!(!holds(&connection, 200));
        users::disable(&mut connection, user, 150).unwrap();
        users::enable(&connection, user).unwrap();
        assert!(!holds(&connection, 150), "enabling brings no sign-in back");
        let id = FamilyId([8; 16]);
        begin(&mut connection, id, user, None, 100, 200).unwrap();
        revoke(&connection, id, 120).unwrap();
        assert!(live(&connection, id, 121).unwrap().is_none());
    }

    #[test]
    fn the_newest_token_has_a_successor_and_the_one_before_yields_the_same_for_30_seconds() {
        let (mut connection, user) = with_user();
        let id = FamilyId([7; 16]);
        begin(&mut connection, id, user, None, 100, 1_000).unwrap();
        let mut take = |generation, now| match refresh(&mut connection, id, generation, now) {
            Ok(Refreshed::Holds { generation, .. }) => generation,
            other => panic!("{other:?}"),
        };
        assert_eq!(take(0, 200), 1);
        assert_eq!(take(0, 230), 1, "within its time");
        assert_eq!(take(1, 231), 2);
        assert_eq!(take(2, 232), 3, "the successor itself is not held back");
    }

    #[test]
    fn a_token_that_was_replaced_for_good_ends_the_sign_in() {
        // Too late; two behind; never issued.
        for (generation, now) in [(1, 231), (0, 201), (9, 201)] {
            let (mut connection, user) = with_user();
            let id = FamilyId([7; 16]);
            begin(&mut connection, id, user, None, 100, 1_000).unwrap();
            for number in 0..2 {
                refresh(&mut connection, id, number, 200).unwrap();
            }
            let reused = refresh(&mut connection, id, generation, now).unwrap();
            assert_eq!(reused, Refreshed::Reused(user), "{generation} {now}");
            assert!(live(&connection, id, now).unwrap().is_none());
            let newest = refresh(&mut connection, id, 2, now).unwrap();
            assert_eq!(newest, Refreshed::Over);
        }
    }

    /// Less rather than more, where the clock was set back.
    #[test]
    fn a_clock_that_was_set_back_gives_a_replaced_token_no_time() {
        let (mut connection, user) = with_user();
        let id = FamilyId([7; 16]);
        begin(&mut connection, id, user, None, 100, 1_000).unwrap();
        refresh(&mut connection, id, 0, 200).unwrap();
        let reused = refresh(&mut connection, id, 0, 150).unwrap();
        assert_eq!(reused, Refreshed::Reused(user));
    }

    #[test]
    fn a_code_works_once_and_only_in_its_time() {
        let (mut connection, user) = with_user();
        add_code(&mut connection, &[1; 32], Purpose::SignIn, user, 100, 700).unwrap();
        assert!(take_code(&mut connection, &[2; 32], 101).unwrap().is_none());
        let taken = take_code(&mut connection, &[1; 32], 101).unwrap().unwrap();
        assert_eq!(taken.name, "demo");
        assert!(take_code(&mut connection, &[1; 32], 101).unwrap().is_none());
        add_code(&mut connection, &[3; 32], Purpose::SignIn, user, 100, 700).unwrap();
        assert!(take_code(&mut connection, &[3; 32], 700).unwrap().is_none());
    }

    #[test]
    fn a_new_password_ends_every_sign_in_and_code() {
        let (mut connection, user) = with_user();
        let id = FamilyId([7; 16]);
        begin(&mut connection, id, user, None, 100, 200).unwrap();
        add_code(&mut connection, &[1; 32], Purpose::SignIn, user, 100, 700).unwrap();
        users::set_password(&mut connection, user, "h2", 110).unwrap();
        assert!(live(&connection, id, 111).unwrap().is_none());
        assert!(take_code(&mut connection, &[1; 32], 111).unwrap().is_none());
    }
}
