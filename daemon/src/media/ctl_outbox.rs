//! What the page must be told on `ctl` although the channel may be closed or full: the newest of
//! each kind, so that nothing queues.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox_protocol::Size;
use sandbox_protocol::limits::{COPY_BYTES_MAX, COPY_PIECE_BYTES_MAX};
use sandbox_protocol::local::worker::{CopiedPiece, Cursor};
use sandbox_protocol::wire::ctl::ToPage;

/// Newest message of each kind, in the order in which the page wants them.
#[derive(Debug, Default)]
pub(super) struct CtlOutbox {
    hello: Option<ToPage>,
    size: Option<ToPage>,
    cursor: Option<ToPage>,
    /// Pieces of one copied text.
    copied: VecDeque<ToPage>,
    copied_bytes: usize,
}

/// A worker sent more of a copied text, or a larger piece of it, than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl CtlOutbox {
    /// The desktop as it is; replaces a size that was not yet told.
    pub(super) fn set_hello(&mut self, size: Size, encoder: String) {
        self.size = None;
        self.hello = Some(ToPage::Hello {
            width: size.width,
            height: size.height,
            encoder,
        });
    }

    /// The desktop's new size.
    pub(super) fn set_size(&mut self, size: Size) {
        self.size = Some(ToPage::Size {
            width: size.width,
            height: size.height,
        });
    }

    /// The pointer's new picture.
    pub(super) fn set_cursor(&mut self, cursor: &Cursor) {
        self.cursor = Some(ToPage::Cursor {
            width: cursor.size.width,
            height: cursor.size.height,
            hot_x: cursor.hot_x,
            hot_y: cursor.hot_y,
            rgba: STANDARD.encode(&cursor.rgba),
        });
    }

    /// A piece of a copied text; the first one of a text replaces what waits of an older one.
    ///
    /// # Errors
    ///
    /// Returns [`TooLong`] for what no worker of ours sends.
    pub(super) fn push_copied(&mut self, piece: CopiedPiece) -> Result<(), TooLong> {
        let CopiedPiece {
            text,
            is_first,
            is_last,
        } = piece;
        if is_first {
            self.copied.clear();
            self.copied_bytes = 0;
        }
        self.copied_bytes += text.len();
        let is_endless = text.is_empty() && !is_last;
        if is_endless || text.len() > COPY_PIECE_BYTES_MAX || self.copied_bytes > COPY_BYTES_MAX {
            return Err(TooLong);
        }
        self.copied.push_back(ToPage::Clipboard {
            text,
            first: is_first,
            last: is_last,
        });
        Ok(())
    }

    /// What to send next.
    pub(super) fn front(&self) -> Option<&ToPage> {
        self.hello
            .as_ref()
            .or(self.size.as_ref())
            .or(self.cursor.as_ref())
            .or(self.copied.front())
    }

    /// The front was sent.
    pub(super) fn pop(&mut self) {
        let _sent = self
            .hello
            .take()
            .or_else(|| self.size.take())
            .or_else(|| self.cursor.take())
            .or_else(|| self.copied.pop_front());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_kind_is_told_once_and_the_desktop_first() {
        let size = |width| Size { width, height: 200 };
        let cursor = |hot_x| Cursor {
            size: Size {
                width: 1,
                height: 1,
            },
            hot_x,
            hot_y: 0,
            rgba: vec![0, 255, 16, 255],
        };
        let mut outbox = CtlOutbox::default();
        outbox.set_cursor(&cursor(0));
        outbox.set_hello(size(320), "x264".to_owned());
        outbox.set_size(size(400));
        outbox.set_size(size(500));
        outbox.set_cursor(&cursor(1));
        let mut told = Vec::new();
        while let Some(message) = outbox.front() {
            told.push(message.clone());
            outbox.pop();
        }
        let expected = [
            ToPage::Hello {
                width: 320,
                height: 200,
                encoder: "x264".to_owned(),
            },
            ToPage::Size {
                width: 500,
                height: 200,
            },
            ToPage::Cursor {
                width: 1,
                height: 1,
                hot_x: 1,
                hot_y: 0,
                rgba: "AP8Q/w==".to_owned(),
            },
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_copied_text_waits_as_a_whole_and_no_longer_than_it_may_be() {
        let piece = |bytes, is_first| CopiedPiece {
            text: "x".repeat(bytes),
            is_first,
            is_last: false,
        };
        let mut outbox = CtlOutbox::default();
        assert_eq!(outbox.push_copied(piece(1, true)), Ok(()));
        assert_eq!(outbox.push_copied(piece(2, true)), Ok(()));
        let begun = ToPage::Clipboard {
            text: "xx".to_owned(),
            first: true,
            last: false,
        };
        assert_eq!(outbox.front(), Some(&begun), "the older one is void");
        assert_eq!(outbox.push_copied(piece(0, false)), Err(TooLong));
        let large = piece(COPY_PIECE_BYTES_MAX + 1, false);
        assert_eq!(outbox.push_copied(large), Err(TooLong));
        let mut outbox = CtlOutbox::default();
        for _ in 0..COPY_BYTES_MAX / COPY_PIECE_BYTES_MAX {
            let piece = piece(COPY_PIECE_BYTES_MAX, false);
            assert_eq!(outbox.push_copied(piece), Ok(()));
            outbox.pop();
        }
        assert_eq!(outbox.push_copied(piece(1, false)), Err(TooLong));
        assert_eq!(outbox.push_copied(piece(1, true)), Ok(()));
    }
}
