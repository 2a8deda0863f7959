//! From one connection to the next: which of two goes on, and what the user did meanwhile.

use std::time::Instant;

use sandbox_protocol::Size;
use sandbox_protocol::stream::input_sender::InputSender;
use sandbox_protocol::wire::codes::CloseCode;

use super::{Connection, End};

impl Connection {
    /// Another connection was answered first.
    pub fn supersede(&mut self, now: Instant) {
        self.finish(now, CloseCode::Superseded, End::Left);
    }

    /// What the user did meanwhile: the input that outlives connections, the size by now, and
    /// whether anybody can see the picture.
    pub fn take_over(&mut self, now: Instant, mut input: InputSender, size: Size, is_shown: bool) {
        if let Some(sample) = self.endpoint.round_trip(self.handle) {
            input.handle_round_trip(sample);
        }
        self.input = input;
        self.handle_size(now, size);
        self.handle_shown(now, is_shown);
    }

    /// Whether a text that the user pasted is lost with this connection.
    pub fn loses_text(&self) -> bool {
        self.hold.has_text()
    }

    /// What of the input the next connection has to say.
    pub fn into_input(mut self, now: Instant) -> InputSender {
        if self.conversation.is_live() {
            self.input.handle_interrupted(now);
        }
        for event in self.hold.into_input() {
            self.input.handle_event(now, event);
        }
        self.input
    }
}
