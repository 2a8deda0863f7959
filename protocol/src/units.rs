//! Numbers that carry their unit in the type.

use std::fmt;
use std::time::Duration;

use bincode::{Decode, Encode};

/// A rate in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Makes a rate from kilobits per second (1 kbit = 1000 bit).
    pub const fn kbps(kbps: u64) -> Self {
        Self(kbps.saturating_mul(1_000))
    }

    /// Makes a rate from bits per second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// Bits per second.
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// Kilobits per second, rounded down.
    pub const fn as_kbps(self) -> u64 {
        self.0 / 1_000
    }

    /// Time that `bytes` occupy at this rate; `None` for a rate of zero.
    pub fn time_for(self, bytes: usize) -> Option<Duration> {
        let bits = u64::try_from(bytes).ok()?.checked_mul(8)?;
        let nanos = u128::from(bits)
            .checked_mul(1_000_000_000)?
            .checked_div(u128::from(self.0))?;
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    }
}

/// A moment on CLOCK_MONOTONIC in microseconds; 0 means "not stamped".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Micros(pub u64);

/// A colour: `0x00RRGGBB`. The byte that BGRX has left over is always zero.
pub type Pixel = u32;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u16,
    /// Pixels from top to bottom.
    pub height: u16,
}

impl Size {
    /// The size rounded down to even numbers and held between `min` and `max` (both even).
    pub fn fit(self, min: Self, max: Self) -> Self {
        Self {
            width: (self.width & !1).clamp(min.width, max.width),
            height: (self.height & !1).clamp(min.height, max.height),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_megabyte_at_eight_megabit_takes_a_second() {
        assert_eq!(
            Bitrate::kbps(8_000).time_for(1_000_000),
            Some(Duration::from_secs(1))
        );
        assert_eq!(Bitrate::default().time_for(1), None);
    }

    #[test]
    fn a_desktop_has_even_sides_within_its_bounds() {
        let (min, max) = (
            Size {
                width: 320,
                height: 200,
            },
            Size {
                width: 3840,
                height: 2160,
            },
        );
        let fit = |width, height| Size { width, height }.fit(min, max).to_string();
        assert_eq!(fit(1919, 1081), "1918x1080");
        assert_eq!(fit(1, 1), "320x200");
        assert_eq!(fit(u16::MAX, u16::MAX), "3840x2160");
    }
}
