//! Makes one frame: copied once, then encoded or composed or both, as the viewers take it.

use std::time::Instant;

use sandbox_hw::{EncodeError, Encoder, Quality};
use sandbox_protocol::limits::ACCESS_UNIT_BYTES_MAX;
use sandbox_protocol::local::frame::{Content, HEADER_LEN};
use sandbox_protocol::wire::update::{Header, Lapse};
use sandbox_protocol::{Bitrate, Micros, Rect};

use super::screen::Screen;
use super::updates::{Purpose, Updates};
use super::video::{Encoded, Video};
use super::{Job, Made, Reference, Rest};
use crate::clock;
use crate::framebuffer::Framebuffer;

/// All that frames are made of and with.
pub(super) struct Maker {
    screen: Screen,
    video: Video,
    /// Where viewers take such.
    updates: Option<Updates>,
}

impl Maker {
    pub(super) fn new(framebuffer: Framebuffer, encoder: Box<dyn Encoder>, rate: Bitrate) -> Self {
        Self {
            screen: Screen::new(framebuffer, encoder.size()),
            video: Video::new(encoder, rate),
            updates: None,
        }
    }

    /// Gives back what only viewers need.
    pub(super) fn rest(&mut self) {
        self.video.rest();
        self.updates = None;
    }

    pub(super) fn make(&mut self, job: &mut Job, now: Instant) -> Result<Made, EncodeError> {
        self.follow(job)?;
        let captured = clock::micros();
        self.screen.copy(&job.rects);
        self.video.handle_changed(self.screen.changed());
        let is_asked = !self.screen.changed().is_empty()
            || job.wants.reference != Reference::All
            || job.wants.touches
            || job.wants.refines.is_some();
        let is_encoded = job.pictures.access_units && is_asked;
        if let Some(updates) = &mut self.updates {
            let purpose = Purpose {
                is_encoded,
                recovers: recovers(job),
                bitrate: job.bitrate,
            };
            updates.compose(&self.screen, purpose, now);
        }
        let is_shown = |it: &Updates| !it.shown().is_empty();
        let access_unit = if is_encoded || self.updates.as_ref().is_some_and(is_shown) {
            Some(self.encode(job)?)
        } else {
            None
        };
        let is_too_large =
            access_unit.is_some() && job.access_unit.len() + HEADER_LEN > ACCESS_UNIT_BYTES_MAX;
        let shown = access_unit.filter(|_| !is_too_large);
        let update = self.finish_update(job, shown, captured);
        Ok(Made {
            access_unit,
            is_too_large,
            update,
            has_changed: !self.screen.changed().is_empty(),
            captured,
            finished: clock::micros(),
            rest: self.updates.as_ref().map_or(Rest::default(), Updates::rest),
        })
    }

    /// Takes over what has changed but for the pixels.
    fn follow(&mut self, job: &mut Job) -> Result<(), EncodeError> {
        if job.size != self.screen.size() {
            self.video.resize(job.size)?;
            self.screen.resize(job.size);
            job.wants.reference = Reference::Nothing;
            job.rects.clear();
            job.rects.push(Rect::whole(job.size));
            if let Some(updates) = &mut self.updates {
                updates.begin(job.size);
            }
        }
        self.video.set_bitrate(job.bitrate);
        self.follow_cache(job);
        match job.wants.reference {
            Reference::All => (),
            Reference::Lost(back) => self.video.lose(back),
            Reference::Nothing => self.video.want_keyframe(),
        }
        Ok(())
    }

    fn follow_cache(&mut self, job: &Job) {
        let is_same = self.updates.as_ref().map(Updates::slots) == job.pictures.updates;
        match (&mut self.updates, job.pictures.updates) {
            (Some(updates), Some(_)) if is_same => {
                if job.wants.is_whole {
                    updates.begin(job.size);
                    self.video.want_keyframe();
                }
            }
            (_, Some(slots)) => {
                self.updates = Some(Updates::new(job.size, slots));
                self.video.want_keyframe();
            }
            (_, None) => self.updates = None,
        }
    }

    fn encode(&mut self, job: &mut Job) -> Result<Encoded, EncodeError> {
        // Others show all of it.
        let shown = self.updates.as_ref().map(Updates::shown);
        let shown = shown.filter(|_| !job.pictures.access_units);
        let quality = job.wants.refines.map_or(Quality::Target, Quality::Fixed);
        self.video
            .encode(&self.screen, shown, quality, &mut job.access_unit)
    }

    fn finish_update(
        &mut self,
        job: &mut Job,
        access_unit: Option<Encoded>,
        captured: Micros,
    ) -> Option<Content> {
        let updates = self.updates.as_mut()?;
        if access_unit.is_some() {
            updates.show(&job.access_unit);
        }
        if job.wants.repaints {
            updates.repaint(job.bitrate);
        }
        let lapse = |from: Micros, to: Micros| Lapse::from_micros(to.0.saturating_sub(from.0));
        let header = Header {
            whole: None,
            is_refinement: self.screen.changed().is_empty()
                && !access_unit.is_some_and(|it| it.is_keyframe),
            qp: access_unit.map_or(0, |it| it.qp),
            input_seq: job.moment.input_seq,
            captured: wrapped(captured),
            lag: lapse(job.moment.damaged, captured),
            encode: lapse(captured, clock::micros()),
        };
        updates.finish(header, recovers(job), &mut job.update)
    }
}

/// A viewer waits for video that needs nothing of what it has lost.
fn recovers(job: &Job) -> bool {
    job.wants.reference != Reference::All
}

/// As updates carry it.
fn wrapped(moment: Micros) -> u32 {
    let [a, b, c, d, ..] = moment.0.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests;
