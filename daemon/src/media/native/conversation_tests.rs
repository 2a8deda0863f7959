//! A viewer's conversation, message by message.

use sandbox_protocol::wire::control::{FEATURES, Secret, StreamConfig, encode_into};

use super::*;

#[path = "conversation_orders.rs"]
mod orders;

const SIZE: Size = Size {
    width: 1_280,
    height: 720,
};

const NODE: Node = Node {
    id: [7; 16],
    features: FEATURES,
};

fn hello() -> FromViewer {
    FromViewer::Hello {
        minor_min: 0,
        minor_max: 0,
        features: FEATURES.0,
        video: VIDEO.to_vec(),
        cache_mib: 32,
        agent: "test".to_owned(),
    }
}

fn password() -> AuthMethod {
    AuthMethod::Password {
        user: "ada".to_owned(),
        password: Secret("secret".to_owned()),
    }
}

fn attach() -> FromViewer {
    FromViewer::Attach {
        session: None,
        profile: None,
        displays: displays(),
    }
}

fn displays() -> Vec<Display> {
    vec![Display {
        x: 0,
        y: 0,
        size: SIZE,
        scale: 100,
    }]
}

fn welcome() -> Welcome {
    Welcome {
        user: "ada".to_owned(),
        ticket: ([1; 16], Secret([2; 32])),
        ticket_lifetime: Duration::from_secs(60),
    }
}

fn attached() -> FromServer {
    FromServer::Attached {
        session: SessionId::from_bytes([3; 16]),
        lease: 1,
        config: StreamConfig {
            epoch: 1,
            size: SIZE,
            codec: Codec::H264,
            profile: Profile::Baseline,
            chroma: Chroma::Yuv420,
            cache_mib: 32,
        },
        notices: Vec::new(),
    }
}

struct World {
    conversation: Conversation,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = crate::clock::now();
        Self {
            conversation: Conversation::new(NODE, now),
            now,
        }
    }

    /// Has come as far as this many steps: hello, proof, welcome, wish, session.
    fn at(step: usize) -> Self {
        let mut world = Self::new();
        let steps: [&dyn Fn(&mut Self); 5] = [
            &|it| it.say(&hello()).unwrap(),
            &|it| it.say(&FromViewer::Auth(password())).unwrap(),
            &|it| assert!(it.conversation.handle_welcome(welcome())),
            &|it| it.say(&attach()).unwrap(),
            &|it| it.conversation.handle_attached(attached()),
        ];
        for act in steps.into_iter().take(step) {
            act(&mut world);
        }
        world.effects();
        world
    }

    fn say(&mut self, message: &FromViewer) -> Result<(), Refusal> {
        let mut bytes = Vec::new();
        encode_into(message, &mut bytes).unwrap();
        self.conversation.handle_bytes(self.now, &bytes)
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.conversation.poll_effect()).collect()
    }

    #[track_caller]
    fn check_refused(&mut self, message: &FromViewer, code: CloseCode) {
        let refused = self.say(message).unwrap_err();
        assert_eq!(refused.code, code, "{}", refused.words);
    }
}

#[test]
fn a_viewer_comes_in_by_hello_proof_wish_and_start() {
    let mut world = World::new();
    world.say(&hello()).unwrap();
    let expected = FromServer::Hello {
        minor: 0,
        features: FEATURES.0,
        node: [7; 16],
        codec: Codec::H264,
        cache_mib: 32,
    };
    let agent = "test".to_owned();
    let effects = [Effect::Say(expected), Effect::Announce { agent }];
    assert_eq!(world.effects(), effects);

    world.say(&FromViewer::Auth(password())).unwrap();
    assert_eq!(world.effects(), [Effect::SignIn(password())]);
    assert!(world.conversation.handle_welcome(welcome()));
    let [Effect::Say(FromServer::Welcome { ticket_seconds, .. })] = &world.effects()[..] else {
        panic!("no welcome");
    };
    assert_eq!(*ticket_seconds, 60);
    assert_eq!(world.conversation.poll_timeout(), None);

    world.say(&attach()).unwrap();
    let wish = Effect::Attach {
        session: None,
        profile: None,
        size: SIZE,
    };
    assert_eq!(world.effects(), [wish]);
    assert_eq!(world.conversation.attaching().unwrap().cache_mib, 32);
    world.conversation.handle_attached(attached());
    assert_eq!(world.effects(), [Effect::Say(attached())]);
    world.say(&FromViewer::Start).unwrap();
    assert_eq!(world.effects(), [Effect::Session(Request::Start)]);
}

