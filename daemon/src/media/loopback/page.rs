//! A page of the test's own: str0m as the browser's side, full ICE, over real sockets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use sandbox_protocol::wire::ctl::{ToPage, ToServer};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive, TcpType, Transmit};
use str0m::rtp::Extension;
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::worker::LIMIT;
use crate::clock;

/// What the page received as one frame.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) rtp: u32,
    pub(super) len: usize,
    pub(super) is_keyframe: bool,
    pub(super) playout_delay: Option<(u64, u64)>,
}

pub(super) struct Page {
    rtc: Rtc,
    link: Link,
    pending: Option<SdpPendingOffer>,
    server_ufrag: String,
    input: Option<ChannelId>,
    ctl: Option<ChannelId>,
    open: Vec<ChannelId>,
    video: Option<Mid>,
    pub(super) frames: Vec<Shown>,
    pub(super) acks: Vec<Vec<u8>>,
    pub(super) told: Vec<ToPage>,
    pub(super) is_connected: bool,
    pub(super) is_closed: bool,
}

enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Link {
    fn local(&self) -> SocketAddr {
        match self {
            Self::Udp(socket) => socket.local_addr().unwrap(),
            Self::Tcp(stream) => stream.local_addr().unwrap(),
        }
    }

    fn protocol(&self) -> Protocol {
        match self {
            Self::Udp(_) => Protocol::Udp,
            Self::Tcp(_) => Protocol::Tcp,
        }
    }

    fn send(&mut self, transmit: &Transmit) {
        match self {
            Self::Udp(socket) => {
                socket
                    .send_to(&transmit.contents, transmit.destination)
                    .unwrap();
            }
            Self::Tcp(stream) => {
                let length = u16::try_from(transmit.contents.len()).unwrap();
                let framed = [&length.to_be_bytes(), &transmit.contents[..]].concat();
                stream.write_all(&framed).unwrap();
            }
        }
    }

    fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> Option<(usize, SocketAddr)> {
        let received = match self {
            Self::Udp(socket) => {
                socket.set_read_timeout(Some(wait)).unwrap();
                socket.recv_from(buffer)
            }
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(wait)).unwrap();
                let mut prefix = [0; 2];
                stream.read_exact(&mut prefix).and_then(|()| {
                    // Once a frame has begun, the rest of it is on its way.
                    stream.set_read_timeout(Some(LIMIT))?;
                    let length = usize::from(u16::from_be_bytes(prefix));
                    stream.read_exact(&mut buffer[..length])?;
                    Ok((length, stream.peer_addr()?))
                })
            }
        };
        match received {
            Ok(received) => Some(received),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                None
            }
            Err(error) => panic!("{error}"),
        }
    }
}

impl Page {
    pub(super) fn new() -> Self {
        Self::with_link(
            Link::Udp(UdpSocket::bind("127.0.0.1:0").unwrap()),
            Rtc::builder().clear_codecs().enable_h264(true),
        )
    }

    /// A page whose browser knows no H.264.
    pub(super) fn without_h264() -> Self {
        Self::with_link(
            Link::Udp(UdpSocket::bind("127.0.0.1:0").unwrap()),
            Rtc::builder().clear_codecs().enable_vp8(true),
        )
    }

    /// A page behind a network without UDP.
    pub(super) fn over_tcp(server: SocketAddr) -> Self {
        Self::with_link(
            Link::Tcp(TcpStream::connect(server).unwrap()),
            Rtc::builder().clear_codecs().enable_h264(true),
        )
    }

    /// Its kernel holds little of what the page has not read.
    pub(super) fn narrow(self) -> Self {
        if let Link::Tcp(stream) = &self.link {
            set_socket_recv_buffer_size(stream, 4_096).unwrap();
        }
        self
    }

    fn with_link(link: Link, config: str0m::RtcConfig) -> Self {
        let mut rtc = config
            .set_extension(5, Extension::PlayoutDelay)
            .build(clock::now());
        let candidate = match &link {
            Link::Udp(_) => Candidate::host(link.local(), "udp"),
            Link::Tcp(_) => Candidate::builder()
                .tcp()
                .host(link.local())
                .tcptype(TcpType::Active)
                .build(),
        };
        rtc.add_local_candidate(candidate.unwrap());
        Self {
            rtc,
            link,
            pending: None,
            server_ufrag: String::new(),
            input: None,
            ctl: None,
            open: Vec::new(),
            video: None,
            frames: Vec::new(),
            acks: Vec::new(),
            told: Vec::new(),
            is_connected: false,
            is_closed: false,
        }
    }

