//! Which quantiser lets a frame fit its share of the link, told before it is encoded.
//!
//! OpenH264's own control of the rate moves the quantiser by five a frame: a new window would take
//! many frames' worth of the link. What text costs can be told from its edges instead, and what
//! stands still from how coarse it was left.

use std::ops::Range;

use crate::{I420, Kind};

/// Quantiser while the link has room, as with x264.
const QP_TARGET: u8 = 20;

/// The coarsest there is.
const QP_MAX: u8 = 51;

/// Bits for each step of luma between neighbouring pixels, by quantiser: text at 640×360 and
/// 1920×1080 alike, within 4 %.
const BITS: [(u8, f64); 12] = [
    (2, 0.176),
    (8, 0.134),
    (14, 0.103),
    (20, 0.081),
    (24, 0.070),
    (26, 0.065),
    (30, 0.055),
    (34, 0.047),
    (38, 0.036),
    (42, 0.026),
    (46, 0.017),
    (51, 0.009),
];

/// Making a block finer by this many quantisers costs 63 % of what it costs anew, by twice as many
/// 86 %. That is what it is on the way from 51 to 30; below it costs less.
const QP_MOSTLY_ANEW: f64 = 10.0;

/// Part of the share that is aimed at: one frame in twenty is a tenth above the estimate.
const AIM: f64 = 0.85;

/// A frame that changes what the one before changed, all but a quarter, goes on with it: text that
/// scrolls, a video. What that cost tells what this will.
const GOES_ON: f64 = 0.75;

/// Scrolled text is found where it was and costs a fraction; the next frame may be a new picture
/// all the same, and then takes this many shares.
const SCALE_MIN: f64 = 0.2;

/// Noise costs more than text of as many steps.
const SCALE_MAX: f64 = 2.0;

/// Side of a block.
const BLOCK: usize = 16;

/// The state of the picture that the decoder has, and what is to come.
#[derive(Debug, Default)]
pub(super) struct Rate {
    blocks: Vec<Block>,
    /// The frame that was coded last: identity and version.
    seen: Option<(u64, u64)>,
    plan: Plan,
    scale: Scale,
}

/// One macroblock.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Steps of luma between neighbouring pixels.
    steps: u32,
    /// How coarse it was left.
    qp: u8,
    is_changed: bool,
}

/// What the next frame has to show, in steps of luma.
#[derive(Debug)]
struct Plan {
    changed: f64,
    goes_on: bool,
    /// What stands still, by how coarse it was left.
    still: [f64; QP_MAX as usize + 1],
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            changed: 0.0,
            goes_on: false,
            still: [0.0; QP_MAX as usize + 1],
        }
    }
}

/// Real cost by estimated cost.
#[derive(Debug)]
struct Scale {
    /// Of pictures that have nothing to do with those before.
    anew: f64,
    /// Of a change that goes on.
    going_on: f64,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            anew: 1.0,
            going_on: 1.0,
        }
    }
}

impl Rate {
    /// Takes in the frame that is to be coded.
    pub(super) fn look(&mut self, frame: &I420, kind: Kind) {
        let (id, version) = frame.version();
        let blocks = frame.blocks();
        let seen = self
            .seen
            .filter(|(seen, _)| *seen == id && self.blocks.len() == blocks && kind == Kind::Auto);
        self.seen = Some((id, version));
        self.blocks.resize(blocks, Block::default());
        self.plan = Plan::default();
        let mut repeated = 0.0;
        let per_row = usize::from(frame.size().width).div_ceil(BLOCK);
        let unchanged = frame.unchanged_since(seen.map_or(0, |(_, version)| version));
        for (index, (block, is_unchanged)) in self.blocks.iter_mut().zip(unchanged).enumerate() {
            let was_changed = block.is_changed;
            block.is_changed = seen.is_none() || !is_unchanged;
            if block.is_changed {
                block.steps = steps(frame, index % per_row, index / per_row);
                let steps = f64::from(block.steps);
                self.plan.changed += steps;
                repeated += if was_changed { steps } else { 0.0 };
            } else if let Some(still) = self.plan.still.get_mut(usize::from(block.qp)) {
                *still += f64::from(block.steps);
            }
        }
        self.plan.goes_on = seen.is_some() && repeated > self.plan.changed * GOES_ON;
    }

    /// The finest quantiser with which the frame just taken in fits.
    pub(super) fn quantiser(&self, share_bytes: u64) -> u8 {
        let aim = float(share_bytes) * 8.0 * AIM;
        let fits = |qp: &u8| self.estimate(*qp) * self.scale() <= aim;
        (QP_TARGET..QP_MAX).find(fits).unwrap_or(QP_MAX)
    }

    /// Learns from what the frame cost.
    pub(super) fn learn(&mut self, qp: u8, bytes: usize, is_keyframe: bool) {
        let estimate = self.estimate(qp);
        // A few blocks say nothing about many.
        if self.plan.changed > float(self.blocks.len() as u64) * f64::from(BLOCK as u32) {
            let real = float(bytes as u64) * 8.0 / estimate.max(1.0);
            let real = real.clamp(SCALE_MIN, SCALE_MAX);
            if self.plan.goes_on {
                // Dearer than thought counts at once, cheaper by halves.
                self.scale.going_on = real.max((self.scale.going_on + real) / 2.0);
            } else {
                self.scale.anew = real.max((3.0 * self.scale.anew + real) / 4.0).max(1.0);
                self.scale.going_on = self.scale.anew;
            }
        }
        for block in &mut self.blocks {
            block.qp = if block.is_changed || is_keyframe {
                qp
            } else {
                block.qp.min(qp)
            };
        }
    }

