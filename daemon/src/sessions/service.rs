//! The task behind [`super::Sessions`]: one input at a time, then all effects, then sleep.

mod records;
mod requests;

use std::collections::BTreeMap;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use sandbox_core::lifecycle::Lifecycle;
use sandbox_core::sessions::{
    Admitted, AttachId, Effect, Limits, Reason, Session, Sessions as Machine,
};
use sandbox_protocol::local::warden::{Event, MemoryShortage, Refusal, Request, StartSession};
use sandbox_protocol::{Deadline, SessionId};
use smol::Timer;

use self::records::Records;
use super::pending::{Pending, Queues};
use super::{Command, Commands, Outcome, StartError, Usage, View, Word, words};
use crate::clock;
use crate::state::Store;
use crate::state::sessions::Record;
use crate::tasks::Tasks;
use crate::warden::{Received, WardenLink, WardenLinkError};

/// Messages of the warden that may wait for their turn.
const EVENTS_MAX: usize = 64;

/// What the task is started with.
#[derive(Debug)]
pub struct Setup {
    /// What it listens to.
    pub commands: Commands,
    /// The warden.
    pub link: WardenLink,
    /// Where records go.
    pub store: Store,
    /// What this node allows.
    pub limits: Limits,
    /// Sessions in our records that have not ended.
    pub recorded: Vec<StartSession>,
    /// Sessions that the warden holds.
    pub surviving: Vec<SessionId>,
}

struct Waiting {
    is_new: bool,
    reply: Sender<Result<Outcome, StartError>>,
}

struct Shortage {
    what: MemoryShortage,
    is_told: bool,
}

enum Woken {
    Command(Command),
    Warden(Result<Received, WardenLinkError>),
    Deadline,
    /// A session's record could not be written.
    Unwritten(SessionId),
    Stopped,
}

struct Service {
    machine: Machine,
    link: WardenLink,
    records: Records,
    waiting: BTreeMap<SessionId, Vec<Waiting>>,
    pending: Queues,
    viewers: BTreeMap<(SessionId, AttachId), Sender<Word>>,
    /// What sessions lack; goes with the session.
    weaker: BTreeMap<SessionId, Vec<String>>,
    refusals: BTreeMap<SessionId, Refusal>,
    /// The newest shortage of memory of each session; goes with it.
    shortages: BTreeMap<SessionId, Shortage>,
    /// Why the last start failed, while none has succeeded since.
    last_missing: Option<String>,
}

/// Runs until the warden is gone or nobody holds a handle any more.
///
/// # Errors
///
/// Returns [`WardenLinkError`] when the warden is gone or lies.
pub async fn run(setup: Setup, tasks: &Tasks) -> Result<(), WardenLinkError> {
    let commands = setup.commands.0;
    let events = forward(&setup.link, tasks);
    let mut service = Service {
        machine: Machine::new(setup.limits),
        link: setup.link,
        records: Records::new(setup.store),
        waiting: BTreeMap::new(),
        pending: Queues::default(),
        viewers: BTreeMap::new(),
        weaker: BTreeMap::new(),
        refusals: BTreeMap::new(),
        shortages: BTreeMap::new(),
        last_missing: None,
    };
    service.take_over(setup.recorded, setup.surviving).await?;
    loop {
        match wait(&service, &commands, &events).await {
            Woken::Command(command) => service.handle_command(command).await?,
            Woken::Warden(received) => service.handle_event(received?),
            Woken::Deadline => service.handle_timeout(),
            Woken::Unwritten(session) => service.records.handle_failure(session, clock::now()),
            Woken::Stopped => return Ok(()),
        }
        service.run_effects().await?;
    }
}

async fn wait(
    service: &Service,
    commands: &Receiver<Command>,
    events: &Receiver<Result<Received, WardenLinkError>>,
) -> Woken {
    let deadline = Deadline::soonest(
        service.machine.poll_timeout(),
        service.records.poll_timeout(),
    );
    let timer = deadline.map_or_else(Timer::never, |it| Timer::at(it.at));
    let warden = async {
        match events.recv().await {
            Ok(received) => Woken::Warden(received),
            Err(_) => Woken::Warden(Err(WardenLinkError::Closed)),
        }
    };
    let command = async { commands.recv().await.map_or(Woken::Stopped, Woken::Command) };
    let deadline = async {
        timer.await;
        Woken::Deadline
    };
    let unwritten = async { Woken::Unwritten(service.records.failure().await) };
    future::or(warden, future::or(command, future::or(deadline, unwritten))).await
}

