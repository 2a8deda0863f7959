//! What the page must be told on `ctl` although the channel may be closed or full: the newest of
//! each kind, so that nothing queues.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox_protocol::Size;
use sandbox_protocol::local::worker::Cursor;
use sandbox_protocol::wire::ctl::ToPage;

/// Newest message of each kind, in the order in which the page wants them.
#[derive(Debug, Default)]
pub(super) struct CtlOutbox {
    hello: Option<ToPage>,
    size: Option<ToPage>,
    cursor: Option<ToPage>,
}

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

    /// What to send next.
    pub(super) fn front(&self) -> Option<&ToPage> {
        self.hello
            .as_ref()
            .or(self.size.as_ref())
            .or(self.cursor.as_ref())
    }

    /// The front was sent.
    pub(super) fn pop(&mut self) {
        let _sent = self
            .hello
            .take()
            .or_else(|| self.size.take())
            .or_else(|| self.cursor.take());
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
}
