//! Lives of sessions with a simulated clock.

use super::*;

const LIMITS: Limits = Limits {
    sessions_max: 3,
    per_user_max: 1,
    detached_timeout: Duration::from_secs(1_800),
    start_timeout: Duration::from_secs(30),
};

const SIZE: Size = Size {
    width: 1920,
    height: 1080,
};

fn start() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "an origin for the simulated clock"
    )]
    Instant::now()
}

fn plan(number: u8, user: u32) -> StartSession {
    StartSession {
        session: id(number),
        user: UserIndex(user),
        user_name: format!("user{user}"),
        profile: "desktop".into(),
        size: SIZE,
    }
}

fn id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn drain(sessions: &mut Sessions) -> Vec<Effect> {
    std::iter::from_fn(|| sessions.poll_effect()).collect()
}

fn started(limits: Limits, now: Instant) -> Sessions {
    let mut sessions = Sessions::new(limits);
    let admitted = sessions.handle_wish(plan(1, 1), now).unwrap();
    assert_eq!(admitted, Admitted::Started(id(1)));
    sessions.handle_started(id(1), SIZE, now);
    drain(&mut sessions);
    sessions
}

fn state(sessions: &Sessions) -> (Lifecycle, Option<Reason>) {
    let session = sessions.session(id(1)).unwrap();
    (session.state, session.reason)
}

#[test]
fn a_wish_starts_a_desktop_and_a_second_wish_gives_the_same() {
    let now = start();
    let mut sessions = Sessions::new(LIMITS);
    assert_eq!(
        sessions.handle_wish(plan(1, 1), now),
        Ok(Admitted::Started(id(1)))
    );
    assert_eq!(
        drain(&mut sessions),
        [Effect::Start(plan(1, 1)), Effect::Changed(id(1))]
    );
    assert_eq!(
        sessions.handle_wish(plan(2, 1), now),
        Ok(Admitted::Existing(id(1)))
    );
    assert_eq!(drain(&mut sessions), []);
}

#[test]
fn the_node_is_full_until_the_warden_returned_what_an_ended_session_used() {
    let now = start();
    let mut sessions = Sessions::new(LIMITS);
    for number in 1..=3 {
        sessions
            .handle_wish(plan(number, number.into()), now)
            .unwrap();
    }
    assert_eq!(sessions.handle_wish(plan(4, 4), now), Err(NoRoom::Node(3)));
    sessions.handle_end_wish(id(1), Reason::Requested);
    assert_eq!(sessions.handle_wish(plan(4, 4), now), Err(NoRoom::Node(3)));
    sessions.handle_ended(id(1), EndReason::Requested);
    assert_eq!(
        sessions.handle_wish(plan(4, 4), now),
        Ok(Admitted::Started(id(4)))
    );
}

#[test]
fn a_user_with_several_sessions_is_told_when_there_are_enough() {
    let now = start();
    let mut sessions = Sessions::new(Limits {
        per_user_max: 2,
        ..LIMITS
    });
    sessions.handle_wish(plan(1, 1), now).unwrap();
    assert_eq!(
        sessions.handle_wish(plan(2, 1), now),
        Ok(Admitted::Started(id(2)))
    );
    assert_eq!(sessions.handle_wish(plan(3, 1), now), Err(NoRoom::User(2)));
}

#[test]
fn a_desktop_without_a_viewer_ends_at_its_timeout_and_not_before() {
    let now = start();
    let mut sessions = started(LIMITS, now);
    let deadline = sessions.poll_timeout().unwrap();
    assert_eq!(deadline.why, Wakeup::SessionTimeout);
    assert_eq!(deadline.at, now + LIMITS.detached_timeout);
    sessions.handle_timeout(deadline.at - Duration::from_nanos(1));
    assert_eq!(drain(&mut sessions), []);
    sessions.handle_timeout(deadline.at);
    assert_eq!(
        drain(&mut sessions),
        [Effect::Changed(id(1)), Effect::End(id(1))]
    );
    assert_eq!(state(&sessions), (Lifecycle::Ended, Some(Reason::Timeout)));
    assert_eq!(sessions.poll_timeout(), None);
}

fn attached(sessions: &mut Sessions, wish: Wish) -> AttachId {
    let attach = sessions.handle_attach_wish(id(1)).unwrap().attach;
    sessions.handle_attached(id(1), attach);
    sessions.handle_connected(id(1), attach, wish);
    attach
}

fn control(attach: AttachId, turn: u64) -> Effect {
    Effect::Control {
        attach,
        permit: Permit::control(id(1), turn),
    }
}

