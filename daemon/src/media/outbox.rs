//! What waits for a worker whose control socket is full: bounded, with input dropped first.

use std::collections::VecDeque;

use sandbox_protocol::local::worker::ToWorker;

/// Input messages waiting: the page resends keys until they are acknowledged, and of moves only
/// the newest counts, so what does not fit is dropped.
const INPUT_WAITING_MAX: usize = 64;

/// Bytes waiting: one whole paste and its neighbours.
const WAITING_BYTES_MAX: usize = 2 << 20;

/// The worker has not read for so long that what must not be lost no longer fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker has left {WAITING_BYTES_MAX} bytes unread")]
pub(super) struct Stuck;

/// Encoded messages in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    inputs: usize,
}

#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    is_input: bool,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts a message (and its encoding) behind the others.
    ///
    /// # Errors
    ///
    /// Returns [`Stuck`] when it does not fit and may not be dropped.
    pub(super) fn push(&mut self, message: &ToWorker, bytes: Vec<u8>) -> Result<(), Stuck> {
        let is_input = matches!(message, ToWorker::Input { .. });
        if is_input && self.inputs == INPUT_WAITING_MAX {
            return Ok(());
        }
        if self.bytes + bytes.len() > WAITING_BYTES_MAX {
            return Err(Stuck);
        }
        self.bytes += bytes.len();
        self.inputs += usize::from(is_input);
        self.waiting.push_back(Waiting { bytes, is_input });
        Ok(())
    }

    /// The oldest message.
    pub(super) fn front(&self) -> Option<&[u8]> {
        self.waiting.front().map(|it| it.bytes.as_slice())
    }

    /// The oldest message was sent.
    pub(super) fn pop(&mut self) {
        if let Some(sent) = self.waiting.pop_front() {
            self.bytes -= sent.bytes.len();
            self.inputs -= usize::from(sent.is_input);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> ToWorker {
        ToWorker::Input {
            stream: 1,
            first_seq: 1,
            events: Vec::new(),
            pointer: None,
            held: None,
        }
    }

    #[test]
    fn input_is_dropped_before_anything_else_is_refused() {
        let mut outbox = Outbox::default();
        for _ in 0..10_000 {
            assert_eq!(outbox.push(&input(), vec![0; 100]), Ok(()));
        }
        assert_eq!(outbox.waiting.len(), INPUT_WAITING_MAX);
        assert_eq!(outbox.push(&ToWorker::Keyframe, vec![0; 4]), Ok(()));
        let big = vec![0; WAITING_BYTES_MAX];
        assert_eq!(outbox.push(&ToWorker::Count, big), Err(Stuck));
    }

    #[test]
    fn an_emptied_outbox_takes_as_much_as_a_fresh_one() {
        let mut outbox = Outbox::default();
        for _ in 0..3 {
            while outbox.push(&ToWorker::Keyframe, vec![0; 1_000]).is_ok() {}
            while outbox.front().is_some() {
                outbox.pop();
            }
            assert!(outbox.is_empty());
            assert_eq!((outbox.bytes, outbox.inputs), (0, 0));
        }
    }
}
