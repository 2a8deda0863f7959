//! One UDP socket shared by every viewer: reads batches, merges equal datagrams into one send.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use smol::Async;

use crate::clock;

/// Bytes asked of the kernel for each direction: a key frame and what arrives meanwhile.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Batches read at once: one per peer that sent since the last read, where they are many.
const RECEIVE_SLOTS: usize = 8;

/// Bytes of one receive slot: the largest batch that GRO merges.
const RECEIVE_SLOT_BYTES: usize = 64 << 10;

/// Bytes of one merged send; the kernel refuses 64 KiB and more.
const MERGED_BYTES_MAX: usize = 60_000;

/// Between two lines about datagrams that were refused.
const TELLING_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes waiting for a full socket. What exceeds them is dropped, and NACK asks for it again.
const BACKLOG_BYTES_MAX: usize = 8 << 20;

/// A UDP socket on the media thread.
pub(super) struct MediaSocket {
    io: Async<UdpSocket>,
    state: UdpSocketState,
    local: SocketAddr,
    backlog: RefCell<Backlog>,
    refusals: RefCell<Refusals>,
    /// What a test has the kernel say to whatever is sent.
    #[cfg(test)]
    fault: std::cell::Cell<Option<rustix::io::Errno>>,
}

/// Datagrams to one peer, all of `segment` bytes but the last, which may be shorter.
#[derive(Debug)]
struct Batch {
    to: SocketAddr,
    from: Option<IpAddr>,
    segment: usize,
    count: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Backlog {
    batches: VecDeque<Batch>,
    bytes: usize,
}

/// Merges consecutive datagrams to one peer while they have one size.
#[derive(Debug)]
pub(super) struct Merger<'a> {
    socket: &'a MediaSocket,
    batch: Option<Batch>,
}

impl MediaSocket {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        // A smaller buffer than asked for costs bursts, nothing else: the kernel's maximum rules.
        for set in [
            UdpSocketState::set_send_buffer_size,
            UdpSocketState::set_recv_buffer_size,
        ] {
            if let Err(error) = set(&state, (&socket).into(), SOCKET_BUFFER_BYTES) {
                tracing::debug!(%error, "media socket keeps its default buffer");
            }
        }
        Ok(Self {
            local: socket.local_addr()?,
            io: Async::new(socket)?,
            state,
            backlog: RefCell::default(),
            refusals: RefCell::default(),
            #[cfg(test)]
            fault: std::cell::Cell::default(),
        })
    }

    pub(super) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether datagrams wait for the socket.
    pub(super) fn is_backed_up(&self) -> bool {
        !self.backlog.borrow().batches.is_empty()
    }

    /// Waits for datagrams and hands out each: source, the address it was sent to, bytes.
    pub(super) async fn receive(
        &self,
        slots: &mut ReceiveSlots,
        mut each: impl FnMut(SocketAddr, Option<IpAddr>, &[u8]),
    ) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); RECEIVE_SLOTS];
        let count = {
            let mut buffers = slots.0.each_mut().map(|it| IoSliceMut::new(it));
            self.io
                .read_with(|socket| self.state.recv(socket.into(), &mut buffers, &mut metas))
                .await?
        };
        for (meta, slot) in metas.iter().zip(&slots.0).take(count) {
            let merged = slot.get(..meta.len).unwrap_or_default();
            for datagram in merged.chunks(meta.stride.max(1)) {
                each(
                    canonical(meta.addr),
                    meta.dst_ip.map(|it| it.to_canonical()),
                    datagram,
                );
            }
        }
        Ok(())
    }

    /// Collects datagrams and sends them when it is dropped or they no longer merge.
    pub(super) const fn merger(&self) -> Merger<'_> {
        Merger {
            socket: self,
            batch: None,
        }
    }

    /// Waits until the backlog is sent.
    pub(super) async fn flush(&self) -> io::Result<()> {
        while self.is_backed_up() {
            self.io.writable().await?;
            while let Some(batch) = self.pop_backlog() {
                if self.try_send(&batch).is_err_and(is_full) {
                    self.push_backlog_front(batch);
                    break;
                }
            }
        }
        Ok(())
    }

    fn send(&self, batch: Batch) {
        if self.is_backed_up() || self.try_send(&batch).is_err_and(is_full) {
            self.push_backlog(batch);
        }
    }

    fn try_send(&self, batch: &Batch) -> io::Result<()> {
        let transmit = Transmit {
            destination: self.family(batch.to),
            ecn: None,
            contents: &batch.bytes,
            segment_size: (batch.count > 1).then_some(batch.segment),
            src_ip: batch
                .from
                .map(|it| self.family(SocketAddr::new(it, 0)).ip()),
        };
        let sent = self.hand_over(&transmit);
        if let Err(error) = &sent
            && error.kind() != io::ErrorKind::WouldBlock
        {
            self.handle_refusal(error, batch);
        }
        sent
    }

    fn hand_over(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        #[cfg(test)]
        if let Some(fault) = self.fault.get() {
            return Err(fault.into());
        }
        self.state.try_send((&self.io).into(), transmit)
    }

    /// What the kernel does not take is lost like any other datagram.
    fn handle_refusal(&self, error: &io::Error, batch: &Batch) {
        if is_about_peer(error) {
            // Unreachable peers answer by ICMP; ICE notices them by their silence.
            tracing::debug!(%error, to = %batch.to, "cannot send datagram");
            return;
        }
        let mut refusals = self.refusals.borrow_mut();
        if let Some(datagrams) = refusals.handle_refusal(batch.count, clock::now()) {
            tracing::warn!(
                %error, datagrams, to = %batch.to,
                "datagrams cannot be sent: a firewall of this host, or memory that runs short"
            );
        }
    }

    /// An IPv6 socket speaks to IPv4 peers by their mapped address.
    fn family(&self, address: SocketAddr) -> SocketAddr {
        match (self.local, address.ip()) {
            (SocketAddr::V6(_), IpAddr::V4(ip)) => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), address.port())
            }
            _ => address,
        }
    }

    fn push_backlog(&self, batch: Batch) {
        let mut backlog = self.backlog.borrow_mut();
        if backlog.bytes + batch.bytes.len() > BACKLOG_BYTES_MAX {
            tracing::debug!(datagrams = batch.count, "media socket is hopelessly full");
            return;
        }
        backlog.bytes += batch.bytes.len();
        backlog.batches.push_back(batch);
    }

    fn push_backlog_front(&self, batch: Batch) {
        let mut backlog = self.backlog.borrow_mut();
        backlog.bytes += batch.bytes.len();
        backlog.batches.push_front(batch);
    }

    fn pop_backlog(&self) -> Option<Batch> {
        let mut backlog = self.backlog.borrow_mut();
        let batch = backlog.batches.pop_front()?;
        backlog.bytes -= batch.bytes.len();
        Some(batch)
    }
}

