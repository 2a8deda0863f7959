//! Which sessions there are, who may start one, and when one ends.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use sandbox_protocol::local::warden::{EndReason, StartSession};
use sandbox_protocol::{Deadline, SessionId, Size, UserIndex, Wakeup};

use self::viewers::{Change, Viewers};
pub use self::viewers::{VIEWERS_MAX, Wish};
use crate::lifecycle::Lifecycle;
use crate::permit::{Control, Permit};

mod viewers;

/// Ended sessions that still answer "ended, because …"; older ones are forgotten.
const ENDED_KEPT_MAX: usize = 256;

/// What this node allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once, those still being torn down included.
    pub sessions_max: u32,
    /// Sessions of one user at once.
    pub per_user_max: u32,
    /// How long a desktop lives without a viewer.
    pub detached_timeout: Duration,
    /// How long the warden may take to start one.
    pub start_timeout: Duration,
}

/// One attempt of a viewer to attach; counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachId(pub u64);

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its owner or an admin asked.
    Requested,
    /// Nobody was attached for too long.
    Timeout,
    /// The account was disabled.
    UserDisabled,
    /// The warden refused to start it.
    Refused,
    /// The warden did not start it in time.
    StartTimeout,
    /// It did not outlive an earlier daemon.
    Lost,
    /// A part of the desktop ended, as the warden saw it.
    Warden(EndReason),
}

impl Reason {
    /// The stable name used in the API and the records.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Timeout => "timeout",
            Self::UserDisabled => "user_disabled",
            Self::Refused => "refused",
            Self::StartTimeout => "start_timeout",
            Self::Lost => "lost",
            Self::Warden(reason) => reason.code(),
        }
    }
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the warden to start this.
    Start(StartSession),
    /// Ask the warden to end this.
    End(SessionId),
    /// Tell this viewer that it is out, and let its stream go.
    Dismiss {
        /// From which session.
        session: SessionId,
        /// Which attempt.
        attach: AttachId,
        /// Why.
        why: Dismissal,
    },
    /// This viewer has control from here on, and no other.
    Control {
        /// Which attempt.
        attach: AttachId,
        /// Its right.
        permit: Permit<Control>,
    },
    /// This viewer watches from here on; another one has control.
    Observe {
        /// Which session.
        session: SessionId,
        /// Which attempt.
        attach: AttachId,
    },
    /// A session's state changed: write it down, wake who waits for it.
    Changed(SessionId),
}

/// Why a viewer is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// More viewers came than a session may have.
    TakenOver,
    /// The session is over.
    Ended(Reason),
}

/// A viewer may attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The name of its attempt.
    pub attach: AttachId,
    /// Nobody else is attached: it needs the worker's sockets.
    pub is_first: bool,
}

/// Answer to the wish for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It is being started.
    Started(SessionId),
    /// The user has one; it is this.
    Existing(SessionId),
}

/// There is no room for another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// On this node.
    #[error("this node runs {0} sessions, as many as it may (SANDBOX_SESSIONS_MAX)")]
    Node(u32),
    /// For this user.
    #[error("you have {0} sessions, as many as a user may (SANDBOX_SESSIONS_PER_USER)")]
    User(u32),
}

/// A viewer cannot attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotAttach {
    /// Unknown session.
    #[error("no such session")]
    Unknown,
    /// The jails are still being built.
    #[error("the session is starting")]
    Starting,
    /// Over.
    #[error("the session has ended")]
    Ended(Reason),
}

/// One session as the daemon knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What was asked for; the size is the real one once it is known.
    pub plan: StartSession,
    /// Where it is in its life.
    pub state: Lifecycle,
    /// Why it is over, once it is.
    pub reason: Option<Reason>,
    /// Who is attached; there is somebody while `state` is `Attached`.
    viewers: Viewers,
    /// When it ends if nothing happens.
    deadline: Option<Deadline>,
    /// The warden has returned all of it.
    is_reaped: bool,
}

/// All sessions of this node.
#[derive(Debug)]
pub struct Sessions {
    limits: Limits,
    sessions: BTreeMap<SessionId, Session>,
    /// Ended ones, oldest first.
    ended: VecDeque<SessionId>,
    effects: VecDeque<Effect>,
    last_attach: u64,
}

