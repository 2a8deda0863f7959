//! The native viewer's side of `sandbox/1`: QUIC and the control stream.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use sandbox_daemon::clock;
use sandbox_protocol::limits::DESKTOP_SIZE_MAX;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{
    self, AuthFailure, AuthMethod, Chroma, Codec, Display, Frames, FromServer, FromViewer, Profile,
    Secret, Trust as Length, VideoCapability,
};
use sandbox_protocol::{SessionId, Size};
use sandbox_quic::{Arrived, Bytes, Closed, Dir, Endpoint, Event, Handle, StreamId, Trust};

use crate::world::{LIMIT, PASSWORD, World};

/// Datagrams sent by one system call.
const SEGMENTS_MAX: usize = 1;

/// What a viewer hears.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Said(FromServer),
    Closed(Closed),
}

/// A ticket, as the viewer keeps it.
pub(crate) type Ticket = ([u8; 16], Secret<[u8; 32]>);

pub(crate) struct Viewer {
    endpoint: Endpoint,
    socket: UdpSocket,
    handle: Handle,
    stream: Option<StreamId>,
    unsent: Vec<u8>,
    frames: Frames,
    heard: VecDeque<Heard>,
}

impl Viewer {
    /// Connected, and greeted.
    pub(crate) fn of(world: &World) -> Self {
        Self::trusting(world, Trust::Asked)
    }

    pub(crate) fn trusting(world: &World, trust: Trust) -> Self {
        Self::at(world.media, trust)
    }