    fn scale(&self) -> f64 {
        if self.plan.goes_on {
            self.scale.going_on
        } else {
            self.scale.anew
        }
    }

    /// Bits that text of as many steps would cost.
    fn estimate(&self, qp: u8) -> f64 {
        let still = self.plan.still.iter().zip(0_u8..).map(|(steps, left)| {
            let finer = f64::from(left.saturating_sub(qp));
            steps * (1.0 - (-finer / QP_MOSTLY_ANEW).exp())
        });
        (self.plan.changed + still.sum::<f64>()) * bits(qp)
    }
}

/// [`BITS`] at a quantiser, between its entries in proportion.
fn bits(qp: u8) -> f64 {
    let mut before = BITS[0];
    for entry in BITS {
        if entry.0 >= qp {
            let across = f64::from(entry.0 - before.0).max(1.0);
            let way = f64::from(qp.saturating_sub(before.0)) / across;
            return before.1 + (entry.1 - before.1) * way;
        }
        before = entry;
    }
    before.1
}

/// Steps of luma between the pixels of a block and their neighbours on the left and above.
fn steps(frame: &I420, column: usize, row: usize) -> u32 {
    let stride = frame.luma_stride();
    let size = frame.size();
    let within = |block: usize, side: u16| -> Range<usize> {
        (block * BLOCK).max(1)..((block + 1) * BLOCK).min(side.into())
    };
    let columns = within(column, size.width);
    within(row, size.height)
        .map(|y| {
            let part = |y: usize, left: usize| {
                let at = y * stride + columns.start - left;
                frame.luma().get(at..at + columns.len()).unwrap_or(&[])
            };
            let (here, above, left) = (part(y, 0), part(y - 1, 0), part(y, 1));
            here.iter()
                .zip(above.iter().zip(left))
                .map(|(here, (above, left))| {
                    u32::from(here.abs_diff(*above)) + u32::from(here.abs_diff(*left))
                })
                .sum::<u32>()
        })
        .sum()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::{Rect, Size};

    use super::*;

    const SIZE: Size = Size {
        width: 320,
        height: 202,
    };
    const STRIDE: usize = 320 * 4;
    const WHOLE: Rect = Rect::whole(SIZE);

    #[test]
    fn bits_fall_with_every_quantiser_and_meet_the_table() {
        for (qp, expected) in BITS {
            assert!((bits(qp) - expected).abs() < 1e-9, "{qp}");
        }
        assert!((0..QP_MAX).all(|qp| qp < 2 || bits(qp) > bits(qp + 1)));
    }

    #[test]
    fn a_small_change_is_fine_and_a_large_one_as_coarse_as_the_link_wants() {
        let mut frame = I420::new(SIZE);
        let mut rate = Rate::default();
        rate.look(&frame, Kind::Auto);
        rate.learn(QP_TARGET, 100, true);
        frame.update(&stripes(1), STRIDE, &[Rect { width: 16, ..WHOLE }]);
        rate.look(&frame, Kind::Auto);
        assert_eq!(rate.quantiser(20_000), QP_TARGET);
        rate.learn(QP_TARGET, 100, false);
        frame.update(&stripes(2), STRIDE, &[WHOLE]);
        rate.look(&frame, Kind::Auto);
        let (narrow, wide) = (rate.quantiser(10_000), rate.quantiser(60_000));
        assert!(QP_TARGET < wide && wide < narrow, "{wide} {narrow}");
        assert_eq!(rate.quantiser(0), QP_MAX);
    }

    #[test]
    fn a_still_picture_is_made_finer_step_by_step() {
        let mut frame = I420::new(SIZE);
        frame.update(&stripes(1), STRIDE, &[WHOLE]);
        let mut rate = Rate::default();
        let mut qp_before = QP_MAX + 1;
        while qp_before > QP_TARGET {
            rate.look(&frame, Kind::Auto);
            let qp = rate.quantiser(20_000);
            assert!(qp < qp_before, "{qp} after {qp_before}");
            rate.learn(qp, 20_000, false);
            qp_before = qp;
        }
    }

    #[test]
    fn what_goes_on_cheaply_becomes_finer_and_a_picture_anew_does_not() {
        let mut frame = I420::new(SIZE);
        let mut rate = Rate::default();
        let mut qps = Vec::new();
        for seed in 0..12 {
            frame.update(&stripes(seed), STRIDE, &[WHOLE]);
            rate.look(&frame, Kind::Auto);
            let qp = rate.quantiser(20_000);
            qps.push(qp);
            rate.learn(qp, 4_000, false);
        }
        assert!(qps[11] < qps[0], "{qps:?}");
        rate.look(&frame, Kind::Keyframe);
        assert_eq!(rate.quantiser(20_000), qps[0]);
    }

    /// Noise of grey stripes.
    fn stripes(seed: u32) -> Vec<u8> {
        let pixels = u32::from(SIZE.width) * u32::from(SIZE.height);
        let grey = |at: u32| (at ^ seed).wrapping_mul(2_654_435_761).to_be_bytes()[0];
        (0..pixels).flat_map(|at| [grey(at); 4]).collect()
    }
}
