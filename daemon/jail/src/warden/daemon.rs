//! The daemon as the warden's child: started without rights, restarted when it crashes.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, memfd_create};
use rustix::net::SocketType;
use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
    setsid, umask,
};
use rustix::thread::set_no_new_privs;
use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::warden::{Event, Request};
use sandbox_protocol::{SessionId, codec};

use super::listen::Listeners;
use super::session::Outgoing;
use super::wire::{self, Received};
use crate::account::become_powerless;
use crate::cover::Cover;
use crate::jail::apart;
use crate::limits::{DAEMON_EVENTS_MAX, DAEMON_PAUSE_MAX, DAEMON_PAUSE_MIN, DAEMON_PROVEN};
use crate::sys::descriptors::place;
use crate::sys::process::{Exit, Image, Process, execute};
use crate::sys::signals;

/// Descriptors a busy daemon needs: sockets of viewers and sessions.
const NOFILE: u64 = 65_536;

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Process,
    /// Gone when it is of no more use; the daemon's end follows.
    link: Option<OwnedFd>,
    waiting: VecDeque<Outgoing>,
    since: Instant,
    is_ready: bool,
}

/// Why the link is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the daemon closed its link")]
    Closed,
    #[error("the daemon sent no request: {0}")]
    Malformed(#[from] codec::CodecError),
    #[error("the daemon asked for something before it was ready")]
    Early,
    #[error("the daemon said that it is ready twice")]
    ReadyTwice,
    #[error("{DAEMON_EVENTS_MAX} events wait for the daemon")]
    Stuck,
    #[error("the daemon's link fails")]
    Io(#[from] io::Error),
}

/// What a daemon is started with.
#[derive(Debug)]
pub(crate) struct Birth<'a> {
    pub(crate) executable: BorrowedFd<'a>,
    pub(crate) ids: (u32, u32),
    /// What is hidden from it.
    pub(crate) cover: Option<&'a Cover>,
    pub(crate) config: &'a OwnedFd,
    pub(crate) listeners: &'a Listeners,
    pub(crate) weaker: Vec<String>,
    pub(crate) sessions: Vec<SessionId>,
}

impl Daemon {
    pub(crate) fn start(birth: &Birth<'_>, now: Instant) -> io::Result<Self> {
        let (link, theirs) = wire::pair(SocketType::SEQPACKET)?;
        let warden = rustix::process::getpid();
        let process = apart(|| {
            let failed = become_daemon(birth, theirs.as_fd(), warden);
            tracing::error!(error = %failed, "cannot become the daemon");
            1
        })?;
        let mut daemon = Self {
            process,
            link: Some(link),
            waiting: VecDeque::new(),
            since: now,
            is_ready: false,
        };
        if let Err(error) = daemon.greet(birth) {
            daemon.kill();
            daemon.process.wait();
            return Err(error);
        }
        Ok(daemon)
    }

    fn greet(&mut self, birth: &Birth<'_>) -> io::Result<()> {
        // A description of its own, so that each daemon reads from the start and none writes.
        let path = format!("/proc/self/fd/{}", birth.config.as_raw_fd());
        let config = std::fs::File::open(path)?;
        let hello = Event::Hello {
            version: VERSION,
            tcp: 1,
            udp: 1,
            metrics: birth.listeners.metrics(),
            weaker: birth.weaker.clone(),
            sessions: birth.sessions.clone(),
        };
        let mut descriptors = vec![config.as_fd()];
        descriptors.extend(birth.listeners.descriptors());
        let bytes = codec::encode(&hello).map_err(io::Error::other)?;
        let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        wire::send(link, &bytes, &descriptors)
    }

