//! A viewer whose worker ends and is followed by another.

use sandbox_protocol::Size;
use sandbox_protocol::local::worker::{Counters, FromWorker, ToWorker};
use sandbox_protocol::wire::ctl::ToServer;
use sandbox_protocol::wire::input::{Event, Packet};

use super::worker::{Worker, as_told, within_limit};
use super::{Attached, connect, start};
use crate::media::{Media, ViewerEvent};

#[test]
fn a_viewer_goes_on_with_the_next_worker_on_the_same_connection() {
    let media = start();
    let mut attached = connect(&media);
    attached.worker.send_frame(true, 2_000);
    attached.page.run_until(|page| page.frames.len() == 1);
    let size = Size {
        width: 800,
        height: 600,
    };
    attached.page.send_ctl(&ToServer::Resize {
        width: size.width,
        height: size.height,
    });
    attached.page.send_ctl(&ToServer::Paste {
        text: "rm -r ".to_owned(),
        last: false,
    });
    attached.synchronize();

    for _ in 0..2 {
        let (next, control, stream) = Worker::new();
        drop(std::mem::replace(&mut attached.worker, next));
        assert_eq!(attached.event(), ViewerEvent::WorkerLost);
        within_limit(media.rewire(attached.viewer, control, stream)).unwrap();
        let hello = attached.worker.receive();
        assert!(
            matches!(hello, ToWorker::Hello { size: it, .. } if it == size),
            "{hello:?}"
        );
        attached.worker.skip_to(&ToWorker::Keyframe);
        let frames = attached.page.frames.len();
        // Not to be decoded without the key frame that follows.
        attached.worker.send_frame(false, 500);
        attached.worker.send_frame(true, 2_000);
        attached
            .page
            .run_until(|page| page.frames.len() == frames + 1);
        assert!(attached.page.frames[frames].is_keyframe);
    }

    // The end of a text whose beginning is lost is not pasted.
    for text in ["/tmp/x", "whole"] {
        attached.page.send_ctl(&ToServer::Paste {
            text: text.to_owned(),
            last: true,
        });
    }
    attached.page.run_until(|_| attached.worker.has_message());
    attached.worker.skip_to(&ToWorker::Paste {
        text: "whole".to_owned(),
        last: true,
    });
}

fn keys(first_seq: u32, count: usize) -> Packet {
    Packet {
        stream: 5,
        first_seq,
        events: vec![Event::ReleaseAll; count],
        pointer: None,
        held: None,
    }
}

/// Ends the worker; the next one has been greeted.
fn replace_worker(media: &Media, attached: &mut Attached) {
    let (next, control, stream) = Worker::new();
    drop(std::mem::replace(&mut attached.worker, next));
    assert_eq!(attached.event(), ViewerEvent::WorkerLost);
    within_limit(media.rewire(attached.viewer, control, stream)).unwrap();
    assert!(matches!(attached.worker.receive(), ToWorker::Hello { .. }));
}

#[test]
fn input_that_may_be_lost_with_its_worker_is_counted_and_other_input_comes_once() {
    let media = start();
    let mut attached = connect(&media);
    let applied = |seq| FromWorker::Applied { stream: 5, seq };
    let input = |packet| smol::block_on(media.input(attached.viewer, packet));
    input(keys(1, 1));
    attached.worker.skip_to(&as_told(keys(1, 1)));
    attached.worker.send(&applied(1));
    attached.page.run_until(|page| page.acks.len() == 1);
    input(keys(2, 3));
    attached.worker.skip_to(&as_told(keys(2, 3)));

    replace_worker(&media, &mut attached);
    // It is asked how far it is, before anything that the page repeats.
    attached.worker.skip_to(&as_told(keys(1, 1)));
    attached.worker.skip_to(&ToWorker::Count);
    attached.worker.skip_to(&ToWorker::Keyframe);
    smol::block_on(media.input(attached.viewer, keys(2, 3)));
    attached.synchronize();
    assert!(!attached.worker.has_message(), "it came before the answer");
    attached.worker.send(&applied(3));
    attached
        .worker
        .send(&FromWorker::Counters(Counters::default()));
    attached.worker.skip_to(&as_told(keys(2, 3)));
    attached.worker.send(&applied(4));
    // Noted by the worker that ended, and not acknowledged: two and three.
    assert_eq!(attached.counters(&media).inputs_in_doubt, 2);
}
