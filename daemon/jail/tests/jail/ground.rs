//! As whom the tests start their wardens: root, or an ordinary user whom nobody else knows.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::server::{PATIENCE, cgroups, uid_base};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    Root,
    /// With a range of ids and a cgroup of its own.
    Range,
    /// With a cgroup of its own.
    OneId,
    /// With a range of ids.
    Unlimited,
}

thread_local! {
    static PRESENT: Cell<Ground> = const { Cell::new(Ground::Root) };
}

/// Wardens stand on `ground` until this is dropped.
fn enter(ground: Ground) -> Entered {
    PRESENT.set(ground);
    Entered
}

struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        PRESENT.set(Ground::Root);
    }
}

/// Runs `act` with wardens on this ground.
pub(crate) fn on<T>(ground: Ground, act: impl FnOnce() -> T) -> T {
    let _entered = enter(ground);
    act()
}

pub(crate) fn present() -> Ground {
    PRESENT.get()
}

/// The ordinary user: a number above those of the sessions.
pub(crate) fn ordinary_uid() -> u32 {
    uid_base() + 1_048_600
}

/// The warden's command on the present ground, and the cgroup that is made for it.
pub(crate) fn warden_command(directory: &Path, name: &str) -> (Command, Option<String>) {
    let ground = present();
    if ground == Ground::Root {
        return (Command::new("/proc/self/exe"), None);
    }
    let uid = ordinary_uid();
    std::os::unix::fs::chown(directory, Some(uid), Some(uid)).unwrap();
    let (is_delegated, is_limited) = match ground {
        Ground::Root | Ground::Range => (true, true),
        Ground::OneId => (false, true),
        Ground::Unlimited => (true, false),
    };
    let count = if is_delegated { 65_537 } else { 0 };
    let group = is_limited.then(|| format!("{name}-lent"));
    let mut command = Command::new(script());
    command
        .arg(uid.to_string())
        .arg(directory)
        .arg((uid_base() - 1).to_string())
        .arg(count.to_string())
        .arg(group.as_deref().unwrap_or_default())
        .arg(env::current_exe().unwrap());
    (command, group)
}

/// Removes the locks of the ordinary user, and the cgroup that was made for its warden, once the
/// last process has left it.
pub(crate) fn forget_user(group: Option<&str>) {
    let locks = format!("/dev/shm/sandbox-server-uids-{}", ordinary_uid());
    let _none = fs::remove_dir_all(locks);
    let Some(group) = group else { return };
    let left = || {
        let mut directories = cgroups(group);
        directories.retain(|it| it.ends_with(group) && fs::remove_dir(it).is_err());
        directories
    };
    let deadline = Instant::now() + PATIENCE;
    while !left().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/ordinary-user.sh")
}
