//! A server and a client with a link between them, on one clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use sandbox_quic::{
    Arrived, Closed, Endpoint, Event, Fingerprint, Handle, Identity, ServerSetup, Trust,
};

pub(crate) const ONE_WAY: Duration = Duration::from_millis(20);
const STEPS_MAX: usize = 20_000;

pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

pub(crate) fn setup() -> ServerSetup {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    ServerSetup {
        identity: Identity {
            certificate: certificate.der().clone(),
            key: key.serialize_der().try_into().unwrap(),
        },
        secret: [7; 32],
    }
}

pub(crate) struct Packet {
    at: Instant,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// Client at port 1 (or wherever it has moved), server at port 2.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) server: Endpoint,
    pub(crate) client: Endpoint,
    pub(crate) client_at: SocketAddr,
    pub(crate) packets: Vec<Packet>,
    pub(crate) at_server: Vec<(Handle, Event)>,
    pub(crate) at_client: Vec<(Handle, Event)>,
    pub(crate) is_cut: bool,
    /// What the client sends is lost.
    pub(crate) is_mute: bool,
    /// Longest packet that passes, in bytes.
    pub(crate) widest: usize,
    pub(crate) fingerprint: Fingerprint,
}

impl World {
    pub(crate) fn new() -> Self {
        let setup = setup();
        Self {
            now: Instant::now(),
            server: Endpoint::server(&setup).unwrap(),
            client: Endpoint::client(&[9; 32]),
            client_at: address(1),
            packets: Vec::new(),
            at_server: Vec::new(),
            at_client: Vec::new(),
            is_cut: false,
            is_mute: false,
            widest: usize::MAX,
            fingerprint: Fingerprint::of(&setup.identity.certificate).unwrap(),
        }
    }

    pub(crate) fn connect(&mut self, trust: Trust) -> Handle {
        self.client.connect(self.now, address(2), trust).unwrap()
    }

    /// Connected on both sides: the client's handle, then the server's.
    pub(crate) fn connected() -> (Self, Handle, Handle) {
        let mut world = Self::new();
        let pin = Trust::Pinned(world.fingerprint);
        let client = world.connect(pin);
        world.run_until(|it| {
            it.at_server
                .iter()
                .any(|(_, it)| *it == Event::Connected(None))
        });
        let server = world.at_server[0].0;
        (world, client, server)
    }

    pub(crate) fn exchange(&mut self) {
        let client_at = self.client_at;
        for (endpoint, from) in [
            (&mut self.server, address(2)),
            (&mut self.client, client_at),
        ] {
            let mut buffer = Vec::new();
            while let Some(out) = endpoint.poll_transmit(self.now, 8, &mut buffer) {
                for bytes in buffer.chunks(out.segment) {
                    self.packets.push(Packet {
                        at: self.now + ONE_WAY,
                        from,
                        to: out.to,
                        bytes: bytes.to_vec(),
                    });
                }
                buffer.clear();
            }
        }
        if self.is_cut {
            self.packets.clear();
        }
        let (is_mute, widest) = (self.is_mute, self.widest);
        let passes = |it: &Packet| it.bytes.len() <= widest && !(is_mute && it.to == address(2));
        self.packets.retain(passes);
        while let Some(event) = self.server.poll_event() {
            self.at_server.push(event);
        }
        while let Some(event) = self.client.poll_event() {
            self.at_client.push(event);
        }
    }

    /// To the next packet or deadline.
    pub(crate) fn step(&mut self) {
        self.exchange();
        let timers = [self.server.poll_timeout(), self.client.poll_timeout()];
        let arrivals = self.packets.iter().map(|it| it.at);
        let Some(next) = timers.into_iter().flatten().chain(arrivals).min() else {
            return;
        };
        self.now = self.now.max(next);
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.packets)
            .into_iter()
            .partition(|it: &Packet| it.at <= now);
        self.packets = later;
        for packet in due {
            let arrived = Arrived {
                from: packet.from,
                to: Some(packet.to.ip()),
                bytes: &packet.bytes,
            };
            if packet.to == address(2) {
                self.server.handle_datagram(now, arrived);
            } else if packet.to == self.client_at {
                self.client.handle_datagram(now, arrived);
            }
        }
        self.server.handle_timeout(now);
        self.client.handle_timeout(now);
        self.exchange();
    }

    #[track_caller]
    pub(crate) fn run_until(&mut self, is_done: impl Fn(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            if is_done(self) {
                return;
            }
            self.step();
        }
        panic!(
            "not reached; server: {:?}, client: {:?}",
            self.at_server, self.at_client
        );
    }

    pub(crate) fn closed_at_client(&self) -> Option<&Closed> {
        self.at_client.iter().find_map(|(_, it)| match it {
            Event::Closed(why) => Some(why),
            _ => None,
        })
    }
}