fn observe(attach: AttachId) -> Effect {
    Effect::Observe {
        session: id(1),
        attach,
    }
}

#[test]
fn only_an_attached_viewer_goes_on_with_the_next_worker() {
    let now = start();
    let mut sessions = started(LIMITS, now);
    let first = sessions.handle_attach_wish(id(1)).unwrap();
    assert!(first.is_first);
    assert!(!sessions.is_attached(id(1), first.attach), "on its way");
    sessions.handle_attached(id(1), first.attach);
    assert!(sessions.is_attached(id(1), first.attach));
    assert!(!sessions.handle_attach_wish(id(1)).unwrap().is_first);
    sessions.handle_end_wish(id(1), Reason::Requested);
    assert!(!sessions.is_attached(id(1), first.attach));
}

#[test]
fn an_attached_viewer_stops_the_clock_and_leaving_starts_it_anew() {
    let now = start();
    let mut sessions = started(LIMITS, now);
    let attach = attached(&mut sessions, Wish::Control);
    assert_eq!(sessions.poll_timeout(), None, "no deadline, no wake-up");
    let later = now + Duration::from_secs(100_000);
    sessions.handle_timeout(later);
    assert_eq!(state(&sessions), (Lifecycle::Attached, None));
    sessions.handle_left(id(1), attach, later);
    assert_eq!(state(&sessions), (Lifecycle::Detached, None));
    assert_eq!(
        sessions.poll_timeout().unwrap().at,
        later + LIMITS.detached_timeout
    );
}

#[test]
fn control_goes_with_the_newest_viewer_and_back_when_it_is_asked_for() {
    let now = start();
    let mut sessions = started(LIMITS, now);
    let first = attached(&mut sessions, Wish::Control);
    assert_eq!(
        drain(&mut sessions),
        [Effect::Changed(id(1)), control(first, 1)]
    );
    let second = attached(&mut sessions, Wish::Control);
    assert_eq!(
        drain(&mut sessions),
        [observe(second), observe(first), control(second, 2)]
    );
    sessions.handle_control_wish(id(1), first);
    assert_eq!(drain(&mut sessions), [observe(second), control(first, 3)]);
    sessions.handle_left(id(1), first, now);
    assert_eq!(drain(&mut sessions), [control(second, 4)]);
    assert_eq!(state(&sessions), (Lifecycle::Attached, None));
    assert_eq!(sessions.poll_timeout(), None);
    sessions.handle_left(id(1), second, now);
    assert_eq!(drain(&mut sessions), [Effect::Changed(id(1))]);
    assert_eq!(state(&sessions), (Lifecycle::Detached, None));
}

#[test]
fn one_viewer_too_many_lets_the_oldest_observer_go() {
    let mut sessions = started(LIMITS, start());
    let first = attached(&mut sessions, Wish::Control);
    for _ in 1..VIEWERS_MAX {
        attached(&mut sessions, Wish::Observe);
    }
    drain(&mut sessions);
    attached(&mut sessions, Wish::Control);
    let effects = drain(&mut sessions);
    let is_out = |it: &Effect| match it {
        Effect::Dismiss { attach, why, .. } => *attach != first && *why == Dismissal::TakenOver,
        Effect::Start(_)
        | Effect::End(_)
        | Effect::Control { .. }
        | Effect::Observe { .. }
        | Effect::Changed(_) => false,
    };
    assert_eq!(effects.iter().filter(|it| is_out(it)).count(), 1);
    assert!(effects.contains(&observe(first)), "{effects:?}");
}

#[test]
fn a_stream_that_is_made_while_its_session_ends_is_let_go() {
    let mut sessions = started(LIMITS, start());
    let attach = sessions.handle_attach_wish(id(1)).unwrap().attach;
    sessions.handle_end_wish(id(1), Reason::Requested);
    drain(&mut sessions);
    sessions.handle_attached(id(1), attach);
    assert_eq!(
        drain(&mut sessions),
        [Effect::Dismiss {
            session: id(1),
            attach,
            why: Dismissal::Ended(Reason::Requested),
        }]
    );
}

#[test]
fn a_session_that_ends_dismisses_its_viewer_with_the_reason() {
    let now = start();
    let mut sessions = started(LIMITS, now);
    let attach = attached(&mut sessions, Wish::Control);
    drain(&mut sessions);
    sessions.handle_ended(id(1), EndReason::DisplayEnded);
    let reason = Reason::Warden(EndReason::DisplayEnded);
    assert_eq!(
        drain(&mut sessions),
        [
            Effect::Dismiss {
                session: id(1),
                attach,
                why: Dismissal::Ended(reason),
            },
            Effect::Changed(id(1)),
        ]
    );
    assert_eq!(
        sessions.handle_attach_wish(id(1)),
        Err(CannotAttach::Ended(reason))
    );
}

