//! Cuts the bytes of a worker's media socket into frames, within their limits.

use sandbox_protocol::local::frame::{FrameError, FrameHeader, PREFIX_LEN};

/// What a buffer starts with and shrinks back to: a typical frame.
const BUFFER_BYTES: usize = 128 << 10;

/// Reassembles frames from a byte stream.
#[derive(Debug, Default)]
pub(super) struct WorkerFrames {
    /// Read so far of the unit in hand, prefix included.
    buffer: Vec<u8>,
    filled: usize,
}

impl WorkerFrames {
    /// Where the next bytes of the stream go. It grows with what really came, not with what a
    /// prefix announces.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let wanted = match self.announced() {
            Some(Ok(total)) => total.min(self.filled.saturating_mul(2)),
            Some(Err(_)) | None => 0,
        };
        self.buffer.resize(wanted.max(BUFFER_BYTES), 0);
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// `len` bytes of [`space`](Self::space) were written.
    pub(super) fn handle_read(&mut self, len: usize) {
        self.filled += len;
        assert!(
            self.filled <= self.buffer.len(),
            "more bytes than there was space"
        );
    }

    /// Hands the first whole frame to `each` and removes it; `None` when more must be read.
    ///
    /// # Errors
    ///
    /// Returns [`FrameError`] when the stream holds anything else; it cannot be resumed.
    pub(super) fn poll<R>(
        &mut self,
        each: impl FnOnce(FrameHeader, &[u8]) -> R,
    ) -> Result<Option<R>, FrameError> {
        let Some(total) = self.announced().transpose()? else {
            return Ok(None);
        };
        if total > self.filled {
            return Ok(None);
        }
        let unit = self.buffer.get(PREFIX_LEN..total).unwrap_or_default();
        let (header, payload) = FrameHeader::decode(unit)?;
        let result = each(header, payload);
        self.buffer.copy_within(total..self.filled, 0);
        self.filled -= total;
        Ok(Some(result))
    }

    /// Bytes of prefix and unit, once the prefix is there.
    fn announced(&self) -> Option<Result<usize, FrameError>> {
        let read = self.buffer.get(..self.filled)?;
        let prefix = read.first_chunk::<PREFIX_LEN>()?;
        Some(FrameHeader::decode_prefix(*prefix).map(|it| PREFIX_LEN + it))
    }
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::limits::{ACCESS_UNIT_BYTES_MAX, UPDATE_BYTES_MAX};
    use sandbox_protocol::local::frame::{Content, HEADER_LEN};
    use sandbox_protocol::{Micros, Size};

    use super::*;

    fn header(frame: u32) -> FrameHeader {
        FrameHeader {
            content: Content::AccessUnit,
            is_keyframe: frame == 1,
            is_refinement: false,
            qp: 20,
            frame,
            size: Size {
                width: 640,
                height: 480,
            },
            input_seq: 0,
            injected: Micros(0),
            damaged: Micros(0),
            captured: Micros(u64::from(frame)),
            encoded: Micros(0),
        }
    }

    fn stream(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (frame, len) in (1..).zip(lengths) {
            bytes.extend(header(frame).encode(*len));
            bytes.extend(std::iter::repeat_n(frame as u8, *len));
        }
        bytes
    }

    /// Feeds `bytes` in pieces of at most `piece` and returns what comes out.
    fn cut(bytes: &[u8], piece: usize) -> Result<Vec<(u32, usize)>, FrameError> {
        let mut units = WorkerFrames::default();
        let mut out = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = units.space();
            let len = rest.len().min(piece).min(space.len());
            assert!(len > 0, "no space although the unit is not whole");
            space[..len].copy_from_slice(&rest[..len]);
            units.handle_read(len);
            rest = &rest[len..];
            while let Some(unit) = units.poll(|header, payload| {
                assert!(payload.iter().all(|it| u32::from(*it) == header.frame));
                (header.frame, payload.len())
            })? {
                out.push(unit);
            }
        }
        Ok(out)
    }

    #[test]
    fn units_come_out_whole_however_the_stream_is_cut() {
        let lengths = [0, 1, 300_000, 5, BUFFER_BYTES, 70_000];
        let bytes = stream(&lengths);
        let expected: Vec<_> = (1..).zip(lengths).collect();
        for piece in [1_009, 65_536, usize::MAX] {
            assert_eq!(cut(&bytes, piece), Ok(expected.clone()), "{piece}");
        }
        assert_eq!(cut(&stream(&[7, 9]), 1), Ok(vec![(1, 7), (2, 9)]));
    }

    #[test]
    fn an_announced_length_allocates_nothing_before_its_bytes_come() {
        let mut units = WorkerFrames::default();
        let prefix = u32::try_from(ACCESS_UNIT_BYTES_MAX).unwrap().to_le_bytes();
        units.space()[..PREFIX_LEN].copy_from_slice(&prefix);
        units.handle_read(PREFIX_LEN);
        assert!(units.poll(|_, _| ()).unwrap().is_none());
        units.space();
        assert_eq!(units.buffer.len(), BUFFER_BYTES);
    }

    #[test]
    fn a_length_no_unit_can_have_ends_the_stream() {
        for length in [0, HEADER_LEN - 1, HEADER_LEN + UPDATE_BYTES_MAX + 1] {
            let bytes = u32::try_from(length).unwrap().to_le_bytes();
            assert_eq!(cut(&bytes, 4), Err(FrameError::Length(length)));
        }
    }
}
