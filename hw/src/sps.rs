//! One bit of H.264's sequence parameter set (ITU-T H.264, 7.3.2.1.1).

/// Nal unit header of a parameter set that everything may refer to.
const NAL_SPS: u8 = 0x67;

/// The only profile here; others have more fields in between.
const BASELINE: u8 = 66;

/// Where a bit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bit {
    pub byte: usize,
    pub mask: u8,
}

/// Finds `gaps_in_frame_num_value_allowed_flag` in an access unit that begins with its parameter
/// set; `None` for any other, and for one that needs more than a glance.
pub(crate) fn gaps_allowed(access_unit: &[u8]) -> Option<Bit> {
    let start = match access_unit {
        [0, 0, 0, 1, NAL_SPS, ..] => 5,
        [0, 0, 1, NAL_SPS, ..] => 4,
        _ => return None,
    };
    let (profile, _) = access_unit.get(start..)?.split_first()?;
    // Profile, constraints, level.
    let mut bits = Bits {
        bytes: access_unit,
        at: (start + 3) * 8,
    };
    if *profile != BASELINE {
        return None;
    }
    let _id = bits.number()?;
    let _frame_number_bits = bits.number()?;
    match bits.number()? {
        0 => _ = bits.number()?,
        2 => (),
        _ => return None,
    }
    let _reference_frames = bits.number()?;
    Some(bits.place())
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    const fn place(&self) -> Bit {
        Bit {
            byte: self.at / 8,
            mask: 0x80 >> (self.at % 8),
        }
    }

    fn bit(&mut self) -> Option<bool> {
        let Bit { byte, mask } = self.place();
        let value = self.bytes.get(byte)?;
        // Two zeros may be followed by a byte that is not the set's own (7.4.1).
        if *value == 0 {
            return None;
        }
        self.at += 1;
        Some(value & mask != 0)
    }

    /// An Exp-Golomb number (9.1), of at most 16 bits.
    fn number(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 16 {
                return None;
            }
        }
        let mut number = 1;
        for _ in 0..zeros {
            number = number << 1 | u32::from(self.bit()?);
        }
        Some(number - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bit_follows_the_number_of_reference_frames() {
        // id 0, 4 bits of frame number, order 2, 4 reference frames.
        let set = [0, 0, 0, 1, 0x67, 66, 0xc0, 31, 0b1101_1001, 0b0101_1111];
        let bit = gaps_allowed(&set).unwrap();
        assert_eq!((bit.byte, bit.mask), (9, 0b0010_0000));
        assert_eq!(gaps_allowed(&set[1..]).unwrap().byte, 8);
        // Order 0 has a field more.
        let set = [0, 0, 1, 0x67, 66, 0xc0, 31, 0b1111_0100, 0xff];
        assert_eq!(
            gaps_allowed(&set),
            Some(Bit {
                byte: 7,
                mask: 0b0000_0001
            })
        );
    }

    #[test]
    fn what_is_cut_or_strange_has_none() {
        let set = [0, 0, 0, 1, 0x67, 66, 0xc0, 31, 0b1101_1001, 0b0101_1111];
        for length in 0..set.len() {
            assert_eq!(gaps_allowed(&set[..length]), None);
        }
        let mut other = set;
        other[5] = 100;
        assert_eq!(gaps_allowed(&other), None);
        other = set;
        other[8] = 0;
        assert_eq!(gaps_allowed(&other), None);
        assert_eq!(gaps_allowed(&[0, 0, 0, 1, 0x41, 66, 0, 31, 255, 255]), None);
    }
}
