//! Copies of mounts with fewer rights, attached elsewhere.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::last;

/// What a mount must not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refuse(u64);

impl Refuse {
    pub(crate) const DEVICES: Self = Self(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV);
    pub(crate) const WRITING: Self = Self(Self::DEVICES.0 | libc::MOUNT_ATTR_RDONLY);
    pub(crate) const WRITING_AND_EXECUTION: Self = Self(Self::WRITING.0 | libc::MOUNT_ATTR_NOEXEC);
    pub(crate) const EXECUTION_KEEP_DEVICES: Self =
        Self(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC);
}

/// A detached copy of the tree at `path` that refuses what is told.
pub(crate) fn copy_path(path: &CStr, refuse: Refuse) -> io::Result<OwnedFd> {
    copy(CWD, path, OpenTreeFlags::AT_RECURSIVE, refuse)
}

/// A detached copy of the tree at an open file or directory.
pub(crate) fn copy_open(file: BorrowedFd<'_>, refuse: Refuse) -> io::Result<OwnedFd> {
    copy(file, c"", OpenTreeFlags::AT_EMPTY_PATH, refuse)
}

fn copy(
    at: BorrowedFd<'_>,
    path: &CStr,
    extra: OpenTreeFlags,
    refuse: Refuse,
) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | extra;
    let tree = open_tree(at, path, flags)?;
    restrict(tree.as_fd(), c"", libc::AT_RECURSIVE, refuse)?;
    Ok(tree)
}

/// Attaches a detached tree below the current directory.
pub(crate) fn attach(tree: BorrowedFd<'_>, at: &CStr) -> io::Result<()> {
    move_mount(tree, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

/// Takes rights from the mount at `path` alone.
pub(crate) fn restrict_path(path: &CStr, refuse: Refuse) -> io::Result<()> {
    restrict(CWD, path, 0, refuse)
}

fn restrict(at: BorrowedFd<'_>, path: &CStr, flags: i32, refuse: Refuse) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: refuse.0,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: path is a C string, attributes outlives the call and the size is its own.
    let changed = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_raw_fd(),
            path.as_ptr(),
            flags | libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    last(changed).map(drop)
}
