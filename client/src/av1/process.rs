//! The process that decodes: this program, started again with nothing but a socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sandbox_protocol::{Rect, Size};

use super::exchange::{Fault, Picture};
use super::link::Link;
use super::{ROLE, UNCONFINED};

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// This system does not confine it, and will not the next time.
    Unconfined,
    /// In words.
    Other(String),
}

/// Ends with its owner.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    link: Link,
}

impl Process {
    pub(super) fn start(program: &Path) -> Result<Self, Fault> {
        let start = || -> io::Result<Self> {
            let (ours, theirs) = UnixStream::pair()?;
            let child = Command::new(program)
                .arg(ROLE)
                .env_clear()
                .current_dir("/")
                // Ctrl+C in a terminal is for its owner, who ends it.
                .process_group(0)
                .stdin(OwnedFd::from(theirs))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            let link = Link::new(ours)?;
            Ok(Self { child, link })
        };
        start().map_err(Fault::Start)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn ask(
        &mut self,
        temporal_unit: &[u8],
        size: Size,
        area: Rect,
    ) -> Result<Picture<'_>, Fault> {
        self.link.ask(temporal_unit, size, area)
    }

    /// How it ended, once it is gone.
    pub(super) fn end(mut self) -> Ending {
        // It may have closed its socket and stayed. One that ends already is not hurt.
        let _ended = self.child.kill();
        match self.child.wait() {
            Ok(status) if status.code() == Some(UNCONFINED.into()) => Ending::Unconfined,
            Ok(status) => Ending::Other(status.to_string()),
            Err(error) => Ending::Other(error.to_string()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, and been waited for, already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
