//! Builds a jail's root from its plan, inside the jail's fresh mount namespace.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::plan::Entry;
use crate::sys::mounts::{Refuse, attach, copy_path, restrict_path};

/// An empty directory of every host; the new root covers it in the jail's copy of the mounts.
const WORKBENCH: &str = "/tmp";

/// Mounts the new root, fills it and stands in it. The old root is still there.
pub(crate) fn build(entries: &[Entry], given: &[OwnedFd]) -> io::Result<()> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    mount(
        "tmpfs",
        WORKBENCH,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=755,size=1m,nr_inodes=1024",
    )?;
    std::env::set_current_dir(WORKBENCH)?;
    for entry in entries {
        apply(entry, given).map_err(|error| io::Error::new(error.kind(), told(entry, &error)))?;
    }
    Ok(())
}

/// Takes writing from the root itself; the mounts in it keep their own rights.
pub(crate) fn finish() -> io::Result<()> {
    restrict_path(c"/", Refuse::WRITING)
}

fn apply(entry: &Entry, given: &[OwnedFd]) -> io::Result<()> {
    match entry {
        Entry::View {
            path,
            executable,
            optional,
        } => match view(path, *executable) {
            Err(error) if *optional && error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        },
        Entry::Given {
            place,
            at,
            is_directory,
        } => {
            let tree = given.get(*place).ok_or(Errno::BADF)?;
            make_target(at, *is_directory)?;
            attach(tree.as_fd(), &c_string(at)?)
        }
        Entry::Scratch {
            at,
            options,
            executable,
        } => {
            std::fs::create_dir_all(at)?;
            let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
            flags.set(MountFlags::NOEXEC, !executable);
            mount("tmpfs", at, "tmpfs", flags, &*c_string(options)?)?;
            Ok(())
        }
        Entry::Text { at, mode, bytes } => write(at, *mode, bytes),
        Entry::Directory { at, mode } => {
            std::fs::create_dir_all(at)?;
            std::fs::set_permissions(at, std::fs::Permissions::from_mode(*mode))
        }
        Entry::Link { at, to } => {
            make_parent(at)?;
            symlink(to, at)
        }
        Entry::Proc => proc(),
        Entry::Devices(names) => names.iter().try_for_each(|name| device(name)),
        Entry::Terminals => terminals(),
    }
}

fn view(path: &str, executable: bool) -> io::Result<()> {
    let refuse = if executable {
        Refuse::WRITING
    } else {
        Refuse::WRITING_AND_EXECUTION
    };
    let is_directory = std::fs::metadata(path)?.is_dir();
    let at = path.trim_start_matches('/');
    let tree = copy_path(&c_string(path)?, refuse)?;
    make_target(at, is_directory)?;
    attach(tree.as_fd(), &c_string(at)?)
}

fn proc() -> io::Result<()> {
    std::fs::create_dir_all("proc")?;
    mount(
        "proc",
        "proc",
        "proc",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        c"hidepid=invisible,subset=pid",
    )?;
    Ok(())
}

fn device(name: &str) -> io::Result<()> {
    let at = format!("dev/{name}");
    let tree = copy_path(
        &c_string(&format!("/{at}"))?,
        Refuse::EXECUTION_KEEP_DEVICES,
    )?;
    make_target(&at, false)?;
    attach(tree.as_fd(), &c_string(&at)?)
}

fn terminals() -> io::Result<()> {
    std::fs::create_dir_all("dev/pts")?;
    mount(
        "devpts",
        "dev/pts",
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        c"newinstance,ptmxmode=0666,mode=620,max=64",
    )?;
    for (at, to) in [
        ("dev/ptmx", "pts/ptmx"),
        ("dev/fd", "/proc/self/fd"),
        ("dev/stdin", "/proc/self/fd/0"),
        ("dev/stdout", "/proc/self/fd/1"),
        ("dev/stderr", "/proc/self/fd/2"),
    ] {
        symlink(to, at)?;
    }
    Ok(())
}

fn make_target(at: &str, is_directory: bool) -> io::Result<()> {
    if is_directory {
        return std::fs::create_dir_all(at);
    }
    write(at, 0o644, b"")
}

fn write(at: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    make_parent(at)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(at)?;
    io::Write::write_all(&mut file, bytes)
}

fn make_parent(at: &str) -> io::Result<()> {
    Path::new(at)
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
}

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::other)
}

fn told(entry: &Entry, error: &io::Error) -> String {
    let what = match entry {
        Entry::View { path, .. } => path,
        Entry::Given { at, .. }
        | Entry::Scratch { at, .. }
        | Entry::Text { at, .. }
        | Entry::Directory { at, .. }
        | Entry::Link { at, .. } => at,
        Entry::Proc => "proc",
        Entry::Devices(_) => "dev",
        Entry::Terminals => "dev/pts",
    };
    let hint = match entry {
        Entry::Proc => covered_proc().unwrap_or_default(),
        Entry::View { .. }
        | Entry::Given { .. }
        | Entry::Scratch { .. }
        | Entry::Text { .. }
        | Entry::Directory { .. }
        | Entry::Link { .. }
        | Entry::Devices(_)
        | Entry::Terminals => String::new(),
    };
    format!("{what}: {error}{hint}")
}

/// The kernel shows no further /proc to those who see only a part of this one.
fn covered_proc() -> Option<String> {
    // What is empty below hides nothing.
    const EMPTY: &str = "/proc/sys/fs/binfmt_misc";
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let covered = points.find(|it| it.starts_with("/proc/") && *it != EMPTY)?;
    Some(format!(
        "; {covered} is covered, as containers do it, and then nobody inside gets a /proc of its \
         own: start the container with `--security-opt systempaths=unconfined`"
    ))
}
