//! Decodes what the worker sent and compares it with what the X server drew.

use openh264::OpenH264API;
use openh264::decoder::{Decoder, DecoderConfig};
use openh264::formats::YUVSource as _;
use sandbox_hw::I420;

/// A decoder and its newest picture.
pub(crate) struct Eye {
    decoder: Decoder,
    luma: Vec<u8>,
    size: (usize, usize),
}

impl Eye {
    pub(crate) fn new() -> Self {
        let api = OpenH264API::from_source();
        Self {
            decoder: Decoder::with_api_config(api, DecoderConfig::new()).unwrap(),
            luma: Vec::new(),
            size: (0, 0),
        }
    }

    /// Decodes one access unit, which gives a picture at once.
    pub(crate) fn see(&mut self, access_unit: &[u8]) {
        let picture = self.decoder.decode(access_unit).unwrap();
        let picture = picture.expect("one access unit in, one picture out");
        self.size = picture.dimensions();
        let (width, height) = self.size;
        let rows = picture.y().chunks(picture.strides().0).take(height);
        self.luma.clear();
        for row in rows {
            self.luma.extend(&row[..width]);
        }
    }

    /// Luma PSNR of the newest picture against `drawn`, in dB; 99 where nothing differs.
    pub(crate) fn psnr(&self, drawn: &I420) -> f64 {
        let (width, height) = self.size;
        let size = drawn.size();
        assert_eq!((width, height), (size.width.into(), size.height.into()));
        let drawn_rows = drawn.luma().chunks(drawn.luma_stride());
        let mut squares = 0;
        for (seen, drawn) in self.luma.chunks(width).zip(drawn_rows) {
            let differences = seen.iter().zip(drawn).map(|(a, b)| a.abs_diff(*b));
            squares += differences.map(|it| u32::from(it).pow(2)).sum::<u32>();
        }
        if squares == 0 {
            return 99.0;
        }
        let mean = f64::from(squares) / f64::from(u32::from(size.width) * u32::from(size.height));
        10.0 * (255.0 * 255.0 / mean).log10()
    }
}
