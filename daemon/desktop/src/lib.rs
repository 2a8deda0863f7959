//! The desktop worker: captures, encodes, injects; one per session, in a jail of its own.
//!
//! Order matters: libraries are loaded and the encoder is tried, then the worker is sealed, and
//! only then is the first byte read from the X server, which may be hostile.

mod clock;
mod copy;
mod cursor;
mod display;
mod encoding;
mod error;
mod framebuffer;
mod injection;
mod keymap;
mod link;
mod notes;
mod paste;
mod viewer;
mod worker;
mod x_stream;

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::RecvFlags;
use sandbox_hw::{Config, EncodeError, Encoder, Opened};
use sandbox_protocol::Bitrate;
use sandbox_protocol::limits::{DESKTOP_SIZE_MAX, DESKTOP_SIZE_MIN};
use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::worker::{Begin, FromWarden, ToWarden, WorkerPlan};
use tracing_subscriber::EnvFilter;

use crate::display::Display;
use crate::encoding::Encoding;
use crate::error::WorkerError;
use crate::framebuffer::Framebuffer;
use crate::link::{Inbox, Received, send_message};
use crate::notes::Notes;
use crate::worker::{Parts, Worker};

/// What the encoder aims at until a viewer's link is known.
const BITRATE_AT_START: Bitrate = Bitrate::kbps(20_000);

/// The worker role: serves the warden on standard input until it closes its end. `seal` confines
/// the process for good and says which reported layers are missing. Returns the exit code.
pub fn run(seal: impl FnOnce() -> Result<Vec<String>, String>) -> u8 {
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default_hook(panic);
        std::process::abort();
    }));
    // Standard input stays open: it is the same socket, and the warden sees one end.
    match fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) {
        Ok(warden) => run_on(warden, seal),
        Err(_) => 1,
    }
}

/// The worker role on a socket of the caller's.
pub fn run_on(warden: OwnedFd, seal: impl FnOnce() -> Result<Vec<String>, String>) -> u8 {
    let last_words = warden.try_clone();
    match serve(warden, seal) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(error = error.chain(), "the worker ends");
            let told = last_words.map(|it| send_message(it, "warden", &error.report()));
            if !matches!(told, Ok(Ok(_))) {
                tracing::debug!("the warden is not told why");
            }
            error.exit_code()
        }
    }
}

fn serve(
    warden: OwnedFd,
    seal: impl FnOnce() -> Result<Vec<String>, String>,
) -> Result<(), WorkerError> {
    let mut inbox = Inbox::new("warden");
    let Some((plan, [memfd, main, spare, notes])) = receive_plan(&warden, &mut inbox)? else {
        return Ok(());
    };
    start_log(&plan.log_filter);
    let size = plan.size.fit(DESKTOP_SIZE_MIN, plan.screen_size);
    let config = Config {
        size,
        fps_max: plan.fps_max,
        bitrate: BITRATE_AT_START,
        threads: plan.encoder_threads.max(1),
    };
    let (encoder, encoder_name) = open_encoder(&plan.codec, config)?;
    let framebuffer = Framebuffer::map(&memfd, &plan)?;
    drop(memfd);
    let notes = Notes::open(notes)?;
    let weaker = seal().map_err(WorkerError::Seal)?;
    let encoding =
        Encoding::start(framebuffer, encoder, BITRATE_AT_START).map_err(WorkerError::Thread)?;
    let mut display = Display::open([main, spare], plan.cookie, plan.begin)?;
    let size = match plan.begin {
        Begin::First => {
            display.resize(size)?;
            size
        }
        // The desktop keeps the size that its viewer gave it.
        Begin::Succeed | Begin::Again => display.size(),
    };
    let worker = Worker::new(Parts {
        warden_inbox: inbox,
        display,
        encoding,
        notes,
        encoder_name,
        bitrate: BITRATE_AT_START,
        fps_max: plan.fps_max,
        size_max: plan.screen_size,
        warden,
    })?;
    worker.announce(&ToWarden::Ready { size, weaker })?;
    worker.run()
}

/// Waits for the plan and its four descriptors; `None` when the warden ends before.
fn receive_plan(
    warden: impl AsFd,
    inbox: &mut Inbox,
) -> Result<Option<(WorkerPlan, [OwnedFd; 4])>, WorkerError> {
    loop {
        match inbox.receive_with_descriptors(&warden, RecvFlags::empty())? {
            (Received::Nothing, _) => (),
            (Received::Closed, _) => return Ok(None),
            (Received::Message(FromWarden::Attach), _) => {
                return Err(WorkerError::Plan("an attach before the start".into()));
            }
            (Received::Message(FromWarden::Start(plan)), descriptors) => {
                let count = descriptors.len();
                let descriptors = descriptors.try_into().map_err(|_| {
                    WorkerError::Plan(format!("a start with {count} descriptors, not 4"))
                })?;
                return check(plan).map(|plan| Some((plan, descriptors)));
            }
        }
    }
}

fn check(plan: WorkerPlan) -> Result<WorkerPlan, WorkerError> {
    let screen = plan.screen_size;
    if plan.version != VERSION {
        return Err(WorkerError::Plan(format!(
            "a plan of version {}, not {VERSION}",
            plan.version
        )));
    }
    if screen.fit(DESKTOP_SIZE_MIN, DESKTOP_SIZE_MAX) != screen {
        return Err(WorkerError::Plan(format!(
            "a screen of {screen}, outside {DESKTOP_SIZE_MIN} to {DESKTOP_SIZE_MAX}"
        )));
    }
    Ok(plan)
}

/// Opens the encoder, so that later it needs no file, and lets it go idle: threads that were made
/// before the seal would not be under all of it.
///
/// The name is that for the viewer, and says so where it is not the encoder that was wanted.
fn open_encoder(codec: &str, config: Config) -> Result<(Box<dyn Encoder>, String), EncodeError> {
    let Opened {
        mut encoder,
        missed,
    } = sandbox_hw::open(codec, config)?;
    // What it holds for one size ends with that size, its threads included.
    encoder.resize(config.size)?;
    let name = encoder.name();
    let Some(missed) = missed else {
        return Ok((encoder, name.to_owned()));
    };
    tracing::warn!(wanted = codec, got = name, why = %missed, "another encoder is used");
    let why = if let EncodeError::Missing { layer, .. } = missed {
        format!("{layer} is missing")
    } else {
        missed.to_string()
    };
    Ok((encoder, format!("{name} ({why})")))
}

fn start_log(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    if log.try_init().is_err() {
        tracing::debug!("somebody logs already");
    }
}
