//! The server's first process: it starts the daemon and the sessions, and outlives both.

mod certificate;
mod config;
mod daemon;
mod error;
pub(crate) mod ground;
mod home;
pub(crate) mod listen;
mod log;
mod ownership;
mod request;
mod serve;
mod session;
mod stage;
mod store;
mod trust;
mod wire;

pub use config::{TlsFiles, WardenConfig};
pub use error::{FilterErrorBox, WardenError};
pub use store::become_daemon;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::account::overlap;
use crate::cgroup;
use crate::layer::{Host, Sys};
use crate::standing::Standing;
use crate::sys::{environment, signals};

use daemon::sealed_config;
use ground::Ground;
use listen::Listeners;
use serve::Warden;
use store::{Places, Store};

/// Serves until SIGTERM, SIGINT or SIGHUP, then ends the daemon and every session.
///
/// The caller must have one thread: jails are split off this process.
///
/// # Errors
///
/// Returns [`WardenError`] when the server cannot start or cannot go on; its exit code is the
/// contract's.
pub fn run(config: WardenConfig) -> Result<(), WardenError> {
    run_on(config, &Host)
}

/// [`run`] on a kernel that a test may have weakened.
///
/// # Errors
///
/// As [`run`].
#[doc(hidden)]
pub fn run_on(mut config: WardenConfig, sys: &dyn Sys) -> Result<(), WardenError> {
    // Each jail's init is a copy of this process, environment and all.
    environment::forget();
    let signals = signals::held_back().map_err(WardenError::io("hold back signals"))?;
    // Directories that are made on the way are their owner's alone to write.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    raise_descriptor_limit().map_err(WardenError::io("raise the descriptor limit"))?;
    let standing = Standing::find(config.uid_base).map_err(WardenError::standing)?;
    let ids = standing.daemon_ids(config.uid_base, &config.daemon_user)?;
    refuse_overlap(&config, &standing)?;
    let places = Places::prepare(&config, &standing)?;
    let cover = places.cover(&standing);
    standing
        .enter()
        .map_err(WardenError::io("enter a user namespace"))?;
    let store = Store::open(places, ids)?;
    let mut ground = Ground::lay(&config, &standing, store, sys)?;
    sweep(&ground)?;
    let groups = groups_of(&ground);
    ground.own.settle(&groups);
    let ground = ground;
    let listeners = Listeners::open(&config)?;
    let config_memory =
        sealed_config(&config.daemon_config).map_err(WardenError::io("seal the configuration"))?;
    let session_timeout = config.session_timeout;
    // What the daemon alone may know leaves this process's memory, which each jail's init copies.
    config.daemon_config.fill(0);
    std::hint::black_box(&config.daemon_config);
    let mut warden = Warden::new(
        &ground,
        listeners,
        serve::Household {
            ids,
            cover,
            config: config_memory,
            session_timeout,
            tls: config.tls,
        },
        signals,
    );
    let outcome = warden.serve();
    ground.own.leave(&groups);
    let _left = std::fs::remove_file(ground.store.cgroup_record());
    outcome
}

/// Ids that were delegated to an ordinary user overlap with nobody else's.
fn refuse_overlap(config: &WardenConfig, standing: &Standing) -> Result<(), WardenError> {
    let overlap = match standing {
        Standing::Root => overlap(config.uid_base, &config.daemon_user),
        Standing::User(_) => None,
    };
    let Some(whose) = overlap else {
        return Ok(());
    };
    Err(WardenError::Config {
        name: "SANDBOX_UID_BASE",
        value: config.uid_base.to_string(),
        why: format!("the range overlaps {whose}; choose a free one"),
    })
}

/// A session holds some ten descriptors here, and a daemon that reads slowly leaves more.
fn raise_descriptor_limit() -> std::io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// Removes what an earlier warden of this node left behind when it was killed.
fn sweep(ground: &Ground<'_>) -> Result<(), WardenError> {
    let store = &ground.store;
    let record = store.cgroup_record();
    let name = groups_of(ground);
    let directories = ground.own.directories(&name);
    let earlier = std::fs::read_to_string(&record).unwrap_or_default();
    for directory in earlier.lines().map(std::path::PathBuf::from) {
        // The record is root's own; the name is checked all the same.
        if directory.file_name().is_some_and(|it| it == name.as_str()) {
            cgroup::sweep(&directory);
        }
    }
    let lines: Vec<String> = directories
        .iter()
        .map(|it| it.display().to_string())
        .collect();
    std::fs::write(&record, lines.join("\n"))
        .map_err(WardenError::io(format!("write {}", record.display())))?;
    let entries =
        std::fs::read_dir(&store.runtime_path).map_err(WardenError::io("list RUNTIME_DIR"))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if let Some(name) = name.to_str().filter(|it| it.starts_with("session-")) {
            stage::remove(&store.runtime, name)
                .map_err(|it| WardenError::io(format!("remove the leftover {name}"))(it))?;
        }
    }
    Ok(())
}

/// Name of the group that holds all of this node's.
fn groups_of(ground: &Ground<'_>) -> String {
    format!("sandbox-{}", ground.store.node)
}
