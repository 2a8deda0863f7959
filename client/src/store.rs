//! What the client remembers: the servers it knows, in an SQLite file that only its user reads.

mod networks;

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use sandbox_quic::Fingerprint;

/// Schema this code writes; a file of a later one is refused.
const VERSION: i32 = 3;

/// Every step of the schema, oldest first; `PRAGMA user_version` counts those that were taken.
const STEPS: [&str; VERSION as usize] = [
    "CREATE TABLE known_hosts (
        address TEXT PRIMARY KEY,
        fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL
    ) STRICT;",
    "CREATE TABLE device_keys (
        address TEXT NOT NULL,
        user TEXT NOT NULL,
        pkcs8 BLOB NOT NULL,
        PRIMARY KEY (address, user)
    ) STRICT;",
    "CREATE TABLE public_urls (
        address TEXT PRIMARY KEY,
        url TEXT NOT NULL
    ) STRICT;
    CREATE TABLE networks_without_udp (
        address TEXT NOT NULL,
        network TEXT NOT NULL,
        last_seen INTEGER NOT NULL,
        PRIMARY KEY (address, network)
    ) STRICT;
    CREATE TABLE link_rates (
        address TEXT NOT NULL,
        network TEXT NOT NULL,
        kbps INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        PRIMARY KEY (address, network)
    ) STRICT;",
];

/// Another client of the same user may be writing.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder or file cannot be made or opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was written by a later version of this program.
    #[error("{} is of version {version}, which this program does not know", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: i32,
    },
    /// SQLite failed.
    #[error("cannot use the known hosts")]
    Sqlite(#[from] rusqlite::Error),
}

/// What is known about a server's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nobody has been there.
    Never,
    /// It is the one that was there before.
    Same,
    /// Another one was there before.
    Changed(Fingerprint),
}

