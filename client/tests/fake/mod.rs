//! A server made of the same parts as the real one: endpoint, sender, composer. No I/O, no clock.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "shared by tests, each of which uses a part; a panic is a failed test"
)]

mod desktop;
pub mod host;
mod hostile;
mod sign_in;
pub mod video;

use std::collections::BTreeMap;
use std::time::Instant;

use rcgen::{CertificateParams, KeyPair};
use sandbox_protocol::screen::{Composer, Frame, SLOT_BYTES, View};
use sandbox_protocol::stream::packetize::UpdateKind;
use sandbox_protocol::stream::rate::RateConfig;
use sandbox_protocol::stream::recovery::Encoder;
use sandbox_protocol::stream::sender::{Sender, SenderConfig, Transmit};
use sandbox_protocol::wire::control::{
    self, AuthFailure, Chroma, Codec, FEATURES, Frames, FromServer, FromViewer, Profile, Secret,
    StreamConfig, Trust, VideoCapability,
};
use sandbox_protocol::wire::datagram::{Epoch, FromViewer as Datagram};
use sandbox_protocol::wire::input::Event as Input;
use sandbox_protocol::wire::update::{Draft, Header, Lapse};
use sandbox_protocol::{Bitrate, Micros, Pixel, Rect, SessionId, Size};
use sandbox_quic::{
    Arrived, Bytes, Dir, Endpoint, Event, Fingerprint, Handle, Identity, Outgoing, ServerSetup,
    StreamId,
};

use self::video::Video;

pub const USER: &str = "alice";
pub const PASSWORD: &str = "correct horse";
pub const CODE: &str = "abcdefgh";
const CACHE_MIB: u16 = 16;
const TICKET: [u8; 32] = [5; 32];

pub struct Server {
    endpoint: Endpoint,
    pub fingerprint: Fingerprint,
    peer: Option<Peer>,
    pub desktop: Vec<Pixel>,
    pub size: Size,
    draft: Draft,
    /// What a session with the ticket or the password may do.
    pub refuses_password: bool,
    pub methods: Vec<&'static str>,
    pub heard: Vec<FromViewer>,
    pub input: Vec<Input>,
    pub moves: Vec<(u16, u16)>,
    /// How many of `input` were issued before the newest move.
    pub issued_before_move: u32,
    /// The desktop changes with each key that goes down.
    pub echoes: bool,
    /// A pasted text is said to have come.
    pub confirms: bool,
    /// The desktop follows what the viewer asks for.
    pub follows: bool,
    pub features: u64,
    pub notices: Vec<String>,
    /// AV1, for viewers that decode it.
    pub video: Option<Video>,
    /// What was chosen for the newest viewer, or is, whatever it offers.
    pub codec: Codec,
    pub insists: bool,
}

struct Peer {
    handle: Handle,
    control: Option<StreamId>,
    frames: Frames,
    unsent: Vec<u8>,
    sender: Sender,
    composer: Composer,
    is_live: bool,
    is_first: bool,
    is_suspended: bool,
    damage: Vec<Rect>,
    applied: u32,
    input_stream: u64,
    /// Streams of large updates that have not arrived whole.
    large: BTreeMap<(u16, u32), StreamId>,
    /// Bytes of a large update that its stream did not take.
    backlog: Vec<(StreamId, Vec<u8>, bool)>,
}

