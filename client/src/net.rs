//! The thread that speaks to the server: drives a connection by socket, commands and clock, applies
//! what comes to the shared picture, and connects again where that can help.

mod driver;
mod host;
mod memory;
mod race;
mod rates;
mod records;
mod rescue;

pub(crate) use self::host::resolve;
pub use self::memory::{Arrival, Memory, Network};
pub use self::race::{BadTransport, Transport, Way};
pub use self::rates::LinkRates;
pub use self::records::Records;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use sandbox_hw::DecodeError;
use sandbox_protocol::Size;
use sandbox_protocol::wire::control::Features;
use sandbox_protocol::wire::input::Event;
use sandbox_quic::Fingerprint;

use self::driver::Driver;
use crate::address::Address;
use crate::connection::{Credentials, End, Shape};
use crate::figures::Second;
use crate::probe::Outcome;
use crate::screen::Screen;
use crate::script::Script;

/// Commands that wait for the thread: it never waits for whoever gives them.
const COMMANDS_MAX: usize = 1_024;

/// News that nobody has taken; what comes beyond is dropped.
const NEWS_MAX: usize = 64;

/// What the thread is to do.
#[derive(Debug)]
pub struct Task {
    /// Which server.
    pub address: Address,
    /// Its key, where it is known.
    pub known: Option<Fingerprint>,
    /// What else is remembered of it.
    pub memory: Memory,
    /// Which ways to it are tried.
    pub transport: Transport,
    /// Who signs in.
    pub credentials: Credentials,
    /// Size of the desktop.
    pub size: Size,
    /// Timed input.
    pub script: Script,
    /// Whether to measure and leave.
    pub is_probe: bool,
    /// Files that are written.
    pub records: Records,
    /// What networks have carried from this server.
    pub link_rates: LinkRates,
    /// Takes what they carry by now, whenever that is worth remembering.
    pub keeps: SyncSender<LinkRates>,
}

/// From the user to the thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The key that was shown is the server's.
    Trust,
    /// It is not.
    Distrust,
    /// A key, a button, the wheel.
    Input(Event),
    /// The pointer moved.
    Move {
        /// Pixels from the left.
        x: u16,
        /// Pixels from the top.
        y: u16,
    },
    /// The desktop should have this size.
    Size(Size),
    /// Whether anybody can see the picture.
    Shown(bool),
    /// The user pasted.
    Paste(String),
    /// The user wants control.
    TakeControl,
    /// Whether figures are looked at.
    Figures(bool),
    /// The user leaves.
    Leave,
}

/// From the thread to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The server's key is not known: answer by [`Command::Trust`] or [`Command::Distrust`].
    FirstUse(Fingerprint),
    /// Attached.
    Live {
        /// What is to be remembered.
        arrival: Arrival,
        /// What both ends can do.
        features: Features,
        /// What is weaker at the server than designed.
        notices: Vec<String>,
    },
    /// The connection is lost, and tried again after a while.
    Lost {
        /// Why.
        words: String,
        /// When.
        wait: Duration,
    },
    /// A sentence for the user.
    Notice(String),
    /// A program on the desktop copied a text.
    Copied(String),
    /// Whether input counts.
    Control(bool),
}

/// What the window looks at.
#[derive(Debug)]
pub struct View {
    /// The picture.
    pub screen: Screen,
    /// The pointer's shape, until it is taken.
    pub shape: Option<Shape>,
    /// The second that is over, while figures are looked at.
    pub figures: Second,
    /// How it ended.
    end: Option<End>,
}

/// The thread's other end.
#[derive(Debug)]
pub struct Client {
    commands: async_channel::Sender<Command>,
    /// What happened.
    pub news: Receiver<News>,
    shared: Arc<Shared>,
    thread: JoinHandle<Ended>,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// The last connection's end.
    pub end: End,
    /// What the probe found.
    pub probe: Option<Outcome>,
}

struct Shared {
    view: Mutex<View>,
    has_news: AtomicBool,
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// The thread cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No decoder.
    #[error(transparent)]
    Decoder(#[from] DecodeError),
    /// No thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Client {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Returns [`StartError`] when the machine lacks what that needs.
    pub fn start(task: Task) -> Result<Self, StartError> {
        let (commands, received) = async_channel::bounded(COMMANDS_MAX);
        let (told, news) = sync_channel(NEWS_MAX);
        let shared = Arc::new(Shared {
            view: Mutex::new(View {
                screen: Screen::new()?,
                shape: None,
                figures: Second::default(),
                end: None,
            }),
            has_news: AtomicBool::new(false),
            waker: OnceLock::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = Builder::new()
            .name("net".to_owned())
            .spawn(move || {
                let mut driver = Driver::new(task, Arc::clone(&theirs), received, told);
                let ended = smol::block_on(driver.run());
                theirs.view().end = Some(ended.end.clone());
                drop(driver);
                theirs.wake();
                ended
            })
            .map_err(StartError::Thread)?;
        Ok(Self {
            commands,
            news,
            shared,
            thread,
        })
    }

    /// What is called, from the thread, when there is something to look at: once until
    /// [`take_wake`](Self::take_wake).
    pub fn on_wake(&self, waker: impl Fn() + Send + Sync + 'static) {
        let _first_stays = self.shared.waker.set(Box::new(waker));
        // What happened before.
        self.shared.has_news.store(false, Ordering::Release);
        self.shared.wake();
    }

    /// What there is is being looked at: the next news wake again.
    pub fn take_wake(&self) {
        self.shared.has_news.store(false, Ordering::Release);
    }

    /// Gives a command; none after the thread's end.
    pub fn command(&self, command: Command) {
        // The thread takes them without waiting for anybody.
        let _ended = self.commands.send_blocking(command);
    }

    /// What gives commands from another thread.
    pub fn commander(&self) -> impl Fn(Command) + Send + 'static {
        let commands = self.commands.clone();
        move |command| {
            let _ended = commands.send_blocking(command);
        }
    }

    /// Looks at the picture; what comes meanwhile waits.
    pub fn view(&self) -> MutexGuard<'_, View> {
        self.shared.view()
    }

    /// The connection's end, once the thread has come to its own.
    pub fn end(&self) -> Option<End> {
        self.shared.view().end.clone()
    }

    /// Waits for the thread's end.
    pub fn join(self) -> Ended {
        self.thread.join().unwrap_or_else(|_| Ended {
            end: End::Broken("the client's own thread has failed".to_owned()),
            probe: None,
        })
    }
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if !self.has_news.swap(true, Ordering::AcqRel)
            && let Some(waker) = self.waker.get()
        {
            waker();
        }
    }
}
