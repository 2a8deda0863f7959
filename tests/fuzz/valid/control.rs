//! The control stream of both directions, each kind alone and all of them in a row.

use sandbox_protocol::wire::control::{
    AuthFailure, AuthMethod, Chroma, Codec, Display, FromServer, FromViewer, Message, Profile,
    Secret, StreamConfig, VideoCapability, encode_into,
};
use sandbox_protocol::{SessionId, Size};

use super::SIZE;

const SESSION: SessionId = SessionId::from_bytes([3; 16]);

const DISPLAY: Display = Display {
    x: 1,
    y: 2,
    size: SIZE,
    scale: 100,
};

fn text(it: &str) -> String {
    it.to_owned()
}

fn secret(it: &str) -> Secret<String> {
    Secret(text(it))
}

/// Each message, then a stream of all of them; one with extensions, and one of a later version.
fn streams<M: Message>(messages: &[M]) -> Vec<Vec<u8>> {
    assert!(messages.len() >= M::KINDS as usize);
    let one = |message: &M| {
        let mut out = Vec::new();
        encode_into(message, &mut out).unwrap();
        out
    };
    let mut all: Vec<_> = messages.iter().map(one).collect();
    let whole = all.concat();
    let mut extended = all[0].clone();
    extended.extend([5, 0, 2, 0, 1, 2]);
    let length = extended.len() as u32 - 4;
    extended[..4].copy_from_slice(&length.to_le_bytes());
    let later = [8, 0, 0, 0, 99, 0, 0, 0, 1, 2, 3, 4].to_vec();
    all.extend([whole, extended, later]);
    all
}

pub(crate) fn control_from_viewer() -> Vec<Vec<u8>> {
    let video = VideoCapability {
        codec: Codec::H264,
        profile: Profile::High,
        chroma: Chroma::Yuv420,
        size: SIZE,
        decode_us: 3_000,
    };
    let hello = FromViewer::Hello {
        minor_min: 0,
        minor_max: 1,
        features: 5,
        video: vec![video; 2],
        cache_mib: 64,
        agent: text("viewer"),
    };
    let methods = [
        AuthMethod::Password {
            user: text("alice"),
            password: secret("geheim"),
        },
        AuthMethod::Token {
            token: secret("token"),
            proof: Secret([1; 32]),
        },
        AuthMethod::DeviceKey {
            key: [2; 32],
            signature: Secret([3; 64]),
        },
        AuthMethod::Ticket {
            id: [4; 16],
            proof: Secret([5; 32]),
        },
        AuthMethod::Enrol {
            code: secret("code"),
            key: [6; 32],
            signature: Secret([7; 64]),
            name: text("laptop"),
        },
    ];
    let mut messages = vec![hello];
    messages.extend(methods.map(FromViewer::Auth));
    messages.extend([
        FromViewer::Attach {
            session: Some(SESSION),
            profile: Some(text("default")),
            displays: vec![DISPLAY; 4],
        },
        FromViewer::Start,
        FromViewer::Displays(vec![DISPLAY]),
        FromViewer::Quality(50),
        FromViewer::WholePicture,
        FromViewer::Paste {
            text: text("grüße"),
            is_last: true,
        },
        FromViewer::Suspend,
        FromViewer::Resume,
        FromViewer::Detach,
        FromViewer::Goodbye { code: 1 },
        FromViewer::TakeControl,
        FromViewer::LinkRate { kbps: 40_000 },
    ]);
    streams(&messages)
}

pub(crate) fn control_from_server() -> Vec<Vec<u8>> {
    let config = StreamConfig {
        epoch: 1,
        size: SIZE,
        codec: Codec::Av1,
        profile: Profile::Main,
        chroma: Chroma::Yuv444,
        cache_mib: 64,
    };
    streams(&[
        FromServer::Hello {
            minor: 1,
            features: 5,
            node: [1; 16],
            codec: Codec::H264,
            cache_mib: 64,
        },
        FromServer::Welcome {
            user: text("alice"),
            ticket: ([1; 16], Secret([2; 32])),
            ticket_seconds: 60,
        },
        FromServer::AuthFailed {
            why: AuthFailure::TooMany,
            retry_after_ms: 1_000,
        },
        FromServer::Attached {
            session: SESSION,
            lease: 4,
            config: config.clone(),
            notices: vec![text("a"), text("notice")],
        },
        FromServer::Config(config),
        FromServer::Notice {
            code: text("c"),
            text: text("t"),
        },
        FromServer::Copied {
            text: text("x"),
            is_first: true,
            is_last: false,
        },
        FromServer::CursorShape {
            size: Size {
                width: 2,
                height: 1,
            },
            hot_x: 1,
            hot_y: 0,
            rgba: vec![255; 8],
        },
        FromServer::NextKey([9; 32]),
        FromServer::Detached { reason: text("r") },
        FromServer::Goodbye {
            code: 1,
            retry_after_ms: 2,
            node: text("n"),
        },
        FromServer::Control { has_control: true },
        FromServer::Pasted,
        FromServer::PublicUrl(text("https://box")),
        FromServer::LinkRate { kbps: 40_000 },
    ])
}
