//! Devices: keys that sign their owner in without a password.

use rusqlite::{Connection, OptionalExtension as _, params};
use sandbox_protocol::UserIndex;
use serde::{Serialize, Serializer};

use super::StateError;
use super::sign_ins::{Purpose, consume_code};
use super::users::{self, User};

/// Longest name of a device, in characters.
const NAME_LEN_MAX: usize = 64;

/// The public half of a device's key: Ed25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey(pub [u8; 32]);

impl DeviceKey {
    /// How people name it: the first eight bytes, hexadecimal.
    pub fn short_id(&self) -> String {
        crate::auth::hex(self.0.split_at(8).0)
    }
}

impl Serialize for DeviceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::auth::hex(&self.0))
    }
}

/// A device that was enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// How people name it.
    pub id: String,
    /// Its key.
    pub key: DeviceKey,
    /// Whose it is.
    pub user: String,
    /// What its user calls it.
    pub name: String,
    /// When it was enrolled, seconds since 1970.
    pub created_at: i64,
}

/// Consumes a code and enrols the key for its account. A key is one account's: where it was
/// another's, that ends.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn enrol(
    connection: &mut Connection,
    code_hash: &[u8; 32],
    key: DeviceKey,
    name: &str,
    now: i64,
) -> Result<Option<User>, StateError> {
    let transaction = connection.transaction()?;
    let user = consume_code(&transaction, code_hash, Purpose::Enrol, now)?;
    if let Some(user) = &user {
        transaction.execute("DELETE FROM devices WHERE key = ?1", [key.0])?;
        transaction.execute(
            "INSERT INTO devices (key, user_idx, name, created_at) VALUES (?1, ?2, ?3, ?4)",
            params![key.0, user.index.0, shown(name), now],
        )?;
    }
    transaction.commit()?;
    Ok(user)
}

/// A name that a terminal can show.
fn shown(name: &str) -> String {
    let name: String = name
        .chars()
        .filter(|it| !it.is_control())
        .take(NAME_LEN_MAX)
        .collect();
    if name.trim().is_empty() {
        "unnamed".into()
    } else {
        name
    }
}

/// Whose device this is.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn owner(connection: &Connection, key: DeviceKey) -> Result<Option<User>, StateError> {
    let sql = "SELECT u.idx, u.name, u.role, u.is_disabled, u.created_at
               FROM devices d JOIN users u ON u.idx = d.user_idx WHERE d.key = ?1";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([key.0], users::user)
        .optional()?)
}

/// All devices, by account and name; those of one account where one is given.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn all(connection: &Connection, user: Option<UserIndex>) -> Result<Vec<Device>, StateError> {
    let sql = "SELECT d.key, u.name, d.name, d.created_at
               FROM devices d JOIN users u ON u.idx = d.user_idx
               WHERE ?1 IS NULL OR u.idx = ?1 ORDER BY u.name, d.name, d.key";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([user.map(|it| it.0)], |row| {
        let key = DeviceKey(row.get(0)?);
        Ok(Device {
            id: key.short_id(),
            key,
            user: row.get(1)?,
            name: row.get(2)?,
            created_at: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Forgets a device; the sign-ins that it made end with it. `false`: there is none.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn revoke(connection: &Connection, key: DeviceKey) -> Result<bool, StateError> {
    let removed = connection.execute("DELETE FROM devices WHERE key = ?1", [key.0])?;
    Ok(removed > 0)
}

#[cfg(test)]
mod tests {
    use super::super::sign_ins::{self, FamilyId, add_code};
    use super::super::tests::memory;
    use super::super::users::Role;
    use super::*;

    const KEY: DeviceKey = DeviceKey([0xab; 32]);

    fn with_codes() -> (Connection, UserIndex, UserIndex) {
        let mut connection = memory();
        let [ada, bob] = ["ada", "bob"].map(|name| {
            users::create(&connection, name, Role::User, "h", 1)
                .unwrap()
                .unwrap()
        });
        for (hash, purpose, user) in [
            ([1; 32], Purpose::Enrol, ada),
            ([2; 32], Purpose::Enrol, bob),
            ([3; 32], Purpose::SignIn, ada),
        ] {
            add_code(&mut connection, &hash, purpose, user, 100, 700).unwrap();
        }
        (connection, ada, bob)
    }

    fn enrolled(connection: &mut Connection, code: u8, name: &str) -> Option<String> {
        let user = enrol(connection, &[code; 32], KEY, name, 200).unwrap();
        user.map(|it| it.name)
    }

    fn owner_of(connection: &Connection) -> Option<String> {
        owner(connection, KEY).unwrap().map(|it| it.name)
    }

    #[test]
    fn a_code_enrols_one_device() {
        let (mut connection, ada, bob) = with_codes();
        assert_eq!(enrolled(&mut connection, 1, "laptop").unwrap(), "ada");
        assert_eq!(enrolled(&mut connection, 1, "laptop"), None);
        assert_eq!(owner_of(&connection).unwrap(), "ada");
        let device = Device {
            id: "abababababababab".into(),
            key: KEY,
            user: "ada".into(),
            name: "laptop".into(),
            created_at: 200,
        };
        let of = |user| all(&connection, user).unwrap();
        assert_eq!(of(None), of(Some(ada)));
        assert_eq!(of(Some(ada)), [device]);
        assert_eq!(of(Some(bob)), []);
    }

    #[test]
    fn a_code_is_good_for_its_purpose_alone() {
        let (mut connection, _, _) = with_codes();
        assert_eq!(enrolled(&mut connection, 3, "x"), None);
        let mut sign_in = |code| {
            sign_ins::take_code(&mut connection, &[code; 32], 200)
                .unwrap()
                .is_some()
        };
        assert!(!sign_in(1));
        assert!(sign_in(3), "the wrong purpose has not consumed it");
        assert_eq!(enrolled(&mut connection, 1, "x").unwrap(), "ada");
    }

    #[test]
    fn a_key_is_one_accounts_and_ends_with_it_what_it_signed_in() {
        let (mut connection, ada, _) = with_codes();
        enrolled(&mut connection, 1, "laptop").unwrap();
        let family = FamilyId([7; 16]);
        let device = Some(KEY);
        sign_ins::begin(&mut connection, family, ada, device, 200, 900).unwrap();
        let holds = |connection: &Connection| {
            let live = sign_ins::live(connection, family, 300).unwrap();
            live.is_some()
        };
        assert!(holds(&connection));
        assert_eq!(enrolled(&mut connection, 2, "laptop").unwrap(), "bob");
        assert_eq!(owner_of(&connection).unwrap(), "bob");
        assert!(!holds(&connection));
    }

    #[test]
    fn a_device_that_is_revoked_signs_nobody_in() {
        let (mut connection, ada, _) = with_codes();
        enrolled(&mut connection, 1, "laptop").unwrap();
        let family = FamilyId([7; 16]);
        sign_ins::begin(&mut connection, family, ada, Some(KEY), 200, 900).unwrap();
        assert!(revoke(&connection, KEY).unwrap());
        assert!(!revoke(&connection, KEY).unwrap());
        assert_eq!(owner_of(&connection), None);
        assert!(sign_ins::live(&connection, family, 300).unwrap().is_none());
    }

    #[test]
    fn a_name_is_cut_and_shows_no_control_characters() {
        for (name, expected) in [
            ("laptop", "laptop"),
            ("\x1b[31mred\n", "[31mred"),
            (" \t", "unnamed"),
            (&"ä".repeat(99), &"ä".repeat(64)),
        ] {
            assert_eq!(shown(name), expected);
        }
    }
}
