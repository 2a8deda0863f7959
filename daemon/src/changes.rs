//! Tells open sockets that accounts or sign-ins changed, by us or by another program.
//!
//! `sandbox-server user …` writes into the same database from another process, and then touches a
//! file; inotify wakes the daemon, so that a revocation takes effect at once and nothing polls.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_channel::{Receiver, Sender};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use smol::Async;

/// Wakes everybody who listens; clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    listeners: Arc<Mutex<Vec<Sender<()>>>>,
}

impl Changes {
    /// Listens from here on; several changes in a row may wake once.
    pub fn listen(&self) -> Receiver<()> {
        let (sender, receiver) = async_channel::bounded(1);
        let mut listeners = self.lock();
        listeners.retain(|it| !it.is_closed());
        listeners.push(sender);
        receiver
    }

    /// Wakes everybody.
    pub fn announce(&self) {
        for listener in self.lock().iter() {
            // Full: it is about to wake anyway. Closed: it is gone.
            let _awake = listener.try_send(());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sender<()>>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file that other programs touch.
fn marker(dir: &Path) -> PathBuf {
    dir.join("changed")
}

/// Tells a running daemon that accounts or sign-ins changed.
///
/// # Errors
///
/// Returns the error of writing the file.
pub fn touch(dir: &Path) -> io::Result<()> {
    fs::write(marker(dir), b"")
}

/// The daemon's side of [`touch`].
#[derive(Debug)]
pub struct Watch {
    socket: Async<OwnedFd>,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// Returns the error of making the file or the watch.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = marker(dir);
        drop(
            File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?,
        );
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&inotify, &path, WatchFlags::CLOSE_WRITE)?;
        Ok(Self {
            socket: Async::new_nonblocking(inotify)?,
        })
    }

    /// Waits for the next change.
    ///
    /// # Errors
    ///
    /// Returns the error of reading.
    pub async fn changed(&self) -> io::Result<()> {
        self.socket
            .read_with(|it| {
                let mut space = [MaybeUninit::<u8>::uninit(); 512];
                let mut events = Reader::new(it, &mut space);
                events.next()?;
                // What else stands in the buffer says the same.
                while !events.is_buffer_empty() {
                    events.next()?;
                }
                Ok(())
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touch_by_another_program_wakes_the_watch_once() {
        let dir = std::env::temp_dir().join(format!("sandbox-changes-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let watch = Watch::open(&dir).unwrap();
        smol::block_on(async {
            touch(&dir).unwrap();
            watch.changed().await.unwrap();
            let again = futures_lite::future::poll_once(watch.changed()).await;
            assert!(again.is_none());
            touch(&dir).unwrap();
            watch.changed().await.unwrap();
        });
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn whoever_listens_is_woken_and_who_left_is_forgotten() {
        let changes = Changes::default();
        let stays = changes.listen();
        drop(changes.listen());
        changes.announce();
        changes.announce();
        assert_eq!(stays.try_recv(), Ok(()));
        assert!(stays.try_recv().is_err());
        let _another = changes.listen();
        assert_eq!(changes.lock().len(), 2);
    }
}
