//! The viewers of one session and the worker that they share: its sockets, their end, the next
//! worker's, and whose control it follows.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_channel::Sender;
use sandbox_core::permit::{Control, Permit};
use sandbox_core::pulse::Due;
use sandbox_protocol::local::Version;
use sandbox_protocol::local::frame::FrameHeader;
use sandbox_protocol::local::worker::{CopiedPiece, Counters, FromWorker, Pictures, ToWorker};
use sandbox_protocol::{SessionId, ViewerId};
use smol::{Task, Timer};

use super::serving::tell;
use super::tasks::{keep_reading_control, keep_reading_media, keep_writing_control};
use super::{Hub, Seat};
use crate::clock;
use crate::media::member::Member;
use crate::media::shared::{Shared, is_picture};
use crate::media::wishes::Wishes;
use crate::media::worker_link::WorkerLink;
use crate::media::{AttachError, LeftReason, StreamCounters, ViewerEvent};

/// How long viewers wait for the next worker: longer than the warden gives it to be ready.
const WORKER_WAIT_MAX: Duration = Duration::from_secs(15);

/// Viewers of one session and what is theirs together.
pub(super) struct Audience {
    pub(super) session: SessionId,
    /// What its workers speak.
    version: Version,
    /// The one in control first: its copy of a frame leaves before the others'.
    seats: RefCell<Vec<Rc<Seat>>>,
    /// None between two workers.
    worker: RefCell<Option<Rc<WorkerLink>>>,
    tasks: RefCell<Vec<Task<()>>>,
    pub(super) shared: RefCell<Shared>,
    pub(super) counting: RefCell<Vec<Sender<StreamCounters>>>,
    /// Who gets the text that is being copied.
    copying: Cell<Option<ViewerId>>,
    pub(super) span: tracing::Span,
}

impl Audience {
    pub(super) fn new(session: SessionId, version: Version) -> Self {
        let stream = u64::from_le_bytes(crate::auth::random());
        Self {
            session,
            version,
            seats: RefCell::default(),
            worker: RefCell::default(),
            tasks: RefCell::default(),
            shared: RefCell::new(Shared::new(version, stream)),
            counting: RefCell::default(),
            copying: Cell::default(),
            span: tracing::info_span!("audience", %session),
        }
    }

    /// The viewer in control, or the first where nobody has it yet.
    pub(super) fn leader(&self) -> Option<Rc<Seat>> {
        self.seats.borrow().first().cloned()
    }

    fn is_led_by(&self, seat: &Seat) -> bool {
        self.leader().is_some_and(|it| it.id == seat.id)
    }

    pub(super) fn count(&self) -> usize {
        self.seats.borrow().len()
    }

    pub(super) fn add(&self, seat: Rc<Seat>) {
        self.seats.borrow_mut().push(seat);
        self.tell_company();
    }

    fn tell_company(&self) {
        let has_company = self.count() > 1;
        self.each(|seat| seat.member.borrow_mut().handle_company(has_company));
    }

    /// A viewer has left; says whether others remain.
    fn remove(&self, seat: &Seat) -> bool {
        let mut seats = self.seats.borrow_mut();
        seats.retain(|it| it.id != seat.id);
        let remain = !seats.is_empty();
        drop(seats);
        self.tell_company();
        remain
    }

    /// What the viewers take: pages access units, native viewers updates, as soon as media may
    /// flow to them.
    fn pictures(&self) -> Pictures {
        let mut pictures = Pictures {
            access_units: false,
            updates: None,
        };
        for seat in self.seats.borrow().iter() {
            match &*seat.member.borrow() {
                Member::Page(_) => pictures.access_units = true,
                Member::Native(viewer) => {
                    let slots = viewer.cache_slots();
                    let both = pictures.updates.zip(slots).map(|(a, b)| a.min(b));
                    pictures.updates = both.or(pictures.updates).or(slots);
                }
            }
        }
        pictures
    }

