//! The thread that copies, converts and encodes, so that input never waits for a frame.
//!
//! One job is with the thread at a time; job and buffers go there and come back, so a frame
//! allocates nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use sandbox_hw::{EncodeError, Encoder, I420, Kind, Quality, Request};
use sandbox_protocol::{Bitrate, Deadline, Micros, Rect, Size, Wakeup};

use crate::clock;
use crate::framebuffer::{Framebuffer, PIXEL_BYTES};

/// Sides of the pieces in which changes are looked for: a damaged window in which a letter
/// changed is not encoded whole. Rows as high as H.264's blocks, columns as wide as one memory
/// comparison is quick.
const PIECE_ROWS: u16 = 16;
const PIECE_COLUMNS: u16 = 64;
const PIECE_BYTES: usize = PIECE_COLUMNS as usize * PIXEL_BYTES;

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
    /// What to copy from the framebuffer; empty for the picture as it was.
    pub rects: Vec<Rect>,
    /// A frame is wanted also where no pixel is another one.
    pub is_wanted: bool,
    pub kind: Kind,
    pub quality: Quality,
    pub bitrate: Bitrate,
    pub moment: Moment,
    /// The access unit, once encoded.
    pub payload: Vec<u8>,
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
    /// `None`: the damage changed no pixel, so there is nothing to show.
    pub encoded: Option<Encoded>,
}

/// What the encoder said about an access unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    pub is_keyframe: bool,
    pub qp: u8,
    pub captured: Micros,
    pub encoded: Micros,
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
        let picture = Picture::new(framebuffer, encoder, bitrate);
        let thread = Builder::new()
            .name("encoder".to_owned())
            .spawn(move || work(&of_thread, picture))?;
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

fn work(shared: &Shared, mut picture: Picture) {
    while let Some(work) = shared.next() {
        match work {
            Work::Rest => picture.rest(),
            Work::Frame(mut job) => {
                let encoded = picture.make(&mut job);
                if !shared.report(encoded.map(|encoded| Done { job, encoded })) {
                    return;
                }
            }
        }
    }
}

/// The screen as it was last copied, and the encoder that has seen it.
struct Picture {
    framebuffer: Framebuffer,
    size: Size,
    /// BGRX rows of `size` without gaps.
    shadow: Vec<u8>,
    row: Vec<u8>,
    changed: Vec<Rect>,
    frame: I420,
    encoder: Box<dyn Encoder>,
    bitrate: Bitrate,
    pts: u64,
}

impl Picture {
    fn new(framebuffer: Framebuffer, encoder: Box<dyn Encoder>, bitrate: Bitrate) -> Self {
        let row_bytes = usize::from(framebuffer.screen().width) * PIXEL_BYTES;
        let size = encoder.size();
        Self {
            framebuffer,
            size,
            shadow: shadow(size),
            row: vec![0; row_bytes],
            changed: Vec::new(),
            frame: I420::new(size),
            encoder,
            bitrate,
            pts: 0,
        }
    }

    fn make(&mut self, job: &mut Job) -> Result<Option<Encoded>, EncodeError> {
        if job.size != self.size {
            self.resize(job)?;
        }
        if job.bitrate != self.bitrate {
            if let Err(error) = self.encoder.set_bitrate(job.bitrate) {
                tracing::warn!(%error, "the encoder keeps its bitrate");
            }
            self.bitrate = job.bitrate;
        }
        let captured = clock::micros();
        self.copy_changed(&job.rects);
        let is_wanted = job.is_wanted || job.rects.is_empty() || job.kind != Kind::Auto;
        if self.changed.is_empty() && !is_wanted {
            return Ok(None);
        }
        let stride = usize::from(self.size.width) * PIXEL_BYTES;
        self.frame.update(&self.shadow, stride, &self.changed);
        let (is_keyframe, qp) = match self.encode(job) {
            Err(error) => {
                tracing::error!(%error, "the frame is tried again as a key frame");
                self.encode(job)?
            }
            Ok(encoded) => encoded,
        };
        Ok(Some(Encoded {
            is_keyframe,
            qp,
            captured,
            encoded: clock::micros(),
        }))
    }

