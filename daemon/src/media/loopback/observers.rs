//! Several pages that look at one desktop.

use std::net::TcpListener;
use std::time::Duration;

use rustix::net::sockopt::set_socket_send_buffer_size;
use sandbox_protocol::Size;
use sandbox_protocol::local::worker::{CopiedPiece, FromWorker, ToWorker};
use sandbox_protocol::wire::ctl::{ToPage, ToServer};
use sandbox_protocol::wire::input::{Event, Packet, encode_ack};

use super::page::Page;
use super::worker::{Worker, as_told, within_limit};
use super::{Attached, connect, connect_page, control, enter, session, start, start_with};
use crate::media::{AttachError, LeftReason, Media, ViewerEvent};

/// Another page at the desktop of `first`; it is connected and watches.
fn join(media: &Media, first: &Attached, page: Page) -> Attached {
    let mut joined = enter(media, session(1), page, first.worker.clone(), None);
    joined.page.run_until(Page::is_ready);
    assert_eq!(joined.event(), ViewerEvent::Connected);
    joined
}

fn key(stream: u64, first_seq: u32) -> Packet {
    Packet {
        stream,
        first_seq,
        events: vec![Event::Key {
            code: 30,
            keysym: 0x61,
            is_down: true,
        }],
        pointer: None,
        held: None,
    }
}

/// Both pages get the next frame.
fn show_both(first: &mut Attached, second: &mut Attached, is_keyframe: bool, len: usize) {
    let shown = second.page.frames.len();
    first.show(is_keyframe, len);
    second.page.run_until(|page| page.frames.len() > shown);
}

#[test]
fn every_frame_goes_to_every_page_from_a_key_frame_on() {
    let media = start();
    let mut first = connect(&media);
    first.show(true, 3_000);
    let mut second = join(&media, &first, Page::new());
    second.page.run_until(|page| {
        page.told
            .iter()
            .any(|it| matches!(it, ToPage::Hello { .. }))
    });
    first.worker.skip_to(&ToWorker::Keyframe);
    first.show(false, 500);
    show_both(&mut first, &mut second, true, 2_000);
    show_both(&mut first, &mut second, false, 700);
    let seen: Vec<bool> = second.page.frames.iter().map(|it| it.is_keyframe).collect();
    assert_eq!(seen, [true, false]);
    assert_eq!(first.page.frames.len(), 4);
    assert_eq!(first.counters(&media).viewers, 2);
}

#[test]
fn nothing_that_an_observer_does_reaches_the_desktop() {
    let media = start();
    let first = connect(&media);
    let mut second = join(&media, &first, Page::new());
    second.page.send_input(&key(2, 1).encode());
    smol::block_on(media.input(second.viewer, key(2, 1)));
    second.page.send_ctl(&ToServer::Paste {
        text: "rm".to_owned(),
        last: true,
    });
    second.page.send_ctl(&ToServer::Resize {
        width: 800,
        height: 600,
    });
    second.synchronize();
    smol::block_on(media.input(first.viewer, key(1, 1)));
    first.worker.skip_over_keyframes_to(&as_told(key(1, 1)));
}

#[test]
fn whoever_takes_control_brings_its_size_and_what_was_held_goes_up_first() {
    let media = start();
    let mut first = connect(&media);
    let mut second = join(&media, &first, Page::new());
    let size = Size {
        width: 800,
        height: 600,
    };
    second.page.send_ctl(&ToServer::Resize {
        width: size.width,
        height: size.height,
    });
    second.synchronize();
    smol::block_on(media.input(first.viewer, key(1, 1)));
    first.worker.skip_over_keyframes_to(&as_told(key(1, 1)));

    control::give(&media, session(1), second.viewer);
    let release = first.worker.receive_but_keyframes();
    let ToWorker::Input { stream, events, .. } = release else {
        panic!("{release:?}");
    };
    assert_eq!(events, [Event::ReleaseAll]);
    assert!(stream != 1 && stream != 2, "no page's stream");
    first.worker.skip_to(&ToWorker::Resize(size));
    smol::block_on(media.input(first.viewer, key(1, 2)));
    smol::block_on(media.input(second.viewer, key(2, 1)));
    first.worker.skip_over_keyframes_to(&as_told(key(2, 1)));

    // Each is acknowledged what is its own.
    first
        .worker
        .send(&FromWorker::Applied { stream: 1, seq: 1 });
    first.worker.send(&FromWorker::Applied { stream, seq: 1 });
    first
        .worker
        .send(&FromWorker::Applied { stream: 2, seq: 1 });
    first.page.run_until(|page| !page.acks.is_empty());
    second.page.run_until(|page| !page.acks.is_empty());
    assert_eq!(first.page.acks, [encode_ack(1, 1)]);
    assert_eq!(second.page.acks, [encode_ack(2, 1)]);
}

#[test]
fn a_paste_that_control_cuts_is_ended_and_its_rest_goes_nowhere() {
    let media = start();
    let mut first = connect(&media);
    let mut second = join(&media, &first, Page::new());
    let paste = |text: &str, last| ToServer::Paste {
        text: text.to_owned(),
        last,
    };
    let told = |text: &str, last| ToWorker::Paste {
        text: text.to_owned(),
        last,
    };
    first.page.send_ctl(&paste("rm -r ", false));
    first.synchronize();
    control::give(&media, session(1), second.viewer);
    first.page.send_ctl(&paste("/tmp/x", false));
    first.synchronize();
    control::give(&media, session(1), first.viewer);
    first.page.send_ctl(&paste("/y", true));
    first.page.send_ctl(&paste("whole", true));
    first.synchronize();
    second.synchronize();
    let nothing = || told("", true);
    for expected in [
        told("rm -r ", false),
        nothing(),
        nothing(),
        told("whole", true),
    ] {
        first.worker.skip_over_keyframes_to(&expected);
    }
}

