//! The loop of the worker: one thread that waits for everything and lets nobody wait.

mod frames;
mod orders;
mod repainting;
mod reports;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use sandbox_core::frame_clock::FrameClock;
use sandbox_core::pulse::Pulse;
use sandbox_core::refinement::Refinement;
use sandbox_protocol::limits::DESKTOP_SIZE_MIN;
use sandbox_protocol::local::worker::{Counters, FromWarden, Pictures, ToWarden};
use sandbox_protocol::stream::input::{Receiver, Step};
use sandbox_protocol::{Bitrate, Deadline, Micros, Size};

use crate::clock;
use crate::copy::Copy;
use crate::display::{ANSWER_PATIENCE, Display, DisplayError};
use crate::encoding::{Encoding, Job, Moment, Wants};
use crate::error::WorkerError;
use crate::injection::Injection;
use crate::link::{Inbox, LinkError, Received, Sent, send_message};
use crate::notes::Notes;
use crate::paste::Paste;
use crate::viewer::Viewer;
use frames::Writing;
use repainting::Repainting;

/// Messages, and X's reports, taken in one turn: a flood of one kind must not starve the others.
const TURN_MAX: usize = 64;

/// What a worker is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub warden: OwnedFd,
    pub warden_inbox: Inbox,
    pub display: Display,
    pub encoding: Encoding,
    pub notes: Notes,
    pub encoder_name: String,
    pub bitrate: Bitrate,
    pub fps_max: u16,
    /// Largest desktop.
    pub size_max: Size,
}

/// The worker of one desktop.
#[derive(Debug)]
pub(crate) struct Worker {
    parts: Parts,
    inbox: Inbox,
    viewer: Option<Viewer>,
    attaches: u64,
    clock: FrameClock,
    /// The pointer's picture is paced like frames are: a program may change it without end.
    cursor_clock: FrameClock,
    refinement: Refinement,
    repainting: Repainting,
    receiver: Receiver,
    injection: Injection,
    paste: Paste,
    copy: Copy,
    counters: Counters,
    /// Of the X server: input needs no answer of it.
    pulse: Pulse,
    /// Size of the picture: the screen's, with even sides.
    size: Size,
    bitrate: Bitrate,
    /// What the viewers take.
    pictures: Pictures,
    /// The job's buffers while no frame is with the encoder.
    idle_job: Option<Box<Job>>,
    writing: Option<Writing>,
    wanted: Wanted,
    /// When the damage not yet captured began.
    damaged: Option<Micros>,
    injected: Micros,
}

/// What the next frame or message owes the viewer.
#[derive(Debug, Default)]
struct Wanted {
    size: Option<Size>,
    keyframe: bool,
    touch: bool,
    /// The first access unit that a viewer has lost.
    first_lost: Option<u32>,
    /// A copy of the whole screen, whatever the damage says.
    whole: bool,
    whole_update: bool,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Result<Self, DisplayError> {
        let size = parts.display.size().fit(DESKTOP_SIZE_MIN, parts.size_max);
        let mut injection = Injection::default();
        injection.handle_lock_changed(parts.display.is_caps_locked()?);
        let interval = Duration::from_secs(1) / u32::from(parts.fps_max.max(1));
        Ok(Self {
            inbox: Inbox::new("daemon"),
            viewer: None,
            attaches: 0,
            clock: FrameClock::new(interval),
            cursor_clock: FrameClock::new(interval),
            refinement: Refinement::default(),
            repainting: Repainting::default(),
            receiver: Receiver::resume(parts.notes.streams().to_vec()),
            injection,
            paste: Paste::new(&parts.display)?,
            copy: Copy::new(&parts.display)?,
            counters: Counters::default(),
            pulse: Pulse::new(ANSWER_PATIENCE),
            size,
            bitrate: parts.bitrate,
            pictures: Pictures::ACCESS_UNITS,
            idle_job: Some(Box::new(Job {
                attach: 0,
                size,
                pictures: Pictures::ACCESS_UNITS,
                rects: Vec::new(),
                wants: Wants::default(),
                bitrate: parts.bitrate,
                moment: Moment::default(),
                access_unit: Vec::new(),
                update: Vec::new(),
            })),
            writing: None,
            wanted: Wanted::default(),
            damaged: None,
            injected: Micros(0),
            parts,
        })
    }