    /// Lets each viewer act, the one in control first. One that leaves in between costs the
    /// others nothing.
    fn each(&self, mut act: impl FnMut(&Rc<Seat>)) {
        let mut at = 0;
        loop {
            let Some(seat) = self.seats.borrow().get(at).cloned() else {
                return;
            };
            act(&seat);
            let is_still_there = self
                .seats
                .borrow()
                .get(at)
                .is_some_and(|it| it.id == seat.id);
            at += usize::from(is_still_there);
        }
    }

    /// Sends messages that the shared state has let through. Between two workers nobody hears:
    /// the page repeats what counts, and the next worker is told the rest when it is there.
    fn send(&self, messages: impl IntoIterator<Item = ToWorker>) -> Result<(), LeftReason> {
        let Some(worker) = self.worker.borrow().clone() else {
            return Ok(());
        };
        for message in messages {
            worker.send(&message).map_err(|error| {
                tracing::error!(%error, "worker is stuck");
                LeftReason::WorkerGone
            })?;
        }
        Ok(())
    }

    /// A viewer wants something of the worker.
    pub(super) fn handle_wishes(
        &self,
        seat: &Seat,
        messages: Vec<ToWorker>,
        wishes: Wishes,
    ) -> Result<(), LeftReason> {
        if messages.iter().any(|it| !it.is_known_to(self.version)) {
            let words = "it moves the pointer by steps, which was not agreed";
            return Err(LeftReason::Malformed(words.to_owned()));
        }
        // Whoever wishes for a first update is one more that takes them.
        let pictures = wishes.whole.then(|| self.pictures());
        let mut shared = self.shared.borrow_mut();
        let pictures = pictures.and_then(|it| shared.handle_pictures(it));
        let messages = messages.into_iter();
        let passed: Vec<_> = messages
            .filter_map(|it| shared.handle_message(it))
            .collect();
        let (now, rank) = (clock::now(), seat.member.borrow().rank());
        let asked = shared.handle_wishes(now, rank, wishes);
        let has_input = passed.iter().any(|it| matches!(it, ToWorker::Input { .. }));
        let is_pulse_due = has_input && shared.handle_input_passed(now);
        drop(shared);
        self.send(passed)?;
        self.send(is_pulse_due.then_some(ToWorker::Count))?;
        self.send(pictures)?;
        self.send(asked)
    }
}

impl Hub {
    /// Gives viewers a worker: the first one, or the one after.
    pub(super) fn wire(self: &Rc<Self>, audience: &Rc<Audience>, link: WorkerLink) {
        let link = Rc::new(link);
        audience.worker.replace(Some(link.clone()));
        audience.copying.set(None);
        let (hub, executor) = (self, &self.executor);
        let tasks = vec![
            executor.spawn(keep_reading_control(
                hub.clone(),
                audience.clone(),
                link.clone(),
            )),
            executor.spawn(keep_reading_media(
                hub.clone(),
                audience.clone(),
                link.clone(),
            )),
            executor.spawn(keep_writing_control(hub.clone(), audience.clone(), link)),
        ];
        drop(audience.tasks.replace(tasks));
        let wanted = audience.leader().map(|it| it.member.borrow().wanted());
        if let Some(told) = wanted {
            let pictures = audience.pictures();
            let first = audience.shared.borrow_mut().handle_wired(told, pictures);
            self.send(audience, first);
        }
        audience.each(|seat| self.serve(seat, |member| member.handle_rewired(clock::now())));
    }

    /// Tells a viewer that has just come what the others know of the desktop.
    pub(super) fn greet(&self, seat: &Rc<Seat>) {
        let greeting = seat.audience.shared.borrow().greeting();
        for message in greeting.into_iter().flatten() {
            self.forward(seat, message);
        }
    }

    /// The sockets have ended: the worker did, or is about to.
    pub(super) fn lose_worker(self: &Rc<Self>, audience: &Rc<Audience>) {
        if audience.worker.take().is_none() {
            return;
        }
        audience
            .span
            .in_scope(|| tracing::warn!("the worker's sockets ended"));
        audience.counting.take();
        let (hub, waiting) = (self.clone(), audience.clone());
        let giving_up = self.executor.spawn(async move {
            Timer::after(WORKER_WAIT_MAX).await;
            hub.end_audience(&waiting, &LeftReason::WorkerGone);
        });
        // The caller is one of those that end here: at its next wait.
        drop(audience.tasks.replace(vec![giving_up]));
        ask_for_worker(audience);
    }