#[test]
fn an_older_permit_than_the_one_in_use_is_void() {
    let media = start();
    let first = connect(&media);
    let second = join(&media, &first, Page::new());
    control::give(&media, session(1), second.viewer);
    smol::block_on(media.control(first.viewer, control::permit(session(1), 1)));
    smol::block_on(media.input(first.viewer, key(1, 1)));
    smol::block_on(media.input(second.viewer, key(2, 1)));
    first.worker.skip_over_keyframes_to(&as_told(key(2, 1)));
}

#[test]
fn a_copied_text_goes_to_the_page_whose_key_made_it_and_nowhere_else() {
    let media = start();
    let mut first = connect(&media);
    let mut second = join(&media, &first, Page::new());
    let piece = |is_first, is_last| {
        FromWorker::Copied(CopiedPiece {
            text: "secret".to_owned(),
            is_first,
            is_last,
        })
    };
    first.worker.send(&piece(true, false));
    let is_text = |it: &ToPage| matches!(it, ToPage::Clipboard { .. });
    first.page.run_until(|page| page.told.iter().any(is_text));
    control::give(&media, session(1), second.viewer);
    first.worker.send(&piece(false, true));
    // What comes after it has been told when this has.
    first.worker.send(&FromWorker::Resized(super::SIZE));
    let is_size = |it: &ToPage| matches!(it, ToPage::Size { .. });
    second.page.run_until(|page| page.told.iter().any(is_size));
    assert!(!second.page.told.iter().any(is_text));
}

#[test]
fn an_observer_that_cannot_keep_up_loses_frames_alone_and_comes_back_with_a_key_frame() {
    let media = start();
    let mut first = connect(&media);
    let mut second = join(&media, &first, Page::new());
    first.worker.skip_to(&ToWorker::Keyframe);
    show_both(&mut first, &mut second, true, 2_000);
    // The second does not run: after some of these it is behind, and the worker hears nothing.
    for _ in 0..12 {
        first.show(false, 60_000);
    }
    first.worker.send_frame(false, 500);
    let worker = &mut first.worker;
    second.page.run_until(|page| {
        while worker.has_message() {
            if worker.receive() == ToWorker::Keyframe {
                worker.send_frame(true, 2_345);
            }
        }
        page.frames.last().is_some_and(|it| it.len == 2_345)
    });
    let seen = &second.page.frames;
    assert!(seen.len() < 10, "{} of 15 frames came", seen.len());
    assert!(seen.iter().all(|it| it.len != 500), "not to be decoded");
}

#[test]
fn an_observer_that_does_not_read_is_let_go_and_nobody_else_notices() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let media = start_with(vec![address]);
    let mut first = connect(&media);
    let page = Page::over_tcp(address).narrow();
    let (stream, peer) = listener.accept().unwrap();
    // Nor does ours, so that what is not read waits with the daemon.
    set_socket_send_buffer_size(&stream, 4_096).unwrap();
    media.accept_tcp(stream, peer);
    let second = join(&media, &first, page);
    first.worker.skip_to(&ToWorker::Keyframe);
    // More than both sockets of the second take, and no more than the first one's does at once.
    first.show(true, 60_000);
    let left = loop {
        first.show(false, 1_000);
        first.page.run_for(Duration::from_millis(50));
        if let Ok(event) = second.events.try_recv() {
            break event;
        }
    };
    assert_eq!(left, ViewerEvent::Left(LeftReason::Unread));
    first.show(false, 1_000);
    assert_eq!(first.counters(&media).viewers, 1);
}

#[test]
fn one_page_alone_asks_for_the_next_worker_and_another_where_it_leaves() {
    let media = start();
    let mut first = connect(&media);
    let mut second = join(&media, &first, Page::new());
    let (next, control, stream) = Worker::new();
    drop((
        std::mem::replace(&mut first.worker, next.clone()),
        std::mem::replace(&mut second.worker, next),
    ));
    assert_eq!(first.event(), ViewerEvent::WorkerLost);
    assert!(second.events.is_empty());
    first.page.close();
    assert_eq!(second.event(), ViewerEvent::WorkerLost);
    within_limit(media.rewire(second.viewer, control, stream)).unwrap();
    let hello = second.worker.receive();
    assert!(matches!(hello, ToWorker::Hello { .. }), "{hello:?}");
    second.worker.skip_to(&ToWorker::Keyframe);
    second.show(true, 1_000);
}

#[test]
fn a_page_that_finds_nobody_to_share_with_is_told_so() {
    let media = start();
    let first = connect(&media);
    media.detach(first.viewer);
    let (events, _) = async_channel::bounded(4);
    let attach = super::Attach {
        session: session(1),
        sdp: Page::new().offer(),
        size: super::SIZE,
        worker: None,
        events,
        acks: async_channel::bounded(1).0,
    };
    let attached = smol::block_on(media.attach(attach));
    assert!(matches!(attached, Err(AttachError::NoWorker)));
    let mut again = connect_page(&media, Page::new());
    again.show(true, 1_000);
}