    fn encode(&mut self, job: &mut Job) -> Result<(bool, u8), EncodeError> {
        self.pts += 1;
        let request = Request {
            pts: self.pts,
            kind: job.kind,
            quality: job.quality,
        };
        let access_unit = self.encoder.encode(&self.frame, request)?;
        job.payload.clear();
        job.payload.extend_from_slice(access_unit.bytes);
        Ok((access_unit.is_keyframe, access_unit.qp))
    }

    /// What the encoder holds for one size ends with that size.
    fn rest(&mut self) {
        if let Err(error) = self.encoder.resize(self.size) {
            tracing::warn!(%error, "the encoder keeps its memory");
        }
    }

    fn resize(&mut self, job: &mut Job) -> Result<(), EncodeError> {
        self.encoder.resize(job.size)?;
        self.size = job.size;
        self.shadow = shadow(job.size);
        self.frame = I420::new(job.size);
        job.kind = Kind::Keyframe;
        job.rects.clear();
        job.rects.push(Rect::whole(job.size));
        Ok(())
    }

    /// Copies `rects` from the framebuffer once, and notes where pixels really changed: many
    /// programs repaint what was there before.
    fn copy_changed(&mut self, rects: &[Rect]) {
        self.changed.clear();
        for rect in rects {
            let bottom = rect.y.saturating_add(rect.height).min(self.size.height);
            let mut top = rect.y;
            while top < bottom {
                let end = (top / PIECE_ROWS + 1) * PIECE_ROWS;
                self.copy_band(rect, top, end.min(bottom));
                top = end;
            }
        }
    }

    /// Copies the rows `top .. bottom` of `rect`; what changed there is one rectangle.
    fn copy_band(&mut self, rect: &Rect, top: u16, bottom: u16) {
        let right = rect.x.saturating_add(rect.width).min(self.size.width);
        let mut columns: Option<(u16, u16)> = None;
        for y in top..bottom {
            if let Some((from, to)) = self.copy_row(rect.x, right, y) {
                let (left, right) = columns.unwrap_or((from, to));
                columns = Some((left.min(from), right.max(to)));
            }
        }
        self.changed.extend(columns.map(|(from, to)| Rect {
            x: from,
            y: top,
            width: to - from,
            height: bottom - top,
        }));
    }

    /// Copies the pixels `left .. right` of row `y`; returns from where to where they are others
    /// than before, to the piece.
    fn copy_row(&mut self, left: u16, right: u16, y: u16) -> Option<(u16, u16)> {
        let bytes = usize::from(right.saturating_sub(left)) * PIXEL_BYTES;
        let at = (usize::from(y) * usize::from(self.size.width) + usize::from(left)) * PIXEL_BYTES;
        let row = self.row.get_mut(..bytes)?;
        let before = self.shadow.get_mut(at..at + bytes)?;
        self.framebuffer.copy_row(left, y, row);
        let mut pieces = row.chunks(PIECE_BYTES).zip(before.chunks(PIECE_BYTES));
        let is_changed = |(row, before): (&[u8], &[u8])| row != before;
        let first = pieces.position(is_changed)?;
        // Exact-size iterators count from the back too.
        let last = row
            .chunks(PIECE_BYTES)
            .zip(before.chunks(PIECE_BYTES))
            .rposition(is_changed)?;
        before.copy_from_slice(row);
        let column = |piece: usize| {
            let offset = u16::try_from(piece).unwrap_or(u16::MAX);
            left.saturating_add(offset.saturating_mul(PIECE_COLUMNS))
        };
        Some((column(first), column(last + 1).min(right)))
    }
}

fn shadow(size: Size) -> Vec<u8> {
    vec![0; usize::from(size.width) * usize::from(size.height) * PIXEL_BYTES]
}

#[cfg(test)]
mod tests;
