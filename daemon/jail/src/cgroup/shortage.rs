//! Notices that the kernel killed a session's program for memory.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;

use super::layout::Version;
use crate::limits::{MEMORY_KILL_LOOKS, MEMORY_KILL_PAUSE};

/// Watches one group. The kernel says only that memory is short, on v1 even before it kills:
/// the count is read a little later, and again until it has grown.
#[derive(Debug)]
pub(crate) struct Shortage {
    notice: OwnedFd,
    file: PathBuf,
    counted: u64,
    look: Option<Look>,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    pause: Duration,
    left: u32,
}

impl Shortage {
    /// Begins to watch the group in `directory`.
    pub(super) fn watch(version: Version, directory: &Path) -> io::Result<Self> {
        let (notice, file) = match version {
            Version::V1 => {
                let file = directory.join("memory.oom_control");
                let notice = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
                let control = File::open(&file)?;
                fs::write(
                    directory.join("cgroup.event_control"),
                    format!("{} {}", notice.as_raw_fd(), control.as_raw_fd()),
                )?;
                (notice, file)
            }
            Version::V2 => {
                let file = directory.join("memory.events");
                let notice =
                    inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
                inotify::add_watch(&notice, &file, inotify::WatchFlags::MODIFY)?;
                (notice, file)
            }
        };
        Ok(Self {
            notice,
            counted: killed(&file),
            file,
            look: None,
        })
    }

    /// Readable when memory is short.
    pub(crate) fn notice(&self) -> BorrowedFd<'_> {
        self.notice.as_fd()
    }

    /// Handles a readable [`Self::notice`].
    pub(crate) fn handle_notice(&mut self, now: Instant) {
        let mut drained = [0; 4096];
        // Whatever it says, it says that memory is short.
        let _said = rustix::io::read(&self.notice, &mut drained);
        self.look.get_or_insert(Look {
            at: now + MEMORY_KILL_PAUSE,
            pause: MEMORY_KILL_PAUSE,
            left: MEMORY_KILL_LOOKS,
        });
    }

    /// When the count is to be read.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.look.map(|it| it.at)
    }

    /// Reads the count when that is due; how many programs were killed since the last time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> u64 {
        let Some(look) = self.look.filter(|it| now >= it.at) else {
            return 0;
        };
        let more = self.count();
        let pause = look.pause * 2;
        self.look = (more == 0 && look.left > 0).then(|| Look {
            at: now + pause,
            pause,
            left: look.left - 1,
        });
        more
    }

    /// How many programs were killed since the last time.
    pub(crate) fn count(&mut self) -> u64 {
        let counted = killed(&self.file);
        let more = counted.saturating_sub(self.counted);
        self.counted = counted;
        more
    }
}

/// `oom_kill` of `memory.oom_control` (v1) and `memory.events` (v2) alike.
fn killed(file: &Path) -> u64 {
    fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .and_then(|it| it.trim().parse().ok())
        .unwrap_or_default()
}
