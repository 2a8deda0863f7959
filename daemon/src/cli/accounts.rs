//! What commands about accounts share: the database, who an account is, and where a secret goes.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sandbox_jail::warden::become_daemon;
use sandbox_protocol::UserIndex;

use super::serve::DAEMON_USER;
use super::{Failure, chain};
use crate::auth::{LINK_SECONDS, code_hash, new_code};
use crate::clock;
use crate::config::Config;
use crate::state;
use crate::state::sign_ins::{Purpose, add_code};
use crate::state::users::{self, User};

/// Takes on the daemon's user and opens its database.
pub(super) fn open(flags: &[String]) -> Result<(Config, Connection), Failure> {
    let config = super::config(flags)?;
    become_daemon(&config.state_dir, config.uid_base, DAEMON_USER).map_err(|error| Failure {
        words: chain(&error),
        code: error.exit_code(),
    })?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let connection = state::open(&config.daemon.dir.join("state.db"))?;
    Ok((config, connection))
}

/// The account of this name.
pub(super) fn find(connection: &Connection, name: &str) -> Result<User, Failure> {
    users::by_name(connection, name)?.ok_or_else(|| {
        Failure::simple(format!(
            "there is no account {name}; sandbox-server user list shows them all"
        ))
    })
}

/// The account of this name, which may sign in.
pub(super) fn find_enabled(connection: &Connection, name: &str) -> Result<User, Failure> {
    let user = find(connection, name)?;
    if user.is_disabled {
        return Err(Failure::simple(format!(
            "{name} is disabled; sandbox-server user enable {name} lets it in again"
        )));
    }
    Ok(user)
}

/// Makes a single-use code for an account.
pub(super) fn add_fresh_code(
    connection: &mut Connection,
    purpose: Purpose,
    user: UserIndex,
) -> Result<String, Failure> {
    let code = new_code();
    let now = clock::unix_seconds();
    let ends = now + LINK_SECONDS;
    add_code(connection, &code_hash(&code), purpose, user, now, ends)?;
    Ok(code)
}

/// Where a secret for one use goes. A pipe may lead into a log or another process's arguments:
/// there it goes into a file that its owner alone reads, and the file's path is printed.
#[derive(Debug)]
pub(super) enum Handout {
    Terminal,
    Opened(PathBuf, File),
    /// A file of this name among the daemon's own.
    Daemons(String),
}

impl Handout {
    /// Before rights are dropped: an ordinary user's server has another uid than the user, who is
    /// to read the file. Where `STATE_DIR` is not this user's, the user is the daemon's.
    pub(super) fn prepare(flags: &[String], file_name: &str) -> Result<Self, Failure> {
        if io::stdout().is_terminal() {
            return Ok(Self::Terminal);
        }
        if !super::is_root() {
            let config = super::config(flags)?;
            if let Ok((path, file)) = make(&config.state_dir, file_name) {
                return Ok(Self::Opened(path, file));
            }
        }
        Ok(Self::Daemons(file_name.to_owned()))
    }

    pub(super) fn give(self, config: &Config, secret: &str) -> Result<(), Failure> {
        let (path, mut file) = match self {
            Self::Terminal => return Ok(writeln!(io::stdout(), "{secret}")?),
            Self::Opened(path, file) => (path, file),
            Self::Daemons(file_name) => make(&config.daemon.dir, &file_name)?,
        };
        writeln!(file, "{secret}")?;
        Ok(writeln!(io::stdout(), "{}", path.display())?)
    }
}

fn make(directory: &Path, file_name: &str) -> io::Result<(PathBuf, File)> {
    let path = directory.join(file_name);
    let _absent = std::fs::remove_file(&path);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    Ok((path, file))
}