/// Counts datagrams that the kernel refused, so that one line tells of many.
#[derive(Debug, Default)]
struct Refusals {
    untold: usize,
    told: Option<Instant>,
}

impl Refusals {
    /// How many to tell of, where it is time.
    fn handle_refusal(&mut self, datagrams: usize, now: Instant) -> Option<usize> {
        self.untold += datagrams;
        if self
            .told
            .is_some_and(|it| now.saturating_duration_since(it) < TELLING_INTERVAL)
        {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl Merger<'_> {
    pub(super) fn push(&mut self, to: SocketAddr, from: Option<IpAddr>, datagram: &[u8]) {
        if let Some(batch) = &mut self.batch
            && batch.takes(
                to,
                from,
                datagram.len(),
                self.socket.state.max_gso_segments(),
            )
        {
            batch.bytes.extend_from_slice(datagram);
            batch.count += 1;
            return;
        }
        self.flush();
        self.batch = Some(Batch {
            to,
            from,
            segment: datagram.len(),
            count: 1,
            bytes: datagram.to_vec(),
        });
    }

    fn flush(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.socket.send(batch);
        }
    }
}

impl Drop for Merger<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Batch {
    fn takes(&self, to: SocketAddr, from: Option<IpAddr>, len: usize, segments_max: usize) -> bool {
        self.to == to
            && self.from == from
            && self.count < segments_max
            && len <= self.segment
            // A shorter datagram ends a batch: only the last may be short.
            && self.bytes.len() == self.count * self.segment
            && self.bytes.len() + len <= MERGED_BYTES_MAX
    }
}

/// Buffers of one receiving task.
pub(super) struct ReceiveSlots([Box<[u8]>; RECEIVE_SLOTS]);

impl ReceiveSlots {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| {
            vec![0; RECEIVE_SLOT_BYTES].into_boxed_slice()
        }))
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether one peer is out of reach, which says nothing of the others.
fn is_about_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable
    )
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that Result::is_err_and wants"
)]
fn is_full(error: io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl std::fmt::Debug for MediaSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MediaSocket").field(&self.local).finish()
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn socket() -> MediaSocket {
        MediaSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()
    }

    /// Sends `count` datagrams of different sizes, which do not merge.
    fn send(from: &MediaSocket, to: SocketAddr, count: usize) {
        let mut merger = from.merger();
        for length in 1..=count {
            merger.push(to, None, &vec![7; length]);
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_lost_and_the_next_goes_out() {
        let (near, far) = (socket(), socket());
        for fault in [Errno::PERM, Errno::NOBUFS, Errno::NOMEM, Errno::NETUNREACH] {
            near.fault.set(Some(fault));
            send(&near, far.local(), 3);
            assert!(!near.is_backed_up(), "{fault} is waited for");
        }
        let told = near.refusals.borrow().told;
        assert!(told.is_some());
        assert_eq!(near.refusals.borrow().untold, 3 * 3 - 1, "one line tells");

        near.fault.set(None);
        send(&near, far.local(), 1);
        let mut lengths = Vec::new();
        smol::block_on(async {
            let mut slots = ReceiveSlots::new();
            far.receive(&mut slots, |_, _, datagram| lengths.push(datagram.len()))
                .await
                .unwrap();
        });
        assert_eq!(lengths, [1]);
    }

    #[test]
    fn what_was_kept_for_a_full_socket_is_not_tried_for_ever() {
        let (near, far) = (socket(), socket());
        near.fault.set(Some(Errno::AGAIN));
        send(&near, far.local(), 3);
        assert!(near.is_backed_up());
        near.fault.set(Some(Errno::NOBUFS));
        smol::block_on(near.flush()).unwrap();
        assert!(!near.is_backed_up());
    }

    #[test]
    fn a_line_tells_of_all_refusals_since_the_last_one() {
        let mut refusals = Refusals::default();
        let began = clock::now();
        assert_eq!(refusals.handle_refusal(2, began), Some(2));
        for _ in 0..1_000 {
            assert_eq!(refusals.handle_refusal(1, began), None);
        }
        let later = began + TELLING_INTERVAL;
        assert_eq!(refusals.handle_refusal(1, later), Some(1_001));
    }
}
