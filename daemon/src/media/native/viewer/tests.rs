//! A native viewer without a network.

use sandbox_protocol::Micros;
use sandbox_protocol::local::frame::Content;
use sandbox_protocol::stream::sender::Transmit;
use sandbox_protocol::wire::control::{Chroma, Codec, Profile};

use super::*;

const MS: Duration = Duration::from_millis(1);

const SIZE: Size = Size {
    width: 640,
    height: 480,
};

fn viewer(now: Instant) -> NativeViewer {
    let begin = Begin {
        timeline: Timeline::new(now, Micros(0)),
        bitrate_max: Bitrate::kbps(20_000),
        size: SIZE,
        config: StreamConfig {
            epoch: 1,
            size: SIZE,
            codec: Codec::H264,
            profile: Profile::Baseline,
            chroma: Chroma::Yuv420,
            cache_mib: 16,
        },
        epoch: Epoch(0),
        is_in_order: false,
    };
    NativeViewer::new(begin, now)
}

fn whole() -> FrameHeader {
    FrameHeader {
        content: Content::Update {
            is_whole: true,
            is_video_only: false,
            recovers: false,
        },
        is_keyframe: false,
        is_refinement: false,
        qp: 0,
        frame: 0,
        size: SIZE,
        input_seq: 0,
        injected: Micros(0),
        damaged: Micros(0),
        captured: Micros(0),
        encoded: Micros(0),
    }
}

/// Whether the last bytes of an update's stream leave now.
fn leaves_whole(viewer: &mut NativeViewer, now: Instant, out: &mut Vec<u8>) -> bool {
    let mut all = std::iter::from_fn(|| viewer.poll_transmit(now, out));
    all.any(|it| matches!(it, Transmit::Stream { is_last: true, .. }))
}

#[test]
fn nothing_is_wished_for_and_no_update_taken_before_the_start() {
    let now = crate::clock::now();
    let mut viewer = viewer(now);
    assert_eq!(viewer.cache_slots(), None);
    viewer.handle_frame(now, whole(), b"early").unwrap();
    assert!(!viewer.outputs.wishes.whole && !viewer.has_stamps());
    assert_eq!(viewer.poll_timeout(), None);
    viewer.handle_request(now, Request::Start).unwrap();
    assert!(viewer.outputs.wishes.whole);
    assert_eq!(viewer.outputs.events, [ViewerEvent::Connected]);
    assert_eq!(viewer.cache_slots(), Some(1_024));
    viewer.handle_frame(now, whole(), b"first").unwrap();
    assert!(viewer.has_stamps());
}

#[test]
fn while_quic_has_no_room_the_pace_rings_no_alarm() {
    let now = crate::clock::now();
    let mut viewer = viewer(now);
    viewer.handle_request(now, Request::Start).unwrap();
    viewer
        .handle_frame(now, whole(), &vec![7; 600_000])
        .unwrap();
    let mut out = Vec::new();
    while viewer.poll_transmit(now, &mut out).is_some() {}
    assert!(viewer.poll_timeout().is_some(), "the rest is paced");
    viewer.set_held(true);
    assert_eq!(viewer.poll_timeout(), None);
    viewer.set_held(false);
    assert!(viewer.poll_timeout().is_some());
}

#[test]
fn what_its_network_has_carried_is_the_first_target_within_the_bounds() {
    let now = crate::clock::now();
    for (kbps, expected) in [(3_000, 3_000), (0, 150), (1_000_000, 20_000)] {
        let mut viewer = viewer(now);
        let hint = Request::LinkRate(Bitrate::kbps(kbps));
        viewer.handle_request(now, hint).unwrap();
        viewer.handle_request(now, Request::Start).unwrap();
        viewer.follow_link();
        assert_eq!(viewer.wanted().bitrate, Bitrate::kbps(expected));
        // Its own word is nothing that was learnt.
        viewer.tell_link(now);
        assert_eq!(viewer.said, []);
    }
}

#[test]
fn a_viewer_is_told_what_its_link_carries_and_seldom() {
    let now = crate::clock::now();
    let mut viewer = viewer(now);
    viewer.handle_path(now, Some(1_200), Some(Duration::from_millis(40)));
    viewer.handle_request(now, Request::Start).unwrap();
    let mut out = Vec::new();
    let mut told = Vec::new();
    // A picture of 100 KB by a stream: in 140 ms, of which 40 are the way, it is 8 Mbit/s.
    for round in 0..8 {
        let now = now + Duration::from_secs(round);
        viewer.handle_frame(now, whole(), &[7; 100_000]).unwrap();
        let mut at = now;
        while !leaves_whole(&mut viewer, at, &mut out) {
            at = viewer.poll_timeout().unwrap();
            viewer.handle_timeout(at);
        }
        let took = MS * if round < 2 { 140 } else { 440 };
        let update = (viewer.epoch(), 1);
        viewer.handle_stream_arrived(now + took, update);
        viewer.tell_link(now + took);
        told.append(&mut viewer.said);
    }
    let rates = [6_800, 1_700].map(|kbps| FromServer::LinkRate { kbps });
    assert_eq!(told, rates);
}

#[test]
fn the_worker_follows_the_link_of_who_has_control_and_of_nobody_else() {
    let now = crate::clock::now();
    let mut viewer = viewer(now);
    viewer.handle_request(now, Request::Start).unwrap();
    viewer
        .handle_frame(now, whole(), &vec![7; 600_000])
        .unwrap();
    viewer.follow_link();
    viewer.handle_request(now, Request::Resize(SIZE)).unwrap();
    assert_eq!(viewer.outputs.to_worker, [], "an observer");
    assert_eq!(viewer.rank(), Rank::Observer);
}
