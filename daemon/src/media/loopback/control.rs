//! Control, as the sessions hand it out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sandbox_core::permit::{Control, Permit};
use sandbox_core::sessions::{AttachId, Effect, Limits, Sessions, Wish};
use sandbox_protocol::local::warden::StartSession;
use sandbox_protocol::{SessionId, UserIndex, ViewerId};

use super::SIZE;
use crate::clock;
use crate::media::Media;

const LIMITS: Limits = Limits {
    sessions_max: 1,
    per_user_max: 1,
    detached_timeout: Duration::from_secs(1),
    start_timeout: Duration::from_secs(1),
};

/// Gives a viewer control with a permit that is newer than all before it; it has control when this
/// returns.
pub(super) fn give(media: &Media, session: SessionId, viewer: ViewerId) {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed) + 1;
    smol::block_on(media.control(viewer, permit(session, turn)));
    // Commands are done in their order, this one about nobody too.
    let answered = smol::block_on(media.reoffer(ViewerId(u64::MAX), String::new()));
    assert!(answered.is_err());
}

/// The right to control a session, for the so-manieth time that it is given.
pub(super) fn permit(session: SessionId, turn: u64) -> Permit<Control> {
    let mut sessions = Sessions::new(LIMITS);
    let plan = StartSession {
        session,
        user: UserIndex(1),
        user_name: "ada".to_owned(),
        profile: "desktop".to_owned(),
        size: SIZE,
    };
    sessions.handle_survivor(plan, clock::now());
    for attach in 1..=turn {
        sessions.handle_attached(session, AttachId(attach));
        sessions.handle_connected(session, AttachId(attach), Wish::Control);
    }
    std::iter::from_fn(|| sessions.poll_effect())
        .find_map(|it| match it {
            Effect::Control { permit, .. } if permit.turn() == turn => Some(permit),
            Effect::Control { .. }
            | Effect::Start(_)
            | Effect::End(_)
            | Effect::Dismiss { .. }
            | Effect::Observe { .. }
            | Effect::Changed(_) => None,
        })
        .unwrap()
}
