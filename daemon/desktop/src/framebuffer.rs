//! The framebuffer that Xvfb draws into, mapped read-only. Pixels leave it by copying alone:
//! Xvfb writes while we read, so nothing may look at them twice in place.
#![allow(
    unsafe_code,
    reason = "maps memory that another process writes; pixels are copied by raw pointer"
)]

use std::os::fd::AsFd;
use std::ptr::{self, NonNull};

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use sandbox_protocol::Size;
use sandbox_protocol::local::worker::WorkerPlan;

/// Bytes of a BGRX pixel.
pub(crate) const PIXEL_BYTES: usize = 4;

/// The framebuffer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FramebufferError {
    #[error("cannot {step} the framebuffer")]
    System {
        step: &'static str,
        #[source]
        source: Errno,
    },
    /// Whoever may shrink it could end us by SIGBUS.
    #[error("the framebuffer is not sealed against shrinking")]
    Unsealed,
    #[error(
        "the framebuffer has {bytes} bytes, but {screen} pixels with {stride} bytes a row from \
         {offset} on need {needed}"
    )]
    Geometry {
        bytes: usize,
        screen: Size,
        stride: usize,
        offset: usize,
        needed: usize,
    },
}

/// A mapping of the whole framebuffer.
#[derive(Debug)]
pub(crate) struct Framebuffer {
    start: NonNull<u8>,
    len: usize,
    pixels_offset: usize,
    stride: usize,
    screen: Size,
}

// SAFETY: the mapping belongs to this value alone and is tied to no thread.
unsafe impl Send for Framebuffer {}

impl Framebuffer {
    /// Maps `memfd`. The geometry is the plan's; the file's own header is not believed.
    pub(crate) fn map(memfd: impl AsFd, plan: &WorkerPlan) -> Result<Self, FramebufferError> {
        let failed = |step| move |source| FramebufferError::System { step, source };
        let seals = fcntl_get_seals(&memfd).map_err(failed("read the seals of"))?;
        if !seals.contains(SealFlags::SHRINK) {
            return Err(FramebufferError::Unsealed);
        }
        let bytes = fstat(&memfd).map_err(failed("measure"))?.st_size;
        let bytes = usize::try_from(bytes).unwrap_or_default();
        let (stride, offset) = (plan.stride as usize, plan.pixels_offset as usize);
        let screen = plan.screen_size;
        let needed = offset.saturating_add(stride.saturating_mul(screen.height.into()));
        if stride < usize::from(screen.width) * PIXEL_BYTES || bytes < needed || needed == 0 {
            return Err(FramebufferError::Geometry {
                bytes,
                screen,
                stride,
                offset,
                needed,
            });
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                needed,
                ProtFlags::READ,
                MapFlags::SHARED,
                &memfd,
                0,
            )
        }
        .map_err(failed("map"))?;
        Ok(Self {
            start: NonNull::new(start.cast()).ok_or(FramebufferError::System {
                step: "map",
                source: Errno::FAULT,
            })?,
            len: needed,
            pixels_offset: offset,
            stride,
            screen,
        })
    }

    /// Size of what can be copied.
    pub(crate) const fn screen(&self) -> Size {
        self.screen
    }

    /// Copies pixels of row `y` from column `x` on until `into` is full.
    ///
    /// # Panics
    ///
    /// When that leaves the row.
    pub(crate) fn copy_row(&self, x: u16, y: u16, into: &mut [u8]) {
        let from = usize::from(x) * PIXEL_BYTES;
        let row_bytes = usize::from(self.screen.width) * PIXEL_BYTES;
        assert!(
            y < self.screen.height && from + into.len() <= row_bytes,
            "{} bytes from {x},{y} of {}",
            into.len(),
            self.screen
        );
        let at = self.pixels_offset + usize::from(y) * self.stride + from;
        debug_assert!(at + into.len() <= self.len, "the map holds every row");
        // SAFETY: `at` lies within the mapping: `map` checked that it holds `screen.height` rows
        // of `stride` bytes from `pixels_offset` on, and a row holds `row_bytes`.
        let source = unsafe { self.start.as_ptr().add(at) };
        // SAFETY: `source` is readable for `into.len()` bytes as shown above, and cannot become
        // shorter (sealed). `into` is our own memory, so they do not overlap. Xvfb may write
        // meanwhile: the bytes are plain numbers, and what was torn is damaged again.
        unsafe { ptr::copy_nonoverlapping(source, into.as_mut_ptr(), into.len()) };
    }
}

impl Drop for Framebuffer {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are what mmap returned; no reference into it exists.
        if let Err(error) = unsafe { munmap(self.start.as_ptr().cast(), self.len) } {
            tracing::error!(%error, "cannot unmap the framebuffer");
        }
    }
}