#[test]
fn what_comes_out_of_order_closes_the_connection() {
    let violation = CloseCode::ProtocolViolation;
    for step in 1..6 {
        World::at(step).check_refused(&hello(), violation);
    }
    for step in [0, 2, 3, 4, 5] {
        World::at(step).check_refused(&FromViewer::Auth(password()), violation);
    }
    for step in [4, 5] {
        World::at(step).check_refused(&attach(), violation);
    }
    for step in [3, 4] {
        World::at(step).check_refused(&FromViewer::Start, violation);
    }
    for step in 0..3 {
        World::at(step).check_refused(&attach(), CloseCode::AuthRequired);
        World::at(step).check_refused(&FromViewer::TakeControl, CloseCode::AuthRequired);
    }
    let mut world = World::at(5);
    world.say(&FromViewer::Start).unwrap();
    world.check_refused(&FromViewer::Start, violation);
}

#[test]
fn what_a_network_has_carried_is_said_before_the_start() {
    let said = FromViewer::LinkRate { kbps: 7_000 };
    let mut world = World::at(5);
    world.say(&said).unwrap();
    let request = Request::LinkRate(Bitrate::kbps(7_000));
    assert_eq!(world.effects(), [Effect::Session(request)]);
    world.say(&FromViewer::Start).unwrap();
    world.check_refused(&said, CloseCode::ProtocolViolation);
    World::at(4).check_refused(&said, CloseCode::ProtocolViolation);
    World::at(2).check_refused(&said, CloseCode::AuthRequired);
}

#[test]
fn who_does_not_sign_in_in_time_is_closed_and_a_refusal_gives_as_much_again() {
    let mut world = World::new();
    let start = world.now;
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(world.conversation.poll_timeout(), Some(after(5)));
    world.say(&hello()).unwrap();
    assert_eq!(world.conversation.poll_timeout(), Some(after(5)));
    assert_eq!(world.conversation.handle_timeout(after(4)), Ok(()));
    let refused = world.conversation.handle_timeout(after(5)).unwrap_err();
    assert_eq!(refused.code, CloseCode::AuthRequired);

    let mut world = World::at(2);
    let start = world.now;
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(world.conversation.handle_timeout(after(29)), Ok(()));
    let refused = world.conversation.handle_timeout(after(30)).unwrap_err();
    assert_eq!(refused.code, CloseCode::Overloaded, "nobody answered");
    let pause = Duration::from_secs(2);
    world
        .conversation
        .handle_refused(after(3), AuthFailure::Refused, pause);
    let told = FromServer::AuthFailed {
        why: AuthFailure::Refused,
        retry_after_ms: 2_000,
    };
    assert_eq!(world.effects(), [Effect::Say(told)]);
    assert_eq!(world.conversation.poll_timeout(), Some(after(10)));
    world.say(&FromViewer::Auth(password())).unwrap();
    assert_eq!(world.effects(), [Effect::SignIn(password())]);
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    for step in [0, 1, 3, 4, 5] {
        let mut world = World::at(step);
        assert!(!world.conversation.handle_welcome(welcome()));
        let now = world.now;
        world
            .conversation
            .handle_refused(now, AuthFailure::TooMany, Duration::ZERO);
        if step != 4 {
            world.conversation.handle_attached(attached());
        }
        assert_eq!(world.effects(), []);
    }
}

#[test]
fn what_is_said_to_a_session_that_has_ended_is_not_held_against_a_viewer() {
    for leave in [
        |it: &mut World| {
            let reason = "shutdown".to_owned();
            it.conversation.handle_told(FromServer::Detached { reason });
        },
        |it: &mut World| it.conversation.handle_left(),
        |it: &mut World| it.say(&FromViewer::Detach).unwrap(),
    ] {
        let mut world = World::at(5);
        leave(&mut world);
        world.effects();
        for message in [
            FromViewer::Displays(displays()),
            FromViewer::WholePicture,
            FromViewer::Detach,
        ] {
            world.say(&message).unwrap();
        }
        assert_eq!(world.effects(), []);
        world.say(&attach()).unwrap();
        assert_eq!(world.effects().len(), 1);
    }
}