/// Reads the warden's messages in a task of their own, up to the first error.
fn forward(link: &WardenLink, tasks: &Tasks) -> Receiver<Result<Received, WardenLinkError>> {
    let (sender, receiver) = async_channel::bounded(EVENTS_MAX);
    let link = link.clone();
    tasks.spawn("warden", async move {
        loop {
            let received = link.receive().await;
            let is_last = received.is_err();
            if sender.send(received).await.is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

impl Service {
    /// Continues with what an earlier daemon began, and closes the books on the rest.
    async fn take_over(
        &mut self,
        recorded: Vec<StartSession>,
        surviving: Vec<SessionId>,
    ) -> Result<(), WardenLinkError> {
        let now = clock::now();
        for session in &surviving {
            if !recorded.iter().any(|it| it.session == *session) {
                tracing::warn!(%session, "ending a session that is in no record");
                self.link.send(&Request::End { session: *session }).await?;
            }
        }
        for plan in recorded {
            if surviving.contains(&plan.session) {
                self.machine.handle_survivor(plan, now);
            } else {
                self.records.write(Record {
                    plan,
                    state: Lifecycle::Ended.code(),
                    reason: Some(Reason::Lost.code()),
                });
            }
        }
        self.run_effects().await
    }

    async fn handle_command(&mut self, command: Command) -> Result<(), WardenLinkError> {
        match command {
            Command::Start { plan, reply } => self.start(plan, reply),
            Command::AwaitStart { session, reply } => self.await_start(session, false, reply),
            Command::Find { session, reply } => answer(&reply, self.view(session)),
            Command::Live { reply } => {
                let sessions: Vec<SessionId> =
                    self.machine.live().map(|it| it.plan.session).collect();
                let views = sessions.iter().filter_map(|it| self.view(*it)).collect();
                answer(&reply, views);
            }
            Command::Room { reply } => answer(&reply, self.room()),
            Command::End {
                session,
                reason,
                reply,
            } => {
                self.machine.handle_end_wish(session, reason);
                answer(&reply, ());
            }
            Command::Attach {
                session,
                need,
                reply,
            } => self.attach(session, need, reply).await?,
            Command::Reattach {
                session,
                attach,
                reply,
            } => self.reattach(session, attach, reply).await?,
            Command::Attached {
                session,
                attach,
                words,
            } => {
                self.viewers.insert((session, attach), words);
                self.machine.handle_attached(session, attach);
                self.tell_shortage(session);
            }
            Command::Connected {
                session,
                attach,
                wish,
            } => self.machine.handle_connected(session, attach, wish),
            Command::TakeControl { session, attach } => {
                self.machine.handle_control_wish(session, attach);
            }
            Command::Left { session, attach } => {
                self.viewers.remove(&(session, attach));
                self.machine.handle_left(session, attach, clock::now());
            }
            Command::Usage { session, reply } => {
                let request = Request::Usage { session };
                self.request(session, Pending::Usage(reply), request)
                    .await?;
            }
        }
        Ok(())
    }

    fn start(&mut self, plan: StartSession, reply: Sender<Result<Outcome, StartError>>) {
        match self.machine.handle_wish(plan, clock::now()) {
            Ok(Admitted::Started(session)) => self.await_start(session, true, reply),
            Ok(Admitted::Existing(session)) => self.await_start(session, false, reply),
            Err(no_room) => answer(&reply, Err(no_room.into())),
        }
    }

    fn await_start(
        &mut self,
        session: SessionId,
        is_new: bool,
        reply: Sender<Result<Outcome, StartError>>,
    ) {
        let waiting = self.waiting.entry(session).or_default();
        // Requests that were given up make room first.
        waiting.retain(|it| !it.reply.is_closed());
        waiting.push(Waiting { is_new, reply });
        self.answer_waiting(session);
    }

    /// Answers who waits for a start, once it is decided.
    fn answer_waiting(&mut self, session: SessionId) {
        let view = self.view(session);
        if view
            .as_ref()
            .is_some_and(|it| it.state == Lifecycle::Starting)
        {
            return;
        }
        for waiting in self.waiting.remove(&session).unwrap_or_default() {
            let outcome = match &view {
                None => Err(StartError::Refused(Refusal::Unknown)),
                Some(it) if it.state == Lifecycle::Ended => Err(self.why_ended(it)),
                Some(it) => Ok(Outcome {
                    view: it.clone(),
                    is_new: waiting.is_new,
                }),
            };
            answer(&waiting.reply, outcome);
        }
    }

    fn why_ended(&self, view: &View) -> StartError {
        match self.refusals.get(&view.plan.session) {
            Some(refusal) => StartError::Refused(refusal.clone()),
            None => StartError::Ended(view.reason.unwrap_or(Reason::Requested)),
        }
    }

    fn room(&self) -> Result<(), String> {
        self.machine.room().map_err(|it| it.to_string())?;
        self.last_missing.clone().map_or(Ok(()), Err)
    }

    fn handle_timeout(&mut self) {
        let now = clock::now();
        self.machine.handle_timeout(now);
        for session in self.records.due(now) {
            // As it is by now: what was to be written may be the past.
            if let Some(it) = self.machine.session(session) {
                self.records.write(record(it));
            }
        }
    }

    fn handle_event(&mut self, received: Received) {
        let now = clock::now();
        match received.event {
            Event::Started {
                session,
                size,
                weaker,
            } => {
                self.last_missing = None;
                self.machine.handle_started(session, size, now);
                if self.is_live(session) {
                    self.weaker.insert(session, weaker);
                }
            }
            Event::Attached { session } => self.handle_pair(session, received.descriptors),
            Event::Usage {
                session,
                cpu_nanos,
                memory_bytes,
                pids,
            } => match self.pending.answered(session) {
                Some(Pending::Usage(reply)) => answer(
                    &reply,
                    Ok(Usage {
                        cpu_nanos,
                        memory_bytes,
                        pids,
                    }),
                ),
                other => self.out_of_order(session, other),
            },
            Event::Refused { session, why } => self.handle_refused(session, why),
            Event::Ended { session, reason } => {
                self.machine.handle_ended(session, reason);
                self.drop_pending(session);
            }
            Event::OutOfMemory { session, shortage } => {
                if self.is_live(session) {
                    let what = shortage;
                    let is_told = false;
                    self.shortages.insert(session, Shortage { what, is_told });
                    self.tell_shortage(session);
                }
            }
            Event::Hello { .. } | Event::Certificate | Event::NoCertificate { .. } => {
                tracing::error!("the warden said something out of its turn");
            }
        }
    }

    fn handle_refused(&mut self, session: SessionId, why: Refusal) {
        let is_start = self
            .machine
            .session(session)
            .is_some_and(|it| it.state == Lifecycle::Starting);
        if !is_start && self.is_live(session) {
            match self.pending.answered(session) {
                Some(pending) => self.refuse(session, pending, &why),
                None => self.out_of_order(session, None),
            }
            return;
        }
        if !is_start {
            // The start was given up meanwhile; what counts is that nothing of it exists.
            self.machine.handle_refused(session);
            return;
        }
        tracing::warn!(%session, reason = words(&why), "the warden refused a session");
        if let Refusal::Missing { .. } = why {
            self.last_missing = Some(words(&why));
        }
        self.refusals.insert(session, why);
        self.machine.handle_refused(session);
        self.drop_pending(session);
    }

    async fn run_effects(&mut self) -> Result<(), WardenLinkError> {
        // Bounded by the inputs: each one yields a few effects, and effects yield none.
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Start(plan) => {
                    tracing::info!(
                        session = %plan.session,
                        user = plan.user.0,
                        size = %plan.size,
                        "starting a session"
                    );
                    self.link.send(&Request::Start(plan)).await?;
                }
                Effect::End(session) => self.link.send(&Request::End { session }).await?,
                Effect::Dismiss {
                    session,
                    attach,
                    why,
                } => {
                    self.tell(session, attach, Word::Dismissed(why));
                    self.viewers.remove(&(session, attach));
                }
                Effect::Control { attach, permit } => {
                    self.tell(permit.session(), attach, Word::Control(permit));
                }
                Effect::Observe { session, attach } => self.tell(session, attach, Word::Observe),
                Effect::Changed(session) => self.handle_changed(session),
            }
        }
        Ok(())
    }

    fn handle_changed(&mut self, session: SessionId) {
        let Some(it) = self.machine.session(session) else {
            return;
        };
        let record = record(it);
        tracing::info!(%session, state = record.state, reason = record.reason, "session changed");
        self.records.write(record);
        self.answer_waiting(session);
        if !self.is_live(session) {
            self.weaker.remove(&session);
            self.refusals.remove(&session);
            self.shortages.remove(&session);
        }
    }

    /// Tells a viewer something. One whose page takes no word any more is let go: the channel
    /// closes.
    fn tell(&mut self, session: SessionId, attach: AttachId, word: Word) {
        let key = (session, attach);
        if let Some(viewer) = self.viewers.get(&key)
            && viewer.try_send(word).is_err()
        {
            self.viewers.remove(&key);
        }
    }

    /// Tells everybody who watches what was ended for memory; if nobody does, whoever comes next.
    fn tell_shortage(&mut self, session: SessionId) {
        let of_session = (session, AttachId(0))..=(session, AttachId(u64::MAX));
        let viewers: Vec<AttachId> = self
            .viewers
            .range(of_session)
            .map(|((_, it), _)| *it)
            .collect();
        let Some(shortage) = self.shortages.get_mut(&session).filter(|it| !it.is_told) else {
            return;
        };
        shortage.is_told = !viewers.is_empty();
        let what = shortage.what.clone();
        for attach in viewers {
            self.tell(session, attach, Word::OutOfMemory(what.clone()));
        }
    }

    fn is_live(&self, session: SessionId) -> bool {
        self.machine
            .session(session)
            .is_some_and(|it| it.state.is_live())
    }

    fn view(&self, session: SessionId) -> Option<View> {
        let it = self.machine.session(session)?;
        Some(View {
            plan: it.plan.clone(),
            state: it.state,
            reason: it.reason,
            weaker: self.weaker.get(&session).cloned().unwrap_or_default(),
            out_of_memory: self.shortages.get(&session).map(|it| it.what.clone()),
        })
    }
}

fn record(session: &Session) -> Record {
    Record {
        plan: session.plan.clone(),
        state: session.state.code(),
        reason: session.reason.map(Reason::code),
    }
}

/// Whoever gave its request up needs no answer.
fn answer<T>(reply: &Sender<T>, value: T) {
    let _given_up = reply.try_send(value);
}
