//! A native viewer of the test's own, on a socket of its own.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sandbox_protocol::stream::input_sender::InputSender;
use sandbox_protocol::stream::receiver::Receiver;
use sandbox_protocol::wire::codes::CloseCode;
use sandbox_protocol::wire::control::{self, Frames, FromServer, FromViewer, Trust as Room};
use sandbox_protocol::wire::datagram;
use sandbox_protocol::wire::update_stream::{STREAM_HEADER_LEN, StreamHeader};
use sandbox_quic::{Arrived, Bytes, Closed, Dir, Endpoint, Event, Handle, StreamId, Trust};

use crate::clock;
use crate::media::Media;
use crate::media::loopback::worker::LIMIT;

/// An update as it came: epoch, number, bytes, and whether its video is to be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) epoch: u16,
    pub(super) number: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) is_video_broken: bool,
}

pub(super) struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    /// Where packets go: there, unless somebody has to take them on.
    by: SocketAddr,
    endpoint: Endpoint,
    handle: Handle,
    is_connected: bool,
    control: Option<StreamId>,
    frames: Frames,
    /// Streams of updates, as far as they have come.
    streams: BTreeMap<StreamId, Vec<u8>>,
    receiver: Receiver,
    pub(super) input: InputSender,
    pub(super) told: Vec<FromServer>,
    pub(super) shown: Vec<Shown>,
    pub(super) acks: Vec<(u64, u32)>,
    pub(super) streamed: usize,
    /// So many fragments are lost on their way here.
    pub(super) lose: usize,
    /// Fragments of updates with these bytes are all lost.
    pub(super) lose_always: Option<u8>,
    pub(super) closed: Option<Closed>,
}

impl Client {
    /// One that has connected.
    pub(super) fn new(media: &Media, stream: u64) -> Self {
        let server = media.media_addresses()[0].parse().unwrap();
        Self::towards(server, stream)
    }

    /// The same at this address.
    pub(super) fn towards(server: SocketAddr, stream: u64) -> Self {
        let mut endpoint = Endpoint::client(&[9; 32]);
        let now = clock::now();
        let handle = endpoint.connect(now, server, Trust::Asked).unwrap();
        let mut client = Self {
            is_connected: false,
            socket: socket_for(server),
            server,
            by: server,
            endpoint,
            handle,
            control: None,
            frames: Frames::default(),
            streams: BTreeMap::new(),
            receiver: Receiver::new(now),
            input: InputSender::new(stream),
            told: Vec::new(),
            shown: Vec::new(),
            acks: Vec::new(),
            streamed: 0,
            lose: 0,
            lose_always: None,
            closed: None,
        };
        client.run_until(|it| it.is_connected);
        client
    }

    /// Has another address from here on.
    pub(super) fn move_away(&mut self) {
        self.socket = socket_for(self.server);
        let now = clock::now();
        self.endpoint.handle_network_changed(now);
        self.receiver.handle_path_change(now);
    }

    /// Has another address, and another way to the server.
    pub(super) fn move_to(&mut self, by: SocketAddr) {
        self.by = by;
        self.move_away();
    }

    pub(super) fn say(&mut self, message: &FromViewer) {
        let mut bytes = Vec::new();
        control::encode_into(message, &mut bytes).unwrap();
        self.say_bytes(&bytes);
    }

    pub(super) fn say_bytes(&mut self, bytes: &[u8]) {
        let stream = match self.control {
            Some(it) => it,
            None => self.endpoint.open_stream(self.handle, Dir::Bi, 0).unwrap(),
        };
        self.control = Some(stream);
        let mut rest = bytes;
        while !rest.is_empty() && self.closed.is_none() {
            let written = self.endpoint.write(self.handle, stream, rest);
            rest = &rest[written..];
            self.drain(clock::now());
            if !rest.is_empty() {
                self.step();
            }
        }
    }

    /// Opens a stream that no viewer may open.
    pub(super) fn open_another(&mut self) {
        let stream = self.endpoint.open_stream(self.handle, Dir::Uni, 0).unwrap();
        self.endpoint.write(self.handle, stream, b"?");
        self.drain(clock::now());
    }

    pub(super) fn send(&mut self, datagram: &[u8]) {
        let bytes = Bytes::copy_from_slice(datagram);
        // What finds no room is lost.
        let _lost = self.endpoint.send_datagram(self.handle, bytes);
        self.drain(clock::now());
    }

    /// Sends a datagram so often, many in a packet, unless the server has had enough.
    pub(super) fn send_often(&mut self, datagram: &[u8], count: u32) {
        let bytes = Bytes::copy_from_slice(datagram);
        let mut sent = 0;
        while sent < count && self.closed.is_none() {
            match self.endpoint.send_datagram(self.handle, bytes.clone()) {
                Ok(()) => sent += 1,
                Err(_) => self.step(),
            }
        }
        self.drain(clock::now());
    }

    pub(super) fn close(&mut self) {
        let code = CloseCode::NoError.number();
        self.endpoint.close(clock::now(), self.handle, code, "bye");
        self.drain(clock::now());
    }

