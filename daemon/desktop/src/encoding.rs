//! The thread that copies, converts and encodes, so that input never waits for a frame.
//!
//! One job is with the thread at a time; job and buffers go there and come back, so a frame
//! allocates nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::event::{EventfdFlags, eventfd};
use sandbox_hw::{Config, EncodeError, Encoder, I420, Kind, Quality, Rect, Request};
use sandbox_protocol::{Bitrate, Micros, Size};

use crate::clock;
use crate::framebuffer::{Framebuffer, PIXEL_BYTES};

/// Opens the encoder that the plan names.
pub(crate) type Open = Box<dyn Fn(Config) -> Result<Box<dyn Encoder>, EncodeError> + Send>;

/// One frame to be made.
#[derive(Debug)]
pub(crate) struct Job {
    /// Which attach it is for.
    pub attach: u64,
    /// Size of the picture; another one than before makes a key frame of the whole.
    pub size: Size,
    /// What to copy from the framebuffer; empty for the picture as it was.
    pub rects: Vec<Rect>,
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
}

#[derive(Debug)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
    /// Readable when a job has come back.
    done: OwnedFd,
}

#[derive(Debug)]
enum Slot {
    Opening,
    Idle,
    Given(Box<Job>),
    Working,
    Done(Result<Done, EncodeError>),
    Ending,
}

