//! How a page gets its stream: the offer, the worker's sockets, the answer, and the next worker.

use sandbox_core::sessions::{CannotAttach, Wish};
use sandbox_protocol::wire::signal::ToPage;
use sandbox_protocol::{SessionId, Size};

use super::{Attachment, Conversation, Farewell, take_one};
use crate::media::{Attach, AttachError};
use crate::sessions::{Need, RequestError, Sessions, Ticket};

/// Words of a viewer's life that may wait.
const EVENTS_MAX: usize = 8;

/// What the sessions say to a viewer while its page does not read; more, and it is let go.
const WORDS_MAX: usize = 32;

impl Conversation {
    pub(super) async fn handle_offer(
        &mut self,
        sdp: String,
        size: Size,
        wish: Wish,
    ) -> Result<(), Farewell> {
        take_one(&mut self.offers, "offers")?;
        let answer = match &self.attachment {
            Some(it) => {
                let viewer = it.viewer;
                self.app.media.reoffer(viewer, sdp).await
            }
            None => return self.attach(sdp, size, wish).await,
        };
        self.send_answer(answer).await
    }

    async fn attach(&mut self, sdp: String, size: Size, wish: Wish) -> Result<(), Farewell> {
        let (events, received) = async_channel::bounded(EVENTS_MAX);
        // Each one stands for all before it.
        let (ack, acks) = async_channel::bounded(1);
        let session = self.session;
        let offer = |worker| Attach {
            session,
            sdp: sdp.clone(),
            size,
            worker,
            events: events.clone(),
            acks: ack.clone(),
        };
        let mut ticket = ticket_for(&self.app.sessions, self.session, Need::Shared).await?;
        let mut attached = self.app.media.attach(offer(ticket.worker)).await;
        if let Err(AttachError::NoWorker) = attached {
            // The viewer that had one has left meanwhile.
            ticket = ticket_for(&self.app.sessions, self.session, Need::Fresh).await?;
            attached = self.app.media.attach(offer(ticket.worker)).await;
        }
        let attach = ticket.attach;
        let attached = match attached {
            Ok(attached) => attached,
            Err(error) => {
                self.app.sessions.left(self.session, attach).await;
                return self.send_answer(Err(error)).await;
            }
        };
        let (tell, words) = async_channel::bounded(WORDS_MAX);
        self.attachment = Some(Attachment {
            attach,
            wish,
            has_control: None,
            viewer: attached.viewer,
            words,
            events: received,
            acks,
        });
        self.app.sessions.attached(self.session, attach, tell).await;
        self.send_answer(Ok(attached.answer)).await
    }

    async fn send_answer(&mut self, answer: Result<String, AttachError>) -> Result<(), Farewell> {
        let sdp = match answer {
            Ok(sdp) => sdp,
            Err(error) => {
                tracing::warn!(session = %self.session, %error, "an offer was refused");
                let code = match error {
                    AttachError::Sdp(_) => "malformed_sdp",
                    AttachError::NoCodec(_) => "no_codec",
                    AttachError::Unknown(_) => "viewer_gone",
                    AttachError::Worker(_)
                    | AttachError::NoWorker
                    | AttachError::NoPeer(_)
                    | AttachError::Stopped => "internal",
                };
                return Err(Farewell::error(code, error.to_string()));
            }
        };
        if self.socket.send(&ToPage::Answer { sdp }).await {
            Ok(())
        } else {
            Err(Farewell::silent())
        }
    }

    /// The next worker's sockets take the place of those that ended; the page keeps its
    /// connection. A worker that ended with its session has no next one.
    pub(super) async fn rewire(&mut self) -> Result<(), Farewell> {
        let Some(Attachment { attach, viewer, .. }) = self.attachment else {
            return Ok(());
        };
        let ticket = self.app.sessions.reattach(self.session, attach).await;
        let Ok(Some([control, media])) = ticket.map(|it| it.worker) else {
            return Err(self.after_worker().await);
        };
        match self.app.media.rewire(viewer, control, media).await {
            Ok(()) => tracing::info!(session = %self.session, "a viewer has the next worker"),
            // It has left, and says why.
            Err(error) => tracing::debug!(session = %self.session, %error, "not rewired"),
        }
        Ok(())
    }
}

async fn ticket_for(
    sessions: &Sessions,
    session: SessionId,
    need: Need,
) -> Result<Ticket, Farewell> {
    let ticket = sessions.attach(session, need).await;
    ticket.map_err(|error| match error {
        RequestError::Attach(CannotAttach::Ended(reason)) => Farewell::ended(reason),
        other @ (RequestError::Attach(_) | RequestError::Refused(_) | RequestError::Stopping) => {
            Farewell::problem(&other.into())
        }
    })
}
