//! Input behind a pasted text: it waits until the text is in the desktop, or was long enough on
//! its way there. The text goes by a stream and input by datagrams, which would overtake it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sandbox_protocol::limits::PASTE_BYTES_MAX;
use sandbox_protocol::wire::input::Event as Input;

/// A server that does not confirm a text in time gets the keys all the same.
const CONFIRM_MAX: Duration = Duration::from_secs(2);

/// What waits.
#[derive(Debug)]
pub(super) enum Held {
    Input(Input),
    Paste(String),
}

/// The order between texts and input.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// When what waits goes on in any case; `None` while nothing has to wait.
    until: Option<Instant>,
    /// Texts that the server has not confirmed: an answer that came late is none to the next one.
    unconfirmed: u32,
    waiting: VecDeque<Held>,
}

impl Hold {
    pub(super) const fn is_on(&self) -> bool {
        self.until.is_some()
    }

    /// A text has left.
    pub(super) fn begin(&mut self, now: Instant) {
        self.unconfirmed += 1;
        self.until = Some(now + CONFIRM_MAX);
    }

    pub(super) fn push_input(&mut self, event: Input) {
        if let Some(Held::Input(last)) = self.waiting.back_mut()
            && let Some(both) = last.joined(event)
        {
            *last = both;
            return;
        }
        self.waiting.push_back(Held::Input(event));
    }

    /// Returns whether the text found room.
    pub(super) fn push_paste(&mut self, text: &str) -> bool {
        let texts = self.waiting.iter().map(|it| match it {
            Held::Input(_) => 0,
            Held::Paste(text) => text.len(),
        });
        let has_room = texts.sum::<usize>() + text.len() <= PASTE_BYTES_MAX;
        if has_room {
            self.waiting.push_back(Held::Paste(text.to_owned()));
        }
        has_room
    }

    /// The server has confirmed the oldest text that it had not.
    pub(super) const fn handle_confirmed(&mut self) {
        self.unconfirmed = self.unconfirmed.saturating_sub(1);
        if self.unconfirmed == 0 {
            self.until = None;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.until = self.until.filter(|it| *it > now);
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }

    /// The next that need not wait any longer.
    pub(super) fn poll(&mut self) -> Option<Held> {
        if self.is_on() {
            return None;
        }
        self.waiting.pop_front()
    }

    /// Whether a text may not be in the desktop yet.
    pub(super) fn has_text(&self) -> bool {
        let is_text = |it: &Held| matches!(it, Held::Paste(_));
        self.is_on() || self.waiting.iter().any(is_text)
    }

    /// The connection is over: what was pressed is for the next one, what was pasted is lost.
    pub(super) fn into_input(self) -> impl Iterator<Item = Input> {
        self.waiting.into_iter().filter_map(|it| match it {
            Held::Input(event) => Some(event),
            Held::Paste(_) => None,
        })
    }
}
