//! The media thread against a second WebRTC stack over real sockets, with the worker's ends in
//! the test's hands.

mod control;
mod input;
mod native;
mod observers;
mod page;
mod rewiring;
mod worker;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use async_channel::Receiver;
use sandbox_protocol::local::Version;
use sandbox_protocol::local::worker::{Counters, Cursor, FromWorker, ToWorker};
use sandbox_protocol::wire::ctl::{ToPage, ToServer};
use sandbox_protocol::{Bitrate, SessionId, Size, ViewerId};

use str0m::ice::{StunMessage, TransId};
use str0m::net::{Protocol, Receive};

use self::page::Page;
use self::worker::Worker;
use super::addresses::Candidates;
use super::offer::Answerer;
use super::timeline::Timeline;
use super::viewer::{Begin, Viewer};
use super::{
    AckPacket, Attach, AttachError, LeftReason, Media, MediaConfig, StreamCounters, ViewerEvent,
};
use crate::clock;

const SIZE: Size = Size {
    width: 640,
    height: 480,
};

fn session(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn start() -> Media {
    start_with(Vec::new())
}

fn start_with(tcp_candidates: Vec<SocketAddr>) -> Media {
    start_on(
        vec![UdpSocket::bind("127.0.0.1:0").unwrap()],
        tcp_candidates,
    )
}

fn start_on(sockets: Vec<UdpSocket>, tcp_candidates: Vec<SocketAddr>) -> Media {
    start_with_workers(Version::OWN, sockets, tcp_candidates)
}

fn start_with_workers(
    workers: Version,
    sockets: Vec<UdpSocket>,
    tcp_candidates: Vec<SocketAddr>,
) -> Media {
    let config = MediaConfig {
        advertise: Vec::new(),
        tcp_candidates,
        bitrate_max: Bitrate::kbps(20_000),
        fps_max: 60,
        native: native::setup(),
        workers,
    };
    Media::start(sockets, config).unwrap()
}

/// A page, a worker, and what the daemon is told about them.
struct Attached {
    page: Page,
    worker: Worker,
    events: Receiver<ViewerEvent>,
    acks: Receiver<AckPacket>,
    viewer: ViewerId,
}

/// Attaches a page with a worker of its own, and gives it control.
fn attach(media: &Media, session: SessionId, page: Page) -> Attached {
    let (worker, control, stream) = Worker::new();
    let attached = enter(media, session, page, worker, Some([control, stream]));
    control::give(media, session, attached.viewer);
    attached
}

/// Attaches a page to the worker that another one has, where none comes along.
fn enter(
    media: &Media,
    session: SessionId,
    mut page: Page,
    worker: Worker,
    pair: Option<[OwnedFd; 2]>,
) -> Attached {
    let (tell, events) = async_channel::bounded(4);
    let (tell_ack, acks) = async_channel::bounded(1);
    let attach = Attach {
        session,
        sdp: page.offer(),
        size: SIZE,
        worker: pair,
        events: tell,
        acks: tell_ack,
    };
    let attached = smol::block_on(media.attach(attach)).unwrap();
    page.accept(&attached.answer);
    Attached {
        page,
        worker,
        events,
        acks,
        viewer: attached.viewer,
    }
}

/// Attaches and goes on until the worker was asked for the first key frame.
fn connect(media: &Media) -> Attached {
    connect_page(media, Page::new())
}

fn connect_page(media: &Media, page: Page) -> Attached {
    let mut attached = attach(media, session(1), page);
    attached.page.run_until(|page| page.is_ready());
    assert_eq!(attached.event(), ViewerEvent::Connected);
    assert!(matches!(
        attached.worker.receive(),
        ToWorker::Hello { size: SIZE, .. }
    ));
    attached.worker.skip_to(&ToWorker::Keyframe);
    attached
}

impl Attached {
    fn event(&self) -> ViewerEvent {
        worker::within_limit(self.events.recv()).expect("the viewer is told of")
    }

    fn left(&self) -> LeftReason {
        loop {
            match self.event() {
                ViewerEvent::Connected | ViewerEvent::WorkerLost => (),
                ViewerEvent::Left(reason) => return reason,
            }
        }
    }

    /// Everything sent so far has been handled when this returns.
    fn synchronize(&mut self) {
        let pongs = self.pongs();
        self.page.send_ctl(&ToServer::Ping { at: 1.5 });
        while self.pongs() == pongs {
            let told = self.page.told.len();
            self.page.run_until(|page| page.told.len() > told);
        }
    }

    fn pongs(&self) -> usize {
        let is_pong = |it: &&ToPage| matches!(it, ToPage::Pong { .. });
        self.page.told.iter().filter(is_pong).count()
    }

    /// What the stream counted; the worker's answer is the test's.
    fn counters(&self, media: &Media) -> StreamCounters {
        let counted = Counters {
            captures: 77,
            ..Counters::default()
        };
        let asked = media.counters(session(1));
        let answered = smol::unblock({
            let worker = self.worker.clone();
            move || {
                worker.skip_over_keyframes_to(&ToWorker::Count);
                worker.send(&FromWorker::Counters(counted));
            }
        });
        let (counters, ()) = worker::within_limit(smol::future::zip(asked, answered));
        let counters = counters.expect("the worker answered");
        assert_eq!(counters.worker, counted);
        counters
    }

    /// Sends a frame and waits until the page has it; says its RTP timestamp.
    fn show(&mut self, is_keyframe: bool, len: usize) -> u32 {
        let shown = self.page.frames.len();
        self.worker.send_frame(is_keyframe, len);
        self.page.run_until(|page| page.frames.len() > shown);
        self.page.frames[shown].rtp
    }
}

#[test]
fn a_page_connects_and_sees_every_frame_from_the_first_key_frame_on() {
    let media = start();
    let mut attached = connect(&media);
    attached.worker.send_frame(false, 1_000);
    for (index, len) in [40_000, 900, 60_000, 10].into_iter().enumerate() {
        attached.show(index == 0, len);
        assert_eq!(attached.page.frames[index].len, len);
    }
    let frames = &attached.page.frames;
    assert!(frames[0].is_keyframe && !frames[1].is_keyframe);
    assert!(frames.iter().all(|it| it.playout_delay == Some((0, 0))));
}

#[test]
fn the_page_is_told_of_the_desktop_its_size_and_its_pointer() {
    let media = start();
    let mut attached = connect(&media);
    let size = Size {
        width: 800,
        height: 600,
    };
    attached.worker.send(&FromWorker::Resized(size));
    attached.worker.send(&FromWorker::Cursor(Cursor {
        size: Size {
            width: 96,
            height: 96,
        },
        hot_x: 3,
        hot_y: 4,
        rgba: vec![7; 96 * 96 * 4],
    }));
    attached.page.run_until(|page| page.told.len() == 3);
    let [hello, resized, cursor] = &attached.page.told[..] else {
        panic!("{} messages", attached.page.told.len());
    };
    let expected = ToPage::Hello {
        width: 640,
        height: 480,
        encoder: "x264".to_owned(),
    };
    assert_eq!(*hello, expected);
    let expected = ToPage::Size {
        width: 800,
        height: 600,
    };
    assert_eq!(*resized, expected);
    assert!(
        matches!(cursor, ToPage::Cursor { hot_x: 3, hot_y: 4, rgba, .. } if rgba.len() == 96 * 96 * 4 * 4 / 3)
    );
}

#[test]
fn what_the_page_says_on_ctl_reaches_the_worker_within_its_limits() {
    let media = start();
    let mut attached = connect(&media);
    attached.page.send_ctl(&ToServer::Resize {
        width: 1,
        height: 9_999,
    });
    attached.worker.skip_to(&ToWorker::Resize(Size {
        width: 320,
        height: 2160,
    }));
    let text = "x".repeat(32 << 10);
    attached.page.send_ctl(&ToServer::Paste {
        text: text.clone(),
        last: true,
    });
    attached.page.run_until(|_| attached.worker.has_message());
    attached
        .worker
        .skip_to(&ToWorker::Paste { text, last: true });
}

#[test]
fn stage_stamps_are_sent_while_the_overlay_is_open_and_only_then() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(true, 5_000);
    attached.page.send_ctl(&ToServer::Overlay { on: true });
    attached.synchronize();
    let rtp = attached.show(false, 700);
    attached.synchronize();
    attached.page.send_ctl(&ToServer::Overlay { on: false });
    attached.synchronize();
    attached.show(false, 700);
    attached.synchronize();
    let is_stamp = |it: &&ToPage| matches!(it, ToPage::Frame { .. });
    let stamps: Vec<_> = attached.page.told.iter().filter(is_stamp).collect();
    let [
        ToPage::Frame {
            rtp: stamped,
            input_seq,
            encoded,
            sent,
            qp,
            bytes,
            target_kbps,
            ..
        },
    ] = stamps[..]
    else {
        panic!("{stamps:?}");
    };
    assert_eq!((*stamped, *input_seq, *encoded, *qp), (rtp, 20, 4, 22));
    assert_eq!(*bytes, 704);
    assert!(*sent > 4 && *target_kbps >= 10_000);
}