    pub(super) fn exporter(&self) -> [u8; 32] {
        let exporter = self
            .endpoint
            .exporter(self.handle, b"EXPORTER-sandbox-auth");
        exporter.unwrap()
    }

    /// Whether it waits for nothing that it would say by itself.
    pub(super) fn is_at_rest(&self) -> bool {
        self.receiver.poll_timeout().is_none() && self.input.poll_timeout().is_none()
    }

    /// The code that the server closed with.
    pub(super) fn code(&self) -> Option<CloseCode> {
        let closed = self.closed.as_ref()?;
        let Closed::ByPeer { code, .. } = closed else {
            panic!("{closed:?}");
        };
        CloseCode::from_number(*code)
    }

    /// Runs the connection until `done`, but not for ever.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let end = clock::now() + LIMIT;
        self.drain(clock::now());
        while !done(self) {
            assert!(clock::now() < end, "nothing came within {LIMIT:?}");
            self.step();
        }
    }

    /// Takes what has arrived, or waits until the next deadline.
    pub(super) fn step(&mut self) {
        let now = clock::now();
        let deadlines = [
            self.endpoint.poll_timeout(),
            self.receiver.poll_timeout().map(|it| it.at),
            self.input.poll_timeout().map(|it| it.at),
        ];
        let next = deadlines.into_iter().flatten().min();
        let wait = next.map_or(LIMIT, |it| it.saturating_duration_since(now));
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(20));
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 2_000];
        if let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            assert_eq!(from, self.by, "answered from where it was asked");
            let arrived = Arrived {
                from: self.server,
                to: None,
                bytes: &buffer[..len],
            };
            self.endpoint.handle_datagram(clock::now(), arrived);
        }
        let now = clock::now();
        self.endpoint.handle_timeout(now);
        self.receiver.handle_timeout(now);
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        while let Some((_, event)) = self.endpoint.poll_event() {
            self.handle_event(now, event);
        }
        while let Some(update) = self.receiver.poll_update() {
            self.shown.push(Shown {
                epoch: update.epoch.0,
                number: update.number,
                bytes: update.bytes.to_vec(),
                is_video_broken: update.is_video_broken,
            });
        }
        let mut out = Vec::new();
        while self.receiver.poll_datagram(now, &mut out).is_some()
            || self.input.poll_packet(now, &mut out).is_some()
        {
            let bytes = Bytes::copy_from_slice(&out);
            let _lost = self.endpoint.send_datagram(self.handle, bytes);
        }
        let mut buffer = Vec::new();
        while let Some(outgoing) = self.endpoint.poll_transmit(now, 1, &mut buffer) {
            self.socket.send_to(&buffer, self.by).unwrap();
            assert_eq!(outgoing.to, self.server);
            buffer.clear();
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is QUIC's own")]
    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Datagram(bytes) => self.handle_datagram(now, &bytes),
            Event::Read {
                stream,
                bytes,
                is_end,
            } if Some(stream) != self.control => {
                let read = self.streams.entry(stream).or_default();
                read.extend_from_slice(&bytes);
                if is_end {
                    self.handle_stream(now, stream);
                }
            }
            Event::Read { bytes, .. } => {
                self.frames.handle_bytes(&bytes);
                while let Some(frame) = self.frames.poll_frame(Room::SignedIn).unwrap() {
                    self.told
                        .extend(control::decode::<FromServer>(frame).unwrap());
                }
            }
            Event::Connected(_) => self.is_connected = true,
            Event::Closed(why) => self.closed = Some(why),
            _ => (),
        }
    }

    fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        match datagram::FromServer::decode(bytes).unwrap() {
            datagram::FromServer::Fragment(fragment) => {
                let is_doomed = |byte: &u8| fragment.shard.first() == Some(byte);
                if self.lose_always.as_ref().is_some_and(is_doomed) {
                    return;
                }
                if self.lose > 0 {
                    self.lose -= 1;
                    return;
                }
                self.receiver.handle_fragment(now, &fragment).unwrap();
            }
            datagram::FromServer::InputAck { stream, seq } => {
                self.acks.push((stream, seq));
                self.input.handle_ack(now, stream, seq);
            }
            datagram::FromServer::Pong(pong) => self.receiver.handle_pong(now, pong),
            other @ (datagram::FromServer::Sound(..) | datagram::FromServer::Cursor(_)) => {
                panic!("{other:?}")
            }
        }
    }

    fn handle_stream(&mut self, now: Instant, stream: StreamId) {
        let read = self.streams.remove(&stream).unwrap();
        let (header, bytes) = read.split_first_chunk::<STREAM_HEADER_LEN>().unwrap();
        let header = StreamHeader::decode(*header).unwrap();
        self.streamed += 1;
        self.receiver.handle_stream(now, &header);
        let bytes = bytes.to_vec();
        self.receiver
            .handle_stream_update(now, &header, bytes)
            .unwrap();
    }
}

fn socket_for(server: SocketAddr) -> UdpSocket {
    let any = match server {
        SocketAddr::V4(_) => "127.0.0.1:0",
        SocketAddr::V6(_) => "[::1]:0",
    };
    UdpSocket::bind(any).unwrap()
}
