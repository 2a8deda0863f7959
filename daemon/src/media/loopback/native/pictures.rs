//! Updates on their way to native viewers: lost, large, of another size, of another worker.

use std::time::Duration;

use sandbox_protocol::Size;
use sandbox_protocol::local::frame::Content;
use sandbox_protocol::local::worker::{CopiedPiece, Cursor, FromWorker, Pictures, ToWorker};
use sandbox_protocol::wire::control::{FromServer, FromViewer};

use super::client::Client;
use super::{SLOTS, attach, connect, displays, join, start};
use crate::media::ViewerEvent;
use crate::media::loopback::worker::{Worker, within_limit};

const VIDEO: Content = Content::Update {
    is_whole: false,
    is_video_only: true,
    recovers: false,
};

#[test]
fn what_is_lost_on_the_way_is_repaired() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(&[1; 3_000], true);
    for number in 2..30 {
        attached.client.lose = 1 + usize::from(number) % 3;
        attached.show(&[number; 2_500], false);
    }
}

#[test]
fn a_large_update_comes_by_a_stream_of_its_own() {
    let media = start();
    let mut attached = connect(&media);
    let large: Vec<u8> = (0..300_000_u32).map(|it| (it / 7) as u8).collect();
    attached.show(&large, true);
    attached.show(b"small", false);
    attached.show(&large[1..], false);
    assert_eq!(attached.client.streamed, 2);
}

#[test]
fn an_update_that_another_whole_one_supersedes_is_not_waited_for() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(b"first", true);
    // The viewer reads nothing of them before the last one is under way.
    for byte in 2..5 {
        attached.worker.send_update(true, &vec![byte; 400_000]);
    }
    attached.worker.send_update(true, b"last");
    attached
        .client
        .run_until(|it| it.shown.last().is_some_and(|it| it.bytes == b"last"));
    assert_eq!(attached.client.shown.last().unwrap().epoch, 5);
}

#[test]
fn a_viewer_goes_on_with_the_next_worker_from_a_whole_update_on() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(b"first", true);
    for _ in 0..2 {
        let (next, control, stream) = Worker::new();
        drop(std::mem::replace(&mut attached.worker, next));
        assert_eq!(
            within_limit(attached.events.recv()),
            Ok(ViewerEvent::WorkerLost)
        );
        within_limit(media.rewire(attached.viewer, control, stream)).unwrap();
        let hello = attached.worker.receive();
        let pictures = Pictures {
            access_units: false,
            updates: Some(SLOTS),
        };
        assert!(
            matches!(hello, ToWorker::Hello { pictures: it, .. } if it == pictures),
            "{hello:?}"
        );
        attached
            .worker
            .send_update(false, b"of a picture that is not there");
        attached.show(b"first of the next", true);
        attached.show(b"second", false);
    }
    let epochs: Vec<_> = attached.client.shown.iter().map(|it| it.epoch).collect();
    assert_eq!(epochs, [1, 2, 2, 3, 3]);
}

#[test]
fn another_size_is_told_with_the_epoch_that_it_begins() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(b"first", true);
    let size = Size {
        width: 800,
        height: 600,
    };
    attached.client.say(&FromViewer::Displays(displays(size)));
    let worker = attached.worker.clone();
    attached
        .client
        .run_until(|_| worker.has(&ToWorker::Resize(size)));
    worker.send(&FromWorker::Resized(size));
    let whole = Content::Update {
        is_whole: true,
        is_video_only: false,
        recovers: false,
    };
    worker.send_content(whole, 0, size, b"larger");
    attached.client.run_until(|it| {
        let is_it = |it: &FromServer| {
            matches!(it, FromServer::Config(it) if (it.epoch, it.size) == (2, size))
        };
        it.told.iter().any(is_it) && it.shown.last().is_some_and(|it| it.epoch == 2)
    });
}

#[test]
fn pointer_and_copied_text_come_on_the_control_stream() {
    let media = start();
    let mut attached = connect(&media);
    let rgba = vec![7; 96 * 96 * 4];
    let size = Size {
        width: 96,
        height: 96,
    };
    attached.worker.send(&FromWorker::Cursor(Cursor {
        size,
        hot_x: 3,
        hot_y: 4,
        rgba: rgba.clone(),
    }));
    let text = "x".repeat(8 << 10);
    attached.worker.send(&FromWorker::Copied(CopiedPiece {
        text: text.clone(),
        is_first: true,
        is_last: true,
    }));
    let copied = FromServer::Copied {
        text,
        is_first: true,
        is_last: true,
    };
    attached
        .client
        .run_until(|it| it.told.last() == Some(&copied));
    let shape = FromServer::CursorShape {
        size,
        hot_x: 3,
        hot_y: 4,
        rgba,
    };
    assert!(attached.client.told.contains(&shape));
    let mut late = join(&media, &attached.worker, 64);
    late.client.run_until(|it| it.told.contains(&shape));

    let text = "y".repeat(32 << 10);
    attached.client.say(&FromViewer::Paste {
        text: text.clone(),
        is_last: true,
    });
    attached
        .client
        .run_until(|it| it.told.contains(&FromServer::Pasted));
    attached.worker.hear(&ToWorker::Paste { text, last: true });
}