#[test]
fn a_key_frame_request_is_answered_only_while_the_newest_frame_is_not_presented() {
    let media = start();
    let mut attached = connect(&media);
    let rtp = attached.show(true, 5_000);
    attached.page.send_ctl(&ToServer::Presented { rtp });
    attached.synchronize();
    attached.page.request_keyframe();
    // Long enough for an answer that was only put off.
    attached.page.run_for(Duration::from_millis(700));
    let counters = attached.counters(&media);
    assert_eq!((counters.plis_received, counters.plis_answered), (1, 0));

    attached.show(false, 5_000);
    attached.page.request_keyframe();
    attached.page.run_until(|_| attached.worker.has_message());
    attached.worker.skip_to(&ToWorker::Keyframe);
    let counters = attached.counters(&media);
    assert_eq!((counters.plis_received, counters.plis_answered), (2, 1));
    assert_eq!((counters.frames, counters.keyframes), (2, 1));
    assert!(counters.rtp_packets >= 10 && counters.rtp_bytes > 10_000);
}

#[test]
fn a_viewer_leaves_when_its_workers_sockets_lie() {
    let media = start();
    let check = |act: &dyn Fn(Worker)| {
        let attached = connect(&media);
        act(attached.worker);
        let event = worker::within_limit(attached.events.recv());
        assert_eq!(event, Ok(ViewerEvent::Left(LeftReason::WorkerGone)));
    };
    check(&|worker| worker.send_raw(&[0xff; 64]));
    check(&|worker| {
        worker.send(&FromWorker::Hello {
            version: 999,
            size: SIZE,
            encoder_name: String::new(),
        });
    });
    check(&|worker| {
        worker.send(&FromWorker::Cursor(Cursor {
            size: SIZE,
            hot_x: 0,
            hot_y: 0,
            rgba: vec![0; 4],
        }));
    });
}

