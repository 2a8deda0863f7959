//! What a native viewer is told on its control stream while the stream takes no more: in order,
//! and of what replaces itself the newest alone.

use std::collections::VecDeque;

use sandbox_protocol::wire::control::{FromServer, encode_into};

/// Messages that wait: the pieces of a copied text and what is said beside it.
const WAITING_MAX: usize = 512;

/// The viewer has left too much unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::media) struct Unread;

/// Messages for one viewer.
#[derive(Debug, Default)]
pub(in crate::media) struct Outbox {
    /// The message at hand, and how much of it has left.
    bytes: Vec<u8>,
    written: usize,
    waiting: VecDeque<FromServer>,
}

impl Outbox {
    /// Puts a message behind the others.
    ///
    /// # Errors
    ///
    /// Returns [`Unread`] when too many wait.
    pub(in crate::media) fn push(&mut self, message: FromServer) -> Result<(), Unread> {
        match &message {
            FromServer::CursorShape { .. } => self
                .waiting
                .retain(|it| !matches!(it, FromServer::CursorShape { .. })),
            FromServer::Config(_) => self
                .waiting
                .retain(|it| !matches!(it, FromServer::Config(_))),
            // It makes what came of an unfinished one void.
            FromServer::Copied { is_first: true, .. } => self
                .waiting
                .retain(|it| !matches!(it, FromServer::Copied { .. })),
            FromServer::LinkRate { .. } => self
                .waiting
                .retain(|it| !matches!(it, FromServer::LinkRate { .. })),
            FromServer::Hello { .. }
            | FromServer::Welcome { .. }
            | FromServer::AuthFailed { .. }
            | FromServer::Attached { .. }
            | FromServer::Notice { .. }
            | FromServer::Copied { .. }
            | FromServer::NextKey(_)
            | FromServer::Detached { .. }
            | FromServer::Goodbye { .. }
            | FromServer::Control { .. }
            | FromServer::Pasted
            | FromServer::PublicUrl(_) => (),
        }
        if self.waiting.len() == WAITING_MAX {
            return Err(Unread);
        }
        self.waiting.push_back(message);
        Ok(())
    }

    /// The bytes to write next; empty when there are none.
    pub(in crate::media) fn front(&mut self) -> &[u8] {
        while self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
            let Some(message) = self.waiting.pop_front() else {
                break;
            };
            if let Err(error) = encode_into(&message, &mut self.bytes) {
                tracing::error!(%error, "a message is too long to be said");
                self.bytes.clear();
            }
        }
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// So many of [`front`](Self::front) have left.
    pub(in crate::media) const fn handle_written(&mut self, count: usize) {
        self.written += count;
    }
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::Size;
    use sandbox_protocol::wire::control::{Frames, Trust, decode};

    use super::*;

    fn cursor(hot_x: u16) -> FromServer {
        let size = Size {
            width: 0,
            height: 0,
        };
        FromServer::CursorShape {
            size,
            hot_x,
            hot_y: 0,
            rgba: Vec::new(),
        }
    }

    fn copied(text: &str, is_first: bool) -> FromServer {
        FromServer::Copied {
            text: text.to_owned(),
            is_first,
            is_last: false,
        }
    }

    /// Everything that leaves, in pieces of so many bytes.
    fn read(outbox: &mut Outbox, piece: usize) -> Vec<FromServer> {
        let mut frames = Frames::default();
        let mut messages = Vec::new();
        loop {
            let bytes = outbox.front();
            let count = bytes.len().min(piece);
            if count == 0 {
                return messages;
            }
            frames.handle_bytes(&bytes[..count]);
            outbox.handle_written(count);
            while let Some(frame) = frames.poll_frame(Trust::SignedIn).unwrap() {
                messages.extend(decode::<FromServer>(frame).unwrap());
            }
        }
    }

    #[test]
    fn messages_leave_in_order_however_little_the_stream_takes() {
        let control = FromServer::Control { has_control: true };
        for piece in [1, 7, 1_000] {
            let mut outbox = Outbox::default();
            outbox.push(cursor(1)).unwrap();
            outbox.push(control.clone()).unwrap();
            assert_eq!(read(&mut outbox, piece), [cursor(1), control.clone()]);
            assert!(outbox.front().is_empty());
        }
    }

    #[test]
    fn what_waits_is_replaced_by_what_makes_it_void() {
        let mut outbox = Outbox::default();
        outbox.push(cursor(1)).unwrap();
        assert!(!outbox.front().is_empty(), "on its way");
        for message in [
            copied("a", true),
            cursor(2),
            copied("b", false),
            cursor(3),
            copied("c", true),
            copied("d", false),
        ] {
            outbox.push(message).unwrap();
        }
        let expected = [cursor(1), cursor(3), copied("c", true), copied("d", false)];
        assert_eq!(read(&mut outbox, 1_000), expected);
    }

    #[test]
    fn a_viewer_that_does_not_read_is_not_waited_for() {
        let mut outbox = Outbox::default();
        for _ in 0..WAITING_MAX {
            outbox.push(copied("x", false)).unwrap();
        }
        assert_eq!(outbox.push(copied("x", false)), Err(Unread));
        assert_eq!(outbox.push(copied("x", true)), Ok(()));
    }
}
