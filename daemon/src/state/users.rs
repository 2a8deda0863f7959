//! Accounts: who may sign in, and which range of host uids is theirs.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sandbox_protocol::UserIndex;
use serde::{Deserialize, Serialize};

use super::StateError;
use crate::redacted::Redacted;

/// Longest name: a Linux account's.
const NAME_LEN_MAX: usize = 32;

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, other people's sessions included.
    Admin,
    /// A desktop of its own.
    User,
    /// Only what others share with it.
    Viewer,
}

impl Role {
    /// The name in the database, the API and on the command line.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Viewer => "viewer",
        }
    }

    /// Reads [`Self::code`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Admin, Self::User, Self::Viewer]
            .into_iter()
            .find(|it| it.code() == text)
    }

    /// May have a desktop.
    pub const fn may_start(self) -> bool {
        match self {
            Self::Admin | Self::User => true,
            Self::Viewer => false,
        }
    }
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its number; fixes the uid range.
    #[serde(serialize_with = "number")]
    pub index: UserIndex,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Cannot sign in.
    pub is_disabled: bool,
    /// When it was made, seconds since 1970.
    pub created_at: i64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn number<S: serde::Serializer>(index: &UserIndex, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(index.0)
}

/// Whether a name can be an account's: `[a-z_][a-z0-9_-]{0,31}`.
pub fn is_name(name: &str) -> bool {
    let mut letters = name.bytes();
    name.len() <= NAME_LEN_MAX
        && letters
            .next()
            .is_some_and(|it| it.is_ascii_lowercase() || it == b'_')
        && letters
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || matches!(it, b'_' | b'-'))
}

/// Makes an account; `None`: the name is taken.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn create(
    connection: &Connection,
    name: &str,
    role: Role,
    password_hash: &str,
    now: i64,
) -> Result<Option<UserIndex>, StateError> {
    let row = connection
        .query_row(
            "INSERT INTO users (name, role, password_hash, created_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO NOTHING RETURNING idx",
            params![name, role.code(), password_hash, now],
            |row| row.get(0),
        )
        .optional()?;
    Ok(row.map(UserIndex))
}

/// The account of this name.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn by_name(connection: &Connection, name: &str) -> Result<Option<User>, StateError> {
    let sql = "SELECT idx, name, role, is_disabled, created_at FROM users WHERE name = ?1";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([name], user)
        .optional()?)
}

/// An account with its password's hash, where it has a password.
pub type UserWithHash = (User, Option<Redacted<String>>);

/// The account and its password's hash, for signing in.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn with_hash(connection: &Connection, name: &str) -> Result<Option<UserWithHash>, StateError> {
    let sql = "SELECT idx, name, role, is_disabled, created_at, password_hash
               FROM users WHERE name = ?1";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([name], |row| {
            let hash: Option<String> = row.get(5)?;
            Ok((user(row)?, hash.map(Redacted::new)))
        })
        .optional()?)
}

/// All accounts by name.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn all(connection: &Connection) -> Result<Vec<User>, StateError> {
    let sql = "SELECT idx, name, role, is_disabled, created_at FROM users ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], user)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Replaces the password's hash and ends every sign-in made with the old one.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn set_password(
    connection: &mut Connection,
    user: UserIndex,
    password_hash: &str,
    now: i64,
) -> Result<(), StateError> {
    let transaction = connection.transaction()?;
    transaction.execute(
        "UPDATE users SET password_hash = ?2 WHERE idx = ?1",
        params![user.0, password_hash],
    )?;
    super::sign_ins::revoke_all(&transaction, user, now)?;
    Ok(transaction.commit()?)
}

/// Shuts an account out, and ends all its sign-ins.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn disable(connection: &mut Connection, user: UserIndex, now: i64) -> Result<(), StateError> {
    let transaction = connection.transaction()?;
    transaction.execute("UPDATE users SET is_disabled = 1 WHERE idx = ?1", [user.0])?;
    super::sign_ins::revoke_all(&transaction, user, now)?;
    Ok(transaction.commit()?)
}

/// Lets an account in again.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn enable(connection: &Connection, user: UserIndex) -> Result<(), StateError> {
    connection.execute("UPDATE users SET is_disabled = 0 WHERE idx = ?1", [user.0])?;
    Ok(())
}

/// Reads `idx, name, role, is_disabled, created_at`.
pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let role: String = row.get(2)?;
    Ok(User {
        index: UserIndex(row.get(0)?),
        name: row.get(1)?,
        // The table's CHECK admits no other word; the weakest role would be the safe mistake.
        role: Role::parse(&role).unwrap_or(Role::Viewer),
        is_disabled: row.get(3)?,
        created_at: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::memory;
    use super::*;

    #[test]
    fn a_name_is_a_linux_accounts_name() {
        for good in ["a", "_x", "demo", "a-b_9", &"x".repeat(32)] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            "9a",
            "-a",
            "A",
            "a b",
            "a/b",
            "ä",
            "..",
            &"x".repeat(33),
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn numbers_of_accounts_are_never_used_again() {
        let connection = memory();
        let first = create(&connection, "one", Role::User, "h", 1)
            .unwrap()
            .unwrap();
        connection.execute("DELETE FROM users", []).unwrap();
        let second = create(&connection, "two", Role::Admin, "h", 1)
            .unwrap()
            .unwrap();
        assert!(second > first, "{second:?}");
        assert_eq!(
            create(&connection, "two", Role::User, "h", 1).unwrap(),
            None
        );
        let user = by_name(&connection, "two").unwrap().unwrap();
        assert_eq!((user.role, user.is_disabled), (Role::Admin, false));
    }
}
