//! A viewer's place in a session, whatever it speaks: from the worker's sockets to its leave.

use std::os::fd::OwnedFd;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use sandbox_core::permit::{Control, Permit};
use sandbox_core::sessions::{AttachId, Dismissal, Wish};
use sandbox_protocol::{SessionId, ViewerId};
use smol::Timer;

use crate::http::App;
use crate::media::{AttachError, LeftReason, Media, ViewerEvent};
use crate::sessions::{Need, RequestError, Sessions, Word};

/// Words of a viewer's life that may wait.
const EVENTS_MAX: usize = 8;

/// What the sessions say to a viewer while nobody reads; more, and it is let go.
const WORDS_MAX: usize = 32;

/// How long the reason of a worker's end may take to arrive after its sockets closed.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);

/// A stream that a connection stands for.
#[derive(Debug)]
pub(crate) struct Attachment {
    sessions: Sessions,
    media: Media,
    session: SessionId,
    attach: AttachId,
    viewer: ViewerId,
    /// What the viewer came for.
    wish: Wish,
    /// What it was told about that.
    has_control: Option<bool>,
    words: Receiver<Word>,
    events: Receiver<ViewerEvent>,
}

/// What an attached viewer's connection learns.
#[derive(Debug)]
pub(crate) enum News {
    /// From the sessions; nothing where they have let this viewer go.
    Told(Option<Word>),
    /// From the media thread.
    Viewer(ViewerEvent),
}

/// A viewer was not attached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAttached {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Media(#[from] AttachError),
}

/// The worker's sockets ended and no others follow; why, where that is known by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerGone(pub(crate) Option<Dismissal>);

impl Attachment {
    /// Gets a viewer a worker's sockets where it needs them; `attach` hands them to the media
    /// thread, with where it tells the viewer's life.
    pub(crate) async fn begin<T, F>(
        app: &App,
        session: SessionId,
        wish: Wish,
        attach: impl Fn(Option<[OwnedFd; 2]>, Sender<ViewerEvent>) -> F,
    ) -> Result<(Self, T), NotAttached>
    where
        F: Future<Output = Result<(ViewerId, T), AttachError>>,
    {
        let (event, events) = async_channel::bounded(EVENTS_MAX);
        let sessions = app.sessions.clone();
        let mut ticket = sessions.attach(session, Need::Shared).await?;
        let mut attached = attach(ticket.worker, event.clone()).await;
        if let Err(AttachError::NoWorker) = attached {
            // The viewer that had one has left meanwhile.
            ticket = sessions.attach(session, Need::Fresh).await?;
            attached = attach(ticket.worker, event).await;
        }
        let attach = ticket.attach;
        let (viewer, answer) = match attached {
            Ok(attached) => attached,
            Err(error) => {
                sessions.left(session, attach).await;
                return Err(error.into());
            }
        };
        let (tell, words) = async_channel::bounded(WORDS_MAX);
        sessions.attached(session, attach, tell).await;
        let attachment = Self {
            sessions,
            media: app.media.clone(),
            session,
            attach,
            viewer,
            wish,
            has_control: None,
            words,
            events,
        };
        Ok((attachment, answer))
    }

    pub(crate) const fn viewer(&self) -> ViewerId {
        self.viewer
    }

    /// What it was told last.
    pub(crate) fn has_control(&self) -> bool {
        self.has_control == Some(true)
    }

    /// Waits for news, the reason of an end before its consequences; safe to give up and call
    /// again.
    pub(crate) async fn news(&self) -> News {
        let told = async { News::Told(self.words.recv().await.ok()) };
        let viewer = async {
            let event = self.events.recv().await;
            News::Viewer(event.unwrap_or(ViewerEvent::Left(LeftReason::Closed)))
        };
        future::or(told, viewer).await
    }

    /// Its picture has a way.
    pub(crate) async fn connected(&self) {
        tracing::info!(session = %self.session, "a viewer is connected");
        self.sessions
            .connected(self.session, self.attach, self.wish)
            .await;
    }

    /// Its user wants control.
    pub(crate) async fn want_control(&self) {
        self.sessions.take_control(self.session, self.attach).await;
    }

    /// It has control from here on.
    pub(crate) async fn control(&mut self, permit: Permit<Control>) {
        self.has_control = Some(true);
        self.media.control(self.viewer, permit).await;
    }

    /// It watches from here on; whether that is to be told: a viewer takes control as soon as it
    /// is connected, and keeps its keys until then.
    pub(crate) fn observe(&mut self) -> bool {
        if let (Wish::Control, None) = (self.wish, self.has_control) {
            return false;
        }
        self.has_control = Some(false);
        true
    }

    /// The next worker's sockets take the place of those that ended; the viewer keeps its
    /// connection. A worker that ended with its session has no next one.
    pub(crate) async fn rewire(&self) -> Result<(), WorkerGone> {
        let ticket = self.sessions.reattach(self.session, self.attach).await;
        let Ok(Some([control, media])) = ticket.map(|it| it.worker) else {
            return Err(self.worker_gone().await);
        };
        match self.media.rewire(self.viewer, control, media).await {
            Ok(()) => tracing::info!(session = %self.session, "a viewer has the next worker"),
            // It has left, and says why.
            Err(error) => tracing::debug!(session = %self.session, %error, "not rewired"),
        }
        Ok(())
    }

    /// The worker's sockets close a moment before the warden says why.
    pub(crate) async fn worker_gone(&self) -> WorkerGone {
        let known = async {
            loop {
                if let Word::Dismissed(why) = self.words.recv().await.ok()? {
                    return Some(why);
                }
            }
        };
        let late = async {
            Timer::after(REASON_TIMEOUT).await;
            None
        };
        WorkerGone(future::or(known, late).await)
    }

    /// Lets the stream go; the desktop stays.
    pub(crate) async fn end(self) {
        self.media.detach(self.viewer);
        self.sessions.left(self.session, self.attach).await;
    }
}
