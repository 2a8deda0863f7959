//! What the daemon says, and what follows from it.

use std::time::Instant;

use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::worker::ToWorker;
use sandbox_protocol::stream::input::Input;
use sandbox_protocol::wire::input::Event as InputEvent;
use sandbox_protocol::{Bitrate, Size};

use super::{TURN_MAX, Worker};
use crate::clock;
use crate::error::WorkerError;
use crate::link::Received;
use crate::viewer::Stage;

impl Worker {
    pub(super) fn read_control(&mut self) -> Result<(), WorkerError> {
        for _ in 0..TURN_MAX {
            let Some(viewer) = &self.viewer else {
                return Ok(());
            };
            match self.inbox.receive(&viewer.control) {
                Ok(Received::Message(message)) => self.handle_message(message)?,
                Ok(Received::Nothing) => return Ok(()),
                Ok(Received::Closed) => return self.detach("its control socket is closed"),
                Err(error) => return self.detach_after(&error),
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, message: ToWorker) -> Result<(), WorkerError> {
        let now = clock::now();
        match message {
            ToWorker::Hello {
                version,
                bitrate,
                size,
                pictures,
            } => {
                self.handle_pictures(pictures, now);
                return self.greet(version, bitrate, size, now);
            }
            ToWorker::Input {
                stream,
                first_seq,
                events,
                pointer,
                held,
            } => {
                let input = Input {
                    stream,
                    first_seq,
                    events: &events,
                    pointer,
                    held: held.as_deref(),
                };
                let before = self.receiver.applied_count();
                let ack = self.receiver.handle_input(&input, now);
                let applied = self.receiver.applied_count() - before;
                if is_gesture(&events, applied) {
                    self.copy.handle_gesture(now);
                }
                // One packet's steps at a time: that is what bounds their queue.
                self.inject(now)?;
                if let (Some(ack), Some(viewer)) = (ack, &mut self.viewer) {
                    viewer.outbox.acknowledge(ack);
                }
            }
            ToWorker::Keyframe => {
                self.wanted.keyframe = true;
                self.clock.handle_damage(now);
            }
            ToWorker::Invalidate(first) => {
                let before = self.wanted.first_lost.unwrap_or(first);
                self.wanted.first_lost = Some(before.min(first));
                self.clock.handle_damage(now);
            }
            ToWorker::Whole => {
                self.wanted.whole_update = true;
                self.clock.handle_damage(now);
            }
            ToWorker::Touch => {
                self.wanted.touch = true;
                self.clock.handle_damage(now);
            }
            ToWorker::Pictures(pictures) => self.handle_pictures(pictures, now),
            ToWorker::Target(bitrate) => self.bitrate = bitrate,
            ToWorker::Flow(is_open) => self.handle_flow(is_open, now),
            ToWorker::Resize(size) => self.wanted.size = Some(size),
            ToWorker::Paste { text, last } => {
                self.paste
                    .handle_piece(&text, last, &self.parts.display, now)?;
            }
            ToWorker::Count => {
                if let Some(viewer) = &mut self.viewer {
                    viewer.outbox.counters = Some(self.counters);
                }
            }
        }
        Ok(())
    }

    fn handle_flow(&mut self, is_open: bool, now: Instant) {
        let is_streaming = self
            .viewer
            .as_ref()
            .is_some_and(|it| it.stage == Stage::Streaming);
        if is_open && is_streaming {
            self.clock.handle_open(now);
        } else {
            self.clock.handle_shut();
        }
    }

    fn greet(
        &mut self,
        version: u16,
        bitrate: Bitrate,
        size: Size,
        now: Instant,
    ) -> Result<(), WorkerError> {
        if version != VERSION {
            tracing::warn!(version, "the daemon speaks a version that we do not");
            return self.detach("of its version");
        }
        if let Some(viewer) = &mut self.viewer {
            viewer.stage = Stage::Streaming;
        }
        self.bitrate = bitrate;
        self.wanted.size = Some(size);
        self.wanted.whole_update = true;
        self.want_whole(now);
        self.clock.handle_open(now);
        self.cursor_clock.handle_damage(now);
        self.cursor_clock.handle_open(now);
        Ok(())
    }
}

/// Whether the newest `applied` events hold a key or click, which a program may answer by copying.
fn is_gesture(events: &[InputEvent], applied: u64) -> bool {
    let applied = usize::try_from(applied).unwrap_or(usize::MAX);
    events.iter().rev().take(applied).any(|it| match it {
        InputEvent::Key { .. } | InputEvent::Button { .. } => true,
        InputEvent::Wheel { .. } | InputEvent::ReleaseAll | InputEvent::MoveBy { .. } => false,
    })
}
