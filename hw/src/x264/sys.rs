//! libx264 as it is met at run time: its symbols, its memory layouts, its calls. Decides nothing.
//!
//! The crate is built without x264's header, so the layouts are written down here. The headers of
//! builds 163 and 164 (compiled) and 165 (read) agree in every field named below; build 164 was
//! run. [`Params::preset`] checks defaults at these places before anything relies on them.
#![allow(
    unsafe_code,
    reason = "calls a C library through pointers that are looked up at run time"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::mem::offset_of;
use std::ptr;
use std::slice;
use std::sync::Arc;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use sandbox_protocol::Size;

use crate::I420;

/// Builds whose layouts are known, newest first.
pub(crate) const BUILDS: [u16; 3] = [165, 164, 163];

/// `X264_CSP_I420`.
const CSP_I420: i32 = 2;

/// `X264_TYPE_AUTO` and `X264_TYPE_IDR`.
const TYPE_AUTO: i32 = 0;
const TYPE_IDR: i32 = 1;

/// `X264_MBINFO_CONSTANT`.
pub(super) const UNCHANGED: u8 = 1;

/// Bytes for the parameters: 1,024 are used, the rest is for what a distribution may have added.
const PARAMS_BYTES: usize = 8 << 10;

const WORD_BYTES: usize = size_of::<u64>();

type Preset = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> c_int;
type Parse = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> c_int;
type Profile = unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int;
type Open = unsafe extern "C" fn(*mut c_void) -> *mut c_void;
type Close = unsafe extern "C" fn(*mut c_void);
type Parameters = unsafe extern "C" fn(*mut c_void, *mut c_void);
type Reconfig = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type Invalidate = unsafe extern "C" fn(*mut c_void, i64) -> c_int;
type Encode = unsafe extern "C" fn(
    *mut c_void,
    *mut *mut Nal,
    *mut c_int,
    *mut Picture,
    *mut Picture,
) -> c_int;

/// The library, loaded and with every symbol found.
#[derive(Debug)]
pub(super) struct Api {
    build: u16,
    preset: Preset,
    parse: Parse,
    profile: Profile,
    open: Open,
    close: Close,
    parameters: Parameters,
    reconfig: Reconfig,
    invalidate: Invalidate,
    encode: Encode,
    /// Keeps the functions above in memory; dropped last.
    _library: Library,
}

impl Api {
    /// Loads the library of one build by its soname.
    pub(super) fn load(build: u16) -> Result<Self, libloading::Error> {
        let soname = format!("libx264.so.{build}");
        // SAFETY: x264's initialisers have no requirements; its soname names its ABI.
        let library = unsafe { Library::open(Some(soname), RTLD_NOW | RTLD_LOCAL) }?;
        Ok(Self {
            build,
            preset: symbol(&library, "x264_param_default_preset")?,
            parse: symbol(&library, "x264_param_parse")?,
            profile: symbol(&library, "x264_param_apply_profile")?,
            open: symbol(&library, &format!("x264_encoder_open_{build}"))?,
            close: symbol(&library, "x264_encoder_close")?,
            parameters: symbol(&library, "x264_encoder_parameters")?,
            reconfig: symbol(&library, "x264_encoder_reconfig")?,
            invalidate: symbol(&library, "x264_encoder_invalidate_reference")?,
            encode: symbol(&library, "x264_encoder_encode")?,
            _library: library,
        })
    }

    /// x264's build number, which names its ABI.
    pub(super) const fn build(&self) -> u16 {
        self.build
    }
}

/// Looks up a function; `F` must be one of the function pointer types above.
fn symbol<F: Copy>(library: &Library, name: &str) -> Result<F, libloading::Error> {
    // SAFETY: each caller names F by the field it fills, whose type is the header's declaration
    // of that symbol; a missing symbol is an error.
    unsafe { library.get::<F>(name.as_bytes()) }.map(|it| *it)
}

/// `x264_param_t`, in a buffer of our own. Only the sentinels and the size are reached by place;
/// all else goes by name.
pub(super) struct Params(Box<[u64; PARAMS_BYTES / WORD_BYTES]>);

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params").finish_non_exhaustive()
    }
}

/// A layout that is not the one written down here.
#[derive(Debug, thiserror::Error)]
#[error("{field} is {found} where {expected} is expected")]
pub(super) struct UnknownLayout {
    field: &'static str,
    found: i32,
    expected: i32,
}

impl Params {
    /// Byte offsets of the fields reached by place.
    const WIDTH: usize = 28;
    const HEIGHT: usize = 32;
    const CSP: usize = 36;
    const BIT_DEPTH: usize = 40;
    const MB_INFO: usize = 628;
    /// `i_luma_deadzone[0]` and `[1]`, two fields further on.
    const DEAD_ZONES: [usize; 2] = [636, 640];