/// The client's memory.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the file, which is made where there is none: it and its folder for the user alone.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] naming what cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Open { path, source }
        };
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(failed(folder))?;
        }
        // SQLite would make it readable for everybody.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .and_then(|it| it.set_permissions(Permissions::from_mode(0o600)))
            .map_err(failed(path))?;
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_MAX)?;
        let mut store = Self { connection };
        store.migrate(path)?;
        Ok(store)
    }

    fn migrate(&mut self, path: &Path) -> Result<(), StoreError> {
        let change = self.connection.transaction()?;
        let version: i32 = change.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let missing = usize::try_from(version).ok().and_then(|it| STEPS.get(it..));
        let missing = missing.ok_or_else(|| StoreError::Version {
            path: path.to_owned(),
            version,
        })?;
        if missing.is_empty() {
            return Ok(());
        }
        missing.iter().try_for_each(|it| change.execute_batch(it))?;
        change.pragma_update(None, "user_version", VERSION)?;
        change.commit()?;
        Ok(())
    }

    /// What is known about the key that a server shows.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when the file cannot be read.
    pub fn known(&self, address: &str, shown: Fingerprint) -> Result<Known, StoreError> {
        Ok(match self.pin(address)? {
            None => Known::Never,
            Some(before) if before == shown => Known::Same,
            Some(before) => Known::Changed(before),
        })
    }

    /// The key that a server showed before.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when the file cannot be read.
    pub fn pin(&self, address: &str) -> Result<Option<Fingerprint>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT fingerprint FROM known_hosts WHERE address = ?1")?;
        let found = statement
            .query_row([address], |row| row.get(0))
            .optional()?;
        Ok(found.map(Fingerprint))
    }

    /// Remembers a server's key, or that it was seen again. Another key than the one remembered
    /// does not take its place: that is for [`forget`](Self::forget).
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when the file cannot be written.
    pub fn remember(
        &self,
        address: &str,
        shown: Fingerprint,
        unix_seconds: i64,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO known_hosts VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT (address) DO UPDATE SET last_seen = ?3 WHERE fingerprint = ?2",
            params![address, shown.0, unix_seconds],
        )?;
        Ok(())
    }

    /// This device's key for a user at a server, as it was remembered.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when the file cannot be read.
    pub fn device_key(&self, address: &str, user: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT pkcs8 FROM device_keys WHERE address = ?1 AND user = ?2")?;
        let found = statement.query_row([address, user], |row| row.get(0));
        Ok(found.optional()?)
    }

    /// Remembers this device's key for a user at a server, in the place of an earlier one.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when the file cannot be written.
    pub fn remember_device_key(
        &self,
        address: &str,
        user: &str,
        pkcs8: &[u8],
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT OR REPLACE INTO device_keys VALUES (?1, ?2, ?3)",
            params![address, user, pkcs8],
        )?;
        Ok(())
    }

    /// Forgets a server, and this device's keys there; says whether there was anything.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when the file cannot be written.
    pub fn forget(&self, address: &str) -> Result<bool, StoreError> {
        let delete = |sql| self.connection.execute(sql, [address]);
        let hosts = delete("DELETE FROM known_hosts WHERE address = ?1")?;
        let keys = delete("DELETE FROM device_keys WHERE address = ?1")?;
        delete("DELETE FROM public_urls WHERE address = ?1")?;
        delete("DELETE FROM networks_without_udp WHERE address = ?1")?;
        delete("DELETE FROM link_rates WHERE address = ?1")?;
        Ok(hosts + keys > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const OURS: Fingerprint = Fingerprint([1; 32]);
    const OTHER: Fingerprint = Fingerprint([2; 32]);

    /// A folder that is removed again.
    pub(super) struct Folder(PathBuf);

    impl Folder {
        pub(super) fn new(name: &str) -> Self {
            let unique = format!("sandbox-client-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(unique);
            let _left_over = fs::remove_dir_all(&path);
            Self(path)
        }

        pub(super) fn file(&self) -> PathBuf {
            self.0.join("sandbox").join("client.db")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _never_made = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_key_is_remembered_over_restarts_and_a_changed_one_is_noticed() {
        let folder = Folder::new("remembered");
        let store = Store::open(&folder.file()).unwrap();
        assert_eq!(store.known("box:3478", OURS).unwrap(), Known::Never);
        store.remember("box:3478", OURS, 1_000).unwrap();
        drop(store);
        let store = Store::open(&folder.file()).unwrap();
        assert_eq!(store.known("box:3478", OURS).unwrap(), Known::Same);
        assert_eq!(
            store.known("box:3478", OTHER).unwrap(),
            Known::Changed(OURS)
        );
        assert_eq!(store.known("box:3479", OTHER).unwrap(), Known::Never);
    }

    #[test]
    fn a_changed_key_does_not_take_the_place_of_the_known_one() {
        let folder = Folder::new("changed");
        let store = Store::open(&folder.file()).unwrap();
        store.remember("box:3478", OURS, 1_000).unwrap();
        store.remember("box:3478", OTHER, 2_000).unwrap();
        assert_eq!(store.pin("box:3478").unwrap(), Some(OURS));
        assert!(store.forget("box:3478").unwrap());
        assert!(!store.forget("box:3478").unwrap());
        store.remember("box:3478", OTHER, 3_000).unwrap();
        assert_eq!(store.pin("box:3478").unwrap(), Some(OTHER));
    }

    #[test]
    fn a_devices_key_is_remembered_for_its_user_and_forgotten_with_the_server() {
        let folder = Folder::new("device");
        let store = Store::open(&folder.file()).unwrap();
        let key = |user| store.device_key("box:3478", user).unwrap();
        store.remember_device_key("box:3478", "ada", b"1").unwrap();
        store.remember_device_key("box:3478", "ada", b"2").unwrap();
        assert_eq!(key("ada").as_deref(), Some(&b"2"[..]));
        assert_eq!(key("bob"), None);
        assert_eq!(store.device_key("box:1", "ada").unwrap(), None);
        assert!(store.forget("box:3478").unwrap());
        assert_eq!(key("ada"), None);
    }

    #[test]
    fn a_file_of_the_first_version_keeps_what_it_knows() {
        let folder = Folder::new("first");
        fs::create_dir_all(folder.file().parent().unwrap()).unwrap();
        let connection = Connection::open(folder.file()).unwrap();
        connection.execute_batch(STEPS[0]).unwrap();
        connection.execute_batch("PRAGMA user_version = 1").unwrap();
        let sql = "INSERT INTO known_hosts VALUES ('box:3478', ?1, 1, 1)";
        connection.execute(sql, [OURS.0]).unwrap();
        let store = Store::open(&folder.file()).unwrap();
        assert_eq!(store.pin("box:3478").unwrap(), Some(OURS));
        assert_eq!(store.device_key("box:3478", "ada").unwrap(), None);
    }

    #[test]
    fn only_the_user_may_read_it() {
        let folder = Folder::new("private");
        fs::create_dir_all(folder.file().parent().unwrap()).unwrap();
        fs::write(folder.file(), b"").unwrap();
        fs::set_permissions(folder.file(), Permissions::from_mode(0o644)).unwrap();
        let _store = Store::open(&folder.file()).unwrap();
        let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_of_a_later_version_is_left_alone_and_named() {
        let folder = Folder::new("later");
        drop(Store::open(&folder.file()).unwrap());
        let connection = Connection::open(folder.file()).unwrap();
        connection.execute_batch("PRAGMA user_version = 9").unwrap();
        let error = Store::open(&folder.file()).unwrap_err().to_string();
        assert!(error.contains("client.db is of version 9"), "{error}");
    }

    #[test]
    fn a_place_where_nothing_can_be_made_is_named() {
        let error = Store::open(Path::new("/proc/nowhere/client.db")).unwrap_err();
        assert!(error.to_string().contains("/proc/nowhere"), "{error}");
    }
}
