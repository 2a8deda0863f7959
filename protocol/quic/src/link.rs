//! One connection inside the endpoint: what QUIC says is turned into events.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionHandle, Dir, Event as Told, ReadError, ReadableError, SendDatagramError,
    StreamEvent, StreamId, VarInt,
};
use rustls::pki_types::CertificateDer;

use crate::events::{Closed, Event};
use crate::identity::Fingerprint;
use crate::silence::Silence;
use crate::transport::Side;
use crate::window::Window;

/// Bytes of a stream handed out at once.
const READ_BYTES: usize = 64 << 10;

/// Names a connection until its [`Event::Closed`]; the number may be used again after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub(crate) usize);

impl From<ConnectionHandle> for Handle {
    fn from(handle: ConnectionHandle) -> Self {
        Self(handle.0)
    }
}

/// A datagram was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// As many wait as may; [`Event::Room`] follows.
    #[error("the datagrams before it have not left")]
    Full,
    /// It is larger than the path carries at present.
    #[error("the datagram is too large for the path")]
    TooLarge,
    /// The connection is over, not yet open, or the peer takes no datagrams.
    #[error("the connection carries no datagrams")]
    Closed,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) quic: Connection,
    pub(crate) side: Side,
    pub(crate) is_closed: bool,
    /// Of a server nobody asks how long its viewers are silent.
    pub(crate) silence: Option<Silence>,
    events: VecDeque<Event>,
}

impl Link {
    pub(crate) fn new(quic: Connection, side: Side, silence: Option<Silence>) -> Self {
        Self {
            quic,
            side,
            is_closed: false,
            silence,
            events: VecDeque::new(),
        }
    }

    /// A packet left.
    pub(crate) fn handle_sent(&mut self, now: Instant) {
        if let Some(silence) = &mut self.silence {
            silence.handle_sent(now, &self.quic);
        }
    }

    /// A packet came.
    pub(crate) fn handle_came(&mut self) {
        if let Some(silence) = &mut self.silence {
            silence.handle_came();
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes what QUIC has to tell.
    pub(crate) fn settle(&mut self) {
        while let Some(told) = self.quic.poll() {
            match told {
                Told::HandshakeDataReady => (),
                Told::Connected => {
                    let seen = self.fingerprint();
                    self.events.push_back(Event::Connected(seen));
                }
                Told::ConnectionLost { reason } => self.tell_closed(reason.into()),
                Told::Stream(event) => self.handle_stream(event),
                Told::DatagramReceived => {
                    while let Some(datagram) = self.quic.datagrams().recv() {
                        self.events.push_back(Event::Datagram(datagram));
                    }
                }
                Told::DatagramsUnblocked => self.events.push_back(Event::Room),
            }
        }
    }

    /// Ends it; QUIC itself tells its own end nothing about that.
    pub(crate) fn close(&mut self, now: Instant, code: VarInt, words: Bytes) {
        self.quic.close(now, code, words);
        Window::open_for_end(&self.quic);
        self.tell_closed(Closed::ByUs);
    }

    fn tell_closed(&mut self, why: Closed) {
        if !self.is_closed {
            self.is_closed = true;
            self.events.push_back(Event::Closed(why));
        }
    }

    pub(crate) fn send_datagram(&mut self, bytes: Bytes) -> Result<(), NoRoom> {
        if self.is_closed {
            return Err(NoRoom::Closed);
        }
        self.quic
            .datagrams()
            .send(bytes, false)
            .map_err(|error| match error {
                SendDatagramError::Blocked(_) => NoRoom::Full,
                SendDatagramError::TooLarge => NoRoom::TooLarge,
                SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled => {
                    NoRoom::Closed
                }
            })
    }

    fn handle_stream(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir } => {
                while let Some(stream) = self.quic.streams().accept(dir) {
                    self.read(stream);
                }
            }
            StreamEvent::Readable { id } => self.read(id),
            StreamEvent::Writable { id } => self.events.push_back(Event::Writable(id)),
            StreamEvent::Finished { id } => self.events.push_back(Event::Finished(id)),
            StreamEvent::Stopped { id, error_code } => self.events.push_back(Event::Stopped {
                stream: id,
                code: error_code.into_inner(),
            }),
            // Whoever wants a stream asks when it has something to say.
            StreamEvent::Available {
                dir: Dir::Bi | Dir::Uni,
            } => (),
        }
    }

    /// Reads all that has come. Flow control bounds it; what is read is handed on at once.
    fn read(&mut self, stream: StreamId) {
        let mut receiver = self.quic.recv_stream(stream);
        let mut chunks = match receiver.read(true) {
            Ok(chunks) => chunks,
            // We have stopped it, or it has told its end.
            Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => return,
        };
        loop {
            let event = match chunks.next(READ_BYTES) {
                Ok(Some(chunk)) => Event::Read {
                    stream,
                    bytes: chunk.bytes,
                    is_end: false,
                },
                Ok(None) => {
                    self.events.push_back(Event::Read {
                        stream,
                        bytes: Bytes::new(),
                        is_end: true,
                    });
                    break;
                }
                Err(ReadError::Blocked) => break,
                Err(ReadError::Reset(code)) => {
                    self.events.push_back(Event::Reset {
                        stream,
                        code: code.into_inner(),
                    });
                    break;
                }
            };
            self.events.push_back(event);
        }
        // What has to be sent for it leaves with the next poll in any case.
        let _is_due = chunks.finalize();
    }

    /// What the server showed in the handshake.
    fn fingerprint(&self) -> Option<Fingerprint> {
        let shown = self.quic.crypto_session().peer_identity()?;
        let chain = shown.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        Fingerprint::of(chain.first()?).ok()
    }
}
