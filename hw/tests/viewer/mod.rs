//! The far end: decodes access units and compares what it sees with the frame that was meant.
#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "shared by a test and an example, which use different parts; a panic is a failed test"
)]

use openh264::decoder::{Decoder, DecoderConfig};
use openh264::formats::YUVSource;
use sandbox_hw::I420;
use sandbox_protocol::Rect;

/// A decoder and its newest picture.
pub(crate) struct Viewer {
    decoder: Decoder,
    luma: Vec<u8>,
    pub(crate) size: (usize, usize),
}

impl Viewer {
    pub(crate) fn new() -> Self {
        let api = openh264::OpenH264API::from_source();
        Self {
            decoder: Decoder::with_api_config(api, DecoderConfig::new()).unwrap(),
            luma: Vec::new(),
            size: (0, 0),
        }
    }

    /// Decodes one access unit, which must give a picture at once.
    #[track_caller]
    pub(crate) fn show(&mut self, access_unit: &[u8]) {
        let picture = self
            .decoder
            .decode(access_unit)
            .unwrap_or_else(|error| panic!("decoder error {}", error.native_code()))
            .expect("one access unit in, one picture out");
        self.size = picture.dimensions();
        let stride = picture.strides().0;
        self.luma.clear();
        for row in picture.y().chunks(stride).take(self.size.1) {
            self.luma.extend(&row[..self.size.0]);
        }
    }

    /// Luma PSNR in dB of the part in `rect`, 99 where nothing differs.
    pub(crate) fn psnr(&self, frame: &I420, rect: Rect) -> f64 {
        let mut squares = 0_u64;
        for y in usize::from(rect.y)..usize::from(rect.y + rect.height) {
            for x in usize::from(rect.x)..usize::from(rect.x + rect.width) {
                let meant = frame.luma()[y * frame.luma_stride() + x];
                let seen = self.luma[y * self.size.0 + x];
                squares += u64::from(meant.abs_diff(seen)).pow(2);
            }
        }
        if squares == 0 {
            return 99.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a picture has far fewer than 2^52 pixels"
        )]
        let mean = squares as f64 / f64::from(u32::from(rect.width) * u32::from(rect.height));
        10.0 * (255.0 * 255.0 / mean).log10()
    }
}
