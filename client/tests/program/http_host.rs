//! What may be at an HTTP port instead of a server of ours.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use sandbox_client::origin::Origin;

use crate::WAIT_MAX;

/// Between two bytes of one that is slow.
const DRIP: Duration = Duration::from_millis(100);

/// What it does with whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hostile {
    /// It takes the connection, and that is all.
    Silence,
    /// It answers a byte at a time.
    Drip,
    EndlessHeaders,
    /// One line of the answer that never ends.
    EndlessLine,
    Redirect,
    /// It speaks no HTTP.
    Noise,
    /// It speaks no TLS, where that was promised.
    NoTls,
    /// It has not understood what it agrees to.
    WrongAccept,
    /// From here on: what comes after the right answer.
    Text,
    HugeFrame,
    /// A frame of a kind that does not exist.
    UnknownFrame,
    EndlessPings,
    /// A message in empty pieces without an end.
    EndlessPieces,
    /// Packets that are none.
    EndlessPackets,
    Close,
}

/// It, on a real port.
pub(crate) struct HttpHost {
    pub(crate) origin: Origin,
    asked: Receiver<()>,
    taken: Arc<AtomicUsize>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl HttpHost {
    pub(crate) fn new(hostile: Hostile) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = Origin {
            is_https: hostile == Hostile::NoTls,
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let (told, asked) = channel();
        let host = Self {
            origin,
            asked,
            taken: Arc::default(),
            threads: Arc::default(),
        };
        let (taken, threads) = (Arc::clone(&host.taken), Arc::clone(&host.threads));
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, told, taken) = (stream.unwrap(), told.clone(), Arc::clone(&taken));
                let answer = move || answer(hostile, &stream, &told, &taken);
                threads.lock().unwrap().push(thread::spawn(answer));
            }
        });
        host
    }

    /// Waits until somebody asks.
    pub(crate) fn until_asked(&self) {
        self.asked.recv_timeout(WAIT_MAX).unwrap();
    }

    /// Waits until all have left who came. Returns the bytes that they took.
    pub(crate) fn finish(&self) -> usize {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap());
        threads.into_iter().for_each(|it| it.join().unwrap());
        self.taken.load(Ordering::Acquire)
    }
}

/// Answers until the other end has had enough.
fn answer(hostile: Hostile, mut stream: &TcpStream, told: &Sender<()>, taken: &AtomicUsize) {
    let key = key_of_request(stream);
    let _nobody_waits = told.send(());
    let mut send = |bytes: &[u8]| {
        let sent = stream.write_all(bytes);
        taken.fetch_add(bytes.len(), Ordering::Release);
        sent.is_ok()
    };
    let (first, again) = hostile.words(&key);
    if hostile == Hostile::Drip {
        #[expect(clippy::disallowed_methods, reason = "being slow is what it is for")]
        let pause = || thread::sleep(DRIP);
        first
            .iter()
            .take_while(|it| send(&[**it]))
            .for_each(|_| pause());
    } else {
        let goes_on = send(&first) && !again.is_empty();
        let again = again.repeat(1_024);
        while goes_on && send(&again) {}
    }
    // What the other end still says is of no use; its end is.
    let mut rest = [0; 4_096];
    while matches!(stream.read(&mut rest), Ok(length) if length > 0) {}
}

/// Reads a request; what it is to be answered with.
fn key_of_request(stream: &TcpStream) -> String {
    // It may speak TLS, or leave.
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head = lines.take_while(|it| !it.is_empty());
    let keys = head.filter_map(|it| {
        let (_, key) = it.split_once("Sec-WebSocket-Key: ")?;
        Some(key.trim().to_owned())
    });
    keys.last().unwrap_or_default()
}

impl Hostile {
    /// What it says, and what it says again and again after that.
    fn words(self, key: &str) -> (Vec<u8>, &'static [u8]) {
        let upgraded = |key: &str, frames: &[u8]| {
            let accept = derive_accept_key(key.as_bytes());
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            [head.as_bytes(), frames].concat()
        };
        let begun = || b"HTTP/1.1 101 Switching Protocols\r\nX-More: ".to_vec();
        match self {
            Self::Silence => (Vec::new(), b""),
            Self::Drip => (upgraded(key, b""), b""),
            Self::EndlessHeaders => (begun(), b"and more\r\nX-More: "),
            Self::EndlessLine => (begun(), b"and more, "),
            Self::Redirect => {
                let head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/ws\r\n\r\n";
                (head.to_vec(), b"")
            }
            Self::Noise | Self::NoTls => ([0x16, 3, 1, 255, 255, 0, 7, 13].repeat(64), b""),
            Self::WrongAccept => (upgraded("another", b""), b""),
            Self::Text => (upgraded(key, b"\x81\x05hello"), b""),
            Self::HugeFrame => (upgraded(key, b"\x82\x7f\0\0\0\xff\xff\xff\xff\xff"), &[0]),
            Self::UnknownFrame => (upgraded(key, b"\x8b\x00"), b""),
            Self::EndlessPings => (upgraded(key, b""), b"\x89\x00"),
            Self::EndlessPieces => (upgraded(key, b"\x02\x00"), b"\x00\x00"),
            Self::EndlessPackets => (upgraded(key, b""), b"\x82\x04\x40abc"),
            Self::Close => (upgraded(key, b"\x88\x08\x0f\xa6enough"), b""),
        }
    }
}
