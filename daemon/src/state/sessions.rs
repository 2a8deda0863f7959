//! Records of sessions: what an admin looks up later, and what a restarted daemon takes over.

use rusqlite::{Connection, params};
use sandbox_protocol::local::warden::StartSession;
use sandbox_protocol::{SessionId, Size, UserIndex};

use super::StateError;

/// Ended sessions older than this are forgotten, in seconds: 90 days.
const RECORDS_KEPT: i64 = 90 * 24 * 3_600;

/// What is known of a session at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was asked for.
    pub plan: StartSession,
    /// Its state, by name.
    pub state: &'static str,
    /// Why it ended, by name.
    pub reason: Option<&'static str>,
}

/// Writes a session's state down.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn write(connection: &Connection, record: &Record, now: i64) -> Result<(), StateError> {
    let plan = &record.plan;
    let ended_at = record.reason.map(|_| now);
    connection
        .prepare_cached(
            "INSERT INTO sessions
                 (id, user_idx, profile, width, height, state, reason, created_at, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO UPDATE SET width = ?4, height = ?5, state = ?6, reason = ?7,
                 ended_at = coalesce(ended_at, ?9)",
        )?
        .execute(params![
            plan.session.to_string(),
            plan.user.0,
            plan.profile,
            plan.size.width,
            plan.size.height,
            record.state,
            record.reason,
            now,
            ended_at,
        ])?;
    if record.reason.is_some() {
        connection.execute(
            "DELETE FROM sessions WHERE ended_at < ?1",
            [now.saturating_sub(RECORDS_KEPT)],
        )?;
    }
    Ok(())
}

/// The sessions that have not ended in our records.
///
/// # Errors
///
/// Returns [`StateError`] when the database fails.
pub fn unended(connection: &Connection) -> Result<Vec<StartSession>, StateError> {
    let mut statement = connection.prepare(
        "SELECT s.id, s.user_idx, u.name, s.profile, s.width, s.height
         FROM sessions s JOIN users u ON u.idx = s.user_idx WHERE s.ended_at IS NULL",
    )?;
    let rows = statement.query_map([], |row| {
        let id: String = row.get(0)?;
        Ok(StartSession {
            session: id.parse().unwrap_or(SessionId::from_bytes([0; 16])),
            user: UserIndex(row.get(1)?),
            user_name: row.get(2)?,
            profile: row.get(3)?,
            size: Size {
                width: row.get(4)?,
                height: row.get(5)?,
            },
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::memory;
    use super::super::users::{self, Role};
    use super::*;

    #[test]
    fn a_session_is_unended_until_it_has_a_reason() {
        let connection = memory();
        let user = users::create(&connection, "demo", Role::User, "h", 1).unwrap();
        let plan = StartSession {
            session: SessionId::from_bytes([7; 16]),
            user: user.unwrap(),
            user_name: "demo".into(),
            profile: "desktop".into(),
            size: Size {
                width: 1920,
                height: 1080,
            },
        };
        let mut record = Record {
            plan: plan.clone(),
            state: "ready",
            reason: None,
        };
        write(&connection, &record, 10).unwrap();
        assert_eq!(unended(&connection).unwrap(), [plan]);
        record.state = "ended";
        record.reason = Some("timeout");
        write(&connection, &record, 20).unwrap();
        assert_eq!(unended(&connection).unwrap(), []);
    }
}
