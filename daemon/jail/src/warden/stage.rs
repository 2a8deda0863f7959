//! What a session stands on before any jail runs: its X socket, its framebuffer, its cookie, and
//! the page in which one worker leaves notes for the next.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{
    AtFlags, Gid, MemfdFlags, Mode, OFlags, SealFlags, Uid, chmodat, chownat, fcntl_add_seals,
    ftruncate, memfd_create, mkdirat, openat, unlinkat,
};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use sandbox_protocol::{SessionId, Size};

use crate::sys::mounts::{Refuse, copy_open};

/// Clients that may wait while Xvfb is busy.
const BACKLOG: i32 = 128;

const SOCKET: &str = "X0";

/// One page.
const NOTES_BYTES: u64 = 4096;

/// How Xvfb lays out the file of `-fbdir`; a test holds it against the real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// XWD header with the window's name, then 256 colours of 12 bytes.
    pub(crate) pixels_offset: u32,
    pub(crate) stride: u32,
    pub(crate) bytes: u64,
}

impl Geometry {
    pub(crate) fn of(screen: Size) -> Self {
        const HEADER: u32 = 100 + 60;
        const COLOURS: u32 = 256 * 12;
        let stride = u32::from(screen.width) * 4;
        let pixels_offset = HEADER + COLOURS;
        Self {
            pixels_offset,
            stride,
            bytes: u64::from(pixels_offset) + u64::from(stride) * u64::from(screen.height),
        }
    }
}

/// The files of one session.
#[derive(Debug)]
pub(crate) struct Stage {
    name: String,
    directory: OwnedFd,
    pub(crate) listener: OwnedFd,
    pub(crate) framebuffer: OwnedFd,
    pub(crate) notes: OwnedFd,
    pub(crate) cookie: [u8; 16],
}

impl Stage {
    /// Makes them below `runtime`. The X socket admits `programs` alone, and only with the cookie.
    pub(crate) fn create(
        runtime: &OwnedFd,
        session: SessionId,
        screen: Size,
        programs: u32,
    ) -> io::Result<Self> {
        let name = format!("session-{session}");
        mkdirat(runtime, &name, Mode::RWXU)?;
        let made = (|| {
            let directory = openat(
                runtime,
                &name,
                OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let listener = listening(&directory, programs)?;
            let framebuffer = sealed_memory("framebuffer", Geometry::of(screen).bytes)?;
            let notes = sealed_memory("worker-notes", NOTES_BYTES)?;
            let mut cookie = [0; 16];
            getrandom::fill(&mut cookie).map_err(io::Error::other)?;
            Ok(Self {
                name: name.clone(),
                directory,
                listener,
                framebuffer,
                notes,
                cookie,
            })
        })();
        if made.is_err() {
            remove(runtime, &name)?;
        }
        made
    }

    /// A connection that waits in the backlog until Xvfb accepts it.
    pub(crate) fn connect(&self) -> io::Result<OwnedFd> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        connect(&socket, &address(&self.directory)?)?;
        Ok(socket)
    }

    /// The X socket's path as a detached mount, for the programs.
    pub(crate) fn socket_mount(&self) -> io::Result<OwnedFd> {
        let socket = openat(
            &self.directory,
            SOCKET,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        copy_open(socket.as_fd(), Refuse::WRITING_AND_EXECUTION)
    }

    /// Removes the files.
    pub(crate) fn remove(&self, runtime: &OwnedFd) -> io::Result<()> {
        remove(runtime, &self.name)
    }
}

/// Removes one session's files; those that are gone already are no error.
pub(crate) fn remove(runtime: &OwnedFd, name: &str) -> io::Result<()> {
    for (path, flags) in [
        (format!("{name}/{SOCKET}"), AtFlags::empty()),
        (name.to_owned(), AtFlags::REMOVEDIR),
    ] {
        match unlinkat(runtime, &path, flags) {
            Err(error) if error != Errno::NOENT => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// A socket path holds 107 bytes; this one is short wherever the directory lies.
fn address(directory: &OwnedFd) -> io::Result<SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    Ok(SocketAddrUnix::new(path)?)
}

fn listening(directory: &OwnedFd, owner: u32) -> io::Result<OwnedFd> {
    let listener = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&listener, &address(directory)?)?;
    // The directory is root's, 0700: nobody else reaches the socket before its mode is right.
    chmodat(directory, SOCKET, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    chownat(
        directory,
        SOCKET,
        Some(Uid::from_raw(owner)),
        Some(Gid::from_raw(owner)),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Its size can never change again, so that no reader meets a missing page.
fn sealed_memory(name: &str, bytes: u64) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => memfd_create(name, flags)?,
        outcome => outcome?,
    };
    ftruncate(&memory, bytes)?;
    fcntl_add_seals(
        &memory,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_framebuffer_keeps_its_size() {
        let memory = sealed_memory("framebuffer", 8192).unwrap();
        assert_eq!(ftruncate(&memory, 0), Err(Errno::PERM));
        assert_eq!(ftruncate(&memory, 16384), Err(Errno::PERM));
    }

    #[test]
    fn the_geometry_is_that_of_32_bit_pixels() {
        let geometry = Geometry::of(Size {
            width: 3840,
            height: 2160,
        });
        assert_eq!(geometry.stride, 15_360);
        assert_eq!(geometry.bytes, 3_232 + 15_360 * 2_160);
    }
}