    /// The parameters of a preset and tune, once the sentinels are where they should be.
    pub(super) fn preset(api: &Api, preset: &CStr, tune: &CStr) -> Result<Self, UnknownLayout> {
        let mut params = Self(Box::new([0; PARAMS_BYTES / WORD_BYTES]));
        // SAFETY: the buffer is eight times the structure, aligned for it and writable; the
        // strings end with 0. An unknown name would leave an error code, seen by the sentinels.
        let code = unsafe { (api.preset)(params.pointer(), preset.as_ptr(), tune.as_ptr()) };
        for (field, found, expected) in [
            ("the result of x264_param_default_preset", code, 0),
            ("i_width", params.word(Self::WIDTH), 0),
            ("i_height", params.word(Self::HEIGHT), 0),
            ("i_csp", params.word(Self::CSP), CSP_I420),
            ("i_bitdepth", params.word(Self::BIT_DEPTH), 8),
        ] {
            if found != expected {
                return Err(UnknownLayout {
                    field,
                    found,
                    expected,
                });
            }
        }
        Ok(params)
    }

    /// Sets one parameter by name; `false` when x264 knows no such name or value.
    #[must_use]
    pub(super) fn parse(&mut self, api: &Api, name: &str, value: &str) -> bool {
        let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) else {
            return false;
        };
        // SAFETY: the buffer holds parameters filled by x264; both strings end with 0 and are
        // copied by x264 where it keeps them.
        unsafe { (api.parse)(self.pointer(), name.as_ptr(), value.as_ptr()) == 0 }
    }

    /// Restricts the parameters to a profile; `false` when they cannot be.
    #[must_use]
    pub(super) fn apply_profile(&mut self, api: &Api, profile: &CStr) -> bool {
        // SAFETY: the buffer holds parameters filled by x264; the string ends with 0.
        unsafe { (api.profile)(self.pointer(), profile.as_ptr()) == 0 }
    }

    /// Sets the size, which has no name for `x264_param_parse`.
    pub(super) fn set_size(&mut self, size: Size) {
        self.set_word(Self::WIDTH, size.width.into());
        self.set_word(Self::HEIGHT, size.height.into());
    }

    /// Lets [`Order::unchanged`] be given, which has no name either; `false` when its neighbours
    /// do not have their defaults, and nothing was set.
    pub(super) fn enable_hints(&mut self) -> bool {
        let is_known = self.word(Self::MB_INFO) == 0
            && Self::DEAD_ZONES.map(|offset| self.word(offset)) == [21, 11];
        if is_known {
            self.set_word(Self::MB_INFO, 1);
        }
        is_known
    }

    fn pointer(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }

    /// The 32-bit field at a byte offset.
    fn word(&self, offset: usize) -> i32 {
        let word = self.0.get(offset / WORD_BYTES).copied().unwrap_or(0);
        let bytes = word.to_ne_bytes();
        let [a, b, c, d, e, f, g, h] = bytes;
        i32::from_ne_bytes(if offset.is_multiple_of(WORD_BYTES) {
            [a, b, c, d]
        } else {
            [e, f, g, h]
        })
    }

    fn set_word(&mut self, offset: usize, value: i32) {
        if let Some(word) = self.0.get_mut(offset / WORD_BYTES) {
            let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
            let [i, j, k, l] = value.to_ne_bytes();
            *word = u64::from_ne_bytes(if offset.is_multiple_of(WORD_BYTES) {
                [i, j, k, l, e, f, g, h]
            } else {
                [a, b, c, d, i, j, k, l]
            });
        }
    }
}

/// `x264_nal_t`.
#[repr(C)]
struct Nal {
    ref_idc: i32,
    kind: i32,
    long_startcode: i32,
    first_mb: i32,
    last_mb: i32,
    payload_bytes: i32,
    payload: *const u8,
    padding: i32,
}

/// `x264_picture_t`, with room behind it.
#[repr(C)]
struct Picture {
    kind: i32,
    qp_plus1: i32,
    pic_struct: i32,
    is_keyframe: i32,
    pts: i64,
    dts: i64,
    params: *mut c_void,
    csp: i32,
    planes: i32,
    strides: [i32; 4],
    plane: [*const u8; 4],
    quant_offsets: [*const c_void; 2],
    mb_info: *const u8,
    mb_info_free: *const c_void,
    ssim: f64,
    psnr_average: f64,
    psnr: [f64; 3],
    crf_average: f64,
    rest: [u64; 64],
}

const _: () = assert!(offset_of!(Nal, payload_bytes) == 20);
const _: () = assert!(offset_of!(Nal, payload) == 24);
const _: () = assert!(offset_of!(Picture, is_keyframe) == 12);
const _: () = assert!(offset_of!(Picture, csp) == 40);
const _: () = assert!(offset_of!(Picture, plane) == 64);
const _: () = assert!(offset_of!(Picture, mb_info) == 112);
const _: () = assert!(offset_of!(Picture, crf_average) == 168);

impl Picture {
    const fn empty() -> Self {
        Self {
            kind: TYPE_AUTO,
            qp_plus1: 0,
            pic_struct: 0,
            is_keyframe: 0,
            pts: 0,
            dts: 0,
            params: ptr::null_mut(),
            csp: CSP_I420,
            planes: 3,
            strides: [0; 4],
            plane: [ptr::null(); 4],
            quant_offsets: [ptr::null(); 2],
            mb_info: ptr::null(),
            mb_info_free: ptr::null(),
            ssim: 0.0,
            psnr_average: 0.0,
            psnr: [0.0; 3],
            crf_average: 0.0,
            rest: [0; 64],
        }
    }
}

