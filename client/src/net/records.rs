//! Files that tell what happened: a line for each second, a line for each update.

use std::fs::File;
use std::io::{LineWriter, Write};
use std::time::Instant;

use sandbox_protocol::screen::Picture;
use sandbox_protocol::stream::reassemble::Update;
use serde_json::json;

use crate::figures::Figures;
use crate::screen::Applied;

/// The files; without any nothing is counted or hashed.
#[derive(Debug, Default)]
pub struct Records {
    seconds: Option<LineWriter<File>>,
    updates: Option<(LineWriter<File>, Instant)>,
}

impl Records {
    /// To these files, from a moment on.
    pub fn new(seconds: Option<File>, updates: Option<File>, now: Instant) -> Self {
        Self {
            seconds: seconds.map(LineWriter::new),
            updates: updates.map(|it| (LineWriter::new(it), now)),
        }
    }

    pub(super) const fn wants_figures(&self) -> bool {
        self.seconds.is_some()
    }

    pub(super) fn write_second(&mut self, figures: &Figures) {
        if let Some(file) = &mut self.seconds
            && writeln!(file, "{}", figures.line()).is_err()
        {
            // A full disk ends the record, not the session.
            self.seconds = None;
        }
    }

    pub(super) fn write_update(
        &mut self,
        now: Instant,
        update: &Update<'_>,
        applied: &Applied,
        server_clock: Option<u64>,
        picture: &Picture,
    ) {
        let Some((file, began)) = &mut self.updates else {
            return;
        };
        let header = &applied.header;
        let line = json!({
            "t_us": (now - *began).as_micros() as u64,
            "epoch": update.epoch.0,
            "update": update.number,
            "bytes": update.bytes.len(),
            "width": picture.size().width,
            "height": picture.size().height,
            "whole": header.whole.is_some(),
            "video": applied.has_video,
            "keyframe": applied.has_keyframe,
            "refinement": header.is_refinement,
            "input": header.input_seq,
            "captured_us": header.captured,
            "lag_us": header.lag.micros(),
            "encode_us": header.encode.micros(),
            "server_clock_us": server_clock,
            "hash": format!("{:032x}", picture.hash()),
        });
        if writeln!(file, "{line}").is_err() {
            self.updates = None;
        }
    }
}