impl Sessions {
    /// Begins with none.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            sessions: BTreeMap::new(),
            ended: VecDeque::new(),
            effects: VecDeque::new(),
            last_attach: 0,
        }
    }

    /// One session.
    pub fn session(&self, session: SessionId) -> Option<&Session> {
        self.sessions.get(&session)
    }

    /// The sessions that are not over, by id.
    pub fn live(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(|it| it.state.is_live())
    }

    /// Whether another session would find room on this node.
    ///
    /// # Errors
    ///
    /// Returns [`NoRoom::Node`] when it would not.
    pub fn room(&self) -> Result<(), NoRoom> {
        let taken = self.sessions.values().filter(|it| !it.is_reaped).count();
        if taken >= self.limits.sessions_max as usize {
            return Err(NoRoom::Node(self.limits.sessions_max));
        }
        Ok(())
    }

    /// Decides about the wish for a session; where a user may have one only, it is given again.
    ///
    /// # Errors
    ///
    /// Returns [`NoRoom`] when the node's or the user's number is reached.
    ///
    /// # Panics
    ///
    /// When the id is in use: ids are random, so a repeated one is a mistake of the caller.
    pub fn handle_wish(&mut self, plan: StartSession, now: Instant) -> Result<Admitted, NoRoom> {
        let mut own = self.live().filter(|it| it.plan.user == plan.user);
        let first = own.next().map(|it| it.plan.session);
        let count = own.count() + usize::from(first.is_some());
        match (self.limits.per_user_max, first) {
            (1, Some(session)) => return Ok(Admitted::Existing(session)),
            (max, _) if count >= max as usize => return Err(NoRoom::User(max)),
            _ => self.room()?,
        }
        let session = plan.session;
        self.effects.push_back(Effect::Start(plan.clone()));
        let deadline = Deadline {
            at: now + self.limits.start_timeout,
            why: Wakeup::StepTimeout,
        };
        self.insert(plan, Lifecycle::Starting, deadline);
        Ok(Admitted::Started(session))
    }

    /// Takes over a session that outlived an earlier daemon.
    pub fn handle_survivor(&mut self, plan: StartSession, now: Instant) {
        let deadline = self.without_viewer(now);
        self.insert(plan, Lifecycle::Detached, deadline);
    }

    /// The warden reported that the desktop runs.
    pub fn handle_started(&mut self, session: SessionId, size: Size, now: Instant) {
        let deadline = self.without_viewer(now);
        let Some(it) = self.sessions.get_mut(&session) else {
            // Nobody knows it any more: it must not run on for nobody.
            self.effects.push_back(Effect::End(session));
            return;
        };
        if it.state.ready().is_ok() {
            it.plan.size = size;
            it.deadline = Some(deadline);
            self.effects.push_back(Effect::Changed(session));
        }
    }

    /// The warden refused to start it: nothing of it exists.
    pub fn handle_refused(&mut self, session: SessionId) {
        self.finish(session, Reason::Refused);
        self.reap(session);
    }

    /// A viewer wants to attach.
    ///
    /// # Errors
    ///
    /// Returns [`CannotAttach`] when there is no running desktop.
    pub fn handle_attach_wish(&mut self, session: SessionId) -> Result<Admission, CannotAttach> {
        let it = self.sessions.get(&session).ok_or(CannotAttach::Unknown)?;
        match it.state {
            Lifecycle::Starting => return Err(CannotAttach::Starting),
            Lifecycle::Ended => {
                return Err(CannotAttach::Ended(it.reason.unwrap_or(Reason::Requested)));
            }
            Lifecycle::Ready | Lifecycle::Attached | Lifecycle::Detached => {}
        }
        self.last_attach += 1;
        Ok(Admission {
            attach: AttachId(self.last_attach),
            is_first: it.viewers.is_empty(),
        })
    }

    /// The attempt's stream exists.
    pub fn handle_attached(&mut self, session: SessionId, attach: AttachId) {
        let Some(it) = self.sessions.get_mut(&session) else {
            return;
        };
        if let Some(reason) = it.reason {
            // It ended while the stream was being made.
            self.effects.push_back(Effect::Dismiss {
                session,
                attach,
                why: Dismissal::Ended(reason),
            });
            return;
        }
        if it.state == Lifecycle::Starting || it.viewers.contains(attach) {
            return;
        }
        if it.state.attach().is_ok() {
            it.deadline = None;
            self.effects.push_back(Effect::Changed(session));
        }
        let changes = it.viewers.handle_attached(attach);
        self.tell(session, changes);
    }

    /// The attempt's picture has a way: it takes control, where it came for that.
    pub fn handle_connected(&mut self, session: SessionId, attach: AttachId, wish: Wish) {
        if let Some(it) = self.sessions.get_mut(&session) {
            let changes = it.viewers.handle_connected(attach, wish);
            self.tell(session, changes);
        }
    }

    /// A viewer that observes wants control.
    pub fn handle_control_wish(&mut self, session: SessionId, attach: AttachId) {
        if let Some(it) = self.sessions.get_mut(&session) {
            let changes = it.viewers.handle_control_wish(attach);
            self.tell(session, changes);
        }
    }

    /// Whether an attempt still has its session: it may then go on with the sockets of the
    /// session's next worker.
    pub fn is_attached(&self, session: SessionId, attach: AttachId) -> bool {
        self.sessions
            .get(&session)
            .is_some_and(|it| it.viewers.contains(attach))
    }

    /// The attempt failed or its viewer left.
    pub fn handle_left(&mut self, session: SessionId, attach: AttachId, now: Instant) {
        let deadline = self.without_viewer(now);
        let Some(it) = self.sessions.get_mut(&session) else {
            return;
        };
        let changes = it.viewers.handle_left(attach);
        if it.viewers.is_empty() && it.state.detach().is_ok() {
            it.deadline = Some(deadline);
            self.effects.push_back(Effect::Changed(session));
        }
        self.tell(session, changes);
    }

    /// Somebody who may wants it to end.
    pub fn handle_end_wish(&mut self, session: SessionId, reason: Reason) {
        if self.finish(session, reason) {
            self.effects.push_back(Effect::End(session));
        }
    }

    /// The warden reported that nothing of it is left.
    pub fn handle_ended(&mut self, session: SessionId, reason: EndReason) {
        self.finish(session, Reason::Warden(reason));
        self.reap(session);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<(SessionId, Wakeup)> = self
            .sessions
            .iter()
            .filter_map(|(session, it)| Some((*session, it.deadline.filter(|it| it.at <= now)?)))
            .map(|(session, deadline)| (session, deadline.why))
            .collect();
        for (session, why) in due {
            let reason = if why == Wakeup::StepTimeout {
                Reason::StartTimeout
            } else {
                Reason::Timeout
            };
            self.handle_end_wish(session, reason);
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.sessions
            .values()
            .fold(None, |soonest, it| Deadline::soonest(soonest, it.deadline))
    }

    fn without_viewer(&self, now: Instant) -> Deadline {
        Deadline {
            at: now + self.limits.detached_timeout,
            why: Wakeup::SessionTimeout,
        }
    }

    fn insert(&mut self, plan: StartSession, state: Lifecycle, deadline: Deadline) {
        let session = plan.session;
        let earlier = self.sessions.insert(
            session,
            Session {
                plan,
                state,
                reason: None,
                viewers: Viewers::default(),
                deadline: Some(deadline),
                is_reaped: false,
            },
        );
        assert!(earlier.is_none(), "session {session} exists already");
        self.effects.push_back(Effect::Changed(session));
    }

    fn tell(&mut self, session: SessionId, changes: Vec<Change>) {
        self.effects
            .extend(changes.into_iter().map(|change| match change {
                Change::Controls(attach, turn) => Effect::Control {
                    attach,
                    permit: Permit::control(session, turn),
                },
                Change::Observes(attach) => Effect::Observe { session, attach },
                Change::LetGo(attach) => Effect::Dismiss {
                    session,
                    attach,
                    why: Dismissal::TakenOver,
                },
            }));
    }

    /// Ends a live session in our books; tells whether it was live.
    fn finish(&mut self, session: SessionId, reason: Reason) -> bool {
        let Some(it) = self.sessions.get_mut(&session) else {
            return false;
        };
        if it.state.end().is_err() {
            return false;
        }
        it.reason = Some(reason);
        it.deadline = None;
        let viewers = it.viewers.take_all();
        self.effects
            .extend(viewers.into_iter().map(|attach| Effect::Dismiss {
                session,
                attach,
                why: Dismissal::Ended(reason),
            }));
        self.effects.push_back(Effect::Changed(session));
        true
    }

    /// Notes that the warden holds nothing of it any more.
    fn reap(&mut self, session: SessionId) {
        let Some(it) = self.sessions.get_mut(&session) else {
            return;
        };
        assert!(!it.state.is_live(), "a live session was reaped");
        if it.is_reaped {
            return;
        }
        it.is_reaped = true;
        self.ended.push_back(session);
        if self.ended.len() > ENDED_KEPT_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            self.sessions.remove(&oldest);
        }
    }
}

impl Session {
    /// Whose it is.
    pub const fn owner(&self) -> UserIndex {
        self.plan.user
    }
}

#[cfg(test)]
mod tests;
