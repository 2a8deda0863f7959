//! The node's truth: one SQLite file, one thread that writes it.

pub mod devices;
pub mod sessions;
pub mod sign_ins;
pub mod tickets;
pub mod users;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::clock;

/// Jobs that may wait for the thread; who comes later waits with its request.
const JOBS_MAX: usize = 256;

/// How long a job waits for its turn and for another program (`user add`) that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for a job that nobody waits for: those behind it have somebody who does.
const POST_TIMEOUT: Duration = Duration::from_millis(250);

/// How long one who opens the file waits where SQLite does not wait by itself.
const BUSY_STEP: Duration = Duration::from_millis(5);

/// Every step of the schema, oldest first; `PRAGMA user_version` counts those that were taken.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_accounts_and_sessions.sql"),
    include_str!("../../../migrations/sqlite/0002_refresh_tokens.sql"),
    include_str!("../../../migrations/sqlite/0003_devices_and_tickets.sql"),
];

/// The database could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file cannot be opened.
    #[error("cannot open the database {path}: {source}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A later version of the server has written it.
    #[error(
        "the database {path} has schema {found}, this server knows up to {known}: \
         run the server that wrote it, or a newer one"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: usize,
    },
    /// A statement failed.
    #[error("the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The thread is gone, which it is only at the end of the process.
    #[error("the database thread has ended")]
    Closed,
}

/// What an operator can do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The disk is full.
    Full,
    /// Another program holds the file.
    Held,
}

impl StateError {
    /// The trouble that this comes from, where it is none of our making.
    pub fn trouble(&self) -> Option<Trouble> {
        let (Self::Open { source, .. } | Self::Sqlite(source)) = self else {
            return None;
        };
        let error = source.sqlite_error()?;
        // The index beside the log grows by itself, and does not say why it cannot.
        let is_index = error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
        if error.code == ErrorCode::DiskFull || is_index {
            return Some(Trouble::Full);
        }
        let is_held = matches!(
            error.code,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked
        );
        is_held.then_some(Trouble::Held)
    }
}

/// Opens the file, sets it up for crash safety and brings its schema up to date.
///
/// # Errors
///
/// Returns [`StateError`] when the file cannot be opened, or a later version has written it.
#[expect(
    clippy::disallowed_methods,
    reason = "blocks as SQLite's own wait does"
)]
pub fn open(path: &Path) -> Result<Connection, StateError> {
    let deadline = clock::now() + BUSY_TIMEOUT;
    loop {
        match open_once(path) {
            Err(error) if error.trouble() == Some(Trouble::Held) && clock::now() < deadline => {
                std::thread::sleep(BUSY_STEP);
            }
            opened => return opened,
        }
    }
}

/// SQLite's own wait does not cover all of it: who makes the file a WAL one, or meets the last
/// other connection at its end, may be refused at once (<https://sqlite.org/wal.html>, §6).
fn open_once(path: &Path) -> Result<Connection, StateError> {
    let prepare = || -> rusqlite::Result<Connection> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // A revocation that was answered must outlive a power cut; at some ten writes a session
        // the sync costs nothing that anybody waits for.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // Whoever will write says so at once and waits: a reader that becomes a writer while
        // another program writes is refused without a wait.
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
        Ok(connection)
    };
    let mut connection = prepare().map_err(|source| StateError::Open {
        path: path.into(),
        source,
    })?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Writes only where a step is missing: a server starts on a full disk, and while another program
/// holds the file.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StateError> {
    if missing(connection, path)?.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    // Another program may have taken them while this one waited.
    for step in missing(&transaction, path)? {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()?;
    Ok(())
}

/// The steps that the schema has not taken.
fn missing(connection: &Connection, path: &Path) -> Result<&'static [&'static str], StateError> {
    let taken: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    MIGRATIONS
        .get(taken as usize..)
        .ok_or_else(|| StateError::Newer {
            path: path.into(),
            found: taken,
            known: MIGRATIONS.len(),
        })
}

struct Job {
    /// From here on it waits for nobody: who asked has waited long enough.
    patient_until: Instant,
    work: Box<dyn FnOnce(&mut Connection) + Send>,
}

impl Job {
    fn new(patience: Duration, work: impl FnOnce(&mut Connection) + Send + 'static) -> Self {
        Self {
            patient_until: clock::now() + patience,
            work: Box::new(work),
        }
    }

    fn run(self, connection: &mut Connection) {
        let patience = self.patient_until.saturating_duration_since(clock::now());
        if let Err(error) = connection.busy_timeout(patience) {
            tracing::error!(%error, "the database waits as long as it did before");
        }
        (self.work)(connection);
    }
}