    /// Of a server that is met at this address.
    pub(crate) fn at(server: SocketAddr, trust: Trust) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut endpoint = Endpoint::client(&[9; 32]);
        let handle = endpoint.connect(clock::now(), server, trust).unwrap();
        let mut viewer = Self {
            endpoint,
            socket,
            handle,
            stream: None,
            unsent: Vec::new(),
            frames: Frames::default(),
            heard: VecDeque::new(),
        };
        viewer.say(&FromViewer::Hello {
            minor_min: control::MINOR_MIN,
            minor_max: control::MINOR_MAX,
            features: control::FEATURES.0,
            video: vec![VideoCapability {
                codec: Codec::H264,
                profile: Profile::High,
                chroma: Chroma::Yuv420,
                size: DESKTOP_SIZE_MAX,
                decode_us: 2_000,
            }],
            cache_mib: 64,
            agent: "test".into(),
        });
        match viewer.hear() {
            Heard::Said(FromServer::Hello { .. }) => viewer,
            other @ (Heard::Said(_) | Heard::Closed(_)) => panic!("no hello: {other:?}"),
        }
    }

    /// Signed in by the password, with the ticket that came with the welcome.
    pub(crate) fn signed_in(world: &World, name: &str) -> (Self, Ticket) {
        let mut viewer = Self::of(world);
        viewer.auth(by_password(name, PASSWORD));
        let ticket = viewer.expect_welcome(name);
        (viewer, ticket)
    }

    pub(crate) fn say(&mut self, message: &FromViewer) {
        control::encode_into(message, &mut self.unsent).unwrap();
    }

    pub(crate) fn auth(&mut self, method: AuthMethod) {
        self.say(&FromViewer::Auth(method));
    }

    pub(crate) fn attach(&mut self, session: Option<SessionId>) {
        let size = Size {
            width: 1_280,
            height: 720,
        };
        self.say(&FromViewer::Attach {
            session,
            profile: None,
            displays: vec![Display {
                x: 0,
                y: 0,
                size,
                scale: 100,
            }],
        });
    }

    /// What a proof is made over.
    pub(crate) fn exporter(&self) -> [u8; 32] {
        let label = b"EXPORTER-sandbox-auth";
        self.endpoint.exporter(self.handle, label).unwrap()
    }

    /// The next thing that the server says, or its end.
    pub(crate) fn hear(&mut self) -> Heard {
        let limit = clock::now() + LIMIT;
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            assert!(clock::now() < limit, "the server says nothing");
            self.turn();
        }
    }

    /// Leaves without a word: the server is told by QUIC alone.
    pub(crate) fn leave(mut self) {
        self.endpoint.close(clock::now(), self.handle, 0x100, "");
        self.send();
    }

    #[track_caller]
    pub(crate) fn expect_welcome(&mut self, name: &str) -> Ticket {
        match self.hear() {
            Heard::Said(FromServer::Welcome {
                user,
                ticket,
                ticket_seconds,
            }) => {
                assert_eq!((user.as_str(), ticket_seconds), (name, 60));
                self.expect_url();
                ticket
            }
            other @ (Heard::Said(_) | Heard::Closed(_)) => panic!("no welcome: {other:?}"),
        }
    }

    /// Where HTTP is, as pages are told.
    #[track_caller]
    fn expect_url(&mut self) {
        match self.hear() {
            Heard::Said(FromServer::PublicUrl(url)) => {
                assert!(url.starts_with("http://localhost:"), "{url}");
            }
            other @ (Heard::Said(_) | Heard::Closed(_)) => panic!("no URL: {other:?}"),
        }
    }

    /// Gives the milliseconds to wait.
    #[track_caller]
    pub(crate) fn expect_refusal(&mut self, expected: AuthFailure) -> u32 {
        match self.hear() {
            Heard::Said(FromServer::AuthFailed {
                why,
                retry_after_ms,
            }) => {
                assert_eq!(why, expected);
                retry_after_ms
            }
            other @ (Heard::Said(_) | Heard::Closed(_)) => panic!("no refusal: {other:?}"),
        }
    }

    /// The session that it is attached to, and the notices.
    #[track_caller]
    pub(crate) fn expect_attached(&mut self) -> (SessionId, Vec<String>) {
        match self.hear() {
            Heard::Said(FromServer::Attached {
                session, notices, ..
            }) => (session, notices),
            other @ (Heard::Said(_) | Heard::Closed(_)) => panic!("not attached: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn expect_control(&mut self, expected: bool) {
        let expected = FromServer::Control {
            has_control: expected,
        };
        assert_eq!(self.hear(), Heard::Said(expected));
    }

    /// The connection ends with this code; gives the words.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, expected: CloseCode) -> String {
        loop {
            match self.hear() {
                Heard::Closed(Closed::ByPeer { code, words }) => {
                    assert_eq!(code, u64::from(expected as u32), "{words}");
                    return words;
                }
                Heard::Closed(other) => panic!("{other:?}"),
                // What is said last has the same meaning.
                Heard::Said(FromServer::Goodbye { code, .. }) => {
                    assert_eq!(code, expected as u32);
                }
                Heard::Said(other) => panic!("not the end: {other:?}"),
            }
        }
    }

    /// One round: what waits leaves, and what comes within a moment is taken.
    fn turn(&mut self) {
        self.write();
        self.send();
        let now = clock::now();
        let wait = self.endpoint.poll_timeout().map_or(LIMIT, |at| {
            at.saturating_duration_since(now)
                .max(Duration::from_millis(1))
        });
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut bytes = [0; 65_536];
        match self.socket.recv_from(&mut bytes) {
            Ok((length, from)) => self.endpoint.handle_datagram(
                clock::now(),
                Arrived {
                    from,
                    to: None,
                    bytes: &bytes[..length],
                },
            ),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // The server's socket is gone: silence will tell.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("{error}"),
        }
        self.endpoint.handle_timeout(clock::now());
        while let Some((_, event)) = self.endpoint.poll_event() {
            self.handle(event);
        }
        self.write();
        self.send();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(_) => {
                self.stream = self.endpoint.open_stream(self.handle, Dir::Bi, 0);
                assert!(self.stream.is_some());
            }
            Event::Read { stream, bytes, .. } if Some(stream) == self.stream => self.read(&bytes),
            Event::Closed(why) => self.heard.push_back(Heard::Closed(why)),
            Event::Read { .. }
            | Event::Datagram(_)
            | Event::Room
            | Event::Reset { .. }
            | Event::Writable(_)
            | Event::Stopped { .. }
            | Event::Finished(_) => {}
        }
    }

    fn read(&mut self, bytes: &Bytes) {
        self.frames.handle_bytes(bytes);
        while let Some(frame) = self.frames.poll_frame(Length::SignedIn).unwrap() {
            let message = control::decode(frame).unwrap().unwrap();
            self.heard.push_back(Heard::Said(message));
        }
    }

    fn write(&mut self) {
        if let Some(stream) = self.stream {
            let written = self.endpoint.write(self.handle, stream, &self.unsent);
            self.unsent.drain(..written);
        }
    }

    fn send(&mut self) {
        let mut buffer = Vec::new();
        while let Some(out) = self
            .endpoint
            .poll_transmit(clock::now(), SEGMENTS_MAX, &mut buffer)
        {
            // As on any network, it may be lost.
            let _lost = self.socket.send_to(&buffer, out.to);
            buffer.clear();
        }
    }
}

pub(crate) fn by_password(user: &str, password: &str) -> AuthMethod {
    AuthMethod::Password {
        user: user.into(),
        password: Secret(password.into()),
    }
}
