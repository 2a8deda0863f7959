//! Input by the data channel and by copies that come another way.

use sandbox_protocol::local::worker::{FromWorker, ToWorker};
use sandbox_protocol::wire::input::{Event as InputEvent, Packet, encode_ack};

use super::page::Page;
use super::worker::as_told;
use super::{attach, connect, session, start, worker};
use crate::media::LeftReason;

fn key(code: u16) -> Packet {
    Packet {
        stream: 5,
        first_seq: 9,
        events: vec![InputEvent::Key {
            code,
            keysym: 0x61,
            is_down: true,
        }],
        pointer: None,
        held: Some(vec![code]),
    }
}

#[test]
fn input_reaches_the_worker_and_its_acknowledgement_the_page() {
    let media = start();
    let mut attached = connect(&media);
    attached.page.send_input(&key(30).encode());
    attached.worker.skip_to(&as_told(key(30)));
    attached
        .worker
        .send(&FromWorker::Applied { stream: 5, seq: 9 });
    attached.page.run_until(|page| !page.acks.is_empty());
    assert_eq!(attached.page.acks, [encode_ack(5, 9)]);
}

#[test]
fn a_copy_that_came_another_way_is_acknowledged_both_ways() {
    let media = start();
    let mut attached = connect(&media);
    attached.page.send_input(&key(30).encode());
    attached.worker.skip_to(&as_told(key(30)));
    let applied = |seq| FromWorker::Applied { stream: 5, seq };
    attached.worker.send(&applied(9));
    attached.page.run_until(|page| page.acks.len() == 1);
    assert!(attached.acks.is_empty(), "this page sends no copies");

    smol::block_on(media.input(attached.viewer, key(31)));
    attached.worker.skip_to(&as_told(key(31)));
    attached.worker.send(&applied(10));
    attached.page.run_until(|page| page.acks.len() == 2);
    let copied = worker::within_limit(attached.acks.recv());
    assert_eq!(copied, Ok(encode_ack(5, 10)));
}

#[test]
fn a_flood_of_copies_closes_the_viewer_that_sends_them() {
    let media = start();
    let attached = connect(&media);
    for _ in 0..2_100 {
        smol::block_on(media.input(attached.viewer, key(30)));
    }
    assert_eq!(attached.left(), LeftReason::Flood);
}

#[test]
fn nonsense_and_floods_close_the_viewer_that_sends_them_and_no_other() {
    let media = start();
    let mut other = attach(&media, session(9), Page::new());
    other.page.run_until(Page::is_ready);
    other.worker.skip_hello_to(&ToWorker::Keyframe);

    let check = |act: &dyn Fn(&mut Page), is_expected: &dyn Fn(&LeftReason) -> bool| {
        let mut attached = connect(&media);
        act(&mut attached.page);
        attached.page.run_until(|page| page.is_closed);
        let left = attached.left();
        assert!(is_expected(&left), "{left:?}");
    };
    let malformed = |reason: &LeftReason| matches!(reason, LeftReason::Malformed(_));
    check(&|page| page.send_input(&[1, 2, 3]), &malformed);
    check(&|page| page.send_ctl_text("{\"t\":\"other\"}"), &malformed);
    check(
        &|page| page.send_ctl_text(&" ".repeat((64 << 10) + 1)),
        &malformed,
    );
    let flood = |page: &mut Page| {
        let packet = key(30).encode();
        for _ in 0..40 {
            for _ in 0..60 {
                page.send_input(&packet);
            }
            page.run_once();
        }
    };
    check(&flood, &|reason| *reason == LeftReason::Flood);

    other.show(true, 1_000);
}
