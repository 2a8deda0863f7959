//! How a native viewer gets its desktop: one that runs, or one that is started for it.

use sandbox_core::lifecycle::Lifecycle;
use sandbox_core::sessions::Wish;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::{SessionId, Size};

use super::conversation::Stream;
use super::farewell::Farewell;
use crate::attachment::Attachment;
use crate::caller::Caller;
use crate::clock;
use crate::http::{App, counted};
use crate::media::{AttachNative, Peer};
use crate::sessions::{Outcome, PROFILES, View, plan};

/// Of this node's lease on its sessions: no other node may take one over, so there is one.
const LEASE: u64 = 1;

/// What a native viewer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) session: Option<SessionId>,
    pub(super) profile: Option<String>,
    pub(super) size: Size,
}

/// Connects a viewer with the desktop that it wants.
pub(super) async fn attach(
    app: &App,
    peer: &Peer,
    caller: &Caller,
    wanted: Wanted,
) -> Result<Stream, Farewell> {
    let size = wanted.size;
    let view = match wanted.session {
        Some(session) => given(app, caller, session).await?,
        None => own(app, peer, caller, wanted).await?,
    };
    let session = view.plan.session;
    let (peer, media) = (peer.id, &app.media);
    let mut notices = app.notices.clone();
    notices.extend(view.weaker);
    let attached = Attachment::begin(app, session, Wish::Control, |worker, events| {
        let attach = AttachNative {
            peer,
            session,
            size,
            worker,
            events,
            lease: LEASE,
            notices: notices.clone(),
        };
        async move { Ok((media.attach_native(attach).await?, ())) }
    });
    let (attachment, ()) = attached.await?;
    Ok(Stream::new(attachment))
}

/// The caller's session of this name, once it runs.
async fn given(app: &App, caller: &Caller, session: SessionId) -> Result<View, Farewell> {
    let view = caller.own_session(app, session).await;
    let view = view.ok_or_else(Farewell::not_found)?;
    if let (Lifecycle::Ended, Some(reason)) = (view.state, view.reason) {
        return Err(Farewell::ended(reason));
    }
    Ok(app.sessions.await_start(session).await?.view)
}

/// The caller's own session, started where there is none.
async fn own(
    app: &App,
    peer: &Peer,
    caller: &Caller,
    Wanted { profile, size, .. }: Wanted,
) -> Result<View, Farewell> {
    let live = app.sessions.live().await;
    let is_wanted = |it: &&View| {
        let is_profile = profile.as_ref().is_none_or(|name| *name == it.plan.profile);
        caller.owns(it) && is_profile
    };
    if let Some(view) = live.iter().find(is_wanted) {
        let outcome = app.sessions.await_start(view.plan.session).await?;
        return Ok(outcome.view);
    }
    let address = counted(peer.address);
    let limited = app.limits().api.take(&address, clock::now());
    limited.map_err(|wait| {
        let words = format!("too many requests: wait {} seconds", wait.seconds());
        Farewell::saying(CloseCode::Limit, words)
    })?;
    let [usual] = PROFILES;
    let profile = profile.unwrap_or_else(|| usual.into());
    let plan = plan(caller.user.clone(), profile, size)?;
    let Outcome { view, .. } = app.sessions.start(plan).await?;
    Ok(view)
}
