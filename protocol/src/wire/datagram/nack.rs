//! A viewer's request for more fragments of updates that it cannot put together.

use super::{CLASS_NACK, DatagramError, Epoch, end};
use crate::limits::NACK_UPDATES_MAX;
use crate::wire::reader::Reader;

/// Stands for all fragments of an update of which nothing came.
pub const ALL_FRAGMENTS: u8 = u8::MAX;

const WANTED_LEN: usize = 6;

/// One update that misses fragments. Which ones does not matter: any parity fills any gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which update.
    pub update: u32,
    /// How many fragments are missing; [`ALL_FRAGMENTS`] where none came.
    pub count: u8,
    /// Counts the requests for this update; a copy of one is answered once.
    pub round: u8,
}

/// The updates of one request, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack<'a> {
    /// Epoch of the updates.
    pub epoch: Epoch,
    wanted: &'a [u8],
}

impl<'a> Nack<'a> {
    /// Writes a request.
    ///
    /// # Panics
    ///
    /// When more than [`NACK_UPDATES_MAX`] updates are named.
    pub fn encode_into(epoch: Epoch, wanted: &[Wanted], out: &mut Vec<u8>) {
        let count = wanted.len();
        assert!(count <= NACK_UPDATES_MAX, "request for {count} updates");
        out.clear();
        out.push(CLASS_NACK);
        out.extend(epoch.0.to_le_bytes());
        out.push(count as u8);
        for it in wanted {
            out.extend(it.update.to_le_bytes());
            out.extend([it.count, it.round]);
        }
    }

    pub(super) fn decode(mut reader: Reader<'a>) -> Result<Self, DatagramError> {
        let short = DatagramError::Short { class: CLASS_NACK };
        let epoch = Epoch(reader.u16().ok_or(short)?);
        let count = reader.u8().ok_or(short)?;
        if usize::from(count) > NACK_UPDATES_MAX {
            return Err(DatagramError::Field {
                what: "count",
                value: u32::from(count),
            });
        }
        let wanted = reader.bytes(usize::from(count) * WANTED_LEN).ok_or(short)?;
        end(reader)?;
        Ok(Self { epoch, wanted })
    }

    /// The updates, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Wanted> {
        let (wanted, _) = self.wanted.as_chunks::<WANTED_LEN>();
        wanted.iter().map(|[u0, u1, u2, u3, count, round]| Wanted {
            update: u32::from_le_bytes([*u0, *u1, *u2, *u3]),
            count: *count,
            round: *round,
        })
    }
}
