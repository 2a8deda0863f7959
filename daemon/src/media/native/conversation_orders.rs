//! Orders of messages, answers and times that no viewer and no daemon of ours causes: whatever
//! comes, nobody gets further than their sign-in, and the end has a code.

use sandbox_protocol::limits::CONTROL_BYTES_MAX;
use sandbox_protocol::wire::control::{LENGTH_LEN, Secret, encode_into};

use super::super::*;
use super::{NODE, SIZE, attached};

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }
}

struct World {
    chance: Chance,
    now: Instant,
    conversation: Conversation,
    /// What the daemon has said yes to, and the conversation has taken.
    is_signed_in: bool,
    is_attached: bool,
    is_started: bool,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = crate::clock::now();
        Self {
            chance: Chance(seed),
            now,
            conversation: Conversation::new(NODE, now),
            is_signed_in: false,
            is_attached: false,
            is_started: false,
            seed,
        }
    }

    /// A message that fits, more often than not.
    fn message(&mut self) -> FromViewer {
        let likely = match self.conversation.phase {
            Phase::Fresh { .. } => 0,
            Phase::Stranger { .. } | Phase::Judged { .. } => 1,
            Phase::SignedIn { .. } | Phase::Attaching { .. } => 2,
            Phase::Attached { .. } => 3 + self.chance.below(12),
        };
        let kind = match self.chance.below(12) {
            0 => self.chance.below(15),
            _ => likely,
        };
        let displays = vec![
            Display {
                x: self.chance.number() as u16,
                y: 0,
                size: SIZE,
                scale: 100,
            };
            match self.chance.below(20) {
                0 => self.chance.below(7),
                _ => 1,
            }
        ];
        match kind {
            0 => FromViewer::Hello {
                minor_min: 0,
                minor_max: self.chance.below(3) as u16,
                features: self.chance.number(),
                video: vec![VIDEO[0]; self.chance.below(9)],
                cache_mib: self.chance.below(400) as u16,
                agent: "x".repeat(self.chance.below(200)),
            },
            1 => FromViewer::Auth(AuthMethod::Password {
                user: "ada".to_owned(),
                password: Secret("secret".to_owned()),
            }),
            2 => FromViewer::Attach {
                session: None,
                profile: None,
                displays,
            },
            3 => FromViewer::Start,
            4 => FromViewer::Displays(displays),
            5 => FromViewer::Quality(self.chance.below(104) as u8),
            6 => FromViewer::WholePicture,
            7 => FromViewer::Paste {
                text: "x".repeat(self.chance.below(40_000)),
                is_last: self.chance.below(2) == 0,
            },
            8 => FromViewer::Suspend,
            9 => FromViewer::Resume,
            10 => FromViewer::Detach,
            11 => FromViewer::TakeControl,
            12 => FromViewer::LinkRate {
                kbps: self.chance.number() as u32,
            },
            13 => FromViewer::Goodbye { code: 1 },
            _ => FromViewer::Auth(AuthMethod::DeviceKey {
                key: [1; 32],
                signature: Secret([2; 64]),
            }),
        }
    }

    /// Bytes of messages: whole, in two, cut, or with a byte turned.
    fn say(&mut self) -> Result<(), Refusal> {
        let mut bytes = Vec::new();
        for _ in 0..=self.chance.below(20) / 18 {
            encode_into(&self.message(), &mut bytes).unwrap();
        }
        let at = self.chance.below(bytes.len());
        match self.chance.below(100) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << self.chance.below(8),
            2..30 => {
                self.conversation.handle_bytes(self.now, &bytes[..at])?;
                self.check_memory();
                bytes.drain(..at);
            }
            _ => (),
        }
        self.conversation.handle_bytes(self.now, &bytes)
    }

    /// Something of the daemon, whether it was asked for or not.
    fn answer(&mut self) {
        let conversation = &mut self.conversation;
        match self.chance.below(20) {
            0..7 => {
                self.is_signed_in |= conversation.handle_welcome(Welcome {
                    user: "ada".to_owned(),
                    ticket: ([1; 16], Secret([2; 32])),
                    ticket_lifetime: Duration::from_secs(60),
                });
            }
            7 => {
                let pause = Duration::from_millis(self.chance.below(3_000) as u64);
                conversation.handle_refused(self.now, AuthFailure::Refused, pause);
            }
            8..17 => {
                let waits = conversation.attaching().is_some();
                if waits {
                    (self.is_attached, self.is_started) = (true, false);
                }
                conversation.handle_attached(attached());
            }
            17 | 18 => {
                self.is_attached = false;
                conversation.handle_told(FromServer::Detached {
                    reason: "shutdown".to_owned(),
                });
            }
            _ => {
                self.is_attached = false;
                conversation.handle_left();
            }
        }
    }

    fn check_memory(&self) {
        let trust = self.conversation.trust();
        // What is there and what may come are a message together, at most.
        let room = self.conversation.frames.room(trust);
        let most = LENGTH_LEN + trust.bytes_max();
        let most = most.min(LENGTH_LEN + CONTROL_BYTES_MAX);
        assert!(room <= most, "seed {}: {room}", self.seed);
        // Two for each message: what it leads to, and an answer.
        let queued = self.conversation.effects.len();
        assert!(queued <= 64, "seed {}: {queued} effects", self.seed);
    }

    fn check_effects(&mut self) {
        while let Some(effect) = self.conversation.poll_effect() {
            let is_right = match &effect {
                Effect::Say(_) | Effect::Announce { .. } | Effect::SignIn(_) => true,
                Effect::Attach { .. } => self.is_signed_in,
                Effect::Detach => std::mem::replace(&mut self.is_attached, false),
                Effect::TakeControl => self.is_attached,
                Effect::Session(Request::Start) => {
                    self.is_attached && !std::mem::replace(&mut self.is_started, true)
                }
                Effect::Session(Request::LinkRate(_)) => self.is_attached && !self.is_started,
                Effect::Session(Request::Resize(size)) => {
                    let fits = *size == size.fit(DESKTOP_SIZE_MIN, DESKTOP_SIZE_MAX);
                    self.is_attached && fits
                }
                Effect::Session(_) => self.is_attached,
            };
            assert!(is_right, "seed {}: {effect:?}", self.seed);
        }
    }

    /// One act of somebody.
    fn act(&mut self) -> Result<(), Refusal> {
        let waits = matches!(
            self.conversation.phase,
            Phase::Judged { .. } | Phase::Attaching { .. }
        );
        match self.chance.below(20) {
            0..16 if !waits => self.say(),
            0 => self.say(),
            16..18 => {
                self.now += Duration::from_millis(self.chance.below(400) as u64);
                self.conversation.handle_timeout(self.now)
            }
            _ => {
                self.answer();
                Ok(())
            }
        }
    }
}

