//! What is asked of the warden about a running session, and how its answers find who waits.

use std::os::fd::OwnedFd;

use async_channel::Sender;
use sandbox_core::sessions::{Admission, AttachId};
use sandbox_protocol::SessionId;
use sandbox_protocol::local::warden::{Refusal, Request};

use super::super::pending::{PENDING_MAX, Pending};
use super::super::{Need, RequestError, Ticket};
use super::{Service, answer};
use crate::clock;
use crate::warden::WardenLinkError;

impl Service {
    pub(super) async fn attach(
        &mut self,
        session: SessionId,
        need: Need,
        reply: Sender<Result<Ticket, RequestError>>,
    ) -> Result<(), WardenLinkError> {
        match self.machine.handle_attach_wish(session) {
            Ok(Admission { attach, is_first }) if !is_first && need == Need::Shared => {
                let worker = None;
                answer(&reply, Ok(Ticket { attach, worker }));
                Ok(())
            }
            Ok(Admission { attach, .. }) => {
                let pending = Pending::Attach(attach, reply);
                self.request(session, pending, Request::Attach { session })
                    .await
            }
            Err(error) => {
                answer(&reply, Err(error.into()));
                Ok(())
            }
        }
    }

    /// A viewer goes on with the session's next worker.
    pub(super) async fn reattach(
        &mut self,
        session: SessionId,
        attach: AttachId,
        reply: Sender<Result<Ticket, RequestError>>,
    ) -> Result<(), WardenLinkError> {
        if !self.machine.is_attached(session, attach) {
            answer(&reply, Err(RequestError::Refused(Refusal::Unknown)));
            return Ok(());
        }
        let pending = Pending::Attach(attach, reply);
        self.request(session, pending, Request::Attach { session })
            .await
    }

    pub(super) async fn request(
        &mut self,
        session: SessionId,
        pending: Pending,
        request: Request,
    ) -> Result<(), WardenLinkError> {
        if !self.is_live(session) {
            self.refuse(session, pending, &Refusal::Unknown);
            return Ok(());
        }
        if let Err(pending) = self.pending.push(session, pending) {
            let detail = format!("{PENDING_MAX} requests about this session wait already");
            self.refuse(session, pending, &Refusal::Full { detail });
            return Ok(());
        }
        self.link.send(&request).await
    }

    pub(super) fn handle_pair(&mut self, session: SessionId, descriptors: Vec<OwnedFd>) {
        let pair: Result<[OwnedFd; 2], _> = descriptors.try_into();
        match (self.pending.answered(session), pair) {
            (Some(Pending::Attach(attach, reply)), Ok(pair)) => {
                let worker = Some(pair);
                if reply.try_send(Ok(Ticket { attach, worker })).is_err() {
                    // Its page left before the answer; the worker sees the closed sockets.
                    self.machine.handle_left(session, attach, clock::now());
                }
            }
            (Some(pending @ Pending::Attach(..)), Err(_)) => {
                let detail = "the server may open no more files (LimitNOFILE)".to_owned();
                tracing::warn!(%session, "no descriptor is left for a worker's sockets");
                self.refuse(session, pending, &Refusal::Full { detail });
            }
            (other, _) => self.out_of_order(session, other),
        }
    }

    pub(super) fn refuse(&mut self, session: SessionId, pending: Pending, why: &Refusal) {
        let error = || RequestError::Refused(why.clone());
        match pending {
            Pending::Attach(attach, reply) => {
                self.machine.handle_left(session, attach, clock::now());
                answer(&reply, Err(error()));
            }
            Pending::Usage(reply) => answer(&reply, Err(error())),
        }
    }

    pub(super) fn out_of_order(&mut self, session: SessionId, pending: Option<Pending>) {
        tracing::error!(%session, "an answer of the warden fits no request");
        if let Some(pending) = pending {
            let detail = "the warden's answer does not fit".to_owned();
            self.refuse(session, pending, &Refusal::Failed { detail });
        }
    }

    pub(super) fn drop_pending(&mut self, session: SessionId) {
        for pending in self.pending.take_all(session) {
            self.refuse(session, pending, &Refusal::Unknown);
        }
    }
}
