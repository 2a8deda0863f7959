//! The loop of the worker: one thread that waits for everything and lets nobody wait.

mod frames;
mod reports;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use sandbox_core::frame_clock::FrameClock;
use sandbox_core::pulse::Pulse;
use sandbox_core::refinement::{Refinement, Sent as SentFrame};
use sandbox_hw::{Kind, Quality};
use sandbox_protocol::limits::DESKTOP_SIZE_MIN;
use sandbox_protocol::local::worker::{Counters, FromWarden, ToWarden, ToWorker, VERSION};
use sandbox_protocol::stream::input::{Input, Receiver, Step};
use sandbox_protocol::wire::input::Event as InputEvent;
use sandbox_protocol::{Bitrate, Deadline, Micros, Size};

use crate::clock;
use crate::copy::Copy;
use crate::display::{ANSWER_PATIENCE, Display, DisplayError};
use crate::encoding::{Encoding, Job, Moment};
use crate::error::WorkerError;
use crate::injection::Injection;
use crate::link::{Inbox, LinkError, Received, Sent, send_message};
use crate::notes::Notes;
use crate::paste::Paste;
use crate::viewer::{Stage, Viewer};

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
    /// The job's buffers while no frame is with the encoder.
    idle_job: Option<Box<Job>>,
    /// The frame that is being written.
    writing: Option<SentFrame>,
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
    /// The whole screen, whatever the damage says.
    whole: bool,
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
            receiver: Receiver::resume(parts.notes.streams().to_vec()),
            injection,
            paste: Paste::new(&parts.display)?,
            copy: Copy::new(&parts.display)?,
            counters: Counters::default(),
            pulse: Pulse::new(ANSWER_PATIENCE),
            size,
            bitrate: parts.bitrate,
            idle_job: Some(Box::new(Job {
                attach: 0,
                size,
                rects: Vec::new(),
                is_wanted: false,
                kind: Kind::Auto,
                quality: Quality::Target,
                bitrate: parts.bitrate,
                moment: Moment::default(),
                payload: Vec::new(),
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
        if self.writing.take().is_some() {
            self.clock.handle_finished(clock::now());
        }
    }

    fn read_control(&mut self) -> Result<(), WorkerError> {
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
            } => return self.greet(version, bitrate, size, now),
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
            ToWorker::Touch => {
                self.wanted.touch = true;
                self.clock.handle_damage(now);
            }
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
        self.want_whole(now);
        self.clock.handle_open(now);
        self.cursor_clock.handle_damage(now);
        self.cursor_clock.handle_open(now);
        Ok(())
    }

    fn deadline(&self) -> Option<Deadline> {
        [
            self.receiver.poll_timeout(),
            self.paste.poll_timeout(),
            self.copy.poll_timeout(),
            self.clock.poll_timeout(),
            self.cursor_clock.poll_timeout(),
            self.refinement.poll_timeout(),
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

/// Whether the newest `applied` events hold a key or click, which a program may answer by copying.
fn is_gesture(events: &[InputEvent], applied: u64) -> bool {
    let applied = usize::try_from(applied).unwrap_or(usize::MAX);
    events.iter().rev().take(applied).any(|it| match it {
        InputEvent::Key { .. } | InputEvent::Button { .. } => true,
        InputEvent::Wheel { .. } | InputEvent::ReleaseAll => false,
    })
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
