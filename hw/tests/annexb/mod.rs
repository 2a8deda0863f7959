//! Reads as much of an H.264 stream as the tests ask about (ITU-T H.264, 7.3 and E.1).
#![allow(
    clippy::indexing_slicing,
    reason = "a test's own stream: a panic is a failed test"
)]

/// The NAL units of an Annex B stream, without start codes.
pub(crate) fn nals(bytes: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<usize> = (0..bytes.len().saturating_sub(2))
        .filter(|at| bytes[*at..].starts_with(&[0, 0, 1]))
        .collect();
    starts.push(bytes.len());
    let units = starts.windows(2).map(|it| {
        let unit = &bytes[it[0] + 3..it[1]];
        // The next start code may have a zero byte more in front.
        unit.strip_suffix(&[0]).unwrap_or(unit)
    });
    units.collect()
}

/// A NAL unit's type: 1 slice, 5 slice of a keyframe, 7 and 8 parameter sets.
pub(crate) fn kind(nal: &[u8]) -> u8 {
    nal[0] & 31
}

/// What a sequence parameter set without scaling lists says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sps {
    pub(crate) profile: u32,
    pub(crate) constraint_flags: u32,
    pub(crate) level: u32,
    pub(crate) reference_frames: u32,
    pub(crate) full_range: u32,
    /// Primaries, transfer, matrix.
    pub(crate) colours: [u32; 3],
    pub(crate) reorder_frames: u32,
}

impl Sps {
    pub(crate) fn read(nal: &[u8]) -> Self {
        let mut bits = Bits::new(&nal[1..]);
        let (profile, constraint_flags, level) = (bits.take(8), bits.take(8), bits.take(8));
        let _id_and_frame_num = (bits.golomb(), bits.golomb());
        assert_eq!(bits.golomb(), 2, "picture order follows decoding order");
        let reference_frames = bits.golomb();
        let _gaps = bits.take(1);
        let _size = (bits.golomb(), bits.golomb());
        assert_eq!(bits.take(1), 1, "no interlacing");
        let _direct_8x8 = bits.take(1);
        if bits.take(1) == 1 {
            let _crop = [(); 4].map(|()| bits.golomb());
        }
        assert_eq!(bits.take(1), 1, "there is a VUI");
        if bits.take(1) == 1 && bits.take(8) == 255 {
            let _aspect = bits.take(32);
        }
        if bits.take(1) == 1 {
            let _overscan = bits.take(1);
        }
        assert_eq!(bits.take(1), 1, "the signal is described");
        let _format = bits.take(3);
        let full_range = bits.take(1);
        assert_eq!(bits.take(1), 1, "the colours are described");
        let colours = [(); 3].map(|()| bits.take(8));
        if bits.take(1) == 1 {
            let _chroma_location = (bits.golomb(), bits.golomb());
        }
        if bits.take(1) == 1 {
            let _timing = (bits.take(32), bits.take(32), bits.take(1));
        }
        assert_eq!((bits.take(1), bits.take(1)), (0, 0), "no HRD");
        let _pic_struct = bits.take(1);
        assert_eq!(bits.take(1), 1, "the decoder's buffer is bounded");
        let _vectors = bits.take(1);
        let _limits = [(); 4].map(|()| bits.golomb());
        Self {
            profile,
            constraint_flags,
            level,
            reference_frames,
            full_range,
            colours,
            reorder_frames: bits.golomb(),
        }
    }
}

/// Bits of a NAL unit, with emulation prevention undone.
struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    fn new(payload: &[u8]) -> Self {
        let mut bytes = Vec::new();
        let mut zeros = 0;
        for byte in payload {
            if zeros >= 2 && *byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
            bytes.push(*byte);
        }
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: u32) -> u32 {
        (0..count).fold(0, |value, _| {
            let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
            self.at += 1;
            value << 1 | u32::from(bit)
        })
    }

    fn golomb(&mut self) -> u32 {
        let mut zeros = 0;
        while self.take(1) == 0 {
            zeros += 1;
        }
        (1 << zeros) - 1 + self.take(zeros)
    }
}
