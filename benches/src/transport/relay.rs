//! A relay between viewer and server: each direction is a path with delay, loss, rate and queue.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::clock;
use crate::link::Link;
use crate::shared::{INTERVAL, Shared, lock};
use crate::sockets::{DATAGRAM_BYTES, open, unless_blocked, wait};

/// A path counts what QUIC puts around a datagram; here that is part of what is sent.
const AROUND_BY_QUIC: usize = 37;

/// Both directions.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) down: Link,
    pub(crate) up: Link,
    /// The translator of addresses forgets its viewers: they get other ones.
    pub(crate) forgets: bool,
    /// How much later than it should each packet was sent on.
    pub(crate) late: Vec<Duration>,
}

enum Way {
    Down,
    Up,
}

/// The relay's thread.
pub(crate) struct Relay {
    front: UdpSocket,
    server: SocketAddr,
    /// For each viewer's address the socket that the server hears it from.
    backs: BTreeMap<SocketAddr, UdpSocket>,
    paths: Arc<Mutex<Paths>>,
    /// What is on its way, with the viewer's address.
    carried: BTreeMap<(Instant, u64), (Way, SocketAddr, Vec<u8>)>,
    count: u64,
}

impl Relay {
    pub(crate) fn new(server: SocketAddr, paths: Arc<Mutex<Paths>>) -> io::Result<Self> {
        Ok(Self {
            front: open()?,
            server,
            backs: BTreeMap::new(),
            paths,
            carried: BTreeMap::new(),
            count: 0,
        })
    }

    /// Where viewers find it.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.front.local_addr()
    }

    pub(crate) fn run(mut self, shared: &Shared) -> io::Result<()> {
        clock::sleep_precisely()?;
        let mut buffer = vec![0; DATAGRAM_BYTES];
        while !shared.is_over() {
            if std::mem::take(&mut lock(&self.paths).forgets) {
                self.backs.clear();
            }
            self.receive(&mut buffer)?;
            self.send_due()?;
            let due = self.carried.first_key_value().map(|((at, _), _)| *at);
            let look = clock::now() + INTERVAL;
            let sockets = self.backs.values().chain([&self.front]);
            wait(sockets, due.map_or(look, |it| it.min(look)))?;
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while let Some((len, viewer)) = unless_blocked(self.front.recv_from(buffer))? {
            let bytes = buffer.get(..len).unwrap_or_default();
            self.carry(Way::Up, viewer, bytes);
        }
        let mut came = Vec::new();
        for (viewer, back) in &self.backs {
            while let Some((len, _)) = unless_blocked(back.recv_from(buffer))? {
                came.push((*viewer, buffer.get(..len).unwrap_or_default().to_vec()));
            }
        }
        for (viewer, bytes) in came {
            self.carry(Way::Down, viewer, &bytes);
        }
        Ok(())
    }

    fn carry(&mut self, way: Way, viewer: SocketAddr, bytes: &[u8]) {
        let now = clock::now();
        let mut paths = lock(&self.paths);
        let link = match way {
            Way::Down => &mut paths.down,
            Way::Up => &mut paths.up,
        };
        let [arrives, _] = link.carry(now, bytes.len().saturating_sub(AROUND_BY_QUIC));
        if let Some(at) = arrives {
            self.count += 1;
            let carried = (way, viewer, bytes.to_vec());
            self.carried.insert((at, self.count), carried);
        }
    }

    fn send_due(&mut self) -> io::Result<()> {
        while let Some(first) = self.carried.first_entry() {
            let (now, due) = (clock::now(), first.key().0);
            if due > now {
                break;
            }
            let (way, viewer, bytes) = first.remove();
            let server = self.server;
            // A place where nobody listens any more is no fault.
            unless_blocked(match way {
                Way::Down => self.front.send_to(&bytes, viewer),
                Way::Up => self.back(viewer)?.send_to(&bytes, server),
            })?;
            lock(&self.paths).late.push(now - due);
        }
        Ok(())
    }

    fn back(&mut self, viewer: SocketAddr) -> io::Result<&mut UdpSocket> {
        Ok(match self.backs.entry(viewer) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(open()?),
        })
    }
}
