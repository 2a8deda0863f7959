//! rav1d's C interface, the only one that it has: opening, one unit in, one picture out.
#![allow(
    unsafe_code,
    reason = "the library's own interface is one of C functions"
)]

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::{fmt, slice};

use rav1d::Dav1dResult;
use rav1d::include::dav1d::data::Dav1dData;
use rav1d::include::dav1d::dav1d::{Dav1dContext, Dav1dLogger, Dav1dSettings};
use rav1d::include::dav1d::headers::{DAV1D_FRAME_TYPE_KEY, DAV1D_PIXEL_LAYOUT_I420};
use rav1d::include::dav1d::picture::Dav1dPicture;
use rav1d::src::lib::{
    dav1d_close, dav1d_data_create, dav1d_data_unref, dav1d_default_settings, dav1d_get_picture,
    dav1d_open, dav1d_picture_unref, dav1d_send_data,
};
use sandbox_protocol::limits::DESKTOP_SIZE_MAX;

/// What the library said: a negated error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code {0}")]
pub struct Code(i32);

/// The library wants more bytes: there is no other picture.
const AGAIN: i32 = -11;

/// No memory.
const NO_MEMORY: Code = Code(-12);

/// Bytes of the planes, and bytes from row to row.
pub(super) type Samples<'a> = ([&'a [u8]; 3], [usize; 3]);

/// A decoder and its newest picture.
pub(super) struct Handle {
    context: Option<Dav1dContext>,
    picture: Dav1dPicture,
    /// The library has failed. Locks of its own may be held: another call could panic.
    is_broken: bool,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    /// One thread and no delay: what goes in comes out at once.
    pub(super) fn open() -> Result<Self, Code> {
        let mut settings = MaybeUninit::<Dav1dSettings>::uninit();
        let pointer = NonNull::from(&mut settings).cast();
        // SAFETY: the pointer is to memory of ours for the settings, which the library fills.
        unsafe { dav1d_default_settings(pointer) };
        // SAFETY: the library has just written all of them.
        let mut settings = unsafe { settings.assume_init() };
        settings.n_threads = 1;
        settings.max_frame_delay = 1;
        settings.apply_grain = 0;
        settings.all_layers = 0;
        settings.frame_size_limit =
            u32::from(DESKTOP_SIZE_MAX.width) * u32::from(DESKTOP_SIZE_MAX.height);
        // SAFETY: without a callback there is nothing to call.
        settings.logger = unsafe { Dav1dLogger::new(None, None) };
        let mut context = None;
        let (to, from) = (NonNull::from(&mut context), NonNull::from(&mut settings));
        // SAFETY: both point to values of ours; the library reads the one, which it copies, and
        // writes the other.
        check(unsafe { dav1d_open(Some(to), Some(from)) })?;
        Ok(Self {
            context,
            picture: Dav1dPicture::default(),
            is_broken: false,
        })
    }

    /// Decodes a unit to its last picture. Gives how many there were.
    pub(super) fn decode(&mut self, unit: &[u8]) -> Result<usize, Code> {
        if self.is_broken {
            return Err(Code(0));
        }
        self.is_broken = true;
        self.send(unit)?;
        let mut count = 0;
        while self.take_picture()? {
            count += 1;
        }
        self.is_broken = false;
        Ok(count)
    }

    fn send(&mut self, unit: &[u8]) -> Result<(), Code> {
        let mut data = Dav1dData::default();
        // SAFETY: the pointer is to a value of ours, which the library overwrites: an empty one.
        let buffer = unsafe { dav1d_data_create(Some(NonNull::from(&mut data)), unit.len()) };
        let buffer = NonNull::new(buffer).ok_or(NO_MEMORY)?;
        // SAFETY: the library has allocated as many bytes, which nobody else knows of.
        let buffer = unsafe { slice::from_raw_parts_mut(buffer.as_ptr(), unit.len()) };
        buffer.copy_from_slice(unit);
        let pointer = NonNull::from(&mut data);
        // SAFETY: the context is open; the data are from above, and are taken or left.
        let sent = check(unsafe { dav1d_send_data(self.context, Some(pointer)) });
        // SAFETY: as above; what was taken is empty.
        unsafe { dav1d_data_unref(Some(NonNull::from(&mut data))) };
        sent
    }

    /// Takes the next picture; `false` where there is none.
    fn take_picture(&mut self) -> Result<bool, Code> {
        let mut picture = Dav1dPicture::default();
        let pointer = NonNull::from(&mut picture);
        // SAFETY: the context is open; the picture is empty, and the library overwrites it.
        match check(unsafe { dav1d_get_picture(self.context, Some(pointer)) }) {
            Ok(()) => (),
            Err(Code(AGAIN)) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.drop_picture();
        self.picture = picture;
        Ok(true)
    }

    /// Width and height of the picture.
    pub(super) const fn size(&self) -> (i32, i32) {
        (self.picture.p.w, self.picture.p.h)
    }

    /// Whether the picture needed none before it.
    pub(super) fn is_keyframe(&self) -> bool {
        self.picture.frame_hdr.is_some_and(|header| {
            // SAFETY: the picture holds its header for as long as it is held itself.
            let header = unsafe { header.as_ref() };
            header.frame_type == DAV1D_FRAME_TYPE_KEY
        })
    }

    /// The picture's planes; `None` where it is not 4:2:0 with 8 bits.
    pub(super) fn planes(&self) -> Option<Samples<'_>> {
        let picture = &self.picture;
        if picture.p.layout != DAV1D_PIXEL_LAYOUT_I420 || picture.p.bpc != 8 {
            return None;
        }
        let [luma_stride, chroma_stride] = picture.stride;
        let luma_stride = usize::try_from(luma_stride).ok()?;
        let chroma_stride = usize::try_from(chroma_stride).ok()?;
        let height = usize::try_from(picture.p.h).ok()?;
        let strides = [luma_stride, chroma_stride, chroma_stride];
        let heights = [height, height.div_ceil(2), height.div_ceil(2)];
        let mut samples = [&[][..]; 3];
        let rows = strides.iter().zip(heights).zip(picture.data);
        for (plane, ((stride, height), first)) in samples.iter_mut().zip(rows) {
            let first = first?.cast::<u8>();
            // SAFETY: the library's allocator gives each plane its stride times at least its
            // height (picture.rs, pic_len), initialised; they live as long as the picture, which
            // this handle holds, and with one thread nobody writes them between two calls, which
            // need the handle for themselves.
            *plane = unsafe { slice::from_raw_parts(first.as_ptr(), stride * height) };
        }
        Some((samples, strides))
    }

    fn drop_picture(&mut self) {
        // SAFETY: the picture is the library's or empty, and is empty afterwards.
        unsafe { dav1d_picture_unref(Some(NonNull::from(&mut self.picture))) };
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Leaked rather than touched: what it holds goes with the process.
        if self.is_broken {
            return;
        }
        self.drop_picture();
        // SAFETY: the context is open, and nothing uses it after this.
        unsafe { dav1d_close(Some(NonNull::from(&mut self.context))) };
    }
}

const fn check(result: Dav1dResult) -> Result<(), Code> {
    match result.0 {
        0 => Ok(()),
        code => Err(Code(code)),
    }
}
