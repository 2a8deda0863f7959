//! The directories and locks of one server, checked so that nobody else can change them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat, statfs};

use super::config::WardenConfig;
use super::error::WardenError;
use super::ownership::Change;
use super::trust::Trust;
use crate::cover::Cover;
use crate::ids::Ids;
use crate::limits::IDS_PER_SERVER;
use crate::standing::{Standing, User};

/// Locks of all of root's servers on this host stand side by side here.
const LOCKS: &str = "/run/sandbox-server-uids";

/// The server's directories, made and checked, and its locks. All of it is done before a user
/// namespace hides who owns what.
#[derive(Debug)]
pub(crate) struct Places {
    state: PathBuf,
    homes: PathBuf,
    runtime: PathBuf,
    locks: Vec<File>,
}

impl Places {
    /// Makes what is missing and checks the rest.
    pub(crate) fn prepare(config: &WardenConfig, standing: &Standing) -> Result<Self, WardenError> {
        let trust = Trust::of(standing);
        let executable = trust
            .check(&std::env::current_exe().map_err(WardenError::io("find this executable"))?)?;
        check_executable(&executable, standing)?;
        let state = state_directory(&config.state_dir, standing)?;
        let mut locks = vec![lock(
            &state.join("lock"),
            &format!("STATE_DIR {}", state.display()),
            "STATE_DIR",
        )?];
        locks.extend(lock_uids(config.uid_base, standing)?);
        let homes = own_directory(&config.homes, passable(standing), trust)?;
        let runtime = own_directory(&config.runtime_dir, 0o700, trust)?;
        locks.push(lock_runtime(&runtime)?);
        Ok(Self {
            homes,
            runtime,
            state,
            locks,
        })
    }

    /// What is hidden from the daemon.
    pub(crate) fn cover(&self, standing: &Standing) -> Option<Cover> {
        cover(&self.state, standing)
    }
}

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
    _locks: Vec<File>,
}

impl Store {
    /// Opens the places where their mounts are this process's own.
    pub(crate) fn open(places: Places, daemon: (u32, u32)) -> Result<Self, WardenError> {
        daemon_directory(&places.state, daemon)?;
        Ok(Self {
            runtime: open_directory(&places.runtime)?,
            homes: open_directory(&places.homes)?,
            node: node(&places.state.join("node"))?,
            runtime_path: places.runtime,
            _locks: places.locks,
        })
    }

    /// Where this and earlier wardens of this node made their cgroups.
    pub(crate) fn cgroup_record(&self) -> PathBuf {
        self.runtime_path.join("cgroups")
    }
}

/// Becomes the daemon's user for good, in `STATE_DIR/daemon` as a start would have made it: for
/// commands that an operator gives. The caller must have one thread.
///
/// # Errors
///
/// Returns [`WardenError`] when a path cannot be made or trusted, or the user cannot be had.
pub fn become_daemon(
    state_dir: &Path,
    uid_base: u32,
    daemon_user: &str,
) -> Result<(), WardenError> {
    let daemon = state_dir.join("daemon");
    let own = rustix::process::geteuid().as_raw();
    if own != 0 && daemon.symlink_metadata().is_ok_and(|it| it.uid() == own) {
        // Who else could read what lies there.
        return Ok(());
    }
    let standing = Standing::find(uid_base).map_err(WardenError::standing)?;
    let ids = standing.daemon_ids(uid_base, daemon_user)?;
    let state = state_directory(state_dir, &standing)?;
    let cover = cover(&state, &standing);
    standing
        .enter()
        .map_err(WardenError::io("enter a user namespace"))?;
    daemon_directory(&state, ids)?;
    if let Some(cover) = cover {
        cover
            .lay()
            .map_err(WardenError::io(format!("cover {}", state.display())))?;
    }
    crate::account::become_daemon(ids).map_err(WardenError::from)
}

/// What is hidden from the daemon; nothing where root made everything that it may see.
fn cover(state: &Path, standing: &Standing) -> Option<Cover> {
    match standing {
        Standing::Root => None,
        Standing::User(user) => Some(Cover::find(&state.join("daemon"), &user.caller)),
    }
}