    /// Tells the warden something.
    pub(crate) fn announce(&self, message: &ToWarden) -> Result<(), WorkerError> {
        send_message(&self.parts.warden, "warden", message)?;
        Ok(())
    }

    /// Works until the warden closes its end.
    pub(crate) fn run(mut self) -> Result<(), WorkerError> {
        loop {
            self.pump()?;
            // Waiting for a reply may have read reports that the socket no longer shows.
            let has_reports = self.read_reports()?;
            let ready = self.wait(has_reports)?;
            if ready.encoded
                && let Some(done) = self.parts.encoding.take()?
            {
                self.handle_done(done);
            }
            if ready.spare {
                self.parts.display.empty_spare()?;
            }
            // Before the warden: what is ready here belongs to the viewer that an attach replaces.
            if ready.control {
                self.read_control()?;
            }
            if ready.is_media_gone && self.viewer.is_some() {
                self.detach("its media socket is closed")?;
            }
            if ready.warden && !self.read_warden()? {
                return Ok(());
            }
        }
    }

    /// Does all that is due.
    fn pump(&mut self) -> Result<(), WorkerError> {
        let now = clock::now();
        self.check_x(now)?;
        self.receiver.handle_timeout(now);
        self.paste.handle_timeout(&self.parts.display, now)?;
        self.copy.handle_timeout(now);
        self.clock.handle_timeout(now);
        self.cursor_clock.handle_timeout(now);
        self.refinement.handle_timeout(now);
        self.repainting.handle_timeout(now);
        self.parts.encoding.handle_timeout(now)?;
        self.inject(now)?;
        if let Some(wanted) = self.wanted.size.take() {
            self.resize(wanted, now)?;
        }
        self.write_output(now)?;
        self.start_frames(now)?;
        self.read_cursor(now)?;
        self.parts.display.flush()?;
        self.write_messages()
    }

    fn inject(&mut self, now: Instant) -> Result<(), WorkerError> {
        self.parts.notes.keep(self.receiver.progress())?;
        let mut is_any = false;
        while let Some(step) = self.receiver.poll_step() {
            is_any = true;
            if let Step::Key { is_down: true, .. } = step {
                self.paste.handle_key(now);
            }
            self.injection.apply(step, &self.parts.display)?;
        }
        if is_any {
            if self.pulse.handle_input(now) {
                self.parts.display.ask()?;
            }
            self.parts.display.flush()?;
            self.injected = clock::micros();
            self.counters.input_applied = self.receiver.applied_count();
        }
        Ok(())
    }

    fn resize(&mut self, wanted: Size, now: Instant) -> Result<(), WorkerError> {
        let wanted = wanted.fit(DESKTOP_SIZE_MIN, self.parts.size_max);
        if wanted != self.parts.display.size() {
            match self.parts.display.resize(wanted) {
                Err(
                    error @ (DisplayError::Refused(_)
                    | DisplayError::Size { .. }
                    | DisplayError::Extension(_)),
                ) => tracing::warn!(%error, %wanted, "the desktop keeps its size"),
                result => result?,
            }
        }
        self.adopt_size(now);
        Ok(())
    }

    /// The picture follows the screen.
    fn adopt_size(&mut self, now: Instant) {
        let screen = self.parts.display.size();
        let size = screen.fit(DESKTOP_SIZE_MIN, self.parts.size_max);
        if size == self.size {
            return;
        }
        self.size = size;
        if let Some(viewer) = &mut self.viewer {
            viewer.outbox.resized = Some(size);
        }
        self.want_whole(now);
    }

    fn write_messages(&mut self) -> Result<(), WorkerError> {
        let Some(viewer) = &mut self.viewer else {
            return Ok(());
        };
        match viewer.outbox.flush(&viewer.control) {
            Ok(Sent::Bytes(_) | Sent::Full) => Ok(()),
            Ok(Sent::Closed) => self.detach("its control socket is closed"),
            Err(error) => self.detach_after(&error),
        }
    }

    /// Whether the warden is still there.
    fn read_warden(&mut self) -> Result<bool, WorkerError> {
        let Parts {
            warden,
            warden_inbox,
            ..
        } = &mut self.parts;
        let (received, descriptors) =
            warden_inbox.receive_with_descriptors(&*warden, RecvFlags::DONTWAIT)?;
        match received {
            Received::Message(FromWarden::Attach) => {
                let Ok([control, media]) = <[OwnedFd; 2]>::try_from(descriptors) else {
                    return Err(WorkerError::Plan("an attach without two sockets".into()));
                };
                self.attach(control, media)?;
                self.announce(&ToWarden::Attached)?;
                Ok(true)
            }
            Received::Message(FromWarden::Start(_)) => {
                Err(WorkerError::Plan("a second start".into()))
            }
            Received::Nothing => Ok(true),
            Received::Closed => Ok(false),
        }
    }

