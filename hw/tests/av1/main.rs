//! The AV1 decoder against a stream of another encoder.
#![expect(clippy::indexing_slicing, reason = "a panic is a failed test")]

mod stream;

use sandbox_hw::{Av1Decoder, Target};
use sandbox_protocol::limits::DESKTOP_SIZE_MAX;
use sandbox_protocol::screen::Picture;
use sandbox_protocol::{Rect, Size};

use self::stream::{KEYS, SIZE, largest, units};

/// Of the pixels, after each temporal unit.
const HASHES: [u128; 12] = [
    0xdadc_c1f6_e3db_b829_6f7b_4ae1_8655_8e45,
    0x8ab4_ea0c_2193_d8fe_80c4_4bc6_a881_5377,
    0x2535_9f13_dd2b_56a5_8685_b554_733b_1984,
    0x8b38_2baf_6909_d96c_bf82_524e_3893_eb40,
    0xe83d_979b_0916_60c0_8f35_d597_def1_3025,
    0xdb36_6a74_1a64_f138_dc93_d9f3_ef9a_03c8,
    0x4c52_01c5_64f7_225d_adda_1e16_893e_9463,
    0xfb79_f7d3_8b72_6bbe_6d48_f458_b2db_f5d6,
    0xbc27_1901_cf2f_9c99_e352_dc8b_cc35_f1d6,
    0x6688_9c0d_6d3d_320d_9705_ddf0_13e6_425d,
    0xb959_402e_f7d5_1c93_cab1_6602_fc45_5a71,
    0x1b64_46ba_cf3a_732a_2dbf_08e1_b282_10d4,
];

#[test]
fn each_temporal_unit_gives_its_picture_at_once() {
    let mut decoder = Av1Decoder::new().unwrap();
    let mut hashes = Vec::new();
    for (at, unit) in units().iter().enumerate() {
        let decoded = decoder.decode(unit, SIZE).unwrap();
        assert_eq!(decoded.is_keyframe, KEYS.contains(&at));
        let mut picture = Picture::new(SIZE);
        let mut pixels = vec![0; 4 * Rect::whole(SIZE).area()];
        let mut target = Target {
            pixels: &mut pixels,
            stride: 4 * usize::from(SIZE.width),
            size: SIZE,
        };
        decoded
            .planes
            .paint(Rect::whole(SIZE), &mut target)
            .unwrap();
        let pixels: Vec<u32> = pixels
            .chunks_exact(4)
            .map(|it| u32::from_le_bytes([it[0], it[1], it[2], 0]))
            .collect();
        picture.write(Rect::whole(SIZE), &pixels);
        hashes.push(picture.hash());
    }
    assert_eq!(hashes, HASHES, "{hashes:#x?}");
}

#[test]
fn the_largest_desktop_is_decoded() {
    let mut decoder = Av1Decoder::new().unwrap();
    for unit in largest() {
        decoder.decode(&unit, DESKTOP_SIZE_MAX).unwrap();
    }
}

#[test]
fn a_picture_of_another_size_than_was_announced_is_refused() {
    let mut decoder = Av1Decoder::new().unwrap();
    let size = Size { width: 638, ..SIZE };
    let error = decoder.decode(&units()[0], size).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the picture has 640x400 pixels, not 638x400"
    );
}

#[test]
fn a_stream_that_begins_in_its_middle_and_bytes_that_are_none_are_refused() {
    for unit in [&units()[1][..], &[0; 40], &[0xFF; 40]] {
        let mut decoder = Av1Decoder::new().unwrap();
        assert!(decoder.decode(unit, SIZE).is_err());
    }
}
