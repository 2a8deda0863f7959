//! Input behind a paste whose text is still being read: it waits, in order, but not for ever.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sandbox_protocol::wire::input::Event as Input;

/// A program that gives its text no sooner is not waited for: what was pressed goes without.
const READ_MAX: Duration = Duration::from_secs(1);

/// Nobody presses so much in [`READ_MAX`]; what does is not waited for either.
const WAITING_MAX: usize = 256;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// This goes to the desktop.
    Input(Input),
    /// The text is to be read, under this number.
    Read(u64),
}

#[derive(Debug)]
enum Waiting {
    Input(Input),
    Text,
}

/// The order between texts that are read and input.
#[derive(Debug, Default)]
pub(super) struct Pasting {
    number: u64,
    /// When the text of this number is given up; `None` while none is read.
    until: Option<Instant>,
    waiting: VecDeque<Waiting>,
}

impl Pasting {
    /// Something was pressed, released or turned.
    pub(super) fn handle_input(&mut self, input: Input) {
        if let Some(Waiting::Input(last)) = self.waiting.back_mut()
            && let Some(both) = last.joined(input)
        {
            *last = both;
            return;
        }
        self.waiting.push_back(Waiting::Input(input));
    }

    /// A key was pressed that makes programs paste.
    pub(super) fn handle_paste(&mut self, input: Input) {
        self.waiting.extend([Waiting::Text, Waiting::Input(input)]);
    }

    /// A text was read, or could not be. Returns whether it is the one that is waited for.
    pub(super) fn handle_read(&mut self, number: u64) -> bool {
        let is_awaited = self.until.is_some() && number == self.number;
        if is_awaited {
            self.until = None;
        }
        is_awaited
    }

    /// Returns whether a text was given up.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_late = |it: &mut Instant| *it <= now || self.waiting.len() > WAITING_MAX;
        self.until.take_if(is_late).is_some()
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }

    /// The next that need not wait.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Due> {
        if self.until.is_some() {
            return None;
        }
        Some(match self.waiting.pop_front()? {
            Waiting::Input(input) => Due::Input(input),
            Waiting::Text => {
                self.number += 1;
                self.until = Some(now + READ_MAX);
                Due::Read(self.number)
            }
        })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    fn key(code: u16) -> Input {
        Input::Key {
            code,
            keysym: 0,
            is_down: true,
        }
    }

    #[test]
    fn keys_wait_for_the_text_before_them() {
        let mut it = Pasting::default();
        let now = Instant::now();
        it.handle_input(key(1));
        it.handle_paste(key(2));
        it.handle_paste(key(3));
        assert_eq!(it.poll(now), Some(Due::Input(key(1))));
        assert_eq!(it.poll(now), Some(Due::Read(1)));
        assert_eq!(it.poll(now), None);
        assert!(!it.handle_read(7));
        assert_eq!(it.poll(now), None);
        assert!(it.handle_read(1));
        assert_eq!(it.poll(now), Some(Due::Input(key(2))));
        assert_eq!(it.poll(now), Some(Due::Read(2)));
        assert!(it.handle_read(2));
        assert_eq!(it.poll(now), Some(Due::Input(key(3))));
        assert_eq!(it.poll(now), None);
        assert_eq!(it.poll_timeout(), None);
    }

    #[test]
    fn a_text_that_does_not_come_is_given_up() {
        let mut it = Pasting::default();
        let now = Instant::now();
        it.handle_paste(key(1));
        assert_eq!(it.poll(now), Some(Due::Read(1)));
        assert_eq!(it.poll_timeout(), Some(now + READ_MAX));
        assert!(!it.handle_timeout(now));
        assert!(it.handle_timeout(now + READ_MAX));
        assert_eq!(it.poll(now), Some(Due::Input(key(1))));
        assert!(!it.handle_read(1), "it came too late");

        it.handle_paste(key(2));
        assert_eq!(it.poll(now), Some(Due::Read(2)));
        (0..WAITING_MAX).for_each(|_| it.handle_input(key(3)));
        assert!(it.handle_timeout(now), "too much waits for it");
    }
}