    pub(crate) fn link(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Whether it serves.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Whether it lived long enough to be restarted soon.
    pub(crate) fn is_proven(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= DAEMON_PROVEN
    }

    /// Whether events wait until it reads.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next request, if there is one; that it is ready is kept here.
    pub(crate) fn next_request(&mut self) -> Result<Option<Request>, LinkError> {
        while let Some(link) = &self.link {
            let request = match wire::receive(link)? {
                Received::Nothing => return Ok(None),
                Received::Closed => return Err(LinkError::Closed),
                Received::Packet(bytes) => codec::decode::<Request>(&bytes)?,
            };
            match request {
                Request::Ready if self.is_ready => return Err(LinkError::ReadyTwice),
                Request::Ready => self.is_ready = true,
                Request::Start(_)
                | Request::Attach { .. }
                | Request::Usage { .. }
                | Request::End { .. }
                | Request::Certificate => return Ok(Some(request)),
            }
        }
        Ok(None)
    }

    /// The next word of one that may not serve yet; nothing is read after the word that it does.
    pub(crate) fn hear(&mut self) -> Result<Option<Request>, LinkError> {
        let Some(link) = &self.link else {
            return Ok(None);
        };
        let request = match wire::receive(link)? {
            Received::Nothing => return Ok(None),
            Received::Closed => return Err(LinkError::Closed),
            Received::Packet(bytes) => codec::decode::<Request>(&bytes)?,
        };
        self.is_ready |= request == Request::Ready;
        Ok(Some(request))
    }

    /// The process alone, to be collected when it ends.
    pub(crate) fn into_process(self) -> Process {
        self.process
    }

    /// Sends what fits into the link and keeps the rest in order.
    pub(crate) fn send(&mut self, events: impl Iterator<Item = Outgoing>) -> Result<(), LinkError> {
        self.waiting.extend(events.filter(|_| self.link.is_some()));
        while let (Some(link), Some(next)) = (&self.link, self.waiting.front()) {
            let bytes = codec::encode(&next.event)?;
            let descriptors: Vec<_> = next.descriptors.iter().map(AsFd::as_fd).collect();
            match wire::send(link, &bytes, &descriptors) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.waiting.len() > DAEMON_EVENTS_MAX {
            return Err(LinkError::Stuck);
        }
        Ok(())
    }

    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Hears no more of it.
    pub(crate) fn hang_up(&mut self) {
        self.link = None;
        self.waiting.clear();
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.hang_up();
        self.process.kill();
    }

    pub(crate) fn try_wait(&self) -> Option<Exit> {
        // Whoever cannot be waited for is gone.
        self.process.try_wait().unwrap_or(Some(Exit::Code(1)))
    }
}

/// The pause before the next start, given the last one.
pub(crate) fn next_pause(last: Option<Duration>) -> Duration {
    last.map_or(DAEMON_PAUSE_MIN, |it| (it * 2).min(DAEMON_PAUSE_MAX))
}

/// The daemon's own configuration in memory that nobody can change.
pub(crate) fn sealed_config(bytes: &[u8]) -> io::Result<OwnedFd> {
    let memory = memfd_create(
        "daemon-config",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )?;
    fchmod(&memory, Mode::RUSR)?;
    let mut file = std::fs::File::from(memory);
    io::Write::write_all(&mut file, bytes)?;
    let memory = OwnedFd::from(file);
    fcntl_add_seals(
        &memory,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )?;
    Ok(memory)
}

/// Returns only on failure.
fn become_daemon(
    birth: &Birth<'_>,
    link: BorrowedFd<'_>,
    warden: rustix::process::Pid,
) -> io::Error {
    match try_become_daemon(birth, link, warden) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_become_daemon(
    birth: &Birth<'_>,
    link: BorrowedFd<'_>,
    warden: rustix::process::Pid,
) -> io::Result<std::convert::Infallible> {
    const EXECUTABLE: i32 = 3;
    // The log goes where the warden's goes.
    place(&[link.as_raw_fd(), 1, 2, birth.executable.as_raw_fd()], 3)?;
    signals::restore_defaults()?;
    setsid()?;
    birth.cover.map_or(Ok(()), Cover::lay)?;
    umask(Mode::from_raw_mode(0o077));
    std::env::set_current_dir("/")?;
    limit_resources()?;
    become_powerless(birth.ids.0, birth.ids.1)?;
    set_no_new_privs(true)?;
    // After the last change of identity, which clears it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(warden) {
        return Err(io::Error::other("the warden is gone"));
    }
    let arguments: Vec<CString> = vec![c"sandbox-server".into(), c"daemon".into()];
    execute(&Image::Descriptor(EXECUTABLE), &arguments, &[])
}

fn limit_resources() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(NOFILE);
    let most = hard.max(NOFILE);
    // Root may raise it; where something forbids that, the hard limit has to do.
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        },
    );
    if raised.is_err() {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(hard),
                maximum: Some(hard),
            },
        )?;
    }
    Ok(())
}
