//! A user's home, opened by a process of its own so that a stuck disk stops nobody else.

use std::ffi::CString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, mkdirat, openat2, renameat,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketType, recvmsg};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::ownership::Change;
use super::wire;
use crate::jail::apart;
use crate::limits::HOME_TIMEOUT;
use crate::sys::descriptors::{place, placed};
use crate::sys::mounts::{Refuse, copy_open};
use crate::sys::process::Process;

/// Whose a home is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    /// Whose homes were made when there was one uid for everybody; they change their owner.
    pub(crate) former: Option<u32>,
}

/// The process that opens one home.
#[derive(Debug)]
pub(crate) struct Opening {
    process: Process,
    answer: OwnedFd,
    /// Then the home is taken for stuck.
    pub(crate) deadline: Instant,
}

impl Opening {
    /// Starts to open, and if need be to make, the home `name` below `homes`.
    pub(crate) fn start(
        homes: BorrowedFd<'_>,
        null: BorrowedFd<'_>,
        name: &str,
        owner: Owner,
        now: Instant,
    ) -> io::Result<Self> {
        let (answer, theirs) = wire::pair(SocketType::SEQPACKET)?;
        let process = apart(|| match step(homes, null, theirs.as_fd(), name, owner) {
            Ok(()) => 0,
            Err(_) => 1,
        })?;
        Ok(Self {
            process,
            answer,
            deadline: now + HOME_TIMEOUT,
        })
    }

    /// Readable when the answer is there.
    pub(crate) fn answer(&self) -> BorrowedFd<'_> {
        self.answer.as_fd()
    }

    /// The home as a detached mount.
    pub(crate) fn take(&self) -> io::Result<OwnedFd> {
        let mut text = [0; 512];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.answer,
            &mut [IoSliceMut::new(&mut text)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        )?;
        let tree = control.drain().find_map(|message| {
            let RecvAncillaryMessage::ScmRights(mut descriptors) = message else {
                return None;
            };
            descriptors.next()
        });
        tree.ok_or_else(|| {
            let text = text.get(..received.bytes).unwrap_or_default();
            match String::from_utf8_lossy(text).as_ref() {
                "" => io::Error::other("the step on the home ended without an answer"),
                why => io::Error::other(why.to_owned()),
            }
        })
    }

    /// Gives the process up; it is collected when it ends, if it ever does.
    pub(crate) fn abandon(self) -> Process {
        self.process.kill();
        self.process
    }
}

/// In the process of its own.
fn step(
    homes: BorrowedFd<'_>,
    null: BorrowedFd<'_>,
    answer: BorrowedFd<'_>,
    name: &str,
    owner: Owner,
) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Everything else of the warden's stays with the warden, however long this hangs.
    let kept = [null, null, null, answer, homes].map(|it| it.as_raw_fd());
    place(&kept, 3)?;
    let (answer, homes) = (placed(3), placed(4));
    match open(&homes, name, owner) {
        Ok(tree) => wire::send(&answer, b"home", &[tree.as_fd()]),
        Err(error) => wire::send(&answer, error.to_string().as_bytes(), &[]),
    }
}

fn open(homes: &OwnedFd, name: &str, Owner { uid, former }: Owner) -> io::Result<OwnedFd> {
    let home = match open_beneath(homes, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(homes, name, uid)?;
            open_beneath(homes, name)?
        }
        outcome => outcome?,
    };
    let found = fstat(&home)?.st_uid;
    if former == Some(found) {
        let name = CString::new(name)?;
        let to = (uid, uid);
        Change { from: found, to }.apply(homes.as_fd(), &name)?;
    } else if found != uid {
        return Err(io::Error::other(format!(
            "the home {name} belongs to uid {found}, not to {uid} of this user"
        )));
    }
    copy_open(home.as_fd(), Refuse::DEVICES)
}

fn open_beneath(homes: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    Ok(openat2(
        homes,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?)
}

/// Made aside and renamed, so that no half-made home is ever seen under its name.
fn make(homes: &OwnedFd, name: &str, owner: u32) -> io::Result<()> {
    let aside = format!(".new-{name}");
    match mkdirat(homes, &aside, Mode::RWXU) {
        Err(error) if error != rustix::io::Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    chownat(
        homes,
        &aside,
        Some(Uid::from_raw(owner)),
        Some(Gid::from_raw(owner)),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    renameat(homes, &aside, homes, name)?;
    Ok(())
}
