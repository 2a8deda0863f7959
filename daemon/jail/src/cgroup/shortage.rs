//! Notices that the kernel killed a session's programs for memory, and which.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;

use super::census::Census;
use super::layout::Version;
use crate::limits::{MEMORY_KILL_LOOKS, MEMORY_KILL_PAUSE};

/// Watches one group. The kernel says only that memory is short, on v1 even before it kills:
/// the count is read a little later, and again until it has grown.
#[derive(Debug)]
pub(crate) struct Shortage {
    notice: OwnedFd,
    directory: PathBuf,
    file: PathBuf,
    counted: u64,
    /// Killed and not told yet, because their names may still become known.
    untold: u64,
    /// Who was there when memory became short.
    census: Census,
    look: Option<Look>,
}

/// Programs that the kernel killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Killed {
    pub(crate) count: u64,
    /// The largest of them, as far as they are known.
    pub(crate) names: Vec<String>,
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
            directory: directory.to_owned(),
            counted: killed(&file),
            file,
            untold: 0,
            census: Census::default(),
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
        if self.look.is_none() {
            // Most often before the kernel kills, or while what it killed still leaves.
            self.census = Census::take(&self.directory);
            self.look = Some(Look {
                at: now + MEMORY_KILL_PAUSE,
                pause: MEMORY_KILL_PAUSE,
                left: MEMORY_KILL_LOOKS,
            });
        }
    }

    /// When the count is to be read.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.look.map(|it| it.at)
    }

    /// Reads the count when that is due; what was killed since the last time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Killed {
        let Some(look) = self.look.filter(|it| now >= it.at) else {
            return Killed::default();
        };
        self.count();
        let names = if self.untold > 0 {
            self.census.missing(&self.directory)
        } else {
            Vec::new()
        };
        let is_known = self.untold > 0 && (!names.is_empty() || self.census.is_empty());
        if is_known || look.left == 0 {
            self.look = None;
            return self.tell(names);
        }
        let pause = look.pause * 2;
        self.look = Some(Look {
            at: now + pause,
            pause,
            left: look.left - 1,
        });
        Killed::default()
    }

    /// What was killed since the last time, for an end.
    pub(crate) fn finish(mut self) -> Killed {
        self.count();
        self.tell(Vec::new())
    }

    fn count(&mut self) {
        let counted = killed(&self.file);
        self.untold += counted.saturating_sub(self.counted);
        self.counted = counted;
    }

    /// No more names than were killed.
    fn tell(&mut self, mut names: Vec<String>) -> Killed {
        let count = std::mem::take(&mut self.untold);
        names.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        Killed { count, names }
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