    fn attach(&mut self, control: OwnedFd, media: OwnedFd) -> Result<(), WorkerError> {
        self.drop_viewer();
        self.attaches += 1;
        let mut viewer = Viewer::new(self.attaches, control, media);
        viewer.outbox.hello = Some((self.size, self.parts.encoder_name.clone()));
        self.viewer = Some(viewer);
        self.parts.display.watch()?;
        self.copy.handle_attached(&self.parts.display)?;
        tracing::debug!(attach = self.attaches, "attached");
        Ok(())
    }

    fn detach_after(&mut self, error: &LinkError) -> Result<(), WorkerError> {
        tracing::warn!(%error, "the viewer is dropped");
        self.detach("of an error")
    }

    /// Nobody watches: nothing is captured, nothing is held down, nothing wakes us.
    fn detach(&mut self, because: &str) -> Result<(), WorkerError> {
        tracing::debug!(attach = self.attaches, because, "detached");
        self.drop_viewer();
        self.receiver.handle_detached();
        self.paste.handle_detached(&self.parts.display)?;
        self.copy.handle_detached(&self.parts.display)?;
        self.parts.display.unwatch()?;
        self.parts.encoding.rest();
        self.damaged = None;
        self.inject(clock::now())
    }

    fn drop_viewer(&mut self) {
        self.viewer = None;
        self.clock.handle_shut();
        self.cursor_clock.handle_shut();
        self.refinement.handle_detached();
        self.repainting.handle_detached();
        if self.writing.take().is_some() {
            self.clock.handle_finished(clock::now());
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        [
            self.receiver.poll_timeout(),
            self.paste.poll_timeout(),
            self.copy.poll_timeout(),
            self.clock.poll_timeout(),
            self.cursor_clock.poll_timeout(),
            self.refinement.poll_timeout(),
            self.repainting.poll_timeout(),
            self.parts.encoding.poll_timeout(),
            self.pulse.poll_timeout(),
        ]
        .into_iter()
        .fold(None, Deadline::soonest)
    }

    /// Waits until something happens or is due.
    fn wait(&self, is_busy: bool) -> Result<Ready, WorkerError> {
        let timeout = if is_busy {
            Some(Duration::ZERO)
        } else {
            let now = clock::now();
            self.deadline()
                .map(|it| it.at.saturating_duration_since(now))
        };
        let timeout = timeout.and_then(|it| Timespec::try_from(it).ok());
        let parts = &self.parts;
        let of_viewer = self.viewer.as_ref().map(|viewer| {
            let mut control = PollFlags::IN;
            control.set(PollFlags::OUT, !viewer.outbox.is_empty());
            let mut media = PollFlags::empty();
            media.set(PollFlags::OUT, viewer.output.is_pending());
            [(&viewer.control, control), (&viewer.media, media)]
        });
        let nobody = [(&parts.warden, PollFlags::empty()); 2];
        let [control, media] = of_viewer.unwrap_or(nobody);
        let mut fds = [
            PollFd::from_borrowed_fd(parts.display.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(parts.encoding.as_fd(), PollFlags::IN),
            PollFd::new(&parts.warden, PollFlags::IN),
            PollFd::new(control.0, control.1),
            PollFd::new(media.0, media.1),
            PollFd::from_borrowed_fd(parts.display.spare(), PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => (),
            Err(error) => return Err(WorkerError::Wait(error)),
        }
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        let [_, encoded, warden, control, media, spare] = fds.map(|it| it.revents());
        Ok(Ready {
            encoded: !encoded.is_empty(),
            warden: !warden.is_empty(),
            control: control.intersects(PollFlags::IN | gone),
            is_media_gone: media.intersects(gone) && self.viewer.is_some(),
            spare: !spare.is_empty(),
        })
    }
}

/// What [`Worker::wait`] found.
#[derive(Clone, Copy, Debug)]
struct Ready {
    encoded: bool,
    warden: bool,
    control: bool,
    is_media_gone: bool,
    spare: bool,
}
