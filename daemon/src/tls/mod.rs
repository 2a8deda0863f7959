//! Which certificate a TLS connection is accepted with, at the moment it comes.

mod load;
mod self_signed;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_lite::future;
use futures_rustls::TlsAcceptor;
use rustls::ServerConfig;
use sandbox_protocol::local::warden::Request;
use smol::Timer;

pub use load::TlsError;
pub(crate) use load::{read, read_bounded, server_config};
pub use self_signed::SelfSignedError;

use crate::clock;
use crate::config::{Certificate, DaemonConfig};
use crate::tasks::Tasks;
use crate::warden::WardenLink;

/// Files are looked at when a connection comes, and no more often than this.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long the warden may take to open two files.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that may wait while the files are looked at; more wait with their handshake.
const WAITING_MAX: usize = 64;

/// Hands out the certificate; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    questions: Sender<Sender<Option<TlsAcceptor>>>,
}

impl Tls {
    /// Begins; `None` where the configuration wants plain HTTP.
    ///
    /// # Errors
    ///
    /// Returns [`SelfSignedError`] when there can be no certificate of our own.
    pub(crate) fn start(
        config: &DaemonConfig,
        link: &WardenLink,
        tasks: &Tasks,
    ) -> Result<Option<Self>, SelfSignedError> {
        let source = match &config.tls {
            None => return Ok(None),
            Some(Certificate::SelfSigned) => {
                let (server, fingerprint) = self_signed::read_or_make(config)?;
                tracing::info!(
                    sha256 = fingerprint,
                    "the certificate is signed by this server itself: compare its fingerprint when \
                     the browser asks"
                );
                Source::Fixed(server)
            }
            Some(Certificate::Files { .. }) => Source::Files(Files::new(link.clone())),
        };
        let (questions, asked) = async_channel::bounded(WAITING_MAX);
        tasks.spawn("certificate", answer(source, asked));
        Ok(Some(Self { questions }))
    }

    /// What to accept a connection with; `None` while there is no usable certificate.
    pub(crate) async fn acceptor(&self) -> Option<TlsAcceptor> {
        let (reply, answered) = async_channel::bounded(1);
        self.questions.send(reply).await.ok()?;
        answered.recv().await.ok()?
    }
}

enum Source {
    Fixed(Arc<ServerConfig>),
    Files(Files),
}

async fn answer(mut source: Source, asked: Receiver<Sender<Option<TlsAcceptor>>>) {
    while let Ok(reply) = asked.recv().await {
        let server = match &mut source {
            Source::Fixed(server) => Some(Arc::clone(server)),
            Source::Files(files) => files.look(clock::now()).await,
        };
        // The connection may be gone.
        let _gone = reply.try_send(server.map(TlsAcceptor::from));
    }
}

/// What tells one version of a file from the next, renames and links included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// The operator's files, which only the warden may open: keys are commonly root's alone.
struct Files {
    link: WardenLink,
    looked: Option<Instant>,
    /// Of the version that was read last, usable or not.
    seen: Option<[Stamp; 2]>,
    /// The last trouble, told once.
    trouble: Option<String>,
    current: Option<Arc<ServerConfig>>,
}

impl Files {
    const fn new(link: WardenLink) -> Self {
        Self {
            link,
            looked: None,
            seen: None,
            trouble: None,
            current: None,
        }
    }

    /// The newest usable version.
    async fn look(&mut self, now: Instant) -> Option<Arc<ServerConfig>> {
        let is_due = self
            .looked
            .is_none_or(|it| now.saturating_duration_since(it) >= LOOK_INTERVAL);
        if is_due {
            self.looked = Some(now);
            match self.open().await.and_then(|files| self.take(files)) {
                Ok(()) => self.trouble = None,
                Err(words) => self.tell(words),
            }
        }
        self.current.clone()
    }

    async fn open(&self) -> Result<[OwnedFd; 2], String> {
        let answers = self.link.certificates();
        // The late answer to an earlier question would be an old version.
        while answers.try_recv().is_ok() {}
        let question = self.link.send(&Request::Certificate).await;
        question.map_err(|error| error.to_string())?;
        let answer = async {
            let answer = answers.recv().await;
            answer.unwrap_or_else(|_| Err("the warden is gone".into()))
        };
        let late = async {
            Timer::after(OPEN_TIMEOUT).await;
            Err("the warden did not open the files in time".to_owned())
        };
        future::or(answer, late).await
    }

    fn take(&mut self, files: [OwnedFd; 2]) -> Result<(), String> {
        let [certificate, key] = files.map(File::from);
        let stamps = stamp(&certificate)
            .and_then(|it| Ok([it, stamp(&key)?]))
            .map_err(|error| error.to_string())?;
        if self.seen == Some(stamps) {
            return self.trouble.clone().map_or(Ok(()), Err);
        }
        self.seen = Some(stamps);
        let read = |file| read_bounded(file).map_err(|error| error.to_string());
        let server = server_config(&read(certificate)?, &read(key)?);
        let is_first = self.current.is_none();
        self.current = Some(server.map_err(|error| error.to_string())?);
        if !is_first {
            tracing::info!("the certificate was replaced");
        }
        Ok(())
    }

    fn tell(&mut self, words: String) {
        if self.trouble.as_ref() != Some(&words) {
            tracing::warn!("TLS_CERT and TLS_KEY cannot be used, the ones before stay: {words}");
            self.trouble = Some(words);
        }
    }
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let metadata = file.metadata()?;
    Ok(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        bytes: metadata.size(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
