//! What updates lead to: pictures, figures, and what follows where one cannot be shown.

use std::time::{Duration, Instant};

use super::Driver;
use crate::av1::Av1Error;
use crate::clock;
use crate::connection::{Connection, WITHOUT_AV1};
use crate::net::News;
use crate::screen::{ScreenError, VideoError};

/// A whole picture is asked for at most so often; the server answers no faster.
const WHOLE_INTERVAL: Duration = Duration::from_millis(250);

impl Driver {
    /// Applies the updates that are there.
    pub(super) fn apply_updates(&mut self, connection: &mut Connection) {
        loop {
            let came = clock::now();
            let server_clock = connection.server_clock(came);
            let Some(update) = connection.poll_update() else {
                return;
            };
            let mut view = self.shared.view();
            let applied = view.screen.apply(&update);
            let now = clock::now();
            match applied {
                Ok(applied) => {
                    let picture = view.screen.picture();
                    self.task
                        .records
                        .write_update(now, &update, &applied, server_clock, picture);
                    drop(view);
                    let header = &applied.header;
                    if header.whole.is_some() {
                        self.whole_due = None;
                    }
                    self.figures
                        .handle_update((came, now), header, server_clock);
                    if let Some(probe) = &mut self.probe {
                        probe.handle_update(now, header);
                    }
                    self.task.script.begin(now);
                    self.shared.wake();
                }
                Err(error) => {
                    drop(view);
                    self.handle_failure(now, connection, error);
                }
            }
        }
    }

    fn handle_failure(&mut self, now: Instant, connection: &mut Connection, error: ScreenError) {
        match error {
            ScreenError::Video(VideoError::Av1(error @ Av1Error::GaveUp(_))) => {
                self.codecs = WITHOUT_AV1;
                connection.give_up_codec(now, error.to_string());
            }
            ScreenError::Video(VideoError::Av1(error @ Av1Error::Failed(_))) => {
                self.tell(News::Notice(error.to_string()));
                self.want_whole(now);
            }
            ScreenError::Video(VideoError::Av1(Av1Error::Paint(_)) | VideoError::H264(_))
            | ScreenError::Lost => self.want_whole(now),
            error @ (ScreenError::Update(_) | ScreenError::Apply(_)) => {
                connection.refuse_update(now, error.to_string());
            }
        }
    }

    /// A whole picture is needed: now, or as soon as it may be asked for again.
    fn want_whole(&mut self, now: Instant) {
        let soonest = self.whole_asked.map_or(now, |it| it + WHOLE_INTERVAL);
        self.whole_due.get_or_insert(soonest.max(now));
    }

    /// Asks for a whole picture when that is due.
    pub(super) fn ask_whole(&mut self, now: Instant, connection: &mut Connection) {
        if self.whole_due.is_some_and(|it| it <= now) {
            self.whole_due = None;
            self.whole_asked = Some(now);
            connection.ask_whole(now);
        }
    }
}
