//! What the media thread waits for: datagrams, workers, connections, the clock.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use sandbox_protocol::limits::LOCAL_MESSAGE_BYTES_MAX;
use smol::Timer;

use super::Hub;
use super::audience::Audience;
use crate::clock;
use crate::media::LeftReason;
use crate::media::demux::{Carrier, Near, Remote};
use crate::media::socket::ReceiveSlots;
use crate::media::tcp::Connection;
use crate::media::worker_frames::WorkerFrames;
use crate::media::worker_link::{LinkError, WorkerLink};

/// A TCP connection that has not proven its viewer by then is closed.
const PROOF_MAX: Duration = Duration::from_secs(10);

/// Shortest sleep of the timer: str0m may ask for a time that has passed.
const SLEEP_MIN: Duration = Duration::from_millis(1);

/// Failures of a read that may be the echo of what was sent; what goes on is the socket's own.
const FAILURES_IN_A_ROW: u32 = 16;

/// Pause after a read that failed once more.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn keep_time(hub: Rc<Hub>) {
    loop {
        let now = clock::now();
        hub.handle_native_timeout(now);
        for seat in hub.all_seats() {
            let due = seat.member.borrow_mut().poll_timeout();
            if due.is_some_and(|at| at <= now) {
                hub.serve(&seat, |member| member.handle_timeout(now));
            }
        }
        for audience in hub.all_audiences() {
            hub.handle_audience_timeout(&audience, now);
        }
        let audiences = hub.all_audiences();
        let seats = hub.all_seats();
        let of_viewers = seats
            .iter()
            .filter_map(|it| it.member.borrow_mut().poll_timeout());
        let of_natives = hub.natives.borrow_mut().poll_timeout();
        let of_audiences = audiences
            .iter()
            .filter_map(|it| it.shared.borrow().poll_timeout());
        let next = of_viewers
            .chain(of_audiences)
            .chain(of_natives)
            .min()
            .map(|at| at.max(now + SLEEP_MIN));
        hub.alarm.armed.set(next);
        let timer = next.map_or_else(Timer::never, Timer::at);
        let sooner = async {
            // The sender lives in the same place as the receiver.
            let _told = hub.alarm.sooner.1.recv().await;
        };
        future::or(sooner, async {
            timer.await;
        })
        .await;
    }
}

pub(super) async fn keep_receiving(hub: Rc<Hub>, index: usize) {
    let Some(socket) = hub.sockets.get(index) else {
        return;
    };
    let mut slots = ReceiveSlots::new();
    let mut failures = 0_u32;
    loop {
        let local = socket.local();
        let received = socket
            .receive(&mut slots, |address, ip, datagram| {
                let near = Near { socket: index, ip };
                let remote = Remote {
                    carrier: Carrier::Udp,
                    address,
                };
                let ip = ip.unwrap_or_else(|| local.ip());
                let local = SocketAddr::new(ip, local.port());
                hub.handle_datagram(remote, near, local, datagram);
            })
            .await;
        hub.settle_natives();
        match received {
            Ok(()) => failures = 0,
            // Peers' ICMP answers show up here; the socket itself lives on.
            Err(error) if failures < FAILURES_IN_A_ROW => {
                failures += 1;
                tracing::debug!(%error, "cannot read from the media socket");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read from the media socket for the time being");
                Timer::after(FAILURE_PAUSE).await;
            }
        }
        future::yield_now().await;
    }
}

pub(super) async fn keep_flushing(hub: Rc<Hub>, index: usize) {
    let (Some(socket), Some((_, wake))) = (hub.sockets.get(index), hub.flushes.get(index)) else {
        return;
    };
    while wake.recv().await.is_ok() {
        if let Err(error) = socket.flush().await {
            tracing::warn!(%error, "cannot wait for the media socket");
        }
    }
}

pub(super) async fn keep_reading_control(
    hub: Rc<Hub>,
    audience: Rc<Audience>,
    link: Rc<WorkerLink>,
) {
    let mut buffer = Box::new([0; LOCAL_MESSAGE_BYTES_MAX]);
    loop {
        match link.receive(&mut buffer).await {
            Ok(Some(message)) => hub.handle_worker(&audience, message),
            Ok(None) => break,
            Err(error @ LinkError::Io(_)) => {
                audience
                    .span
                    .in_scope(|| tracing::warn!(%error, "worker's control socket"));
                break;
            }
            Err(error @ (LinkError::TooLarge(_) | LinkError::Malformed(_))) => {
                audience
                    .span
                    .in_scope(|| tracing::error!(%error, "worker's control socket"));
                hub.end_audience(&audience, &LeftReason::WorkerGone);
                return;
            }
        }
        future::yield_now().await;
    }
    hub.lose_worker(&audience);
}

pub(super) async fn keep_reading_media(hub: Rc<Hub>, audience: Rc<Audience>, link: Rc<WorkerLink>) {
    let mut units = WorkerFrames::default();
    loop {
        match link.read_media(units.space()).await {
            Ok(0) => break,
            Ok(len) => units.handle_read(len),
            Err(error) => {
                audience
                    .span
                    .in_scope(|| tracing::error!(%error, "worker's media socket"));
                break;
            }
        }
        loop {
            let served = units.poll(|header, payload| {
                hub.handle_frame(&audience, header, payload);
            });
            match served {
                Ok(Some(())) => future::yield_now().await,
                Ok(None) => break,
                Err(error) => {
                    audience
                        .span
                        .in_scope(|| tracing::error!(%error, "worker's media stream"));
                    hub.end_audience(&audience, &LeftReason::WorkerGone);
                    return;
                }
            }
        }
    }
    hub.lose_worker(&audience);
}

pub(super) async fn keep_writing_control(
    hub: Rc<Hub>,
    audience: Rc<Audience>,
    link: Rc<WorkerLink>,
) {
    if let Err(error) = link.keep_sending().await {
        audience
            .span
            .in_scope(|| tracing::warn!(%error, "worker's control socket"));
        hub.end_audience(&audience, &LeftReason::WorkerGone);
    }
}

pub(super) async fn serve_connection(
    hub: Rc<Hub>,
    connection: Rc<Connection>,
    address: SocketAddr,
) {
    let remote = Remote {
        carrier: Carrier::Tcp,
        address,
    };
    let near = Near {
        socket: 0,
        ip: None,
    };
    let local = connection.local();
    let is_proven = || hub.demux.borrow().path(remote).is_some();
    let reading = connection.keep_reading(|datagram| {
        hub.handle_datagram(remote, near, local, datagram);
    });
    let writing = connection.keep_sending(|| hub.handle_drained(remote, &connection));
    let judging = async {
        Timer::after(PROOF_MAX).await;
        if is_proven() {
            future::pending::<()>().await;
        }
        Ok(())
    };
    let ended = future::or(future::or(reading, writing), judging).await;
    if let Err(error) = &ended {
        tracing::debug!(%error, %address, "ICE-TCP connection ended");
    }
    hub.connections.borrow_mut().remove(&address);
    hub.handle_connection_end(remote, ended.as_ref().copied());
}