    pub(super) fn rewire(
        self: &Rc<Self>,
        viewer: ViewerId,
        control: OwnedFd,
        media: OwnedFd,
    ) -> Result<(), AttachError> {
        let seat = self.seat(viewer).ok_or(AttachError::Unknown(viewer))?;
        let link = WorkerLink::new(control, media).map_err(AttachError::Worker)?;
        self.wire(&seat.audience, link);
        Ok(())
    }

    /// A viewer takes control, unless a later permit was used before.
    pub(super) fn control(&self, viewer: ViewerId, permit: Permit<Control>) {
        let Some(seat) = self.seat(viewer) else {
            return;
        };
        let audience = &seat.audience;
        if permit.session() != audience.session {
            return;
        }
        let Ok(endings) = audience.shared.borrow_mut().handle_control(&permit) else {
            return;
        };
        audience.each(|other| other.member.borrow_mut().handle_control_lost());
        let mut seats = audience.seats.borrow_mut();
        if let Some(at) = seats.iter().position(|it| it.id == viewer) {
            let taking = seats.remove(at);
            seats.insert(0, taking);
        }
        drop(seats);
        seat.span
            .in_scope(|| tracing::debug!(turn = permit.turn(), "viewer has control"));
        self.send(audience, endings);
        self.serve(&seat, |member| {
            member.handle_control(permit);
            Ok(())
        });
    }

    /// A message of the worker, to whom it concerns.
    pub(super) fn handle_worker(&self, audience: &Rc<Audience>, message: FromWorker) {
        if let Err(reason) = check(&message, audience.version) {
            audience
                .span
                .in_scope(|| tracing::error!(reason, "the worker is not understood"));
            return self.end_audience(audience, &LeftReason::WorkerGone);
        }
        audience
            .shared
            .borrow_mut()
            .handle_worker(clock::now(), &message);
        match message {
            FromWorker::Hello { .. } | FromWorker::Resized(_) | FromWorker::Cursor(_) => {
                audience.each(|seat| self.forward(seat, message.clone()));
            }
            FromWorker::Applied { stream, .. } => audience.each(|seat| {
                if seat.member.borrow().input_stream() == Some(stream) {
                    self.forward(seat, message.clone());
                }
            }),
            FromWorker::Copied(piece) => self.handle_copied(audience, piece),
            FromWorker::Counters(counters) => self.handle_counted(audience, counters),
        }
    }

    fn forward(&self, seat: &Rc<Seat>, message: FromWorker) {
        self.serve(seat, |member| member.handle_worker(clock::now(), message));
    }

    /// What a program copied is for the viewer whose key or click made it, and all of it.
    fn handle_copied(&self, audience: &Rc<Audience>, piece: CopiedPiece) {
        let Some(leader) = audience.leader() else {
            return;
        };
        if piece.is_first {
            audience.copying.set(Some(leader.id));
        }
        if audience.copying.get() == Some(leader.id) {
            self.forward(&leader, FromWorker::Copied(piece));
        }
    }

    fn handle_counted(&self, audience: &Rc<Audience>, worker: Counters) {
        let answered = audience.shared.borrow_mut().handle_counted();
        if let Some(in_doubt) = &answered.in_doubt {
            tracing::warn!(
                session = %audience.session, first = in_doubt.start(), last = in_doubt.end(),
                "the worker ended before it said that this input had reached the desktop: it may \
                 be lost"
            );
        }
        self.send(audience, answered.waiting);
        let Some(leader) = audience.leader() else {
            return;
        };
        let counters = StreamCounters {
            worker,
            viewers: audience.count(),
            recent: audience.shared.borrow().recent(clock::now()),
            inputs_in_doubt: audience.shared.borrow().inputs_in_doubt(),
            ..leader.member.borrow().counters()
        };
        for reply in audience.counting.take() {
            let _unwanted = reply.try_send(counters);
        }
    }

