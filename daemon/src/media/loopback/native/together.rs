//! Native viewers and pages at one desktop.

use std::cell::Cell;

use sandbox_protocol::Size;
use sandbox_protocol::local::worker::{FromWorker, Pictures, ToWorker};
use sandbox_protocol::wire::control::FromViewer;
use sandbox_protocol::wire::ctl::ToServer;

use super::{SLOTS, connect, control, displays, join, key, session, start};
use crate::media::ViewerEvent;
use crate::media::loopback::page::Page;
use crate::media::loopback::worker::as_told;
use crate::media::loopback::{connect as connect_page, enter};

const BOTH: Pictures = Pictures {
    access_units: true,
    updates: Some(SLOTS),
};

#[test]
fn a_native_observer_beside_a_page_sees_updates_and_touches_nothing() {
    let media = start();
    let mut page = connect_page(&media);
    let mut native = join(&media, &page.worker, 64);
    page.worker.hear(&ToWorker::Pictures(BOTH));
    page.worker.hear(&ToWorker::Whole);
    native.show(b"first", true);
    page.show(true, 2_000);
    native.show(b"second", false);
    page.show(false, 500);
    assert_eq!(native.client.shown.len(), 2);

    native.client.send(&key(6, 1).encode());
    native.client.say(&FromViewer::Paste {
        text: "rm".to_owned(),
        is_last: true,
    });
    let size = Size {
        width: 800,
        height: 600,
    };
    native.client.say(&FromViewer::Displays(displays(size)));
    native.synchronize(&media);
    page.page.send_input(&key(1, 1).encode());
    page.synchronize();
    page.worker.skip_over_keyframes_to(&as_told(key(1, 1)));

    // It takes control, with its size, and the page's input is void.
    control::give(&media, session(1), native.viewer);
    page.worker.hear(&ToWorker::Resize(size));
    page.page.send_input(&key(1, 2).encode());
    page.synchronize();
    native.client.send(&key(6, 1).encode());
    let worker = page.worker.clone();
    native.client.run_until(|_| worker.has_input());
    worker.hear(&as_told(key(6, 1)));
    worker.send(&FromWorker::Applied { stream: 6, seq: 1 });
    native.client.run_until(|it| !it.acks.is_empty());
    assert_eq!(native.client.acks, [(6, 1)]);
    assert!(page.page.acks.is_empty());
    assert_eq!(page.counters(&media).viewers, 2);

    native.client.close();
    page.worker
        .hear(&ToWorker::Pictures(Pictures::ACCESS_UNITS));
    page.show(false, 500);
}

#[test]
fn a_page_beside_a_native_viewer_in_control_sees_access_units() {
    let media = start();
    let mut native = connect(&media);
    native.show(b"first", true);
    let mut page = enter(&media, session(1), Page::new(), native.worker.clone(), None);
    native.worker.hear(&ToWorker::Pictures(BOTH));
    page.page.run_until(Page::is_ready);
    assert_eq!(page.event(), ViewerEvent::Connected);
    native.worker.hear(&ToWorker::Keyframe);
    page.show(true, 3_000);
    native.show(b"second", false);
    page.page.send_ctl(&ToServer::Resize {
        width: 800,
        height: 600,
    });
    page.page.send_input(&key(1, 1).encode());
    page.synchronize();
    native.client.send(&key(5, 1).encode());
    let worker = native.worker.clone();
    native.client.run_until(|_| worker.has_input());
    worker.skip_over_keyframes_to(&as_told(key(5, 1)));

    media.detach(native.viewer);
    worker.hear(&ToWorker::Pictures(Pictures::ACCESS_UNITS));
    page.show(false, 500);
    control::give(&media, session(1), page.viewer);
    worker.hear(&ToWorker::Resize(Size {
        width: 800,
        height: 600,
    }));
}

#[test]
fn native_viewers_share_updates_and_the_smallest_cache() {
    let media = start();
    let mut first = connect(&media);
    first.show(b"first", true);
    let mut second = join(&media, &first.worker, 32);
    first.worker.hear(&ToWorker::Pictures(Pictures {
        access_units: false,
        updates: Some(SLOTS / 2),
    }));
    // It needs a whole one first, which both get.
    first.show(b"for the first alone", false);
    first.show(b"for both", true);
    first.show(b"second of both", false);
    second.client.run_until(|it| it.shown.len() == 2);
    assert_eq!(second.client.shown[0].bytes, b"for both");
    assert_eq!(second.client.shown[1].bytes, b"second of both");
    assert_eq!(
        (second.client.shown[1].epoch, second.client.shown[1].number),
        (1, 2)
    );
    assert_eq!(first.client.shown[3].epoch, 2);

    second.client.close();
    first.worker.hear(&ToWorker::Pictures(Pictures {
        access_units: false,
        updates: Some(SLOTS),
    }));
    first.show(b"on", false);
}

#[test]
fn a_native_observer_that_cannot_keep_up_loses_updates_alone() {
    let media = start();
    let mut first = connect(&media);
    first.show(b"first", true);
    let mut second = join(&media, &first.worker, 64);
    first.worker.hear(&ToWorker::Whole);
    first.show(b"whole", true);
    second.client.run_until(|it| !it.shown.is_empty());
    // While the second does not run it falls behind, and the worker hears nothing; how much that
    // takes depends on the round trip that was measured.
    let worker = first.worker.clone();
    let is_asked = Cell::new(false);
    let mut count = 14;
    let mut last = String::new();
    while !is_asked.get() {
        for _ in 0..count {
            first.show(&[7; 60_000], false);
        }
        last = format!("the last of {count}");
        first.show(last.as_bytes(), false);
        let all = first.client.shown.len() - 1;
        second.client.run_until(|it| {
            is_asked.set(worker.has(&ToWorker::Whole));
            is_asked.get() || it.shown.len() == all
        });
        count *= 2;
    }
    first.show(b"whole again", true);
    second
        .client
        .run_until(|it| it.shown.last().is_some_and(|it| it.bytes == b"whole again"));
    let [.., before, _] = &second.client.shown[..] else {
        panic!("only one update came");
    };
    assert!(before.bytes != last.as_bytes(), "it was left out");
    assert!(second.client.shown.len() + 1 < first.client.shown.len());
}

#[test]
fn a_desktop_goes_on_for_others_while_the_viewer_in_control_sees_nothing() {
    let media = start();
    let mut first = connect(&media);
    first.show(b"first", true);
    first.client.say(&FromViewer::Suspend);
    let worker = first.worker.clone();
    first
        .client
        .run_until(|_| worker.has(&ToWorker::Flow(false)));
    let mut second = join(&media, &worker, 64);
    worker.hear(&ToWorker::Flow(true));
    worker.hear(&ToWorker::Whole);
    second.show(b"for the second alone", true);
    first.synchronize(&media);
    assert_eq!(first.client.shown.len(), 1);

    media.detach(second.viewer);
    first.synchronize(&media);
    worker.hear(&ToWorker::Flow(false));
    first.client.say(&FromViewer::Resume);
    first.client.run_until(|_| worker.has(&ToWorker::Whole));
}