#[test]
fn an_offer_that_cannot_be_answered_is_refused_with_its_reason() {
    let media = start();
    let attach = |sdp: String| {
        let (_worker, control, stream) = Worker::new();
        let (events, _) = async_channel::bounded(4);
        smol::block_on(media.attach(Attach {
            session: session(2),
            sdp,
            size: SIZE,
            worker: Some([control, stream]),
            events,
            acks: async_channel::bounded(1).0,
        }))
    };
    for sdp in ["", "v=0", "nonsense\r\n", &"a=".repeat(30_000)] {
        assert!(
            matches!(attach(sdp.to_owned()), Err(AttachError::Sdp(_))),
            "{sdp:.9}"
        );
    }
    let offer = Page::without_h264().offer();
    assert!(matches!(attach(offer), Err(AttachError::NoCodec(_))));
    let gone = smol::block_on(media.reoffer(ViewerId(99), String::new()));
    assert!(matches!(gone, Err(AttachError::Unknown(ViewerId(99)))));
}

#[test]
fn a_page_that_closes_is_told_of_and_a_detached_one_is_not() {
    let media = start();
    let mut attached = connect(&media);
    attached.page.close();
    assert_eq!(attached.left(), LeftReason::Closed);

    let mut attached = connect(&media);
    media.detach(attached.viewer);
    attached.page.run_until(|page| page.is_closed);
    assert!(worker::within_limit(attached.events.recv()).is_err());
    assert_eq!(smol::block_on(media.counters(session(1))), None);
}