/// Hands jobs to the database thread; clones share it.
#[derive(Clone)]
pub struct Store {
    jobs: Sender<Job>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the file and starts its thread, which ends with the last clone.
    ///
    /// # Errors
    ///
    /// Returns [`StateError`] when the file cannot be used.
    pub fn start(path: &Path) -> Result<Self, StateError> {
        let connection = open(path)?;
        let (jobs, waiting) = async_channel::bounded(JOBS_MAX);
        std::thread::Builder::new()
            .name("sqlite".into())
            .spawn(move || work(connection, &waiting))
            .map_err(|_| StateError::Closed)?;
        Ok(Self { jobs })
    }

    /// Runs `job` on the database thread, in the order of the calls.
    ///
    /// # Errors
    ///
    /// Returns what the job returned, or [`StateError::Closed`] when the thread is gone.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (answer, answered) = async_channel::bounded(1);
        let job = Job::new(BUSY_TIMEOUT, move |connection| {
            // Nobody waits any more where the request was given up.
            let _given_up = answer.try_send(job(connection));
        });
        self.jobs.send(job).await.map_err(|_| StateError::Closed)?;
        answered.recv().await.map_err(|_| StateError::Closed)?
    }

    /// Runs `job` later, in the order of the calls, where no answer is waited for. `false`: too
    /// many wait, and it will not run.
    #[must_use]
    pub fn post(&self, job: impl FnOnce(&mut Connection) + Send + 'static) -> bool {
        self.jobs.try_send(Job::new(POST_TIMEOUT, job)).is_ok()
    }
}

fn work(mut connection: Connection, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv_blocking() {
        // A job that panics loses its own transaction and its own answer, not the thread.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            job.run(&mut connection);
        }));
        if outcome.is_err() {
            tracing::error!("a database job panicked");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A database of its own for one test.
    pub(crate) fn memory() -> Connection {
        open(Path::new(":memory:")).unwrap()
    }

    fn file(name: &str) -> PathBuf {
        let name = format!("sandbox-state-{name}-{}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _absent = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn every_file_of_the_folder_is_a_step_and_their_numbers_have_no_gap() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/sqlite");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), MIGRATIONS.len());
        for (index, name) in names.iter().enumerate() {
            assert!(name.starts_with(&format!("{:04}_", index + 1)), "{name}");
        }
    }

    #[test]
    fn opening_twice_changes_nothing_and_a_newer_schema_is_refused() {
        let path = file("newer");
        let connection = open(&path).unwrap();
        let mode: String = connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
        open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let words = open(&path).unwrap_err().to_string();
        assert!(words.contains("schema 99"), "{words}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_another_program_holds_is_opened_all_the_same() {
        let path = file("opened-held");
        let holder = open(&path).unwrap();
        holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let connection = open(&path).unwrap();
        let users: u32 = connection
            .query_row("SELECT count(*) FROM users", [], |row| row.get(0))
            .unwrap();
        assert_eq!(users, 0);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn two_programs_that_make_the_schema_at_once_make_it_once() {
        let path = file("race");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| open(&path).unwrap());
            }
        });
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn trouble_that_an_operator_can_mend_is_told_apart() {
        let path = file("trouble");
        let connection = open(&path).unwrap();
        let write = || -> Result<(), StateError> {
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS filler (bytes);
                 INSERT INTO filler VALUES (zeroblob(100000))",
            )?;
            Ok(())
        };
        write().unwrap();
        connection.pragma_update(None, "max_page_count", 1).unwrap();
        assert_eq!(write().unwrap_err().trouble(), Some(Trouble::Full));
        let other = open(&path).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        connection.busy_timeout(Duration::ZERO).unwrap();
        assert_eq!(write().unwrap_err().trouble(), Some(Trouble::Held));
        let mistake = connection.execute_batch("no SQL").unwrap_err();
        assert_eq!(StateError::from(mistake).trouble(), None);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_job_that_has_waited_for_its_turn_waits_for_no_other_program() {
        let mut connection = memory();
        let mut patience_ms = |patient_until| {
            let (told, hears) = std::sync::mpsc::channel::<u32>();
            let ask = move |connection: &mut Connection| {
                let asked = connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0));
                told.send(asked.unwrap()).unwrap();
            };
            let work = Box::new(ask);
            Job {
                patient_until,
                work,
            }
            .run(&mut connection);
            hears.recv().unwrap()
        };
        let hour = Duration::from_secs(3_600);
        assert_eq!(patience_ms(clock::now()), 0);
        assert!(patience_ms(clock::now() + hour) > 0);
        assert_eq!(patience_ms(clock::now()), 0);
    }

    #[test]
    fn a_job_that_panics_does_not_end_the_thread() {
        let store = Store::start(Path::new(":memory:")).unwrap();
        smol::block_on(async {
            let lost = store.run::<()>(|_| panic!("a mistake")).await;
            assert!(matches!(lost, Err(StateError::Closed)), "{lost:?}");
            let count: i64 = store
                .run(|it| Ok(it.query_row("SELECT count(*) FROM users", [], |row| row.get(0))?))
                .await
                .unwrap();
            assert_eq!(count, 0);
        });
    }
}
