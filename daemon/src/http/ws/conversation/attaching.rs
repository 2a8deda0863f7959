//! How a page gets its stream: the offer, the worker's sockets, the answer.

use sandbox_core::sessions::{CannotAttach, Wish};
use sandbox_protocol::Size;
use sandbox_protocol::wire::signal::ToPage;

use super::{Conversation, Farewell, Stream, take_one};
use crate::attachment::{Attachment, NotAttached};
use crate::media::{Attach, AttachError};
use crate::sessions::RequestError;

impl Conversation {
    pub(super) async fn handle_offer(
        &mut self,
        sdp: String,
        size: Size,
        wish: Wish,
    ) -> Result<(), Farewell> {
        take_one(&mut self.offers, "offers")?;
        let answer = match &self.stream {
            Some(it) => {
                let viewer = it.attachment.viewer();
                self.app.media.reoffer(viewer, sdp).await
            }
            None => return self.attach(sdp, size, wish).await,
        };
        self.send_answer(answer).await
    }

    async fn attach(&mut self, sdp: String, size: Size, wish: Wish) -> Result<(), Farewell> {
        // Each one stands for all before it.
        let (ack, acks) = async_channel::bounded(1);
        let session = self.session;
        let media = &self.app.media;
        let attached = Attachment::begin(&self.app, session, wish, |worker, events| {
            let attach = Attach {
                session,
                sdp: sdp.clone(),
                size,
                worker,
                events,
                acks: ack.clone(),
            };
            async move {
                let attached = media.attach(attach).await?;
                Ok((attached.viewer, attached.answer))
            }
        });
        match attached.await {
            Ok((attachment, answer)) => {
                self.stream = Some(Stream { attachment, acks });
                self.send_answer(Ok(answer)).await
            }
            Err(NotAttached::Media(error)) => self.send_answer(Err(error)).await,
            Err(NotAttached::Request(error)) => Err(refused(error)),
        }
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
}

fn refused(error: RequestError) -> Farewell {
    match error {
        RequestError::Attach(CannotAttach::Ended(reason)) => Farewell::ended(reason),
        other @ (RequestError::Attach(_) | RequestError::Refused(_) | RequestError::Stopping) => {
            Farewell::problem(&other.into())
        }
    }
}