/// With uids of their own daemon and workers are others to whoever built or installed the server.
fn check_executable(path: &Path, standing: &Standing) -> Result<(), WardenError> {
    const OTHERS_RUN: u32 = 0o005;
    let mode = path
        .symlink_metadata()
        .map_err(WardenError::io(format!("look at {}", path.display())))?
        .mode();
    match standing {
        Standing::User(User {
            delegated: Ok(_), ..
        }) if mode & OTHERS_RUN != OTHERS_RUN => Err(WardenError::Unreadable {
            path: path.to_owned(),
        }),
        Standing::Root | Standing::User(_) => Ok(()),
    }
}

/// Root's lets the daemon pass; an ordinary user's nobody, for the daemon has its part by a mount.
fn passable(standing: &Standing) -> u32 {
    match standing {
        Standing::Root => 0o711,
        Standing::User(_) => 0o700,
    }
}

fn state_directory(path: &Path, standing: &Standing) -> Result<PathBuf, WardenError> {
    let state = own_directory(path, passable(standing), Trust::of(standing))?;
    refuse_nfs(&state)?;
    Ok(state)
}

/// Makes a directory of one's own and checks every component above it. The real path.
fn own_directory(path: &Path, mode: u32, trust: Trust) -> Result<PathBuf, WardenError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(WardenError::io(format!("make {}", path.display())))?;
    let path = trust.check(path)?;
    let metadata = path
        .symlink_metadata()
        .map_err(WardenError::io(format!("look at {}", path.display())))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(WardenError::Foreign {
            path,
            uid: metadata.uid(),
        });
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(
        WardenError::io(format!("set the mode of {}", path.display())),
    )?;
    Ok(path)
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

/// Belongs to the daemon; the warden never opens a file in it.
fn daemon_directory(state: &Path, to: (u32, u32)) -> Result<(), WardenError> {
    let path = state.join("daemon");
    let wrap = || WardenError::io(format!("make {}", path.display()));
    match std::fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(wrap()(error)),
        _ => {}
    }
    // Its parent is nobody else's, so this is the directory and not a link to another.
    let metadata = path.symlink_metadata().map_err(wrap())?;
    let distrust = |why: String| WardenError::Untrusted {
        path: path.clone(),
        why,
        whose: "the daemon's",
    };
    let (uid, _) = to;
    let owner = metadata.uid();
    if !metadata.is_dir() {
        return Err(distrust("it is no directory".to_owned()));
    }
    if owner == 0 && uid != 0 {
        // Made before there was an account, or before there was a uid, for the daemon.
        let parent = open_directory(state)?;
        let change = Change { from: 0, to };
        change.apply(parent.as_fd(), c"daemon").map_err(wrap())?;
    } else if owner != uid {
        let hint = if uid == 0 {
            "; it was made when /etc/subuid and /etc/subgid gave a range, which they must give again"
        } else {
            ""
        };
        return Err(distrust(format!(
            "it belongs to uid {owner}, not to the daemon's {uid}{hint}"
        )));
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).map_err(wrap())
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
fn lock_runtime(path: &Path) -> Result<File, WardenError> {
    let directory = File::from(open_directory(path)?);
    flock(&directory, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        WardenError::Locked {
            what: format!("RUNTIME_DIR {}", path.display()),
            holder: "process unknown".to_owned(),
            variable: "RUNTIME_DIR",
        }
    })?;
    Ok(directory)
}

/// One server per range: a lock for this base, and none held on a base whose range overlaps.
fn lock_uids(configured: u32, standing: &Standing) -> Result<Option<File>, WardenError> {
    let Ids::Many { base, .. } = standing.session_ids(configured) else {
        return Ok(None);
    };
    let directory = match standing {
        Standing::Root => PathBuf::from(LOCKS),
        // Every host has this folder, and nothing there outlives a restart of the host.
        Standing::User(user) => format!("/dev/shm/sandbox-server-uids-{}", user.caller.uid).into(),
    };
    let directory = own_directory(&directory, 0o700, Trust::of(standing))?;
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
    Ok(Some(own))
}
