//! The directories and locks of one server, checked so that nobody else can change them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat, statfs};

use super::config::WardenConfig;
use super::error::WardenError;
use crate::limits::IDS_PER_SERVER;

/// Locks of all servers of this host stand side by side here.
const LOCKS: &str = "/run/sandbox-server-uids";

/// What the server stands on.
#[derive(Debug)]
pub(crate) struct Store {
    /// `RUNTIME_DIR`.
    pub(crate) runtime: OwnedFd,
    pub(crate) runtime_path: PathBuf,
    /// The homes' parent.
    pub(crate) homes: OwnedFd,
    /// In the names of this server's cgroups.
    pub(crate) node: String,
    _locks: [File; 2],
}

impl Store {
    /// Makes what is missing and checks the rest.
    pub(crate) fn open(config: &WardenConfig, daemon: (u32, u32)) -> Result<Self, WardenError> {
        trusted(&std::env::current_exe().map_err(WardenError::io("find this executable"))?)?;
        let state = root_directory(&config.state_dir, 0o711)?;
        refuse_nfs(&state)?;
        let state_lock = lock(
            &state.join("lock"),
            &format!("STATE_DIR {}", state.display()),
            "STATE_DIR",
        )?;
        let uid_lock = lock_uids(config.uid_base)?;
        let homes = root_directory(&config.homes, 0o711)?;
        let runtime_path = root_directory(&config.runtime_dir, 0o700)?;
        let runtime = open_directory(&runtime_path)?;
        lock_runtime(&runtime, &runtime_path)?;
        daemon_directory(&state.join("daemon"), daemon)?;
        Ok(Self {
            runtime,
            homes: open_directory(&homes)?,
            node: node(&state.join("node"))?,
            runtime_path,
            _locks: [state_lock, uid_lock],
        })
    }

    /// Where this and earlier wardens of this node made their cgroups.
    pub(crate) fn cgroup_record(&self) -> PathBuf {
        self.runtime_path.join("cgroups")
    }
}

/// Makes `STATE_DIR` and the daemon's directory in it as a start would, for commands that an
/// operator gives before the first start.
///
/// # Errors
///
/// Returns [`WardenError`] when a path cannot be made or trusted.
pub fn prepare_state(
    state_dir: &Path,
    uid_base: u32,
    daemon_user: &str,
) -> Result<(), WardenError> {
    let ids = crate::account::daemon_ids(uid_base, daemon_user)?;
    let state = root_directory(state_dir, 0o711)?;
    refuse_nfs(&state)?;
    daemon_directory(&state.join("daemon"), ids)
}

/// Makes a directory of root's and checks every component above it. The real path.
fn root_directory(path: &Path, mode: u32) -> Result<PathBuf, WardenError> {
    std::fs::create_dir_all(path).map_err(WardenError::io(format!("make {}", path.display())))?;
    let path = trusted(path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(
        WardenError::io(format!("set the mode of {}", path.display())),
    )?;
    Ok(path)
}

/// The real path, if root alone can change what it leads to.
pub(super) fn trusted(path: &Path) -> Result<PathBuf, WardenError> {
    let real = path
        .canonicalize()
        .map_err(WardenError::io(format!("resolve {}", path.display())))?;
    for component in real.ancestors() {
        let metadata = component
            .symlink_metadata()
            .map_err(WardenError::io(format!("look at {}", component.display())))?;
        let is_last = component == real;
        if let Some(why) = distrust(metadata.uid(), metadata.mode(), is_last) {
            return Err(WardenError::Untrusted {
                path: component.to_owned(),
                why,
            });
        }
    }
    Ok(real)
}

/// A sticky directory above is fine: nobody but root can move or remove root's entry in it.
fn distrust(uid: u32, mode: u32, is_last: bool) -> Option<String> {
    const STICKY: u32 = 0o1000;
    let is_guarded = mode & STICKY != 0 && !is_last;
    if uid != 0 {
        Some(format!("it belongs to uid {uid}"))
    } else if mode & 0o022 != 0 && !is_guarded {
        Some(format!("its mode {:o} lets others write", mode & 0o7777))
    } else {
        None
    }
}

fn refuse_nfs(state: &Path) -> Result<(), WardenError> {
    const NFS_SUPER_MAGIC: i64 = 0x6969;
    let file_system = statfs(state)
        .map_err(io::Error::from)
        .map_err(WardenError::io(format!("look at {}", state.display())))?;
    if file_system.f_type == NFS_SUPER_MAGIC {
        return Err(WardenError::Config {
            name: "STATE_DIR",
            value: state.display().to_string(),
            why: "lies on NFS, where the database would lose data; use a local disk".to_owned(),
        });
    }
    Ok(())
}

/// Belongs to the daemon; the warden never opens anything in it.
fn daemon_directory(path: &Path, (uid, gid): (u32, u32)) -> Result<(), WardenError> {
    let wrap = || WardenError::io(format!("make {}", path.display()));
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(wrap()(error)),
        _ => {}
    }
    // Its parent is root's alone, so this is the directory and not a link to another.
    let metadata = path.symlink_metadata().map_err(wrap())?;
    if !metadata.is_dir() {
        return Err(WardenError::Untrusted {
            path: path.to_owned(),
            why: "it is no directory".to_owned(),
        });
    }
    if metadata.uid() != uid && metadata.uid() != 0 {
        return Err(WardenError::Untrusted {
            path: path.to_owned(),
            why: format!(
                "it belongs to uid {}, not to the daemon's {uid}",
                metadata.uid()
            ),
        });
    }
    chown(path, Some(uid), Some(gid)).map_err(wrap())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(wrap())
}

