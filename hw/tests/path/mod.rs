//! The way of a desktop's frames: drawn, encoded, decoded, compared.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by tests that use different parts; a panic is a failed test"
)]

use sandbox_hw::{Config, Encoder, I420, Kind, Quality, Request, open};
use sandbox_protocol::{Bitrate, Rect, Size};

use crate::desktop::Desktop;
use crate::viewer::Viewer;

pub(crate) const SIZE: Size = Size {
    width: 640,
    height: 360,
};

pub(crate) const CONFIG: Config = Config {
    size: SIZE,
    fps_max: 60,
    bitrate: Bitrate::kbps(8_000),
    threads: 2,
};

/// One encoder, the frame it is given, and a viewer behind it.
pub(crate) struct Path {
    pub(crate) encoder: Box<dyn Encoder>,
    pub(crate) frame: I420,
    pub(crate) viewer: Viewer,
    pub(crate) pts: u64,
}

/// An access unit that outlives the encoder's buffer.
pub(crate) struct Unit {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_keyframe: bool,
    pub(crate) qp: u8,
}

impl Path {
    pub(crate) fn new(codec: &str, config: Config) -> Self {
        Self {
            encoder: open(codec, config).unwrap().encoder,
            frame: I420::new(config.size),
            viewer: Viewer::new(),
            pts: 0,
        }
    }

    pub(crate) fn redraw(&mut self, seed: u64) {
        let desktop = Desktop::new(self.frame.size(), seed);
        let whole = Rect::whole(desktop.size);
        self.frame
            .update(&desktop.pixels, desktop.stride(), &[whole]);
    }

    #[track_caller]
    pub(crate) fn send(&mut self, kind: Kind, quality: Quality) -> Unit {
        self.pts += 1;
        let request = Request {
            pts: self.pts,
            kind,
            quality,
        };
        let unit = self.encoder.encode(&self.frame, request).unwrap();
        self.viewer.show(unit.bytes);
        Unit {
            bytes: unit.bytes.to_vec(),
            is_keyframe: unit.is_keyframe,
            qp: unit.qp,
        }
    }

    pub(crate) fn psnr(&self) -> f64 {
        self.viewer
            .psnr(&self.frame, Rect::whole(self.frame.size()))
    }
}