#[test]
fn a_start_that_takes_too_long_is_ended_and_a_late_start_changes_nothing() {
    let now = start();
    let mut sessions = Sessions::new(LIMITS);
    sessions.handle_wish(plan(1, 1), now).unwrap();
    assert_eq!(
        sessions.handle_attach_wish(id(1)),
        Err(CannotAttach::Starting)
    );
    drain(&mut sessions);
    sessions.handle_timeout(now + LIMITS.start_timeout);
    assert_eq!(
        drain(&mut sessions),
        [Effect::Changed(id(1)), Effect::End(id(1))]
    );
    sessions.handle_started(id(1), SIZE, now);
    assert_eq!(
        state(&sessions),
        (Lifecycle::Ended, Some(Reason::StartTimeout))
    );
}

#[test]
fn a_refused_start_gives_its_place_back_at_once() {
    let now = start();
    let mut sessions = Sessions::new(Limits {
        sessions_max: 1,
        ..LIMITS
    });
    sessions.handle_wish(plan(1, 1), now).unwrap();
    sessions.handle_refused(id(1));
    assert_eq!(state(&sessions), (Lifecycle::Ended, Some(Reason::Refused)));
    assert_eq!(
        sessions.handle_wish(plan(2, 1), now),
        Ok(Admitted::Started(id(2)))
    );
}

#[test]
fn a_desktop_that_nobody_knows_is_ended() {
    let mut sessions = Sessions::new(LIMITS);
    sessions.handle_started(id(9), SIZE, start());
    assert_eq!(drain(&mut sessions), [Effect::End(id(9))]);
}

/// Random histories: whatever comes in whatever order, the books stay right.
#[test]
fn no_order_of_events_breaks_the_books() {
    for seed in 1..=200_u64 {
        let mut now = start();
        let mut chance = seed;
        let mut next = |below: u64| {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % below
        };
        let mut sessions = Sessions::new(LIMITS);
        let mut fresh = 0_u8;
        let mut attaches = vec![AttachId(0)];
        for _ in 0..300 {
            now += Duration::from_secs(next(600));
            let session = id(u8::try_from(next(u64::from(fresh) + 1)).unwrap());
            let attach = attaches[usize::try_from(next(attaches.len() as u64)).unwrap()];
            match next(10) {
                0 if fresh < u8::MAX => {
                    fresh += 1;
                    let wish = plan(fresh, u32::try_from(next(5)).unwrap());
                    let _outcome = sessions.handle_wish(wish, now);
                }
                1 => sessions.handle_started(session, SIZE, now),
                2 => attaches.extend(sessions.handle_attach_wish(session).map(|it| it.attach)),
                3 => sessions.handle_attached(session, attach),
                8 => sessions.handle_connected(session, attach, Wish::Control),
                4 => sessions.handle_left(session, attach, now),
                5 => sessions.handle_end_wish(session, Reason::Requested),
                6 => sessions.handle_ended(session, EndReason::WorkerEnded),
                7 => sessions.handle_control_wish(session, attach),
                _ => sessions.handle_timeout(now),
            }
            drain(&mut sessions);
            hold(&sessions, seed);
        }
    }
}

fn hold(sessions: &Sessions, seed: u64) {
    let taken = sessions
        .sessions
        .values()
        .filter(|it| !it.is_reaped)
        .count();
    assert!(taken <= LIMITS.sessions_max as usize, "seed {seed}");
    assert!(sessions.ended.len() <= ENDED_KEPT_MAX, "seed {seed}");
    let mut owners = Vec::new();
    for session in sessions.sessions.values() {
        assert_eq!(
            session.deadline.is_some(),
            !matches!(session.state, Lifecycle::Attached | Lifecycle::Ended),
            "seed {seed}: {session:?}"
        );
        assert_eq!(
            session.reason.is_some(),
            !session.state.is_live(),
            "seed {seed}"
        );
        let is_attached = session.state == Lifecycle::Attached;
        assert_eq!(!session.viewers.is_empty(), is_attached, "seed {seed}");
        assert_eq!(
            session.viewers.control().is_some(),
            is_attached,
            "seed {seed}"
        );
        assert!(session.viewers.count() <= VIEWERS_MAX, "seed {seed}");
        if session.state.is_live() {
            assert!(!owners.contains(&session.owner()), "seed {seed}");
            owners.push(session.owner());
        }
    }
}
