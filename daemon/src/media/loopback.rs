//! The media thread against a second WebRTC stack over real sockets, with the worker's ends in
//! the test's hands.

mod page;
mod worker;

use std::net::UdpSocket;

use async_channel::Receiver;
use sandbox_protocol::local::worker::{Counters, Cursor, FromWorker, ToWorker};
use sandbox_protocol::wire::ctl::{ToPage, ToServer};
use sandbox_protocol::wire::input::{Event as InputEvent, Packet, encode_ack};
use sandbox_protocol::{Bitrate, SessionId, Size, ViewerId};

use self::page::Page;
use self::worker::Worker;
use super::{Attach, AttachError, LeftReason, Media, MediaConfig, ViewerEvent};

const SIZE: Size = Size {
    width: 640,
    height: 480,
};

fn session(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn start() -> Media {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = MediaConfig {
        advertise: Vec::new(),
        tcp_candidates: Vec::new(),
        bitrate_max: Bitrate::kbps(20_000),
        fps_max: 60,
    };
    Media::start(vec![socket], config).unwrap()
}

/// A page, a worker, and what the daemon is told about them.
struct Attached {
    page: Page,
    worker: Worker,
    events: Receiver<ViewerEvent>,
    viewer: ViewerId,
}

fn attach(media: &Media, session: SessionId, mut page: Page) -> Attached {
    let (worker, control, stream) = Worker::new();
    let (tell, events) = async_channel::bounded(4);
    let attach = Attach {
        session,
        sdp: page.offer(),
        size: SIZE,
        control,
        media: stream,
        events: tell,
    };
    let attached = smol::block_on(media.attach(attach)).unwrap();
    page.accept(&attached.answer);
    Attached {
        page,
        worker,
        events,
        viewer: attached.viewer,
    }
}

/// Attaches and goes on until the worker was asked for the first key frame.
fn connect(media: &Media) -> Attached {
    let mut attached = attach(media, session(1), Page::new());
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
                ViewerEvent::Connected => (),
                ViewerEvent::Left(reason) => return reason,
            }
        }
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
