//! What the user does: input for the desktop, or wishes about the window.

use sandbox_protocol::limits::{INPUT_WAITING_MAX, PASTE_BYTES_MAX};
use sandbox_protocol::wire::input::Event as Input;
use winit::dpi::PhysicalSize;
use winit::event::{ElementState, Ime, KeyEvent, Touch, WindowEvent};
use winit::event_loop::ActiveEventLoop;
use winit::window::Fullscreen;

use super::App;
use super::clipboard::Told;
use super::input::Meaning;
use super::overlay::State;
use super::pasting::Due;
use crate::clock;
use crate::net::{Arrival, Command};
use crate::script::typed;

/// Characters of an input method that are typed at once: each is two events of a thousand that may
/// wait.
const TYPED_MAX: usize = 256;

const _: () = assert!(2 * TYPED_MAX <= INPUT_WAITING_MAX / 2);

impl<F: FnMut(&Arrival)> App<F> {
    pub(super) fn handle_key(&mut self, event_loop: &ActiveEventLoop, event: &KeyEvent) {
        let is_over = matches!(self.state, State::Over(_));
        if is_over && event.state == ElementState::Pressed {
            return event_loop.exit();
        }
        match self.keyboard.handle_key(event) {
            Some(Meaning::Paste(input)) if self.state == State::Live && self.has_control => {
                self.pasting.handle_paste(input);
                self.send_due();
            }
            Some(Meaning::Input(input) | Meaning::Paste(input)) => self.send(input),
            Some(Meaning::Text(text)) => self.type_text(&text),
            Some(Meaning::Fullscreen) => {
                if let Some(pane) = self
                    .panes
                    .current()
                    .filter(|_| self.options.monitors.is_none())
                {
                    let is_full = pane.window.fullscreen().is_some();
                    let full = (!is_full).then_some(Fullscreen::Borderless(None));
                    pane.window.set_fullscreen(full);
                }
            }
            Some(Meaning::Figures) => {
                self.shows_figures = !self.shows_figures;
                self.client.command(Command::Figures(self.shows_figures));
            }
            Some(Meaning::Capture) => self.capture(),
            Some(Meaning::TakeControl) => self.client.command(Command::TakeControl),
            Some(Meaning::Leave) => event_loop.exit(),
            None => (),
        }
        self.redraw(event_loop);
    }

    pub(super) fn send(&mut self, input: Input) {
        self.pasting.handle_input(input);
        self.send_due();
    }

    /// Characters that have no key here.
    fn type_text(&mut self, text: &str) {
        if text.chars().count() > TYPED_MAX {
            let words = "The text is too long to be typed: copy it, and paste it instead.";
            return self.show_notice(words.to_owned());
        }
        typed(text).for_each(|it| self.send(it));
    }

    /// An input method has something to say.
    pub(super) fn handle_ime(&mut self, ime: Ime) {
        if let (Ime::Preedit(..), Some(pane)) = (&ime, self.panes.current()) {
            // What it shows itself it shows beside the pointer.
            let size = PhysicalSize::new(1, 1);
            pane.window.set_ime_cursor_area(self.place, size);
        }
        if let Some(text) = self.input_method.handle(ime) {
            self.type_text(&text);
        }
    }

    /// What the pointer does: places are not worth waiting for a text.
    fn command(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Input(input)) => self.send(input),
            Some(command) => self.client.command(command),
            None => (),
        }
    }

    /// What need not wait for a text goes to the desktop.
    pub(super) fn send_due(&mut self) {
        while let Some(due) = self.pasting.poll(clock::now()) {
            match due {
                Due::Input(input) => self.client.command(Command::Input(input)),
                Due::Read(number) => self.clipboard.take(number),
            }
        }
    }

    pub(super) fn handle_clipboard(&mut self, told: Told) {
        match told {
            Told::Taken(number, text) if self.pasting.handle_read(number) => {
                self.paste(text);
                self.send_due();
            }
            // What was pressed has gone without it.
            Told::Taken(..) => (),
            Told::Failed(words) => self.show_notice(words),
        }
    }

    /// What is in the clipboard here goes ahead of the key that pastes.
    fn paste(&mut self, text: Result<Option<String>, String>) {
        match text {
            Ok(Some(text)) if text.len() > PASTE_BYTES_MAX => {
                let words = "The text is too long to paste: at most 1 MiB at a time.";
                self.show_notice(words.to_owned());
            }
            Ok(Some(text)) => self.client.command(Command::Paste(text)),
            Ok(None) => (),
            Err(words) => self.show_notice(words),
        }
    }

    pub(super) fn handle_touch(&mut self, touch: &Touch) {
        let Some(pane) = self.panes.current().filter(|_| !self.capture.is_on()) else {
            return;
        };
        let finger = (touch.id, (touch.location.x, touch.location.y));
        let scale = pane.window.scale_factor();
        self.touch
            .handle_touch(clock::now(), finger, touch.phase, scale);
        self.act_by_touch();
    }

    /// What the fingers mean by now goes to the desktop.
    pub(super) fn act_by_touch(&mut self) {
        while let (Some(act), Some(pane)) = (self.touch.poll_act(), self.panes.current()) {
            let command = self.pointer.handle_act(act, pane.layout());
            self.command(command);
        }
    }

    /// Holds the pointer in the window, or lets it go.
    fn capture(&mut self) {
        let Some(pane) = self.panes.current() else {
            return;
        };
        if self.capture.is_on() {
            return self.release();
        }
        let words = if !self.can_capture {
            "This server does not take the pointer's steps: it cannot be held.".to_owned()
        } else if self.state != State::Live || !self.has_control {
            return;
        } else if let Err(words) = self.capture.begin(&pane.window) {
            words
        } else {
            self.pointer.handle_captured();
            "The window holds the pointer. Ctrl+Alt+Shift+M lets it go.".to_owned()
        };
        self.show_notice(words);
    }

    pub(super) fn release(&mut self) {
        if self.capture.end(self.panes.windows()) {
            for window in self.panes.windows() {
                window.set_cursor_visible(self.is_pointer_shown);
            }
            self.notice = None;
        }
    }

    pub(super) fn handle_pointer(&mut self, event: &WindowEvent) {
        let Some(pane) = self.panes.current() else {
            return;
        };
        let command = self.pointer.handle_event(event, pane.layout());
        self.command(command);
    }
}
