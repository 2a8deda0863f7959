//! The worker's frames: when one is due, what goes into it, and what becomes of it.

use std::time::Instant;

use sandbox_core::frame_clock::Effect;
use sandbox_core::refinement::Sent as SentFrame;
use sandbox_hw::{Kind, Quality};
use sandbox_protocol::Rect;
use sandbox_protocol::limits::ACCESS_UNIT_BYTES_MAX;
use sandbox_protocol::local::access_unit::{AccessUnitHeader, HEADER_LEN};

use super::Worker;
use crate::clock;
use crate::cursor::cursor;
use crate::encoding::{Done, Encoded, Job, Moment};
use crate::error::WorkerError;
use crate::link::Sent;
use crate::viewer::Stage;

impl Worker {
    pub(super) fn read_cursor(&mut self, now: Instant) -> Result<(), WorkerError> {
        if let Some(Effect::Capture) = self.cursor_clock.poll_effect() {
            let image = self.parts.display.cursor_image()?;
            if let Some(viewer) = &mut self.viewer {
                viewer.outbox.cursor = Some(cursor(&image));
            }
            self.cursor_clock.handle_finished(now);
        }
        Ok(())
    }

    /// Starts the frame that is due. The loop ends because at most one can be in flight.
    pub(super) fn start_frames(&mut self, now: Instant) -> Result<(), WorkerError> {
        while let Some(Effect::Capture) = self.clock.poll_effect() {
            self.capture(now)?;
        }
        if self.clock.is_at_rest()
            && let Some(qp) = self.refinement.poll_step()
        {
            self.clock.handle_refining();
            let mut job = self.take_job();
            job.rects.clear();
            job.quality = Quality::Fixed(qp);
            self.submit(job, Kind::Auto);
        }
        Ok(())
    }

    fn capture(&mut self, now: Instant) -> Result<(), WorkerError> {
        let mut job = self.take_job();
        self.parts.display.take_damage(&mut job.rects)?;
        if std::mem::take(&mut self.wanted.whole) {
            job.rects.clear();
            job.rects.push(Rect::whole(self.size));
        }
        let is_keyframe = std::mem::take(&mut self.wanted.keyframe);
        job.is_wanted = std::mem::take(&mut self.wanted.touch);
        if job.rects.is_empty() && !is_keyframe && !job.is_wanted {
            self.idle_job = Some(job);
            self.clock.handle_finished(now);
            return Ok(());
        }
        self.counters.captures += u64::from(!job.rects.is_empty());
        job.quality = Quality::Target;
        let kind = if is_keyframe {
            Kind::Keyframe
        } else {
            Kind::Auto
        };
        self.submit(job, kind);
        Ok(())
    }

    fn take_job(&mut self) -> Box<Job> {
        self.idle_job
            .take()
            .expect("the frame clock lets one frame be in flight")
    }

    fn submit(&mut self, mut job: Box<Job>, kind: Kind) {
        job.attach = self.viewer.as_ref().map_or(0, |it| it.attach);
        job.size = self.size;
        job.kind = kind;
        job.bitrate = self.bitrate;
        job.moment = Moment {
            input_seq: self.receiver.applied(),
            injected: self.injected,
            damaged: self.damaged.take().unwrap_or_else(clock::micros),
        };
        self.parts.encoding.submit(job, clock::now());
    }

    pub(super) fn handle_done(&mut self, Done { mut job, encoded }: Done) {
        let now = clock::now();
        let encoded = encoded.inspect(|it| self.count(&job, it));
        let viewer = self
            .viewer
            .as_mut()
            .filter(|it| it.attach == job.attach && it.stage == Stage::Streaming);
        if let (Some(viewer), Some(encoded)) = (viewer, encoded) {
            let bytes = job.payload.len();
            if bytes + HEADER_LEN > ACCESS_UNIT_BYTES_MAX {
                // What is lost was a reference: only a key frame, at the link's rate, mends it.
                tracing::warn!(bytes, "an access unit is too large and is dropped");
                self.clock.handle_finished(now);
                self.want_whole(now);
            } else {
                viewer.frames = viewer.frames.wrapping_add(1);
                let header = header(&job, &encoded, viewer.frames);
                self.writing = Some(SentFrame {
                    qp: header.qp,
                    bytes,
                    target: job.bitrate,
                    is_refinement: header.is_refinement,
                });
                viewer.output.put(&header, &mut job.payload);
            }
        } else {
            self.clock.handle_finished(now);
        }
        self.idle_job = Some(job);
        if self.viewer.is_none() {
            self.parts.encoding.rest();
        }
    }

    fn count(&mut self, job: &Job, encoded: &Encoded) {
        self.counters.access_units += 1;
        self.counters.keyframes += u64::from(encoded.is_keyframe);
        self.counters.refinements += u64::from(is_refinement(job, encoded));
    }

    pub(super) fn want_whole(&mut self, now: Instant) {
        self.wanted.whole = true;
        self.wanted.keyframe = true;
        self.clock.handle_damage(now);
    }

    pub(super) fn write_output(&mut self, now: Instant) -> Result<(), WorkerError> {
        let Some(viewer) = &mut self.viewer else {
            return Ok(());
        };
        match viewer.output.flush(&viewer.media) {
            Ok(Sent::Bytes(_)) => {
                if let Some(sent) = self.writing.take() {
                    self.refinement.handle_sent(sent, now);
                    self.clock.handle_finished(now);
                }
                Ok(())
            }
            Ok(Sent::Full) => Ok(()),
            Ok(Sent::Closed) => self.detach("its media socket is closed"),
            Err(error) => self.detach_after(&error),
        }
    }
}

fn is_refinement(job: &Job, encoded: &Encoded) -> bool {
    job.rects.is_empty() && !encoded.is_keyframe
}

fn header(job: &Job, encoded: &Encoded, frame: u32) -> AccessUnitHeader {
    AccessUnitHeader {
        is_keyframe: encoded.is_keyframe,
        is_refinement: is_refinement(job, encoded),
        qp: encoded.qp,
        frame,
        size: job.size,
        input_seq: job.moment.input_seq,
        injected: job.moment.injected,
        damaged: job.moment.damaged,
        captured: encoded.captured,
        encoded: encoded.encoded,
    }
}
