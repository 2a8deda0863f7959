//! The worker's frames: when one is due, what goes into it, and what becomes of it.

use std::time::Instant;

use sandbox_core::frame_clock::Effect;
use sandbox_core::refinement::Sent as SentFrame;
use sandbox_protocol::local::frame::{Content, FrameHeader};
use sandbox_protocol::local::worker::Pictures;
use sandbox_protocol::{Bitrate, Rect};

use super::Worker;
use crate::clock;
use crate::cursor::cursor;
use crate::encoding::{Done, Encoded, Job, Made, Moment, Reference, Rest, Wants};
use crate::error::WorkerError;
use crate::link::Sent;
use crate::viewer::Stage;

/// What is on its way to the media socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    access_unit: Option<SentFrame>,
    /// Of all that leaves with it.
    bytes: usize,
    target: Bitrate,
    rest: Rest,
}

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
        if self.clock.is_at_rest() {
            self.start_unchanged();
        }
        Ok(())
    }

    /// Starts a frame of the picture as it is, where one is due.
    fn start_unchanged(&mut self) {
        let wants = if self.repainting.poll_portion() {
            Wants {
                repaints: true,
                ..Wants::default()
            }
        } else if let Some(qp) = self.refinement.poll_step() {
            Wants {
                refines: Some(qp),
                ..Wants::default()
            }
        } else {
            return;
        };
        self.clock.handle_refining();
        let mut job = self.take_job();
        job.rects.clear();
        self.submit(job, wants);
    }

    fn capture(&mut self, now: Instant) -> Result<(), WorkerError> {
        let mut job = self.take_job();
        self.parts.display.take_damage(&mut job.rects)?;
        if std::mem::take(&mut self.wanted.whole) {
            job.rects.clear();
            job.rects.push(Rect::whole(self.size));
        }
        let wants = Wants {
            reference: self.take_reference(),
            is_whole: std::mem::take(&mut self.wanted.whole_update),
            touches: std::mem::take(&mut self.wanted.touch),
            refines: None,
            repaints: self.repainting.poll_overdue(now),
        };
        let is_asked =
            wants.is_whole || wants.touches || wants.repaints || wants.reference != Reference::All;
        if job.rects.is_empty() && !is_asked {
            self.idle_job = Some(job);
            self.clock.handle_finished(now);
            return Ok(());
        }
        self.counters.captures += u64::from(!job.rects.is_empty());
        self.submit(job, wants);
        Ok(())
    }

    /// What the viewers' decoders have, as far as they have complained.
    fn take_reference(&mut self) -> Reference {
        let first = self.wanted.first_lost.take();
        if std::mem::take(&mut self.wanted.keyframe) {
            return Reference::Nothing;
        }
        let sent = self.viewer.as_ref().map_or(0, |it| it.access_units);
        match first {
            None => Reference::All,
            Some(first) => Reference::Lost(sent.saturating_sub(first)),
        }
    }

    fn take_job(&mut self) -> Box<Job> {
        self.idle_job
            .take()
            .expect("the frame clock lets one frame be in flight")
    }

    fn submit(&mut self, mut job: Box<Job>, wants: Wants) {
        job.attach = self.viewer.as_ref().map_or(0, |it| it.attach);
        job.size = self.size;
        job.pictures = self.pictures;
        job.wants = wants;
        job.bitrate = self.bitrate;
        job.moment = Moment {
            input_seq: self.receiver.applied(),
            injected: self.injected,
            damaged: self.damaged.take().unwrap_or_else(clock::micros),
        };
        self.parts.encoding.submit(job, clock::now());
    }

    pub(super) fn handle_done(&mut self, Done { mut job, made }: Done) {
        let now = clock::now();
        self.count(&made);
        self.put(&mut job, &made, now);
        if self.writing.is_none() {
            self.clock.handle_finished(now);
        }
        if made.is_too_large {
            // What is lost was a reference: only a key frame, at the link's rate, mends it.
            let bytes = job.access_unit.len();
            tracing::warn!(bytes, "an access unit is too large and is dropped");
            self.want_whole(now);
        }
        self.idle_job = Some(job);
        if self.viewer.is_none() {
            self.parts.encoding.rest();
        }
    }

    /// Hands a frame to the viewer that it was made for.
    fn put(&mut self, job: &mut Job, made: &Made, now: Instant) {
        let wanted = self.pictures;
        let Some(viewer) = &mut self.viewer else {
            return;
        };
        if viewer.attach != job.attach || viewer.stage != Stage::Streaming {
            return;
        }
        let access_unit = made.access_unit.filter(|_| !made.is_too_large);
        viewer.access_units = viewer
            .access_units
            .wrapping_add(access_unit.is_some().into());
        let number = viewer.access_units;
        let mut writing = Writing {
            access_unit: None,
            bytes: 0,
            target: job.bitrate,
            rest: made.rest,
        };
        if let Some(encoded) = access_unit
            && job.pictures.access_units
            && wanted.access_units
        {
            let header = header(job, made, Content::AccessUnit, Some(encoded), number);
            writing.bytes += job.access_unit.len();
            writing.access_unit = Some(SentFrame {
                qp: header.qp,
                bytes: job.access_unit.len(),
                target: job.bitrate,
                is_refinement: header.is_refinement,
            });
            viewer.output.put(&header, &mut job.access_unit);
        }
        if let Some(content) = made.update
            && job.pictures.updates == wanted.updates
        {
            let header = header(job, made, content, access_unit, number);
            writing.bytes += job.update.len();
            viewer.output.put(&header, &mut job.update);
        }
        if writing.bytes == 0 {
            self.repainting.handle_sent(made.rest, now);
        } else {
            self.writing = Some(writing);
        }
    }

    fn count(&mut self, made: &Made) {
        let Some(encoded) = made.access_unit else {
            return;
        };
        self.counters.access_units += 1;
        self.counters.keyframes += u64::from(encoded.is_keyframe);
        self.counters.refinements += u64::from(is_refinement(made, Some(encoded)));
    }

    pub(super) fn want_whole(&mut self, now: Instant) {
        self.wanted.whole = true;
        self.wanted.keyframe = true;
        self.clock.handle_damage(now);
    }

    /// What the viewers take has changed: what begins, begins with what needs nothing before it.
    pub(super) fn handle_pictures(&mut self, pictures: Pictures, now: Instant) {
        let before = std::mem::replace(&mut self.pictures, pictures);
        self.wanted.whole_update |=
            pictures.updates.is_some() && pictures.updates != before.updates;
        self.wanted.keyframe |= pictures.access_units && !before.access_units;
        if !pictures.access_units {
            self.refinement.handle_detached();
        }
        if pictures != before {
            self.clock.handle_damage(now);
        }
    }

    pub(super) fn write_output(&mut self, now: Instant) -> Result<(), WorkerError> {
        let Some(viewer) = &mut self.viewer else {
            return Ok(());
        };
        match viewer.output.flush(&viewer.media) {
            Ok(Sent::Bytes(_)) => {
                if let Some(writing) = self.writing.take() {
                    if let Some(sent) = writing.access_unit {
                        self.refinement.handle_sent(sent, now);
                    }
                    let carried = writing.target.time_for(writing.bytes).unwrap_or_default();
                    self.repainting.handle_sent(writing.rest, now + carried);
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

fn is_refinement(made: &Made, encoded: Option<Encoded>) -> bool {
    !made.has_changed && !encoded.is_some_and(|it| it.is_keyframe)
}

fn header(
    job: &Job,
    made: &Made,
    content: Content,
    encoded: Option<Encoded>,
    number: u32,
) -> FrameHeader {
    let is_whole = matches!(content, Content::Update { is_whole: true, .. });
    FrameHeader {
        content,
        is_keyframe: encoded.is_some_and(|it| it.is_keyframe),
        is_refinement: is_refinement(made, encoded) && !is_whole,
        qp: encoded.map_or(0, |it| it.qp),
        frame: encoded.map_or(0, |_| number),
        size: job.size,
        input_seq: job.moment.input_seq,
        injected: job.moment.injected,
        damaged: job.moment.damaged,
        captured: made.captured,
        encoded: made.finished,
    }
}
