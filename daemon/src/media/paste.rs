//! Lets the pieces of one paste through: within their limits, and never the rest of one that was
//! cut.

use sandbox_protocol::limits::{PASTE_BYTES_MAX, PASTE_PIECE_BYTES_MAX};

/// A viewer's paste whose pieces are coming in.
#[derive(Debug, Default)]
pub(super) struct PasteGate {
    bytes: usize,
    /// Its first pieces went with a worker or with control: the rest alone would be another text.
    is_cut: bool,
}

/// More text than a paste may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("paste of {bytes} bytes, piece of {piece}")]
pub(super) struct TooLong {
    bytes: usize,
    piece: usize,
}

impl PasteGate {
    /// Of a paste that is coming in, no further piece goes to the desktop.
    pub(super) const fn cut(&mut self) {
        self.is_cut |= self.bytes > 0;
    }

    /// A piece has come; says whether it goes on to the desktop.
    ///
    /// # Errors
    ///
    /// Returns [`TooLong`] when it is more than a paste may have.
    pub(super) fn handle_piece(&mut self, text: &str, is_last: bool) -> Result<bool, TooLong> {
        let piece = text.len();
        self.bytes += piece;
        if piece > PASTE_PIECE_BYTES_MAX || self.bytes > PASTE_BYTES_MAX {
            let bytes = self.bytes;
            return Err(TooLong { bytes, piece });
        }
        let passes = !self.is_cut;
        if is_last {
            *self = Self::default();
        }
        Ok(passes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_paste_that_was_cut_goes_nowhere() {
        let mut gate = PasteGate::default();
        gate.cut();
        assert_eq!(gate.handle_piece("a", false), Ok(true), "none had begun");
        gate.cut();
        assert_eq!(gate.handle_piece("b", false), Ok(false));
        assert_eq!(gate.handle_piece("c", true), Ok(false));
        assert_eq!(gate.handle_piece("d", true), Ok(true));
    }

    #[test]
    fn a_paste_has_its_limits() {
        let mut gate = PasteGate::default();
        let piece = "x".repeat(PASTE_PIECE_BYTES_MAX);
        for _ in 0..PASTE_BYTES_MAX / PASTE_PIECE_BYTES_MAX {
            assert_eq!(gate.handle_piece(&piece, false), Ok(true));
        }
        assert!(gate.handle_piece("x", true).is_err());
        let long = format!("{piece}x");
        assert!(PasteGate::default().handle_piece(&long, true).is_err());
    }
}
