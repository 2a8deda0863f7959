//! A viewer and its page with no network between them.

use std::net::SocketAddr;

use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::TcpType;
use str0m::{Candidate, Input};

use super::*;
use crate::clock;
use crate::media::addresses::Candidates;
use crate::media::offer::Answerer;

const ROUNDS_MAX: usize = 1_000;

/// A viewer whose page has come by this protocol, the only one that either of them has.
fn connected(protocol: Protocol) -> Viewer {
    let (near, far): (SocketAddr, SocketAddr) = (
        "192.0.2.1:50000".parse().unwrap(),
        "192.0.2.2:3478".parse().unwrap(),
    );
    let is_tcp = protocol == Protocol::Tcp;
    let only = |is_it: bool| if is_it { vec![far] } else { Vec::new() };
    let candidates = Candidates {
        udp: only(!is_tcp),
        tcp: only(is_tcp),
    };
    let mut now = clock::now();
    let mut page = Rtc::builder().clear_codecs().enable_h264(true).build(now);
    let candidate = match is_tcp {
        true => Candidate::builder()
            .tcp()
            .host(near)
            .tcptype(TcpType::Active)
            .build(),
        false => Candidate::host(near, "udp"),
    };
    page.add_local_candidate(candidate.unwrap());
    let mut api = page.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let (offer, pending) = api.apply().unwrap();
    let answerer = Answerer::new(candidates).unwrap();
    let answer = answerer.answer(&offer.to_sdp_string(), now).unwrap();
    let sdp = SdpAnswer::from_sdp_string(&answer.sdp).unwrap();
    page.sdp_api().accept_answer(pending, sdp).unwrap();
    let begin = Begin {
        rtc: answer.rtc,
        timeline: Timeline::new(now, clock::micros()),
        size: Size {
            width: 1_024,
            height: 768,
        },
        bitrate_max: Bitrate::kbps(20_000),
    };
    let mut viewer = Viewer::new(begin, now);
    for _ in 0..ROUNDS_MAX {
        now += Duration::from_millis(10);
        page.handle_input(Input::Timeout(now)).unwrap();
        viewer.handle_timeout(now).unwrap();
        loop {
            match page.poll_output().unwrap() {
                Output::Timeout(_) => break,
                Output::Transmit(sent) => {
                    let came = Receive::new(protocol, near, far, &sent.contents).unwrap();
                    viewer.handle_datagram(now, came).unwrap();
                }
                Output::Event(_) => (),
            }
        }
        for sent in std::mem::take(&mut viewer.outputs.transmits) {
            let came = Receive::new(protocol, far, near, &sent.contents).unwrap();
            page.handle_input(Input::Receive(now, came)).unwrap();
        }
        if viewer.phase == Phase::Connected {
            return viewer;
        }
    }
    panic!("not connected after {ROUNDS_MAX} rounds");
}

#[test]
fn the_estimate_knows_whether_its_page_comes_by_tcp() {
    assert!(connected(Protocol::Tcp).rate.is_in_order());
    assert!(!connected(Protocol::Udp).rate.is_in_order());
}
