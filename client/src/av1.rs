//! AV1, decoded by a process of its own.
//!
//! What decodes it ends its process where a stream is damaged, and runs a peer's bytes through
//! assembly. So it runs in this same program, started again with nothing to lose: see
//! [`role`] for its end, [`Decoder`] for ours.

mod exchange;
mod failures;
mod link;
mod process;
#[cfg(feature = "av1")]
pub mod role;
mod wire;

use std::path::PathBuf;

use sandbox_hw::{PaintError, Target};
use sandbox_protocol::Rect;

use self::exchange::Fault;
use self::failures::Failures;
use self::process::{Ending, Process};
use crate::{clock, platform};

/// The argument that makes the program play the other part.
pub const ROLE: &str = "--av1-decoder";

/// Exit code of a process that could not be confined, and has decoded nothing.
const UNCONFINED: u8 = 4;

/// Starts and asks the process that decodes.
#[derive(Debug)]
pub struct Decoder {
    program: PathBuf,
    process: Option<Process>,
    failures: Failures,
}

/// A temporal unit was not painted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Av1Error {
    /// The process has failed. The next temporal unit, a key frame, is for another one.
    #[error("the AV1 decoder failed and is started anew: {0}")]
    Failed(String),
    /// It has failed too often to be started again, or always will.
    #[error("the AV1 decoder failed for good: {0}")]
    GaveUp(String),
    /// The server wants something painted that no picture has.
    #[error(transparent)]
    Paint(#[from] PaintError),
}

impl Default for Decoder {
    fn default() -> Self {
        Self::of(platform::program())
    }
}

impl Decoder {
    /// A decoder whose process is that program; none is started yet.
    pub const fn of(program: PathBuf) -> Self {
        Self {
            program,
            process: None,
            failures: Failures::new(),
        }
    }

    /// Starts the process where there is none, so that it is there when it is first asked.
    pub fn start(&mut self) {
        if self.process.is_none() {
            // What fails here is told when it is asked.
            self.process = Process::start(&self.program).ok();
        }
    }

    /// Ends the process: what comes needs nothing of what came.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Number of the process, where there is one.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Decodes the next temporal unit and paints `rects` of it, whose edges are even. Tells
    /// whether it was a key frame, if the process is to be believed.
    ///
    /// # Errors
    ///
    /// Returns [`Av1Error`]; the target may then hold a part of the picture.
    pub fn decode(
        &mut self,
        temporal_unit: &[u8],
        rects: &[Rect],
        target: &mut Target<'_>,
    ) -> Result<bool, Av1Error> {
        let whole = Rect::whole(target.size);
        let is_even = |it: &Rect| {
            let sides = [it.x, it.y, it.width, it.height];
            sides.iter().all(|it| it.is_multiple_of(2))
        };
        if let Some(rect) = rects.iter().find(|it| !is_even(it)) {
            let (rect, area) = (*rect, whole);
            return Err(PaintError::Rect { rect, area }.into());
        }
        let area = around(rects);
        if area.is_empty() {
            let (rect, area) = (area, whole);
            return Err(PaintError::Rect { rect, area }.into());
        }
        match self.ask(temporal_unit, area, rects, target) {
            Ok(is_keyframe) => Ok(is_keyframe?),
            Err(fault) => Err(self.fail(&fault)),
        }
    }

    fn ask(
        &mut self,
        temporal_unit: &[u8],
        area: Rect,
        rects: &[Rect],
        target: &mut Target<'_>,
    ) -> Result<Result<bool, PaintError>, Fault> {
        let process = match &mut self.process {
            Some(process) => process,
            none => none.insert(Process::start(&self.program)?),
        };
        let picture = process.ask(temporal_unit, target.size, area)?;
        let painted = rects
            .iter()
            .try_for_each(|it| picture.planes.paint(*it, target));
        Ok(painted.map(|()| picture.is_keyframe))
    }

    fn fail(&mut self, fault: &Fault) -> Av1Error {
        let words = match (self.process.take(), fault) {
            (Some(process), Fault::Gone) => match process.end() {
                Ending::Unconfined => {
                    return Av1Error::GaveUp("this system cannot confine it".to_owned());
                }
                Ending::Other(words) => format!("{fault}: {words}"),
            },
            (_, fault) => fault.to_string(),
        };
        if self.failures.handle_failure(clock::now()) {
            Av1Error::GaveUp(words)
        } else {
            Av1Error::Failed(words)
        }
    }
}

/// The smallest rectangle that holds all of them.
fn around(rects: &[Rect]) -> Rect {
    let left = rects.iter().map(|it| it.x).min().unwrap_or(0);
    let top = rects.iter().map(|it| it.y).min().unwrap_or(0);
    let right = rects.iter().map(|it| it.right()).max().unwrap_or(0);
    let bottom = rects.iter().map(|it| it.bottom()).max().unwrap_or(0);
    Rect::between(left, top, right, bottom)
}