#[test]
fn a_stream_goes_on_over_ice_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let media = start_with(vec![address]);
    let page = Page::over_tcp(address);
    let (stream, peer) = listener.accept().unwrap();
    media.accept_tcp(stream, peer);
    let mut attached = connect_page(&media, page);
    attached.show(true, 200_000);
    attached.show(false, 900);
}

#[test]
fn an_ice_restart_keeps_the_stream() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(true, 5_000);
    let offer = attached.page.restart();
    let answer = smol::block_on(media.reoffer(attached.viewer, offer)).unwrap();
    attached.page.accept(&answer);
    attached.show(false, 5_000);
    attached.synchronize();
    attached.show(false, 5_000);
}

#[test]
fn a_page_that_stops_reading_stops_the_captures_until_it_reads_again() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(true, 1_000);
    for _ in 0..4 {
        attached.worker.send_frame(false, 100_000);
    }
    attached.worker.skip_to(&ToWorker::Flow(false));
    attached.page.run_until(|_| attached.worker.has_message());
    attached.worker.skip_to(&ToWorker::Flow(true));
}

#[test]
fn strangers_are_not_heard() {
    let media = start();
    let mut attached = connect(&media);
    let address: SocketAddr = media.media_addresses()[0].parse().unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for first in 0..=u8::MAX {
        for len in [1, 20, 100, 1_200] {
            let mut bytes = vec![first; len];
            bytes[0] = first;
            stranger.send_to(&bytes, address).unwrap();
        }
    }
    let (ours, theirs) = attached.page.ufrags();
    stranger.send_to(&forged(&ours, &theirs), address).unwrap();

    attached.show(true, 5_000);
    attached.synchronize();
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv(&mut [0; 100]).is_err());
}

/// A connectivity check of one that knows the user name, which is no secret on the path, and not
/// the password.
fn forged(ours: &str, theirs: &str) -> Vec<u8> {
    let name = format!("{ours}:{theirs}");
    let check = StunMessage::binding_request(&name, TransId::new(), true, 7, 1, true);
    let mut bytes = vec![0; 500];
    let guess = |_: &[u8], _: &[&[u8]]| [0x5a; 20];
    let len = check.to_bytes(Some(b"guess"), &mut bytes, guess).unwrap();
    bytes.truncate(len);
    bytes
}

#[test]
fn knowing_the_user_name_proves_nothing() {
    let address: SocketAddr = "127.0.0.1:3478".parse().unwrap();
    let answerer = Answerer::new(Candidates {
        udp: vec![address],
        tcp: Vec::new(),
    })
    .unwrap();
    let now = clock::now();
    let mut page = Page::new();
    let answer = answerer.answer(&page.offer(), now).unwrap();
    let begin = Begin {
        rtc: answer.rtc,
        timeline: Timeline::new(now, clock::micros()),
        size: SIZE,
        bitrate_max: Bitrate::kbps(1_000),
    };
    let mut viewer = Viewer::new(begin, now);
    let bytes = forged(&answer.ufrag, &page.ufrags().1);
    let source = "192.0.2.1:99".parse().unwrap();
    let check = Receive::new(Protocol::Udp, source, address, &bytes).unwrap();
    assert_eq!(viewer.handle_datagram(now, check), Ok(false));
    assert!(viewer.outputs.transmits.is_empty());
}
