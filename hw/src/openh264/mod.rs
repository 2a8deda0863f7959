//! The OpenH264 backend: built in, for hosts without an x264 that we know.

mod rate;
mod sys;

use sandbox_protocol::{Bitrate, Size};

use self::rate::Rate;
use self::sys::{Code, Coded, Handle, Order};
use crate::I420;
use crate::encoder::{
    self, AccessUnit, Capabilities, Config, EncodeError, Encoder, Invalidation, Kind, Quality,
    Request,
};

/// The encoder's name, as in `VIDEO_CODEC`.
pub(crate) const NAME: &str = "openh264";

/// Frames' worth of the link that a keyframe may take, as with x264.
const KEYFRAME_SHARE: u64 = 4;

/// OpenH264 behind [`Encoder`].
#[derive(Debug)]
pub(crate) struct OpenH264 {
    config: Config,
    /// Without one the next access unit opens one, and is a keyframe.
    stream: Option<Stream>,
    rate: Rate,
    pts_last: Option<u64>,
}

/// An open handle, and whether anything was coded with it.
#[derive(Debug)]
struct Stream {
    handle: Handle,
    is_fresh: bool,
}

/// What library this is, in words.
pub(crate) fn version() -> String {
    let (major, minor, revision) = sys::version();
    format!("OpenH264 {major}.{minor}.{revision}, built in")
}

impl OpenH264 {
    /// Opens an encoder.
    pub(crate) fn open(config: Config) -> Result<Self, EncodeError> {
        encoder::check_size(config.size)?;
        let stream = Some(open_stream(&config)?);
        tracing::debug!(
            version = version(),
            size = %config.size,
            threads = config.threads,
            "OpenH264 is open"
        );
        Ok(Self {
            config,
            stream,
            rate: Rate::default(),
            pts_last: None,
        })
    }

    /// Bytes that the next access unit may take.
    fn share(&self, kind: Kind) -> u64 {
        let frames = match kind {
            Kind::Auto => 1,
            Kind::Keyframe => KEYFRAME_SHARE,
        };
        let bytes_per_second = self.config.bitrate.as_kbps().saturating_mul(125);
        bytes_per_second.saturating_mul(frames) / u64::from(self.config.fps_max.max(1))
    }
}

impl Encoder for OpenH264 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            can_invalidate: false,
            can_fix_quality: true,
            adds_keyframes: true,
            delay_frames: 0,
        }
    }

    fn size(&self) -> Size {
        self.config.size
    }

    fn encode(&mut self, frame: &I420, request: Request) -> Result<AccessUnit<'_>, EncodeError> {
        encoder::check_order(self.pts_last, request.pts);
        encoder::check_frame(frame.size(), self.config.size)?;
        self.pts_last = Some(request.pts);
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => open_stream(&self.config)?,
        };
        let kind = if stream.is_fresh {
            Kind::Keyframe
        } else {
            request.kind
        };
        self.rate.look(frame, kind);
        let qp = match request.quality {
            Quality::Target => self.rate.quantiser(self.share(kind)),
            Quality::Fixed(qp) => encoder::fixed(qp),
        };
        let order = Order {
            pts: encoder::signed(request.pts),
            qp,
            is_idr: kind == Kind::Keyframe,
            measures: matches!(request.quality, Quality::Fixed(_)),
        };
        // Without its stream, a frame that fails is followed by a keyframe.
        let coded = stream.handle.encode_faithfully(frame, order);
        let coded = coded.map_err(|Code(code)| EncodeError::Encode {
            encoder: NAME,
            pts: request.pts,
            code,
        })?;
        stream.is_fresh = false;
        let bytes = self.stream.insert(stream).handle.bytes();
        self.rate.learn(qp, bytes.len(), coded.is_keyframe);
        Ok(AccessUnit {
            bytes,
            is_keyframe: coded.is_keyframe,
            qp,
        })
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), EncodeError> {
        self.config.bitrate = bitrate;
        Ok(())
    }

    fn resize(&mut self, size: Size) -> Result<(), EncodeError> {
        encoder::check_size(size)?;
        self.config.size = size;
        self.stream = None;
        Ok(())
    }

    fn invalidate(&mut self, _pts: u64) -> Invalidation {
        self.stream = None;
        Invalidation::NeedsKeyframe
    }
}

impl Handle {
    /// OpenH264 passes over a block whose error is smaller than that of its neighbours which it
    /// passed over, without a look at the quantiser: what was coarse for a while can stay so. A
    /// measured frame that is worse than its quantiser allows is coded again, without reference to
    /// the others.
    fn encode_faithfully(&mut self, frame: &I420, order: Order) -> Result<Coded, Code> {
        let coded = self.encode(frame, order)?;
        if !order.measures || coded.is_keyframe || coded.psnr >= psnr_min(order.qp) {
            return Ok(coded);
        }
        tracing::debug!(
            qp = order.qp,
            psnr = coded.psnr,
            "coded again as a keyframe"
        );
        self.encode(
            frame,
            Order {
                is_idr: true,
                ..order
            },
        )
    }
}

/// Luma PSNR in dB that a quantiser gives at least: errors spread evenly over a step make a twelfth
/// of its square, and twice that is left for rounding towards zero.
fn psnr_min(qp: u8) -> f32 {
    let step = 0.625 * (f32::from(qp) / 6.0).exp2();
    10.0 * (255.0 * 255.0 * 6.0 / (step * step)).log10()
}

fn open_stream(config: &Config) -> Result<Stream, EncodeError> {
    let handle = Handle::open(config).map_err(|Code(code)| EncodeError::Configure {
        encoder: NAME,
        setting: "parameters",
        value: format!("{config:?} (code {code})"),
    })?;
    Ok(Stream {
        handle,
        is_fresh: true,
    })
}
