//! Runs the sessions of this node: asks the core's machine, tells the warden, answers who waits.

mod pending;
mod service;

use std::os::fd::OwnedFd;

use async_channel::{Receiver, Sender};
use sandbox_core::lifecycle::Lifecycle;
use sandbox_core::permit::{Control, Permit};
use sandbox_core::sessions::{AttachId, CannotAttach, Dismissal, NoRoom, Reason, Wish};
use sandbox_protocol::limits::{DESKTOP_SIZE_MAX, DESKTOP_SIZE_MIN};
use sandbox_protocol::local::warden::{MemoryShortage, Refusal, StartSession};
use sandbox_protocol::{SessionId, Size};

pub use service::{Setup, run};

use crate::state::users::User;

/// The profiles that the warden has built in, the usual one first.
pub const PROFILES: [&str; 1] = ["desktop"];

/// Commands that may wait; who comes later waits with its request.
const COMMANDS_MAX: usize = 256;

/// One session, as it was when somebody asked.
#[derive(Clone, Debug)]
pub struct View {
    /// What was asked for, with the size that the desktop really has.
    pub plan: StartSession,
    /// Where it is in its life.
    pub state: Lifecycle,
    /// Why it is over, once it is.
    pub reason: Option<Reason>,
    /// What it lacks of the designed layers, one sentence each.
    pub weaker: Vec<String>,
    /// What the kernel ended last because memory was used up.
    pub out_of_memory: Option<MemoryShortage>,
}

/// What a session uses, as the warden counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since the start.
    pub cpu_nanos: u64,
    /// Memory now.
    pub memory_bytes: u64,
    /// Processes and threads of the programs now.
    pub pids: u32,
}

/// What a viewer is let in with.
#[derive(Debug)]
pub struct Ticket {
    /// Its attempt.
    pub attach: AttachId,
    /// Our ends of a worker's control and media sockets, where others have none to share.
    pub worker: Option<[OwnedFd; 2]>,
}

/// Which sockets a viewer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Those of the session's other viewers will do.
    Shared,
    /// The others have none any more.
    Fresh,
}

/// What an attached viewer is told.
#[derive(Debug)]
pub enum Word {
    /// It has control from here on.
    Control(Permit<Control>),
    /// It watches from here on.
    Observe,
    /// Programs were ended for memory.
    OutOfMemory(MemoryShortage),
    /// It is out.
    Dismissed(Dismissal),
}

/// A session was wished for and there is none.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No room.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The warden refused.
    #[error("{}", words(.0))]
    Refused(Refusal),
    /// It ended while it was started.
    #[error("the session ended while it was started: {}", .0.code())]
    Ended(Reason),
    /// The daemon is about to end.
    #[error("the server is stopping")]
    Stopping,
}

/// A request about a session that exists was not done.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no running desktop.
    #[error(transparent)]
    Attach(#[from] CannotAttach),
    /// The warden refused.
    #[error("{}", words(.0))]
    Refused(Refusal),
    /// The daemon is about to end.
    #[error("the server is stopping")]
    Stopping,
}

/// A refusal in words for people.
pub fn words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Missing { layer, detail } => format!("this host lacks {layer}: {detail}"),
        Refusal::Invalid { detail } => format!("the request was refused: {detail}"),
        Refusal::Unknown => "no such session".into(),
        Refusal::Full { detail } => format!("no room: {detail}"),
        Refusal::Failed { detail } => format!("a step of the start failed: {detail}"),
    }
}

enum Command {
    Start {
        plan: StartSession,
        reply: Sender<Result<Outcome, StartError>>,
    },
    AwaitStart {
        session: SessionId,
        reply: Sender<Result<Outcome, StartError>>,
    },
    Find {
        session: SessionId,
        reply: Sender<Option<View>>,
    },
    Live {
        reply: Sender<Vec<View>>,
    },
    Room {
        reply: Sender<Result<(), String>>,
    },
    End {
        session: SessionId,
        reason: Reason,
        reply: Sender<()>,
    },
    Attach {
        session: SessionId,
        need: Need,
        reply: Sender<Result<Ticket, RequestError>>,
    },
    Reattach {
        session: SessionId,
        attach: AttachId,
        reply: Sender<Result<Ticket, RequestError>>,
    },
    Attached {
        session: SessionId,
        attach: AttachId,
        words: Sender<Word>,
    },
    Connected {
        session: SessionId,
        attach: AttachId,
        wish: Wish,
    },
    TakeControl {
        session: SessionId,
        attach: AttachId,
    },
    Left {
        session: SessionId,
        attach: AttachId,
    },
    Usage {
        session: SessionId,
        reply: Sender<Result<Usage, RequestError>>,
    },
}

/// A wish for a session came true.
#[derive(Debug)]
pub struct Outcome {
    /// The session, running.
    pub view: View,
    /// It was made for this wish.
    pub is_new: bool,
}

/// Handle of the sessions; clones share them.
#[derive(Clone, Debug)]
pub struct Sessions {
    commands: Sender<Command>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

/// What the task that runs the sessions listens to.
#[derive(Debug)]
pub struct Commands(Receiver<Command>);

impl Sessions {
    /// Makes the handle and what belongs into [`Setup`].
    pub fn new() -> (Self, Commands) {
        let (commands, received) = async_channel::bounded(COMMANDS_MAX);
        (Self { commands }, Commands(received))
    }