impl Encoding {
    /// Starts the thread and lets it open the encoder.
    pub(crate) fn start(framebuffer: Framebuffer, open: Open, config: Config) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            slot: Mutex::new(Slot::Opening),
            changed: Condvar::new(),
            done: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        });
        let of_thread = Arc::clone(&shared);
        let thread = Builder::new()
            .name("encoder".to_owned())
            .spawn(move || work(&of_thread, framebuffer, open, config))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Waits until the encoder is open.
    pub(crate) fn wait_until_open(&self) -> Result<(), EncodeError> {
        let slot = self.shared.lock();
        let is_opening = |slot: &mut Slot| matches!(slot, Slot::Opening);
        let mut slot = self
            .shared
            .changed
            .wait_while(slot, is_opening)
            .unwrap_or_else(PoisonError::into_inner);
        if let Slot::Done(Err(error)) = std::mem::replace(&mut *slot, Slot::Idle) {
            return Err(error);
        }
        Ok(())
    }

    /// Gives the thread a frame to make.
    ///
    /// # Panics
    ///
    /// When it has one already.
    pub(crate) fn submit(&self, job: Box<Job>) {
        let mut slot = self.shared.lock();
        assert!(matches!(*slot, Slot::Idle), "two frames in the encoder");
        *slot = Slot::Given(job);
        self.shared.changed.notify_one();
    }

    /// Takes the job that has come back.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the encoder failed twice at the same frame.
    pub(crate) fn take(&self) -> Result<Option<Done>, EncodeError> {
        // The count is all there is to read; nothing to read means that nothing came back.
        if rustix::io::read(&self.shared.done, &mut [0; 8]).is_err() {
            return Ok(None);
        }
        let mut slot = self.shared.lock();
        if let Slot::Done(result) = std::mem::replace(&mut *slot, Slot::Idle) {
            return result.map(Some);
        }
        unreachable!("a job is reported after its result was put there")
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

    /// Puts a result into the slot; `false` when the worker ends.
    fn put(&self, result: Slot) -> bool {
        let mut slot = self.lock();
        if matches!(*slot, Slot::Ending) {
            return false;
        }
        let is_job = matches!(*slot, Slot::Working);
        *slot = result;
        self.changed.notify_one();
        if is_job && let Err(error) = rustix::io::write(&self.done, &1_u64.to_ne_bytes()) {
            tracing::error!(%error, "cannot report a frame");
        }
        true
    }

    /// Waits for the next job; `None` when the worker ends.
    fn next(&self) -> Option<Box<Job>> {
        let mut slot = self.lock();
        loop {
            slot = match std::mem::replace(&mut *slot, Slot::Working) {
                Slot::Given(job) => return Some(job),
                Slot::Ending => {
                    *slot = Slot::Ending;
                    return None;
                }
                other @ (Slot::Opening | Slot::Idle | Slot::Working | Slot::Done(_)) => {
                    *slot = other;
                    slot
                }
            };
            slot = self
                .changed
                .wait(slot)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work(shared: &Shared, framebuffer: Framebuffer, open: Open, config: Config) {
    let mut picture = match Picture::open(framebuffer, open, config) {
        Ok(picture) => {
            shared.put(Slot::Idle);
            picture
        }
        Err(error) => {
            shared.put(Slot::Done(Err(error)));
            return;
        }
    };
    while let Some(mut job) = shared.next() {
        let result = picture.make(&mut job).map(|encoded| Done { job, encoded });
        if !shared.put(Slot::Done(result)) {
            return;
        }
    }
}

/// The screen as it was last copied, and the encoder that has seen it.
struct Picture {
    framebuffer: Framebuffer,
    /// BGRX rows of the present size without gaps.
    shadow: Vec<u8>,
    row: Vec<u8>,
    changed: Vec<Rect>,
    frame: I420,
    encoder: Box<dyn Encoder>,
    config: Config,
    open: Open,
    pts: u64,
}

impl Picture {
    fn open(framebuffer: Framebuffer, open: Open, config: Config) -> Result<Self, EncodeError> {
        let row_bytes = usize::from(framebuffer.screen().width) * PIXEL_BYTES;
        Ok(Self {
            framebuffer,
            shadow: shadow(config.size),
            row: vec![0; row_bytes],
            changed: Vec::new(),
            frame: I420::new(config.size),
            encoder: open(config)?,
            config,
            open,
            pts: 0,
        })
    }

    fn make(&mut self, job: &mut Job) -> Result<Option<Encoded>, EncodeError> {
        if job.size != self.config.size {
            self.resize(job)?;
        }
        if job.bitrate != self.config.bitrate {
            if let Err(error) = self.encoder.set_bitrate(job.bitrate) {
                tracing::warn!(%error, "the encoder keeps its bitrate");
            }
            self.config.bitrate = job.bitrate;
        }
        let captured = clock::micros();
        self.copy_changed(&job.rects);
        if !job.rects.is_empty() && self.changed.is_empty() && job.kind == Kind::Auto {
            return Ok(None);
        }
        let size = self.config.size;
        let stride = usize::from(size.width) * PIXEL_BYTES;
        self.frame.update(&self.shadow, stride, &self.changed);
        let (is_keyframe, qp) = match self.encode(job) {
            Err(error) => {
                tracing::error!(%error, "the encoder is opened again");
                self.encoder = (self.open)(self.config)?;
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

    fn resize(&mut self, job: &mut Job) -> Result<(), EncodeError> {
        self.encoder.resize(job.size)?;
        self.config.size = job.size;
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
        let size = self.config.size;
        for rect in rects {
            let right = rect.x.saturating_add(rect.width).min(size.width);
            let bottom = rect.y.saturating_add(rect.height).min(size.height);
            let mut changed = None;
            for y in rect.y..bottom {
                if self.copy_row(rect.x, right, y) {
                    let (first, _) = changed.unwrap_or((y, y));
                    changed = Some((first, y));
                }
            }
            self.changed.extend(changed.map(|(first, last)| Rect {
                x: rect.x,
                y: first,
                width: right - rect.x,
                height: last - first + 1,
            }));
        }
    }

    /// Whether the pixels `left .. right` of row `y` are others than before.
    fn copy_row(&mut self, left: u16, right: u16, y: u16) -> bool {
        let bytes = usize::from(right.saturating_sub(left)) * PIXEL_BYTES;
        let at = (usize::from(y) * usize::from(self.config.size.width) + usize::from(left))
            * PIXEL_BYTES;
        let (Some(row), Some(before)) = (
            self.row.get_mut(..bytes),
            self.shadow.get_mut(at..at + bytes),
        ) else {
            return false;
        };
        self.framebuffer.copy_row(left, y, row);
        let is_changed = *row != *before;
        if is_changed {
            before.copy_from_slice(row);
        }
        is_changed
    }
}

fn shadow(size: Size) -> Vec<u8> {
    vec![0; usize::from(size.width) * usize::from(size.height) * PIXEL_BYTES]
}
