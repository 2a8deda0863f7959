//! OpenH264's encoder as its C interface has it.
#![allow(
    unsafe_code,
    reason = "calls a C++ library through its table of functions"
)]

use std::ffi::c_int;
use std::fmt;
use std::ptr;
use std::ptr::NonNull;
use std::slice;

use openh264_sys2::source::APILoader;
use openh264_sys2::{
    CONSTANT_ID, ENCODER_OPTION, ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, ENCODER_OPTION_TRACE_LEVEL,
    HIGH_COMPLEXITY, ISVCEncoder, ISVCEncoderVtbl, LEVEL_UNKNOWN, PRO_BASELINE, RC_OFF_MODE,
    SCREEN_CONTENT_REAL_TIME, SEncParamExt, SFrameBSInfo, SM_FIXEDSLCNUM_SLICE, SM_SINGLE_SLICE,
    SSourcePicture, WELS_LOG_QUIET, videoFormatI420, videoFrameTypeIDR,
};

use crate::{Config, I420};

/// BT.709, as ITU-T H.264's tables E-3 to E-5 number primaries, transfer and matrix alike.
const BT709: u8 = 1;

/// "Unspecified" of table E-2: neither PAL nor NTSC.
const VIDEO_FORMAT: u8 = 5;

/// Threads, and slices of a frame: OpenH264 has no more threads.
const THREADS_MAX: u8 = 4;

/// Frames per second that OpenH264 takes.
const FPS_MAX: u16 = 60;

/// OpenH264 wants some bitrate even where it does not control the rate.
const BITRATE_UNUSED: c_int = 1_000_000;

/// The library's version.
pub(super) fn version() -> (u32, u32, u32) {
    // SAFETY: the function reads a constant; it has no requirements.
    let version = unsafe { APILoader::WelsGetCodecVersion() };
    (version.uMajor, version.uMinor, version.uRevision)
}

/// What OpenH264 returned instead of success.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code(pub(super) i32);

/// An open encoder for frames of one size.
pub(super) struct Handle {
    encoder: NonNull<ISVCEncoder>,
    params: Box<SEncParamExt>,
    output: Box<SFrameBSInfo>,
    /// The last access unit: OpenH264 does not promise that its parts follow each other.
    bytes: Vec<u8>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

// SAFETY: OpenH264 keeps nothing in thread-local storage; an encoder may be used from any thread,
// one at a time, which &mut guarantees.
unsafe impl Send for Handle {}

/// What is asked of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// The frame's name.
    pub(super) pts: i64,
    /// The quantiser of all its blocks.
    pub(super) qp: u8,
    /// Codes the frame as IDR.
    pub(super) is_idr: bool,
    /// Compares the result with the frame.
    pub(super) measures: bool,
}

/// What one call gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coded {
    pub(super) is_keyframe: bool,
    /// Luma PSNR in dB, where the order measures.
    pub(super) psnr: f32,
}

impl Handle {
    /// Opens an encoder whose quantiser is what each call says.
    pub(super) fn open(config: &Config) -> Result<Self, Code> {
        let mut encoder = ptr::null_mut();
        // SAFETY: the library writes a pointer to where `encoder` is.
        let code = unsafe { APILoader::WelsCreateSVCEncoder(&raw mut encoder) };
        check(code)?;
        let mut handle = Self {
            encoder: NonNull::new(encoder).ok_or(Code(code))?,
            params: Box::default(),
            output: Box::default(),
            bytes: Vec::new(),
        };
        let mut level = WELS_LOG_QUIET;
        handle.set_option(ENCODER_OPTION_TRACE_LEVEL, &mut level)?;
        let defaults = handle
            .functions()
            .GetDefaultParams
            .expect("the library's table is full");
        let params = &raw mut *handle.params;
        // SAFETY: the encoder is alive; the structure is the library's own, and writable.
        check(unsafe { defaults(handle.encoder.as_ptr(), params) })?;
        handle.describe(config);
        let initialize = handle
            .functions()
            .InitializeExt
            .expect("the library's table is full");
        // SAFETY: the encoder is alive; the library copies the parameters.
        check(unsafe { initialize(handle.encoder.as_ptr(), &raw const *handle.params) })?;
        Ok(handle)
    }

    /// Writes the parameters of a desktop's stream over the defaults.
    fn describe(&mut self, config: &Config) {
        let threads = config.threads.clamp(1, THREADS_MAX);
        let (width, height) = (config.size.width.into(), config.size.height.into());
        let fps = f32::from(config.fps_max.clamp(1, FPS_MAX));
        let params = &mut *self.params;
        params.iUsageType = SCREEN_CONTENT_REAL_TIME;
        params.iPicWidth = width;
        params.iPicHeight = height;
        params.fMaxFrameRate = fps;
        params.iTargetBitrate = BITRATE_UNUSED;
        params.iRCMode = RC_OFF_MODE;
        params.bEnableFrameSkip = false;
        params.iTemporalLayerNum = 1;
        params.iSpatialLayerNum = 1;
        // Lower ones take as long, and pass over a block that stands still when it is at 26 or
        // finer: it would never become sharp.
        params.iComplexityMode = HIGH_COMPLEXITY;
        params.uiIntraPeriod = 0;
        params.eSpsPpsIdStrategy = CONSTANT_ID;
        params.bEnableLongTermReference = false;
        params.iMultipleThreadIdc = threads.into();
        // Slices that move would give another stream each time.
        params.bUseLoadBalancing = false;
        params.bEnableDenoise = false;
        params.bEnableBackgroundDetection = false;
        params.bEnableAdaptiveQuant = false;
        let [layer, ..] = &mut params.sSpatialLayers;
        layer.iVideoWidth = width;
        layer.iVideoHeight = height;
        layer.fFrameRate = fps;
        layer.iSpatialBitrate = BITRATE_UNUSED;
        layer.uiProfileIdc = PRO_BASELINE;
        layer.uiLevelIdc = LEVEL_UNKNOWN;
        layer.sSliceArgument.uiSliceMode = if threads > 1 {
            SM_FIXEDSLCNUM_SLICE
        } else {
            SM_SINGLE_SLICE
        };
        layer.sSliceArgument.uiSliceNum = threads.into();
        layer.bVideoSignalTypePresent = true;
        layer.uiVideoFormat = VIDEO_FORMAT;
        layer.bFullRange = false;
        layer.bColorDescriptionPresent = true;
        layer.uiColorPrimaries = BT709;
        layer.uiTransferCharacteristics = BT709;
        layer.uiColorMatrix = BT709;
    }