/// What is asked of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order<'a> {
    /// The frame's name.
    pub(super) pts: i64,
    /// Codes the frame as IDR.
    pub(super) is_idr: bool,
    /// Starts with this quantiser.
    pub(super) qp: Option<u8>,
    /// One byte for each block, row by row: [`UNCHANGED`] where the frame is as the last one was.
    pub(super) unchanged: Option<&'a [u8]>,
}

/// What one call gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coded<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) is_keyframe: bool,
    /// x264's "average CRF": the mean quantiser where quantiser compression is off.
    pub(super) crf_average: f64,
}

/// An open encoder.
#[derive(Debug)]
pub(super) struct Handle {
    api: Arc<Api>,
    encoder: *mut c_void,
}

// SAFETY: x264 keeps nothing in thread-local storage; an encoder may be used from any thread, one
// at a time, which &mut guarantees.
unsafe impl Send for Handle {}

impl Handle {
    /// Opens an encoder, or `None` when x264 refuses the parameters or lacks memory.
    pub(super) fn open(api: &Arc<Api>, params: &mut Params) -> Option<Self> {
        // SAFETY: the buffer holds parameters filled by x264, which copies them.
        let encoder = unsafe { (api.open)(params.pointer()) };
        (!encoder.is_null()).then(|| Self {
            api: Arc::clone(api),
            encoder,
        })
    }

    /// Copies the parameters in use into `params`, whose contents are replaced.
    pub(super) fn read_params(&mut self, params: &mut Params) {
        // SAFETY: the encoder is open; the buffer has room for the structure.
        unsafe { (self.api.parameters)(self.encoder, params.pointer()) };
    }

    /// Applies parameters from the next frame on; `false` when x264 refuses.
    #[must_use]
    pub(super) fn reconfigure(&mut self, params: &mut Params) -> bool {
        // SAFETY: the encoder is open; the buffer holds parameters read from it.
        unsafe { (self.api.reconfig)(self.encoder, params.pointer()) == 0 }
    }

    /// Lets no further frame refer to the frames from `pts` on; `false` when x264 refuses.
    #[must_use]
    pub(super) fn invalidate(&mut self, pts: i64) -> bool {
        // SAFETY: the encoder is open.
        unsafe { (self.api.invalidate)(self.encoder, pts) == 0 }
    }

    /// Encodes one frame of the size the encoder was opened with. An error is x264's code, or 0
    /// when it gave nothing.
    ///
    /// # Panics
    ///
    /// When there are fewer hints than blocks.
    pub(super) fn encode(&mut self, frame: &I420, order: Order<'_>) -> Result<Coded<'_>, i32> {
        let stride = |bytes: usize| i32::try_from(bytes).expect("a stride fits 31 bits");
        let mut input = Picture {
            kind: if order.is_idr { TYPE_IDR } else { TYPE_AUTO },
            qp_plus1: order.qp.map_or(0, |qp| i32::from(qp) + 1),
            pts: order.pts,
            strides: [
                stride(frame.luma_stride()),
                stride(frame.chroma_stride()),
                stride(frame.chroma_stride()),
                0,
            ],
            plane: [
                frame.luma().as_ptr(),
                frame.blue().as_ptr(),
                frame.red().as_ptr(),
                ptr::null(),
            ],
            mb_info: order.unchanged.map_or(ptr::null(), |hints| {
                assert!(hints.len() >= frame.blocks(), "{} hints", hints.len());
                hints.as_ptr()
            }),
            ..Picture::empty()
        };
        let mut output = Picture::empty();
        let mut nals = ptr::null_mut();
        let mut nals_len = 0;
        // SAFETY: the encoder is open; planes and strides describe a frame of the encoder's size
        // (the caller compared them) and the hints hold a byte for each of its blocks, both of
        // which x264 only reads (mb_info_update is off), and only during the call: there is one
        // frame of no delay. Both pictures are larger than x264's.
        let code = unsafe {
            (self.api.encode)(
                self.encoder,
                &raw mut nals,
                &raw mut nals_len,
                &raw mut input,
                &raw mut output,
            )
        };
        let Some(len) = usize::try_from(code).ok().filter(|len| *len > 0) else {
            return Err(code);
        };
        if nals_len < 1 {
            return Err(0);
        }
        // SAFETY: x264 reported at least one NAL unit; the array lives until the next call.
        let first = unsafe { &*nals };
        // SAFETY: x264.h: the payloads of all NAL units are sequential in memory, `code` bytes in
        // all; they live until the next call, which needs the &mut that the result borrows.
        let bytes = unsafe { slice::from_raw_parts(first.payload, len) };
        Ok(Coded {
            bytes,
            is_keyframe: output.is_keyframe != 0,
            crf_average: output.crf_average,
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the encoder is open, and nothing uses it after this.
        unsafe { (self.api.close)(self.encoder) };
    }
}