    /// Gives a user a session and waits until it runs.
    ///
    /// # Errors
    ///
    /// Returns [`StartError`] when there is no room or the warden cannot start it.
    pub async fn start(&self, plan: StartSession) -> Result<Outcome, StartError> {
        self.ask(|reply| Command::Start { plan, reply })
            .await
            .unwrap_or(Err(StartError::Stopping))
    }

    /// Waits until a session that is starting runs; at once where it does.
    ///
    /// # Errors
    ///
    /// Returns [`StartError`] when it will not.
    pub async fn await_start(&self, session: SessionId) -> Result<Outcome, StartError> {
        self.ask(|reply| Command::AwaitStart { session, reply })
            .await
            .unwrap_or(Err(StartError::Stopping))
    }

    /// One session, also for a while after its end.
    pub async fn find(&self, session: SessionId) -> Option<View> {
        self.ask(|reply| Command::Find { session, reply })
            .await
            .flatten()
    }

    /// All sessions that are not over.
    pub async fn live(&self) -> Vec<View> {
        self.ask(|reply| Command::Live { reply })
            .await
            .unwrap_or_default()
    }

    /// Whether a new session would find room.
    ///
    /// # Errors
    ///
    /// Returns the reason in words.
    pub async fn room(&self) -> Result<(), String> {
        self.ask(|reply| Command::Room { reply })
            .await
            .unwrap_or_else(|| Err(StartError::Stopping.to_string()))
    }

    /// Ends a session; what is over stays so.
    pub async fn end(&self, session: SessionId, reason: Reason) {
        self.ask(|reply| Command::End {
            session,
            reason,
            reply,
        })
        .await;
    }

    /// Lets a viewer in, with the worker's sockets where it needs them.
    ///
    /// # Errors
    ///
    /// Returns [`RequestError`] when there is no running desktop.
    pub async fn attach(&self, session: SessionId, need: Need) -> Result<Ticket, RequestError> {
        self.ask(|reply| Command::Attach {
            session,
            need,
            reply,
        })
        .await
        .unwrap_or(Err(RequestError::Stopping))
    }

    /// Gets the sockets of the session's next worker for a viewer whose worker has ended.
    ///
    /// # Errors
    ///
    /// Returns [`RequestError`] when the session has ended too, or the viewer is out.
    pub async fn reattach(
        &self,
        session: SessionId,
        attach: AttachId,
    ) -> Result<Ticket, RequestError> {
        self.ask(|reply| Command::Reattach {
            session,
            attach,
            reply,
        })
        .await
        .unwrap_or(Err(RequestError::Stopping))
    }

    /// The attempt's stream exists; `words` learns what becomes of it.
    pub async fn attached(&self, session: SessionId, attach: AttachId, words: Sender<Word>) {
        self.tell(Command::Attached {
            session,
            attach,
            words,
        })
        .await;
    }

    /// The attempt's picture has a way.
    pub async fn connected(&self, session: SessionId, attach: AttachId, wish: Wish) {
        let command = Command::Connected {
            session,
            attach,
            wish,
        };
        self.tell(command).await;
    }

    /// A viewer that observes wants control.
    pub async fn take_control(&self, session: SessionId, attach: AttachId) {
        self.tell(Command::TakeControl { session, attach }).await;
    }

    /// The attempt failed, or its viewer is gone.
    pub async fn left(&self, session: SessionId, attach: AttachId) {
        self.tell(Command::Left { session, attach }).await;
    }

    /// What a session uses.
    ///
    /// # Errors
    ///
    /// Returns [`RequestError`] when the warden cannot say.
    pub async fn usage(&self, session: SessionId) -> Result<Usage, RequestError> {
        self.ask(|reply| Command::Usage { session, reply })
            .await
            .unwrap_or(Err(RequestError::Stopping))
    }

    async fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = async_channel::bounded(1);
        self.commands.send(command(reply)).await.ok()?;
        answer.recv().await.ok()
    }

    async fn tell(&self, command: Command) {
        // Nobody listens only at the very end of the process.
        let _stopping = self.commands.send(command).await;
    }
}

/// A desktop that nobody may have.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// No such profile.
    #[error("profile: there is none of this name; there is {}", PROFILES.join(", "))]
    Profile,
    /// The account's role has no desktop.
    #[error("this account may look at what others share, not start a desktop")]
    Role,
}

/// What is to be started for a user who wishes for a desktop, under a fresh random id.
///
/// # Errors
///
/// Returns [`WishError`] where there is no such desktop, or not for this user.
pub fn plan(user: User, profile: String, size: Size) -> Result<StartSession, WishError> {
    if !PROFILES.contains(&&*profile) {
        return Err(WishError::Profile);
    }
    if !user.role.may_start() {
        return Err(WishError::Role);
    }
    Ok(StartSession {
        session: SessionId::from_bytes(crate::auth::random()),
        user: user.index,
        user_name: user.name,
        profile,
        size: size.fit(DESKTOP_SIZE_MIN, DESKTOP_SIZE_MAX),
    })
}