fn open_directory(path: &Path) -> Result<OwnedFd, WardenError> {
    openat(
        CWD,
        path,
        OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(io::Error::from)
    .map_err(WardenError::io(format!("open {}", path.display())))
}

/// Eight hexadecimal digits, made once per STATE_DIR.
fn node(path: &Path) -> Result<String, WardenError> {
    let wrap = || WardenError::io(format!("keep the node's name in {}", path.display()));
    if let Ok(text) = std::fs::read_to_string(path) {
        let is_name = text.len() == 8 && text.bytes().all(|it| it.is_ascii_hexdigit());
        if is_name {
            return Ok(text);
        }
    }
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|it| wrap()(io::Error::other(it)))?;
    let name = format!("{:08x}", u32::from_be_bytes(bytes));
    std::fs::write(path, &name).map_err(wrap())?;
    Ok(name)
}

/// Takes a lock that ends with this process, and leaves its number in the file.
fn lock(path: &Path, what: &str, variable: &'static str) -> Result<File, WardenError> {
    let wrap = || WardenError::io(format!("lock {}", path.display()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(wrap())?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(WardenError::Locked {
            what: what.to_owned(),
            holder: holder(path),
            variable,
        });
    }
    file.set_len(0).map_err(wrap())?;
    io::Write::write_all(&mut &file, std::process::id().to_string().as_bytes()).map_err(wrap())?;
    Ok(file)
}

fn holder(path: &Path) -> String {
    let pid = std::fs::read_to_string(path).unwrap_or_default();
    if pid.is_empty() {
        "process unknown".to_owned()
    } else {
        format!("process {pid}")
    }
}

/// A second server would sweep away what the sessions of the first one stand on. The lock ends
/// with the descriptor; no file says whose it is, since nothing shall be left in the directory.
fn lock_runtime(directory: &OwnedFd, path: &Path) -> Result<(), WardenError> {
    flock(directory, FlockOperation::NonBlockingLockExclusive).map_err(|_| WardenError::Locked {
        what: format!("RUNTIME_DIR {}", path.display()),
        holder: "process unknown".to_owned(),
        variable: "RUNTIME_DIR",
    })
}

/// One server per range: a lock for this base, and none held on a base whose range overlaps.
fn lock_uids(base: u32) -> Result<File, WardenError> {
    let directory = root_directory(Path::new(LOCKS), 0o700)?;
    let what = format!("the uids from {base} on");
    let own = lock(&directory.join(base.to_string()), &what, "SANDBOX_UID_BASE")?;
    let entries = std::fs::read_dir(&directory)
        .map_err(WardenError::io(format!("list {}", directory.display())))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(other) = name.to_str().and_then(|it| it.parse::<u32>().ok()) else {
            continue;
        };
        if other != base && other.abs_diff(base) <= IDS_PER_SERVER {
            let _free = lock(&entry.path(), &what, "SANDBOX_UID_BASE")?;
        }
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_root_alone_can_change_is_trusted() {
        assert_eq!(distrust(0, 0o755, true), None);
        assert_eq!(distrust(0, 0o1777, false), None);
        assert!(distrust(0, 0o1777, true).is_some());
        assert!(distrust(0, 0o775, false).is_some());
        assert!(distrust(1000, 0o700, false).is_some());
    }
}
