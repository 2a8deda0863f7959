//! What the X server reports, and what follows from it.

use std::time::Instant;

use sandbox_core::pulse::Due;

use super::{TURN_MAX, Worker};
use crate::clock;
use crate::display::{DisplayError, Report};
use crate::error::WorkerError;

impl Worker {
    /// Whether there were any.
    pub(super) fn read_reports(&mut self) -> Result<bool, WorkerError> {
        for turn in 0..TURN_MAX {
            let Some(report) = self.parts.display.poll_report()? else {
                return Ok(turn > 0);
            };
            self.handle_report(report)?;
        }
        Ok(true)
    }

    /// Ends with an X server that does not answer. What came while we ourselves were held up
    /// counts first.
    pub(super) fn check_x(&mut self, now: Instant) -> Result<(), WorkerError> {
        if self.pulse.poll_timeout().is_none_or(|it| now < it.at) {
            return Ok(());
        }
        self.read_reports()?;
        match self.pulse.handle_timeout(now) {
            Some(Due::Question) => Ok(self.parts.display.ask()?),
            Some(Due::End) => Err(DisplayError::Held.into()),
            None => Ok(()),
        }
    }

    fn handle_report(&mut self, report: Report) -> Result<(), WorkerError> {
        let now = clock::now();
        self.pulse.handle_word(now);
        let display = &self.parts.display;
        match report {
            Report::Damaged => {
                self.counters.damage_reports += 1;
                self.damaged.get_or_insert_with(clock::micros);
                self.clock.handle_damage(now);
            }
            Report::CursorChanged => self.cursor_clock.handle_damage(now),
            Report::Resized => self.adopt_size(now),
            Report::KeymapChanged { first, count } => {
                self.injection.handle_keymap_changed(first, count);
            }
            Report::LockChanged { is_on } => self.injection.handle_lock_changed(is_on),
            Report::SelectionRequested(request) => self.paste.handle_request(&request, display)?,
            Report::SelectionLost(event) => self.paste.handle_lost(&event, display)?,
            Report::SelectionOwned(event) => self.copy.handle_owner(&event, display, now)?,
            Report::SelectionAnswered(event) => {
                let text = self.copy.handle_answer(&event, display)?;
                self.tell_copied(text);
            }
            Report::PropertyChanged(event) => {
                let text = self.copy.handle_property(&event, display)?;
                self.tell_copied(text);
            }
            Report::Nothing => (),
        }
        Ok(())
    }

    fn tell_copied(&mut self, text: Option<String>) {
        if let (Some(text), Some(viewer)) = (text, &mut self.viewer) {
            viewer.outbox.copied(text);
        }
    }
}