    pub(super) fn offer(&mut self) -> String {
        let mut api = self.rtc.sdp_api();
        self.video = Some(api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None));
        self.input = Some(api.add_channel_with_config(ChannelConfig {
            label: "in".to_owned(),
            ordered: false,
            reliability: Reliability::MaxRetransmits { retransmits: 0 },
            ..ChannelConfig::default()
        }));
        self.ctl = Some(api.add_channel("ctl".to_owned()));
        let (offer, pending) = api.apply().unwrap();
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// The daemon's STUN user name and ours.
    pub(super) fn ufrags(&mut self) -> (String, String) {
        let ours = self.rtc.direct_api().local_ice_credentials().ufrag;
        (self.server_ufrag.clone(), ours)
    }

    pub(super) fn accept(&mut self, answer: &str) {
        let ufrag = |line: &str| line.strip_prefix("a=ice-ufrag:").map(str::to_owned);
        self.server_ufrag = answer.lines().find_map(ufrag).unwrap();
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        let pending = self.pending.take().unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        self.drain();
    }

    /// A further offer with fresh ICE credentials.
    pub(super) fn restart(&mut self) -> String {
        let mut api = self.rtc.sdp_api();
        api.ice_restart(true);
        let (offer, pending) = api.apply().unwrap();
        self.pending = Some(pending);
        self.drain();
        offer.to_sdp_string()
    }

    pub(super) fn send_input(&mut self, bytes: &[u8]) {
        self.write(self.input, true, bytes);
    }

    pub(super) fn send_ctl(&mut self, message: &ToServer) {
        let text = serde_json::to_string(message).unwrap();
        self.send_ctl_text(&text);
    }

    pub(super) fn send_ctl_text(&mut self, text: &str) {
        self.write(self.ctl, false, text.as_bytes());
    }

    fn write(&mut self, channel: Option<ChannelId>, binary: bool, bytes: &[u8]) {
        let mut channel = self.rtc.channel(channel.unwrap()).unwrap();
        assert!(channel.write(binary, bytes).unwrap());
        self.drain();
    }

    /// Asks for a key frame (PLI).
    pub(super) fn request_keyframe(&mut self) {
        let mut writer = self.rtc.writer(self.video.unwrap()).unwrap();
        writer
            .request_keyframe(None, KeyframeRequestKind::Pli)
            .unwrap();
        self.rtc.handle_input(Input::Timeout(clock::now())).unwrap();
        self.drain();
    }

    /// Closes the connection as a browser does when its tab is closed.
    pub(super) fn close(&mut self) {
        self.rtc.close().unwrap();
        self.drain();
    }

    /// Connected, with both channels open.
    pub(super) fn is_ready(&self) -> bool {
        self.is_connected && self.open.len() == 2
    }

    /// Runs the connection until `done`, but not for ever.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let end = clock::now() + LIMIT;
        let mut next = self.drain();
        while !done(self) {
            let now = clock::now();
            assert!(now < end, "nothing came within {LIMIT:?}");
            next = self.step(now, next);
        }
    }

    /// Runs the connection for so long.
    pub(super) fn run_for(&mut self, time: Duration) {
        let end = clock::now() + time;
        self.run_until(|_| clock::now() >= end);
    }

    /// Takes what has arrived, or a moment without anything.
    pub(super) fn run_once(&mut self) {
        let now = clock::now();
        self.step(now, now);
    }

    /// Waits for one datagram or the next timeout.
    fn step(&mut self, now: Instant, next: Instant) -> Instant {
        let wait = next
            .saturating_duration_since(now)
            .clamp(Duration::from_millis(1), Duration::from_millis(100));
        let mut buffer = [0; 2_000];
        let received = self.link.receive(&mut buffer, wait);
        let now = clock::now();
        match received {
            Some((len, source)) => {
                let receive = Receive::new(
                    self.link.protocol(),
                    source,
                    self.link.local(),
                    &buffer[..len],
                )
                .unwrap();
                self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
            }
            None => self.rtc.handle_input(Input::Timeout(now)).unwrap(),
        }
        self.drain()
    }

    fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => return at,
                Output::Transmit(transmit) => self.link.send(&transmit),
                Output::Event(event) => self.handle_event(event),
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "str0m's enum is open, and a page hears only some of it"
    )]
    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.is_connected = true,
            Event::Closed => self.is_closed = true,
            Event::ChannelOpen(id, _) => self.open.push(id),
            Event::ChannelData(message) if Some(message.id) == self.input => {
                self.acks.push(message.data);
            }
            Event::ChannelData(message) => {
                self.told
                    .push(serde_json::from_slice(&message.data).unwrap());
            }
            Event::MediaData(media) => self.frames.push(Shown {
                rtp: media.time.numer() as u32,
                // Without the parameter sets that precede a key frame, and without start codes.
                len: media.data.len() - if media.data[4] & 0x1f == 7 { 20 } else { 4 },
                is_keyframe: media.data[4] & 0x1f == 7,
                playout_delay: media
                    .ext_vals
                    .play_delay_min
                    .zip(media.ext_vals.play_delay_max)
                    .map(|(min, max)| (min.numer(), max.numer())),
            }),
            _ => (),
        }
    }
}