#[test]
fn video_that_cannot_be_repaired_is_told_to_the_worker_by_its_access_unit() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(b"first", true);
    let worker = attached.worker.clone();
    worker.send_content(VIDEO, 41, super::SIZE, &[41; 500]);
    attached.client.run_until(|it| it.shown.len() == 2);
    attached.client.lose_always = Some(42);
    worker.send_content(VIDEO, 42, super::SIZE, &[42; 500]);
    worker.send_content(VIDEO, 43, super::SIZE, &[43; 500]);
    attached
        .client
        .run_until(|_| worker.has(&ToWorker::Invalidate(42)));
    let recovers = Content::Update {
        is_whole: false,
        is_video_only: true,
        recovers: true,
    };
    worker.send_content(recovers, 44, super::SIZE, &[44; 500]);
    let is_good = |it: &Client| {
        let last = it.shown.last().unwrap();
        last.bytes == [44; 500] && !last.is_video_broken
    };
    attached.client.run_until(is_good);
    assert!(!attached.client.shown.iter().any(|it| it.bytes == [42; 500]));
}

#[test]
fn a_viewer_that_asks_for_a_whole_picture_is_answered_once_in_a_while() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(b"first", true);
    for _ in 0..10 {
        attached.client.say(&FromViewer::WholePicture);
    }
    attached.synchronize(&media);
    let mut wholes = 0;
    while attached.worker.has_message() {
        wholes += usize::from(attached.worker.receive() == ToWorker::Whole);
    }
    assert_eq!(wholes, 1);
}

#[test]
fn a_window_that_is_not_seen_gets_nothing_and_then_a_whole_picture() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(b"first", true);
    attached.client.say(&FromViewer::Suspend);
    let worker = attached.worker.clone();
    attached
        .client
        .run_until(|_| worker.has(&ToWorker::Flow(false)));
    worker.send_update(false, b"not seen");
    attached.synchronize(&media);
    attached.client.say(&FromViewer::Resume);
    attached.client.run_until(|_| worker.has(&ToWorker::Whole));
    attached.show(b"second", true);
    assert_eq!(attached.client.shown.len(), 2);
}

#[test]
fn a_viewer_that_does_not_read_stops_the_captures_until_it_reads_again() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(b"first", true);
    // More than leaves at once, whatever is known of the link.
    for byte in 2..18 {
        attached.worker.send_update(false, &vec![byte; 60_000]);
    }
    attached.worker.hear(&ToWorker::Flow(false));
    let worker = attached.worker.clone();
    attached
        .client
        .run_until(|_| worker.has(&ToWorker::Flow(true)));
    attached.client.run_until(|it| it.shown.len() == 17);
}

#[test]
fn a_viewer_that_moves_to_another_address_goes_on() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(b"first", true);
    attached.client.move_away();
    attached.client.input.handle_focus_lost(crate::clock::now());
    let worker = attached.worker.clone();
    attached.client.run_until(|_| worker.has_input());
    attached.show(&[2; 40_000], false);
}

#[test]
fn a_worker_that_sends_no_update_ends_the_session_and_not_the_connection() {
    let media = start();
    let mut attached = connect(&media);
    attached.worker.send_update(true, b"");
    assert_eq!(attached.left(), crate::media::LeftReason::WorkerGone);
    attached.client.run_until(|_| true);
    let (worker, control, stream) = Worker::new();
    let pair = Some([control, stream]);
    let mut attached = attach(&media, (attached.client, attached.peer), worker, pair);
    attached.show(b"again", true);
}

#[test]
fn rest_costs_nothing() {
    let media = start();
    let mut attached = connect(&media);
    attached.show(&[1; 3_000], true);
    attached.synchronize(&media);
    attached.client.run_until(Client::is_at_rest);
    let counted = attached.counters(&media);
    assert_eq!((counted.frames, counted.keyframes), (1, 1));
    assert!(counted.rtp_bytes >= 3_000 && counted.round_trip.is_some());
    let end = crate::clock::now() + Duration::from_millis(500);
    attached.client.run_until(|_| crate::clock::now() >= end);
    let rested = attached.counters(&media);
    assert_eq!(rested.rtp_packets, counted.rtp_packets);
}
