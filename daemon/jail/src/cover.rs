//! Keeps the files of the ordinary user who started the server from the daemon.
//!
//! The daemon reaches its own directory although it lies in that user's home, which other uids
//! may not enter; and where it shares the user's uid, it does not reach the rest of the home.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MountFlags, mount};

use crate::delegation::Caller;
use crate::sys::mounts::{Refuse, attach, copy_open, restrict_path};
use crate::sys::rights::enter_mount_namespace;

/// What is hidden from the daemon, and what of it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cover {
    /// The daemon's directory.
    kept: PathBuf,
    hidden: Vec<PathBuf>,
}

impl Cover {
    /// Hides the caller's home and whatever else others may not enter above `kept`, a real path.
    pub(crate) fn find(kept: &Path, caller: &Caller) -> Self {
        let metadata = |path: &Path| path.symlink_metadata().ok();
        let belongs = |path: &Path| metadata(path).is_some_and(|it| it.uid() == caller.uid);
        let is_closed = |path: &Path| metadata(path).is_none_or(|it| it.mode() & 0o001 == 0);
        let home = caller.home.as_deref().and_then(|it| it.canonicalize().ok());
        let runtime = PathBuf::from(format!("/run/user/{}", caller.uid));
        let own = home.into_iter().chain([runtime]).filter(|it| belongs(it));
        let above: Vec<&Path> = kept.ancestors().skip(1).collect();
        let closed = above.into_iter().rev().find(|it| is_closed(it));
        Self {
            kept: kept.to_owned(),
            hidden: outermost(own.chain(closed.map(Path::to_owned))),
        }
    }

    /// Puts an empty directory over each hidden one, with the kept one at its place in it. For a
    /// process with one thread, root of the user namespace that it is in.
    pub(crate) fn lay(&self) -> io::Result<()> {
        enter_mount_namespace()?;
        // Others pass through the folders that lead to the kept one.
        rustix::process::umask(Mode::from_raw_mode(0o022));
        let kept = openat(
            CWD,
            &self.kept,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let tree = copy_open(kept.as_fd(), Refuse::DEVICES)?;
        for hidden in &self.hidden {
            let path = c_string(hidden)?;
            mount(
                "tmpfs",
                &*path,
                "tmpfs",
                MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
                c"mode=755,size=256k,nr_inodes=64",
            )?;
            if self.kept.starts_with(hidden) {
                std::fs::create_dir_all(&self.kept)?;
                attach(tree.as_fd(), &c_string(&self.kept)?)?;
            }
            restrict_path(&path, Refuse::WRITING)?;
        }
        Ok(())
    }
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Those that lie in none of the others; the root is none.
fn outermost(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = paths.filter(|it| it.parent().is_some()).collect();
    // What is above comes first.
    all.sort();
    let mut chosen: Vec<PathBuf> = Vec::new();
    for path in all {
        if !chosen.iter().any(|it| path.starts_with(it)) {
            chosen.push(path);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_nested_paths_the_outermost_counts_and_never_the_root() {
        let paths = ["/home/ada/x", "/", "/home/ada", "/run/user/7", "/home/adam"];
        let chosen = outermost(paths.into_iter().map(PathBuf::from));
        assert_eq!(
            chosen,
            ["/home/ada", "/home/adam", "/run/user/7"].map(PathBuf::from)
        );
    }
}
