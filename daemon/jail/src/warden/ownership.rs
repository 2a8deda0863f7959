//! Gives a tree of files from one owner to another.
//!
//! A server of an ordinary user begins with one uid for everything; once the host delegates more
//! to that user, what was kept until then gets the owner that it would have had.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchown, openat, statat};

/// From whom to whom; the gid is the same number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) from: u32,
    pub(crate) to: (u32, u32),
}

impl Change {
    /// Applies to everything below `name` in `parent` and at last to itself, so that an
    /// interrupted change is seen as none and is made again.
    pub(crate) fn apply(self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let directory = open_directory(parent, name)?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            // Followed nowhere: what a link points to may be anybody's.
            let status = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                self.apply(directory.as_fd(), name)?;
            } else if status.st_uid == self.from {
                let (uid, gid) = self.ids();
                chownat(&directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        let (uid, gid) = self.ids();
        Ok(fchown(&directory, uid, gid)?)
    }

    fn ids(self) -> (Option<Uid>, Option<Gid>) {
        let (uid, gid) = self.to;
        (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}