    /// A frame, to everybody who takes its kind.
    pub(super) fn handle_frame(
        &self,
        audience: &Rc<Audience>,
        header: FrameHeader,
        payload: &[u8],
    ) {
        let now = clock::now();
        let bytes = payload.len();
        audience.shared.borrow_mut().handle_frame(&header, bytes);
        audience.each(|seat| {
            self.serve(seat, |member| member.handle_frame(now, header, payload));
        });
    }

    /// A frame has left for a viewer.
    pub(super) fn note_left(&self, seat: &Seat) {
        let left = seat.member.borrow_mut().outputs().left.take();
        let audience = &seat.audience;
        if let Some(left) = left.filter(|_| audience.is_led_by(seat)) {
            audience.shared.borrow_mut().handle_sent(
                clock::now(),
                &left.header,
                left.bytes,
                left.sent,
            );
        }
    }

    /// Asks for the pictures that observers have waited for; gives up a worker that hangs.
    pub(super) fn handle_audience_timeout(self: &Rc<Self>, audience: &Rc<Audience>, now: Instant) {
        let silence = audience.shared.borrow_mut().handle_silence(now);
        match silence {
            Some(Due::Question) => self.ask_counters(audience),
            Some(Due::End) => {
                audience
                    .span
                    .in_scope(|| tracing::warn!("the worker does not answer"));
                return self.lose_worker(audience);
            }
            None => {}
        }
        let due = audience.shared.borrow_mut().handle_timeout(now);
        self.send(audience, due);
    }

    /// Tells the worker what its viewers take, where that has changed.
    pub(super) fn choose_pictures(&self, audience: &Audience) {
        let pictures = audience.pictures();
        let told = audience.shared.borrow_mut().handle_pictures(pictures);
        self.send(audience, told);
    }

    /// Asks a worker what it counted.
    pub(super) fn ask_counters(&self, audience: &Rc<Audience>) {
        self.send(audience, [ToWorker::Count]);
    }

    fn send(&self, audience: &Audience, messages: impl IntoIterator<Item = ToWorker>) {
        if let Err(reason) = audience.send(messages) {
            self.end_audience(audience, &reason);
        }
    }

    pub(super) fn end_audience(&self, audience: &Audience, reason: &LeftReason) {
        while let Some(seat) = audience.leader() {
            self.end(&seat, Some(reason.clone()));
        }
    }

    /// A viewer is no longer there.
    pub(super) fn leave_audience(&self, seat: &Seat) {
        let audience = &seat.audience;
        if audience.remove(seat) {
            if audience.worker.borrow().is_none() {
                ask_for_worker(audience);
            }
            self.choose_pictures(audience);
            // It may see nothing itself, and let the worker go on for others alone.
            if let Some(leader) = audience.leader() {
                self.serve(&leader, |_| Ok(()));
            }
            return;
        }
        self.audiences.borrow_mut().remove(&audience.session);
        audience.counting.take();
        audience.worker.take();
        // One of them may be running right now: it ends at its next wait.
        audience.tasks.take();
    }
}

/// One viewer's side asks for the next worker; where it leaves before, another's does.
fn ask_for_worker(audience: &Audience) {
    if let Some(leader) = audience.leader() {
        tell(&leader, ViewerEvent::WorkerLost);
    }
}

/// What no worker of ours says.
fn check(message: &FromWorker, wanted: Version) -> Result<(), String> {
    match message {
        FromWorker::Hello { version, .. } if *version != wanted.number() => Err(format!(
            "it speaks version {version}, its warden {}",
            wanted.number()
        )),
        FromWorker::Cursor(cursor) if !is_picture(cursor) => Err(format!(
            "a pointer of {} has {} bytes",
            cursor.size,
            cursor.rgba.len()
        )),
        FromWorker::Hello { .. }
        | FromWorker::Cursor(_)
        | FromWorker::Applied { .. }
        | FromWorker::Resized(_)
        | FromWorker::Counters(_)
        | FromWorker::Copied(_) => Ok(()),
    }
}