impl Server {
    pub fn new(size: Size) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let setup = ServerSetup {
            identity: Identity {
                certificate: certificate.der().clone(),
                key: key.serialize_der().try_into().unwrap(),
            },
            secret: [7; 32],
        };
        let mut server = Self {
            endpoint: Endpoint::server(&setup).unwrap(),
            fingerprint: Fingerprint::of(&setup.identity.certificate).unwrap(),
            peer: None,
            desktop: vec![0; Rect::whole(size).area()],
            size,
            draft: Draft::default(),
            refuses_password: false,
            methods: Vec::new(),
            heard: Vec::new(),
            input: Vec::new(),
            moves: Vec::new(),
            issued_before_move: 0,
            echoes: true,
            follows: true,
            confirms: true,
            features: FEATURES.0,
            notices: vec!["a notice".to_owned()],
            video: None,
            codec: Codec::H264,
            insists: false,
        };
        server.paint(1);
        server
    }

    pub fn is_live(&self) -> bool {
        self.peer.as_ref().is_some_and(|it| it.is_live)
    }

    /// The viewer has all there is.
    pub fn is_settled(&self) -> bool {
        let peer = self.peer.as_ref();
        peer.is_some_and(|it| !it.is_first && it.sender.memory() == 0 && it.large.is_empty())
    }

    pub fn handle_datagram(&mut self, now: Instant, arrived: Arrived<'_>) {
        self.endpoint.handle_datagram(now, arrived);
        self.settle(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        if let Some(peer) = &mut self.peer {
            peer.sender.handle_timeout(now);
        }
        self.settle(now);
    }

    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let quic = self.endpoint.poll_timeout();
        let peer = self.peer.as_mut().filter(|it| it.is_live);
        let sender = peer.and_then(|it| it.sender.poll_timeout());
        sender.map(|it| it.at).into_iter().chain(quic).min()
    }

    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Outgoing> {
        self.stream(now);
        self.endpoint.poll_transmit(now, 8, buffer)
    }

    pub fn say(&mut self, message: &FromServer) {
        let peer = self.peer.as_mut().unwrap();
        control::encode_into(message, &mut peer.unsent).unwrap();
        self.flush();
    }

    pub fn close(&mut self, now: Instant, code: u32, words: &str) {
        let handle = self.peer.take().unwrap().handle;
        self.endpoint.close(now, handle, code, words);
    }

    fn flush(&mut self) {
        let peer = self.peer.as_mut().filter(|it| !it.unsent.is_empty());
        let Some(peer) = peer else { return };
        if let Some(stream) = peer.control {
            let written = self.endpoint.write(peer.handle, stream, &peer.unsent);
            peer.unsent.drain(..written);
        }
    }

    fn settle(&mut self, now: Instant) {
        while let Some((handle, event)) = self.endpoint.poll_event() {
            match event {
                Event::Connected(_) => {
                    self.endpoint.admit(handle);
                    self.peer = Some(self.newcomer(now, handle));
                }
                Event::Datagram(bytes) => self.handle_media(now, &bytes),
                Event::Read { stream, bytes, .. } => self.handle_control(stream, &bytes),
                Event::Finished(stream) => {
                    let all = self.peer.iter().flat_map(|it| &it.large);
                    let name = all.filter(|(_, it)| **it == stream).map(|it| *it.0).next();
                    if let (Some(peer), Some(name)) = (&mut self.peer, name) {
                        peer.large.remove(&name);
                        let update = (Epoch(name.0), name.1);
                        peer.sender.handle_stream_arrived(now, update);
                    }
                }
                Event::Closed(_) => {
                    self.peer.take_if(|it| it.handle == handle);
                }
                _ => (),
            }
        }
        self.flush();
        self.stream(now);
    }

    fn newcomer(&self, now: Instant, handle: Handle) -> Peer {
        let config = SenderConfig {
            rate: RateConfig {
                start: Bitrate::kbps(50_000),
                min: Bitrate::kbps(500),
                max: Bitrate::kbps(100_000),
            },
            encoder: Encoder::KeyFramesOnly,
            clock: Micros(1),
        };
        let slots = ((usize::from(CACHE_MIB) << 20) / SLOT_BYTES) as u16;
        Peer {
            handle,
            control: None,
            frames: Frames::default(),
            unsent: Vec::new(),
            sender: Sender::new(config, now),
            composer: Composer::new(self.size, slots, 3),
            is_live: false,
            is_first: true,
            is_suspended: false,
            damage: Vec::new(),
            applied: 0,
            input_stream: 0,
            large: BTreeMap::new(),
            backlog: Vec::new(),
        }
    }

    fn handle_control(&mut self, stream: StreamId, bytes: &[u8]) {
        let Some(peer) = &mut self.peer else { return };
        peer.control = Some(stream);
        peer.frames.handle_bytes(bytes);
        let mut messages = Vec::new();
        while let Some(frame) = peer.frames.poll_frame(Trust::SignedIn).unwrap() {
            messages.extend(control::decode::<FromViewer>(frame).unwrap());
        }
        for message in messages {
            self.answer(&message);
            self.heard.push(message);
        }
    }

    fn answer(&mut self, message: &FromViewer) {
        match message {
            FromViewer::Hello { video, .. } => {
                let is_wanted = |it: &VideoCapability| it.codec == Codec::Av1;
                let has_av1 = self.video.is_some() && video.iter().any(is_wanted);
                if !self.insists {
                    self.codec = if has_av1 { Codec::Av1 } else { Codec::H264 };
                }
                self.say(&FromServer::Hello {
                    minor: 0,
                    features: self.features,
                    node: [1; 16],
                    codec: self.codec,
                    cache_mib: CACHE_MIB,
                });
            }
            FromViewer::Auth(method) => {
                let (name, is_right) = self.judge(method);
                self.methods.push(name);
                self.say(&if is_right {
                    FromServer::Welcome {
                        user: USER.to_owned(),
                        ticket: ([4; 16], Secret(TICKET)),
                        ticket_seconds: 60,
                    }
                } else {
                    FromServer::AuthFailed {
                        why: AuthFailure::Refused,
                        retry_after_ms: 0,
                    }
                });
            }
            FromViewer::Attach { displays, .. } => {
                if self.follows {
                    self.resize(displays[0].size);
                }
                let config = self.config();
                let notices = self.notices.clone();
                self.say(&FromServer::Attached {
                    session: SessionId::from_bytes([2; 16]),
                    lease: 1,
                    config,
                    notices,
                });
            }
            FromViewer::Start => self.peer.as_mut().unwrap().is_live = true,
            FromViewer::Displays(displays) if self.follows => {
                self.resize(displays[0].size);
                let config = self.config();
                self.say(&FromServer::Config(config));
            }
            FromViewer::Paste { is_last: true, .. } if self.confirms => {
                self.say(&FromServer::Pasted);
            }
            FromViewer::Suspend => self.peer.as_mut().unwrap().is_suspended = true,
            FromViewer::Resume => {
                let peer = self.peer.as_mut().unwrap();
                peer.is_suspended = false;
                peer.is_first = true;
            }
            FromViewer::WholePicture => self.peer.as_mut().unwrap().is_first = true,
            _ => (),
        }
    }

    fn config(&self) -> StreamConfig {
        StreamConfig {
            epoch: 1,
            size: self.size,
            codec: self.codec,
            profile: Profile::Main,
            chroma: Chroma::Yuv420,
            cache_mib: CACHE_MIB,
        }
    }

    fn resize(&mut self, size: Size) {
        if size == self.size {
            return;
        }
        self.size = size;
        self.desktop = vec![0; Rect::whole(size).area()];
        self.paint(2);
        self.peer.as_mut().unwrap().is_first = true;
    }

    fn handle_media(&mut self, now: Instant, bytes: &Bytes) {
        let Some(peer) = &mut self.peer else { return };
        match Datagram::decode(bytes).unwrap() {
            Datagram::Input(packet) => {
                if packet.stream != peer.input_stream {
                    (peer.input_stream, peer.applied) = (packet.stream, 0);
                }
                let first = packet.first_seq;
                let fresh: Vec<Input> = (first..)
                    .zip(packet.events)
                    .filter(|(seq, _)| *seq > peer.applied)
                    .map(|(_, event)| event)
                    .collect();
                peer.applied += fresh.len() as u32;
                let mut ack = vec![2];
                ack.extend(packet.stream.to_le_bytes());
                ack.extend(peer.applied.to_le_bytes());
                let _full = self.endpoint.send_datagram(peer.handle, ack.into());
                if let Some(pointer) = packet.pointer {
                    self.moves.push((pointer.x, pointer.y));
                    self.issued_before_move = pointer.after;
                }
                for event in fresh {
                    self.apply(event);
                }
            }
            Datagram::Feedback(it) => peer.sender.handle_feedback(now, &it),
            Datagram::Nack(it) => peer.sender.handle_nack(now, &it),
            Datagram::ReferenceLost(it) => peer.sender.handle_reference_lost(now, &it),
            Datagram::Ping(it) => peer.sender.handle_ping(it),
        }
    }

    fn apply(&mut self, event: Input) {
        self.input.push(event);
        if let Input::Key { is_down: true, .. } = event
            && self.echoes
        {
            let n = self.input.len() as u16;
            let rect = Rect {
                x: n * 8 % 256,
                y: 64,
                width: 8,
                height: 16,
            };
            self.fill(rect, 0x00AB_CDEF ^ u32::from(n));
        }
    }

    fn stream(&mut self, now: Instant) {
        self.compose(now);
        let Some(peer) = self.peer.as_mut().filter(|it| it.is_live) else {
            return;
        };
        let mut out = Vec::new();
        while self.endpoint.datagram_room_bytes(peer.handle) > 20_000 {
            out.clear();
            match peer.sender.poll_transmit(now, &mut out) {
                Some(Transmit::Datagram) => {
                    let bytes = Bytes::copy_from_slice(&out);
                    self.endpoint.send_datagram(peer.handle, bytes).unwrap();
                }
                Some(Transmit::Stream {
                    epoch: Epoch(epoch),
                    update,
                    is_last,
                    ..
                }) => {
                    let endpoint = &mut self.endpoint;
                    let stream = *peer
                        .large
                        .entry((epoch, update))
                        .or_insert_with(|| endpoint.open_stream(peer.handle, Dir::Uni, 0).unwrap());
                    peer.backlog.push((stream, out.clone(), is_last));
                }
                Some(Transmit::Bulk { .. }) | None => break,
            }
        }
        let endpoint = &mut self.endpoint;
        peer.backlog.retain_mut(|(stream, bytes, is_last)| {
            let written = endpoint.write(peer.handle, *stream, bytes);
            bytes.drain(..written);
            if bytes.is_empty() && *is_last {
                endpoint.finish(peer.handle, *stream);
            }
            !bytes.is_empty()
        });
    }

    fn compose(&mut self, now: Instant) {
        use sandbox_protocol::stream::sender::Readiness;
        let size = self.size;
        let is_wanted = |it: &&mut Peer| it.is_live && !it.is_suspended;
        let Some(peer) = self.peer.as_mut().filter(is_wanted) else {
            return;
        };
        let is_whole = peer.is_first || peer.sender.readiness() == Readiness::NeedsWhole;
        let is_busy = peer.sender.readiness() == Readiness::Busy;
        let video = self.video.as_mut().filter(|_| self.codec == Codec::Av1);
        let has_video = video.as_ref().is_some_and(|it| it.due > 0);
        if is_busy || (peer.damage.is_empty() && !is_whole && !has_video) {
            return;
        }
        if is_whole {
            peer.composer.reset(size);
            peer.damage = vec![Rect::whole(size)];
        }
        peer.is_first = false;
        let bytes: Vec<u8> = self
            .desktop
            .iter()
            .flat_map(|it| it.to_le_bytes())
            .collect();
        self.draft.clear();
        let frame = Frame {
            picture: View::new(&bytes, usize::from(size.width) * 4, size),
            damage: &peer.damage,
            video: &[],
        };
        peer.composer.compose(&frame, usize::MAX, &mut self.draft);
        if let Some(video) = video {
            video.add_to(&mut self.draft, is_whole);
        }
        peer.damage.clear();
        if self.draft.is_empty() && !is_whole {
            return;
        }
        let update = self.draft.finish(&Header {
            whole: is_whole.then_some(size),
            is_refinement: false,
            qp: 0,
            input_seq: peer.applied,
            captured: 7,
            lag: Lapse::from_micros(1_000),
            encode: Lapse::from_micros(2_000),
        });
        let kind = UpdateKind {
            is_whole,
            ..UpdateKind::default()
        };
        peer.sender.handle_update(now, update, kind).unwrap();
    }
}
