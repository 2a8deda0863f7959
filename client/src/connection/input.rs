//! What the user does, on its way to the desktop.

use std::time::Instant;

use sandbox_protocol::wire::control::Features;
use sandbox_protocol::wire::input::Event as Input;

use super::hold::Held;
use super::{Connection, Told};

/// A text could not even be handed to QUIC.
const LOST_TEXT: &str = "a text was not pasted: the one before it is still on its way";

impl Connection {
    /// Something was pressed, released or turned. Returns its number; `None` where nobody waits
    /// for input, or where it waits behind a pasted text.
    pub fn handle_input(&mut self, now: Instant, event: Input) -> Option<u32> {
        if !self.is_live() && !self.input.is_interrupted() {
            return None;
        }
        // A server that does not know them would take them for a broken packet.
        let is_step = matches!(event, Input::MoveBy { .. });
        if is_step
            && !self
                .conversation
                .features()
                .contains(Features::RELATIVE_POINTER)
        {
            return None;
        }
        if self.hold.is_on() {
            self.hold.push_input(event);
            return None;
        }
        self.input.handle_event(now, event);
        Some(self.input.last_seq())
    }

    /// The pointer moved.
    pub fn handle_move(&mut self, now: Instant, x: u16, y: u16) {
        if self.is_live() {
            self.input.handle_move(now, x, y);
        }
    }

    /// Somebody can see the picture again, or nobody any more: then none is sent.
    pub fn handle_shown(&mut self, now: Instant, is_shown: bool) {
        self.conversation.show(is_shown);
        self.settle(now);
    }

    /// The user pasted. What is pressed after it reaches the desktop after it. Returns whether
    /// there was room.
    pub fn handle_paste(&mut self, now: Instant, text: &str) -> bool {
        if self.hold.is_on() {
            return self.hold.push_paste(text);
        }
        let is_taken = self.paste(now, text);
        self.settle(now);
        is_taken
    }

    fn paste(&mut self, now: Instant, text: &str) -> bool {
        let is_taken = self.conversation.paste(text);
        if is_taken {
            self.hold.begin(now);
        }
        is_taken
    }

    /// What waited behind a text goes on, up to the next text.
    pub(super) fn let_go(&mut self, now: Instant) {
        while let Some(held) = self.hold.poll() {
            match held {
                Held::Input(event) => self.input.handle_event(now, event),
                Held::Paste(text) if self.paste(now, &text) => (),
                Held::Paste(_) => self.told.push_back(Told::Notice(LOST_TEXT.to_owned())),
            }
        }
    }
}