    /// Codes the next frame as IDR.
    fn force_keyframe(&mut self) -> Result<(), Code> {
        let force = self
            .functions()
            .ForceIntraFrame
            .expect("the library's table is full");
        // SAFETY: the encoder is open. The library's method has one parameter more than its C
        // table, a layer, which it reads for simulcast alone; that is off.
        check(unsafe { force(self.encoder.as_ptr(), true) })
    }

    /// Encodes one frame of the size the encoder was opened with, at this quantiser. After an
    /// error the handle is good for nothing but to be dropped.
    /// [`bytes`](Self::bytes) has the access unit.
    pub(super) fn encode(&mut self, frame: &I420, order: Order) -> Result<Coded, Code> {
        self.set_quantiser(order.qp)?;
        if order.is_idr {
            self.force_keyframe()?;
        }
        let stride = |bytes: usize| c_int::try_from(bytes).expect("a stride fits 31 bits");
        let input = SSourcePicture {
            iColorFormat: videoFormatI420,
            iStride: [
                stride(frame.luma_stride()),
                stride(frame.chroma_stride()),
                stride(frame.chroma_stride()),
                0,
            ],
            pData: [
                frame.luma().as_ptr().cast_mut(),
                frame.blue().as_ptr().cast_mut(),
                frame.red().as_ptr().cast_mut(),
                ptr::null_mut(),
            ],
            iPicWidth: frame.size().width.into(),
            iPicHeight: frame.size().height.into(),
            uiTimeStamp: order.pts,
            bPsnrY: order.measures,
            ..SSourcePicture::default()
        };
        let encode = self
            .functions()
            .EncodeFrame
            .expect("the library's table is full");
        let output = &raw mut *self.output;
        // SAFETY: the encoder is open; planes and strides describe a frame of the encoder's size
        // (the caller compared them), which the library copies before it returns and never
        // writes; the output structure is the library's own, and writable.
        check(unsafe { encode(self.encoder.as_ptr(), &raw const input, output) })?;
        self.collect();
        if self.bytes.is_empty() {
            return Err(Code(0));
        }
        let slices = self.output.sLayerInfo.iter().take(self.layers());
        Ok(Coded {
            is_keyframe: self.output.eFrameType == videoFrameTypeIDR,
            psnr: slices.fold(0.0, |psnr, layer| layer.rPsnr[0].max(psnr)),
        })
    }

    /// The access unit coded last.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn set_quantiser(&mut self, qp: u8) -> Result<(), Code> {
        let [layer, ..] = &mut self.params.sSpatialLayers;
        if layer.iDLayerQp == c_int::from(qp) {
            return Ok(());
        }
        layer.iDLayerQp = qp.into();
        // The library copies what may change while a stream goes on, and ignores the rest.
        let mut params = *self.params;
        self.set_option(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, &mut params)
    }

    /// Parts of the access unit coded last.
    fn layers(&self) -> usize {
        usize::try_from(self.output.iLayerNum).unwrap_or(0)
    }

    /// Copies the parts of the access unit behind each other.
    fn collect(&mut self) {
        self.bytes.clear();
        let layers = self.layers();
        for layer in self.output.sLayerInfo.iter().take(layers) {
            let nals = usize::try_from(layer.iNalCount).unwrap_or(0);
            if nals == 0 || layer.pBsBuf.is_null() {
                continue;
            }
            // SAFETY: the library wrote this many lengths; they live until the next call.
            let lengths = unsafe { slice::from_raw_parts(layer.pNalLengthInByte, nals) };
            let len = lengths
                .iter()
                .map(|it| usize::try_from(*it).unwrap_or(0))
                .sum();
            // SAFETY: the layer's NAL units are sequential in memory, as long as their lengths
            // add up to; they live until the next call.
            let part = unsafe { slice::from_raw_parts(layer.pBsBuf, len) };
            self.bytes.extend_from_slice(part);
        }
    }

    /// Sets an option whose value has type `T`.
    fn set_option<T>(&mut self, option: ENCODER_OPTION, value: &mut T) -> Result<(), Code> {
        let set = self
            .functions()
            .SetOption
            .expect("the library's table is full");
        let value: *mut T = value;
        // SAFETY: the encoder is alive; each caller passes the type the header names for its
        // option, which the library copies.
        check(unsafe { set(self.encoder.as_ptr(), option, value.cast()) })
    }

    fn functions(&self) -> ISVCEncoderVtbl {
        // SAFETY: an encoder is a pointer to its table of functions, which is constant.
        let table = unsafe { self.encoder.as_ptr().read() };
        // SAFETY: as above; the table is plain data.
        unsafe { *table }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the encoder is alive, and nothing uses it after this; the library also ends
        // what it has opened.
        unsafe { APILoader::WelsDestroySVCEncoder(self.encoder.as_ptr()) };
    }
}

fn check(code: c_int) -> Result<(), Code> {
    if code == 0 { Ok(()) } else { Err(Code(code)) }
}
