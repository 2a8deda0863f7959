//! JSON of both ends of the browser's channels, addresses and scripts.

use sandbox_protocol::wire::{ctl, signal};
use serde::Serialize;

fn text(it: &str) -> String {
    it.to_owned()
}

fn json<T: Serialize>(messages: &[T]) -> Vec<Vec<u8>> {
    let messages = messages.iter();
    messages.map(|it| serde_json::to_vec(it).unwrap()).collect()
}

pub(crate) fn signal() -> Vec<Vec<u8>> {
    use signal::{ToPage, ToServer};
    let to_server = [
        ToServer::Auth {
            token: text("a.b.c"),
        },
        ToServer::Offer {
            sdp: text("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"),
            width: 1_280,
            height: 720,
            observe: true,
        },
        ToServer::TakeControl,
        ToServer::Renew { token: text("d") },
        ToServer::Bye,
    ];
    let to_page = [
        ToPage::Ready {
            session: text("s"),
            media: vec![text("192.0.2.1:3478")],
            notices: vec![text("n")],
        },
        ToPage::Answer { sdp: text("v=0") },
        ToPage::Token {
            token: text("t"),
            expires_in: 900,
        },
        ToPage::Error {
            code: text("busy"),
            message: text("m"),
            is_final: true,
        },
        ToPage::Control { yours: true },
        ToPage::OutOfMemory {
            limit_mb: 512,
            killed: 1,
            programs: vec![text("p")],
        },
        ToPage::TakenOver,
        ToPage::Ended {
            reason: text("requested"),
        },
    ];
    [json(&to_server), json(&to_page)].concat()
}

pub(crate) fn ctl() -> Vec<Vec<u8>> {
    use ctl::{ToPage, ToServer};
    let (width, height) = (1_280, 720);
    let to_server = [
        ToServer::Presented { rtp: u32::MAX },
        ToServer::Ping { at: 1_234.5 },
        ToServer::Overlay { on: true },
        ToServer::Resize { width, height },
        ToServer::Paste {
            text: text("gr\u{fc}\u{df}e \"\\\n"),
            last: true,
        },
    ];
    let to_page = [
        ToPage::Hello {
            width,
            height,
            encoder: text("libx264"),
        },
        ToPage::Size { width, height },
        ToPage::Pong {
            at: 0.25,
            server_us: u64::MAX,
        },
        ToPage::Cursor {
            width: 2,
            height: 1,
            hot_x: 1,
            hot_y: 0,
            rgba: text("AAAAAAAAAAA="),
        },
        ToPage::Clipboard {
            text: text("c"),
            first: true,
            last: false,
        },
        ToPage::Frame {
            rtp: 1,
            input_seq: 2,
            injected: 3,
            damaged: 4,
            captured: 5,
            encoded: 6,
            sent: 7,
            qp: 8,
            bytes: 9,
            target_kbps: 10,
        },
    ];
    [json(&to_server), json(&to_page)].concat()
}

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|it| it.as_bytes().to_vec()).collect()
}

pub(crate) fn address() -> Vec<Vec<u8>> {
    let pin = "#pin=sha256:".to_owned() + &"a5".repeat(32);
    bytes(&[
        "example.org",
        "alice@example.org",
        "alice@corp@example.org:1",
        "@192.0.2.1:65535",
        "[::1]",
        &format!("bob@[2001:db8::1]:99{pin}"),
        &format!("b\u{fc}ro{pin}"),
    ])
}

pub(crate) fn script() -> Vec<Vec<u8>> {
    bytes(&[
        "# typed\nat 100 key 30 down\nkey 30 0x61 up\nend\n",
        "at 5 button 0 down 1 2\nwheel -120 240 3 4\nmove 5 6\nmove-by -7 8",
        "text h\u{e4}llo  world\npaste a text\nat 9 resize 640 480",
        "until-hash 0123456789abcdef0123456789abcdef\nend",
    ])
}