/// What a viewer alone can bring about.
const ENDS: [CloseCode; 7] = [
    CloseCode::ProtocolViolation,
    CloseCode::AuthRequired,
    CloseCode::Limit,
    CloseCode::NoError,
    CloseCode::UnsupportedCodec,
    CloseCode::Overloaded,
    CloseCode::Version,
];

#[test]
fn whatever_comes_in_whatever_order_is_an_effect_or_an_end_with_a_code() {
    let is_long = std::env::var_os("LONG").is_some_and(|it| it == "1");
    let (mut started, mut ended) = (0, [0; ENDS.len()]);
    for seed in 0..if is_long { 200_000 } else { 10_000 } {
        let mut world = World::new(seed);
        let refused = (0..200).find_map(|_| {
            let refused = world.act().err();
            world.check_memory();
            world.check_effects();
            refused
        });
        started += usize::from(world.is_started);
        let Some(Refusal { code, words }) = refused else {
            continue;
        };
        assert!((1..500).contains(&words.len()), "seed {seed}: {words}");
        let known = ENDS.iter().position(|it| *it == code);
        ended[known.unwrap_or_else(|| panic!("seed {seed}: {code:?} {words}"))] += 1;
    }
    // The orders reach what they are to reach.
    assert!(started > 50, "{started} have started");
    assert!(ended.iter().take(5).all(|it| *it > 10), "{ended:?}");
}