#[test]
fn a_session_that_is_not_found_leaves_the_viewer_where_it_was() {
    let mut world = World::at(4);
    let told = FromServer::Detached {
        reason: "no_session".to_owned(),
    };
    world.conversation.handle_told(told.clone());
    assert_eq!(world.effects(), [Effect::Say(told)]);
    assert_eq!(world.conversation.attaching(), None);
    world.say(&attach()).unwrap();
}

#[test]
fn messages_to_a_session_are_wishes_and_what_is_out_of_range_is_refused() {
    let mut world = World::at(5);
    let mut wide = displays();
    wide.push(Display {
        x: SIZE.width,
        y: 100,
        size: SIZE,
        scale: 100,
    });
    for (message, request) in [
        (
            FromViewer::Displays(wide),
            Request::Resize(Size {
                width: 2 * SIZE.width,
                height: SIZE.height + 100,
            }),
        ),
        (FromViewer::WholePicture, Request::WholePicture),
        (FromViewer::Suspend, Request::Suspend),
        (FromViewer::Resume, Request::Resume),
        (
            FromViewer::Paste {
                text: "x".to_owned(),
                is_last: true,
            },
            Request::Paste {
                text: "x".to_owned(),
                is_last: true,
            },
        ),
    ] {
        world.say(&message).unwrap();
        assert_eq!(world.effects(), [Effect::Session(request)]);
    }
    world.say(&FromViewer::Quality(100)).unwrap();
    world.say(&FromViewer::TakeControl).unwrap();
    assert_eq!(world.effects(), [Effect::TakeControl]);
    for message in [
        FromViewer::Quality(101),
        FromViewer::Displays(Vec::new()),
        FromViewer::Displays(vec![displays()[0]; 5]),
    ] {
        World::at(5).check_refused(&message, CloseCode::ProtocolViolation);
    }
    world.check_refused(&FromViewer::Goodbye { code: 0x100 }, CloseCode::NoError);
}

#[test]
fn limits_hold() {
    let refused = |world: &mut World, bytes: &[u8]| {
        let now = world.now;
        world.conversation.handle_bytes(now, bytes).unwrap_err()
    };
    let mut world = World::at(1);
    let long = 4_097_u32.to_le_bytes();
    assert_eq!(refused(&mut world, &long).code, CloseCode::Limit);
    let mut world = World::at(3);
    assert_eq!(world.conversation.handle_bytes(world.now, &long), Ok(()));

    let mut world = World::at(5);
    for _ in 0..CONTROL_MESSAGES_PER_SECOND_MAX - 3 {
        world.say(&FromViewer::Quality(1)).unwrap();
    }
    world.check_refused(&FromViewer::Quality(1), CloseCode::Limit);
    world.now += Duration::from_secs(1);
    world.say(&FromViewer::Quality(1)).unwrap();

    let cache = Offer {
        cache_mib: 1,
        minor_min: 0,
        minor_max: 0,
        features: FEATURES,
        video: &VIDEO,
    };
    let until = world.now;
    let refused = world.conversation.handle_hello(until, &cache, "");
    assert_eq!(refused.unwrap_err().code, CloseCode::Limit);
}

#[test]
fn garbage_closes_the_connection_whatever_it_is() {
    for bytes in [&[1, 0, 0, 0, 0xff][..], &[4, 0, 0, 0, 0, 0, 0, 0x80]] {
        let mut world = World::new();
        let refused = world.conversation.handle_bytes(world.now, bytes);
        assert_eq!(refused.unwrap_err().code, CloseCode::ProtocolViolation);
    }
    // What is not known is skipped.
    let mut world = World::new();
    let unknown = [4, 0, 0, 0, 99, 0, 0, 0];
    assert_eq!(world.conversation.handle_bytes(world.now, &unknown), Ok(()));
    assert_eq!(world.effects(), []);
}

#[test]
fn messages_may_come_in_any_pieces() {
    let mut bytes = Vec::new();
    for message in [hello(), FromViewer::Auth(password())] {
        encode_into(&message, &mut bytes).unwrap();
    }
    for piece in [1, 5, bytes.len()] {
        let mut world = World::new();
        for piece in bytes.chunks(piece) {
            let now = world.now;
            world.conversation.handle_bytes(now, piece).unwrap();
        }
        assert_eq!(world.effects().len(), 3, "{piece}");
    }
}
