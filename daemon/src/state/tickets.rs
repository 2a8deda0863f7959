//! Tickets: with one a native viewer comes back to its sign-in after its connection was lost.
//!
//! A ticket is as good as its connection lives, and a while longer; whoever has come back with it
//! has a successor, and a moment to come again where that was lost on the way.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::StateError;
use super::sign_ins::{Family, FamilyId, live};

/// How long a ticket lives after its connection has ended.
pub const AFTER_CONNECTION_SECONDS: i64 = 60;

/// How long it lives after it was used: the answer may have been lost with its connection.
const AFTER_USE_SECONDS: i64 = 10;

/// Names a ticket: 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub [u8; 16]);

/// Writes the ticket of a connection down, and forgets those that ran out.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn add(
    connection: &mut Connection,
    id: TicketId,
    family: &Family,
    now: i64,
) -> Result<(), StateError> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM tickets WHERE expires_at <= ?1", [now])?;
    transaction.execute(
        "INSERT INTO tickets (id, family, expires_at) VALUES (?1, ?2, ?3)",
        params![id.0, family.id.0, family.expires_at],
    )?;
    Ok(transaction.commit()?)
}

/// The sign-in that a ticket belongs to, where both hold. The ticket's end is near from here on.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn take(
    connection: &mut Connection,
    id: TicketId,
    now: i64,
) -> Result<Option<Family>, StateError> {
    let transaction = connection.transaction()?;
    let family: Option<[u8; 16]> = transaction
        .query_row(
            "SELECT family FROM tickets WHERE id = ?1 AND expires_at > ?2",
            params![id.0, now],
            |row| row.get(0),
        )
        .optional()?;
    let Some(family) = family else {
        return Ok(None);
    };
    shorten(&transaction, id, now + AFTER_USE_SECONDS)?;
    let family = live(&transaction, FamilyId(family), now)?;
    transaction.commit()?;
    Ok(family)
}

/// The ticket's connection has ended.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn connection_ended(connection: &Connection, id: TicketId, now: i64) -> Result<(), StateError> {
    shorten(connection, id, now + AFTER_CONNECTION_SECONDS)
}

/// All connections have ended, with the daemon that held them.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn connections_ended(connection: &Connection, now: i64) -> Result<(), StateError> {
    let at = now + AFTER_CONNECTION_SECONDS;
    connection.execute(
        "UPDATE tickets SET expires_at = ?1 WHERE expires_at > ?1",
        [at],
    )?;
    Ok(())
}

fn shorten(connection: &Connection, id: TicketId, at: i64) -> Result<(), StateError> {
    connection.execute(
        "UPDATE tickets SET expires_at = min(expires_at, ?2) WHERE id = ?1",
        params![id.0, at],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::UserIndex;

    use super::super::sign_ins::{begin, revoke};
    use super::super::tests::memory;
    use super::super::users::{self, Role};
    use super::*;

    const ID: TicketId = TicketId([3; 16]);

    /// An account that is signed in until 1000, and a ticket of it.
    fn with_ticket() -> (Connection, UserIndex, Family) {
        let mut connection = memory();
        let user = users::create(&connection, "demo", Role::User, "h", 1)
            .unwrap()
            .unwrap();
        let family = FamilyId([7; 16]);
        begin(&mut connection, family, user, None, 100, 1_000).unwrap();
        let family = live(&connection, family, 100).unwrap().unwrap();
        add(&mut connection, ID, &family, 100).unwrap();
        (connection, user, family)
    }

    fn is_good(connection: &mut Connection, now: i64) -> bool {
        take(connection, ID, now).unwrap().is_some()
    }

    #[test]
    fn a_ticket_is_good_for_a_minute_after_its_connection() {
        for (now, expected) in [(559, true), (560, false)] {
            let (mut connection, _, _) = with_ticket();
            connection_ended(&connection, ID, 500).unwrap();
            connection_ended(&connection, ID, 550).unwrap();
            assert_eq!(is_good(&mut connection, now), expected, "{now}");
        }
    }

    #[test]
    fn a_ticket_that_was_used_is_good_for_ten_seconds_more() {
        let (mut connection, _, family) = with_ticket();
        let taken = take(&mut connection, ID, 500).unwrap();
        assert_eq!(taken, Some(family));
        assert!(is_good(&mut connection, 509));
        connection_ended(&connection, ID, 509).unwrap();
        assert!(
            !is_good(&mut connection, 510),
            "each use starts no new time"
        );
        assert!(
            take(&mut connection, TicketId([4; 16]), 500)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_ticket_outlives_its_daemon_by_a_minute() {
        for (now, expected) in [(559, true), (560, false)] {
            let (mut connection, _, _) = with_ticket();
            connections_ended(&connection, 500).unwrap();
            assert_eq!(is_good(&mut connection, now), expected, "{now}");
        }
    }

    #[test]
    fn a_ticket_ends_with_its_sign_in() {
        let (mut connection, _, _) = with_ticket();
        assert!(is_good(&mut connection, 999));
        let (mut connection, _, _) = with_ticket();
        assert!(!is_good(&mut connection, 1_000));
        let (mut connection, _, family) = with_ticket();
        revoke(&connection, family.id, 200).unwrap();
        assert!(!is_good(&mut connection, 200));
        let (mut connection, user, _) = with_ticket();
        users::set_password(&mut connection, user, "h2", 200).unwrap();
        assert!(!is_good(&mut connection, 200));
    }

    #[test]
    fn tickets_that_ran_out_are_forgotten() {
        let (mut connection, _, family) = with_ticket();
        connection_ended(&connection, ID, 200).unwrap();
        add(&mut connection, TicketId([4; 16]), &family, 300).unwrap();
        let count: u32 = connection
            .query_row("SELECT count(*) FROM tickets", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 1);
    }
}
