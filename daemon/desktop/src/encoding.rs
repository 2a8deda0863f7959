//! The thread that copies, composes and encodes, so that input never waits for a frame.
//!
//! One job is with the thread at a time; job and buffers go there and come back, so a frame
//! allocates nothing.

mod allowance;
mod maker;
mod screen;
mod updates;
mod video;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use sandbox_hw::{EncodeError, Encoder};
use sandbox_protocol::local::frame::Content;
use sandbox_protocol::local::worker::Pictures;
use sandbox_protocol::{Bitrate, Deadline, Micros, Rect, Size, Wakeup};

use self::maker::Maker;
pub(crate) use self::updates::Rest;
pub(crate) use self::video::Encoded;
use crate::clock;
use crate::framebuffer::Framebuffer;

/// For one frame: a key frame at 4K takes half a second, on a machine that has other things to do
/// a few.
const FRAME_MAX: Duration = Duration::from_secs(10);

/// One frame to be made.
#[derive(Debug)]
pub(crate) struct Job {
    /// Which attach it is for.
    pub attach: u64,
    /// Size of the picture; another one than before makes a key frame of the whole.
    pub size: Size,
    pub pictures: Pictures,
    /// What to copy from the framebuffer; empty for the picture as it was.
    pub rects: Vec<Rect>,
    pub wants: Wants,
    pub bitrate: Bitrate,
    pub moment: Moment,
    /// The access unit, once encoded.
    pub access_unit: Vec<u8>,
    /// The update, once composed.
    pub update: Vec<u8>,
}

/// What a frame shall be beyond what has changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wants {
    pub reference: Reference,
    /// The update needs nothing before it.
    pub is_whole: bool,
    /// An access unit comes whether anything is new or not.
    pub touches: bool,
    /// The access unit has this quantiser.
    pub refines: Option<u8>,
    /// The update makes exact what has come to rest.
    pub repaints: bool,
}

/// What viewers' decoders have of the video before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reference {
    /// All of it.
    #[default]
    All,
    /// The newest access unit is lost to one, and so many before it.
    Lost(u32),
    /// One has nothing.
    Nothing,
}

/// What was known when the capture was decided.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    pub input_seq: u32,
    pub injected: Micros,
    pub damaged: Micros,
}

/// A job that came back.
#[derive(Debug)]
pub(crate) struct Done {
    pub job: Box<Job>,
    pub made: Made,
}

/// What became of a frame: nothing where the damage changed no pixel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub access_unit: Option<Encoded>,
    /// The access unit is larger than viewers take, and is in no update.
    pub is_too_large: bool,
    pub update: Option<Content>,
    pub has_changed: bool,
    pub captured: Micros,
    pub finished: Micros,
    pub rest: Rest,
}

/// The thread, seen from outside.
#[derive(Debug)]
pub(crate) struct Encoding {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Since when it has a frame.
    given: Option<Instant>,
}

/// The thread has not come back with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encoder has worked on one frame for {} s", FRAME_MAX.as_secs())]
pub(crate) struct Hanging;

#[derive(Debug)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
    /// Readable when a job has come back.
    done: OwnedFd,
}

#[derive(Debug)]
enum Slot {
    Idle,
    /// Nobody watches: memory and threads of the encoder can go.
    Rest,
    Given(Box<Job>),
    Working,
    Done(Result<Done, EncodeError>),
    Ending,
}

impl Encoding {
    /// Starts the thread.
    pub(crate) fn start(
        framebuffer: Framebuffer,
        encoder: Box<dyn Encoder>,
        bitrate: Bitrate,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            slot: Mutex::new(Slot::Idle),
            changed: Condvar::new(),
            done: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        });
        let of_thread = Arc::clone(&shared);
        let maker = Maker::new(framebuffer, encoder, bitrate);
        let thread = Builder::new()
            .name("encoder".to_owned())
            .spawn(move || work(&of_thread, maker))?;
        Ok(Self {
            shared,
            thread: Some(thread),
            given: None,
        })
    }

    /// Gives the thread a frame to make.
    ///
    /// # Panics
    ///
    /// When it has one already.
    pub(crate) fn submit(&mut self, job: Box<Job>, now: Instant) {
        self.given = Some(now);
        let mut slot = self.shared.lock();
        assert!(
            matches!(*slot, Slot::Idle | Slot::Rest),
            "two frames in the encoder"
        );
        *slot = Slot::Given(job);
        self.shared.changed.notify_one();
    }

    /// Lets the encoder give back what it needs for frames; the next one takes it again.
    pub(crate) fn rest(&self) {
        let mut slot = self.shared.lock();
        if matches!(*slot, Slot::Idle) {
            *slot = Slot::Rest;
            self.shared.changed.notify_one();
        }
    }

    /// Takes the job that has come back.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the encoder failed twice at the same frame.
    pub(crate) fn take(&mut self) -> Result<Option<Done>, EncodeError> {
        // The count is all there is to read; nothing to read means that nothing came back.
        if rustix::io::read(&self.shared.done, &mut [0; 8]).is_err() {
            return Ok(None);
        }
        self.given = None;
        let mut slot = self.shared.lock();
        if let Slot::Done(result) = std::mem::replace(&mut *slot, Slot::Idle) {
            return result.map(Some);
        }
        unreachable!("a job is reported after its result was put there")
    }
}

impl Encoding {
    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.given.map(|given| Deadline {
            at: given + FRAME_MAX,
            why: Wakeup::StuckEncoder,
        })
    }

    /// Lets time pass.
    ///
    /// # Errors
    ///
    /// [`Hanging`] when the frame is late; the thread is not waited for then, at the end neither.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Hanging> {
        if self.poll_timeout().is_none_or(|it| now < it.at) {
            return Ok(());
        }
        self.thread = None;
        Err(Hanging)
    }
}

impl AsFd for Encoding {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.done.as_fd()
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        *self.shared.lock() = Slot::Ending;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the encoder's thread panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a job; `false` when the worker ends.
    fn report(&self, result: Result<Done, EncodeError>) -> bool {
        let mut slot = self.lock();
        if matches!(*slot, Slot::Ending) {
            return false;
        }
        *slot = Slot::Done(result);
        if let Err(error) = rustix::io::write(&self.done, &1_u64.to_ne_bytes()) {
            tracing::error!(%error, "cannot report a frame");
        }
        true
    }

    /// Waits for what to do next; `None` when the worker ends.
    fn next(&self) -> Option<Work> {
        let mut slot = self.lock();
        loop {
            let (work, after) = match std::mem::replace(&mut *slot, Slot::Idle) {
                Slot::Given(job) => (Some(Work::Frame(job)), Slot::Working),
                Slot::Rest => (Some(Work::Rest), Slot::Idle),
                Slot::Ending => {
                    *slot = Slot::Ending;
                    return None;
                }
                other @ (Slot::Idle | Slot::Working | Slot::Done(_)) => (None, other),
            };
            *slot = after;
            if work.is_some() {
                return work;
            }
            slot = self
                .changed
                .wait(slot)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

enum Work {
    Frame(Box<Job>),
    Rest,
}

fn work(shared: &Shared, mut maker: Maker) {
    while let Some(work) = shared.next() {
        match work {
            Work::Rest => maker.rest(),
            Work::Frame(mut job) => {
                let made = maker.make(&mut job, clock::now());
                if !shared.report(made.map(|made| Done { job, made })) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
