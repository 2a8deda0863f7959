//! The wires inside a node. The first byte says which: see `wires::LOCAL`.

use bincode::Encode;
use sandbox_protocol::local::frame::{Content, FrameHeader};
use sandbox_protocol::local::warden::{
    EndReason, Event, MemoryShortage, Refusal, Request, StartSession,
};
use sandbox_protocol::local::worker::{
    Begin, CopiedPiece, Counters, Cursor, FromWarden, FromWorker, Pictures, ToWarden, ToWorker,
    WorkerPlan,
};
use sandbox_protocol::{Bitrate, Micros, SessionId, Size, UserIndex, codec};

use super::{EVENTS, POINTER, SIZE};

const SESSION: SessionId = SessionId::from_bytes([3; 16]);

fn text(it: &str) -> String {
    it.to_owned()
}

fn on<T: Encode>(wire: u8, messages: &[T]) -> Vec<Vec<u8>> {
    let encode = |it: &T| [&[wire][..], &codec::encode(it).unwrap()].concat();
    messages.iter().map(encode).collect()
}

pub(crate) fn local() -> Vec<Vec<u8>> {
    [
        on(0, &requests()),
        on(1, &events()),
        on(2, &[FromWarden::Start(plan()), FromWarden::Attach]),
        on(3, &to_warden()),
        on(4, &to_worker()),
        on(5, &from_worker()),
    ]
    .concat()
}

fn requests() -> Vec<Request> {
    let session = SESSION;
    vec![
        Request::Ready,
        Request::Start(StartSession {
            session,
            user: UserIndex(1),
            user_name: text("alice"),
            profile: text("default"),
            size: SIZE,
        }),
        Request::Attach { session },
        Request::Usage { session },
        Request::End { session },
        Request::Certificate,
    ]
}

fn events() -> Vec<Event> {
    let session = SESSION;
    let refusals = [
        Refusal::Missing {
            layer: text("xvfb"),
            detail: text("install it"),
        },
        Refusal::Invalid { detail: text("i") },
        Refusal::Unknown,
        Refusal::Full { detail: text("f") },
        Refusal::Failed { detail: text("e") },
    ];
    let mut all = vec![
        Event::Hello {
            version: 2,
            tcp: 1,
            udp: 2,
            metrics: 1,
            weaker: vec![text("w"), text("x")],
            sessions: vec![session; 2],
        },
        Event::Started {
            session,
            size: SIZE,
            weaker: vec![text("w")],
        },
        Event::Attached { session },
        Event::Usage {
            session,
            cpu_nanos: 1,
            memory_bytes: 2,
            pids: 3,
        },
        Event::Ended {
            session,
            reason: EndReason::XHeldByProgram,
        },
        Event::Certificate,
        Event::NoCertificate { why: text("gone") },
        Event::OutOfMemory {
            session,
            shortage: MemoryShortage {
                limit_mb: 512,
                killed: 2,
                programs: vec![text("chromium")],
            },
        },
    ];
    all.extend(refusals.map(|why| Event::Refused { session, why }));
    all
}

fn plan() -> WorkerPlan {
    WorkerPlan {
        version: 2,
        begin: Begin::Succeed,
        screen_size: SIZE,
        size: SIZE,
        pixels_offset: 3_232,
        stride: 1_320,
        cookie: [5; 16],
        fps_max: 60,
        encoder_threads: 2,
        codec: text("auto"),
        log_filter: text("info"),
    }
}

fn to_warden() -> Vec<ToWarden> {
    vec![
        ToWarden::Ready {
            size: SIZE,
            weaker: vec![text("w")],
        },
        ToWarden::Failed {
            layer: text("seccomp"),
            detail: text("d"),
        },
        ToWarden::XHeld,
        ToWarden::Attached,
    ]
}

fn to_worker() -> Vec<ToWorker> {
    let pictures = Pictures {
        access_units: true,
        updates: Some(16),
    };
    vec![
        ToWorker::Hello {
            version: 2,
            bitrate: Bitrate::kbps(8_000),
            size: SIZE,
            pictures,
        },
        ToWorker::Pictures(Pictures::ACCESS_UNITS),
        ToWorker::Input {
            stream: 1,
            first_seq: 2,
            events: EVENTS.to_vec(),
            pointer: Some(POINTER),
            held: Some(vec![30]),
        },
        ToWorker::Keyframe,
        ToWorker::Invalidate(7),
        ToWorker::Whole,
        ToWorker::Target(Bitrate::kbps(1)),
        ToWorker::Flow(false),
        ToWorker::Resize(SIZE),
        ToWorker::Paste {
            text: text("p"),
            last: true,
        },
        ToWorker::Count,
        ToWorker::Touch,
    ]
}

fn from_worker() -> Vec<FromWorker> {
    vec![
        FromWorker::Hello {
            version: 2,
            size: SIZE,
            encoder_name: text("libx264"),
        },
        FromWorker::Applied { stream: 1, seq: 2 },
        FromWorker::Resized(SIZE),
        FromWorker::Cursor(Cursor {
            size: Size {
                width: 2,
                height: 1,
            },
            hot_x: 1,
            hot_y: 0,
            rgba: vec![9; 8],
        }),
        FromWorker::Counters(Counters::default()),
        FromWorker::Copied(CopiedPiece {
            text: text("c"),
            is_first: true,
            is_last: true,
        }),
    ]
}

pub(crate) fn frame() -> Vec<Vec<u8>> {
    let update = |is_whole| Content::Update {
        is_whole,
        is_video_only: !is_whole,
        recovers: is_whole,
    };
    let contents = [Content::AccessUnit, update(false), update(true)];
    let frame = |content| {
        let header = FrameHeader {
            content,
            is_keyframe: true,
            is_refinement: false,
            qp: 21,
            frame: 7,
            size: SIZE,
            input_seq: 42,
            injected: Micros(1),
            damaged: Micros(2),
            captured: Micros(3),
            encoded: Micros(u64::MAX),
        };
        [&header.encode(5)[..], b"bytes"].concat()
    };
    contents.map(frame).to_vec()
}
