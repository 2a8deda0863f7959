//! What the wanted quality and the link's rate mean to x264's rate control.
//!
//! "Quality first": every frame starts at [`QP_TARGET`], and VBV makes it coarser where it would
//! not fit one frame's share of the link.

use crate::encoder::{Config, Quality, fixed};

/// Quantiser while the link has room: text has 45 dB; a dense screen of it is 290 KB at 1080p.
const QP_TARGET: u8 = 20;

/// Frames' worth of the link that a keyframe may take; at 1080p of text one frame's worth of
/// 20 Mbit/s means QP 41, four mean 30.
pub(super) const KEYFRAME_SHARE: u64 = 4;

/// x264 stops within half a step above its limit and rounds to the nearest quantiser: this much
/// below the wanted one both ends round to it.
const FIXED_BELOW: f64 = 0.4;

/// x264 wants at least 1 kbit in a frame's share, and 32-bit bits per second.
const KBPS_MIN: u64 = 256;
const KBPS_MAX: u64 = 1_000_000;

/// x264's rate control settings. With quantiser compression off, CRF is the quantiser itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    crf: f64,
    crf_max: f64,
    kbps: u64,
    frame_kbit: u64,
}

impl Rate {
    pub(super) fn new(config: &Config, quality: Quality, frames: u64) -> Self {
        let kbps = config.bitrate.as_kbps().clamp(KBPS_MIN, KBPS_MAX);
        // No larger than x264's own quotient: then it plans each frame for itself, and a frame
        // that was cheap leaves nothing for the next to be late with.
        let frame_kbit = (kbps * frames / u64::from(config.fps_max.max(1))).clamp(1, KBPS_MAX);
        let (crf, crf_max) = match quality {
            // The upper end is out of reach: VBV alone decides.
            Quality::Target => (f64::from(QP_TARGET), 99.0),
            Quality::Fixed(qp) => {
                let below = f64::from(fixed(qp)) - FIXED_BELOW;
                (below, below + 0.01)
            }
        };
        Self {
            crf,
            crf_max,
            kbps,
            frame_kbit,
        }
    }

    pub(super) fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("crf", self.crf.to_string()),
            ("crf-max", self.crf_max.to_string()),
            ("vbv-maxrate", self.kbps.to_string()),
            ("vbv-bufsize", self.frame_kbit.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::{Bitrate, Size};

    use super::*;

    #[test]
    fn rates_stay_within_what_x264_can_hold() {
        let config = |bps, fps_max| Config {
            size: Size {
                width: 640,
                height: 360,
            },
            fps_max,
            bitrate: Bitrate::from_bps(bps),
            threads: 1,
        };
        for (bps, fps_max, kbps, frame_kbit) in [
            (0, 0, 256, 256),
            (8_000_000, 60, 8_000, 133),
            (1, u16::MAX, 256, 1),
            (u64::MAX, 1, KBPS_MAX, KBPS_MAX),
        ] {
            let rate = Rate::new(&config(bps, fps_max), Quality::Target, 1);
            assert_eq!((rate.kbps, rate.frame_kbit), (kbps, frame_kbit));
        }
        let four = Rate::new(&config(u64::MAX, 1), Quality::Target, KEYFRAME_SHARE);
        assert_eq!(four.frame_kbit, KBPS_MAX);
    }
}
