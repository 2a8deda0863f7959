//! A worker of the test's own: the far ends of the control and media sockets.

use std::future::Future;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use sandbox_protocol::codec;
use sandbox_protocol::limits::LOCAL_MESSAGE_BYTES_MAX;
use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::frame::{Content, FrameHeader};
use sandbox_protocol::local::worker::{Counters, FromWorker, ToWorker};
use sandbox_protocol::wire::input::Packet;
use sandbox_protocol::{Micros, Size};
use smol::Timer;
use smol::future::FutureExt;

/// Nothing here takes a second; a test that waits this long has failed.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) struct Worker {
    control: Arc<OwnedFd>,
    media: Arc<UnixStream>,
    frame: u32,
}

/// Waits for a future, but not for ever.
pub(super) fn within_limit<T>(future: impl Future<Output = T>) -> T {
    smol::block_on(future.or(async {
        Timer::after(LIMIT).await;
        panic!("nothing came within {LIMIT:?}");
    }))
}

impl Worker {
    /// A worker that has said hello, and the daemon's ends of its sockets.
    pub(super) fn new() -> (Self, OwnedFd, OwnedFd) {
        Self::speaking(VERSION)
    }

    /// The same of another version.
    pub(super) fn speaking(version: u16) -> (Self, OwnedFd, OwnedFd) {
        let (control, control_far) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let (media, media_far) = UnixStream::pair().unwrap();
        set_socket_timeout(&control, Timeout::Recv, Some(LIMIT)).unwrap();
        media.set_write_timeout(Some(LIMIT)).unwrap();
        let worker = Self {
            control: Arc::new(control),
            media: Arc::new(media),
            frame: 0,
        };
        worker.send(&FromWorker::Hello {
            version,
            size: super::SIZE,
            encoder_name: "x264".to_owned(),
        });
        (worker, control_far, media_far.into())
    }

    pub(super) fn send(&self, message: &FromWorker) {
        let bytes = codec::encode(message).unwrap();
        send(self.control.as_fd(), &bytes, SendFlags::NOSIGNAL).unwrap();
    }

    pub(super) fn receive(&self) -> ToWorker {
        let mut buffer = vec![0; LOCAL_MESSAGE_BYTES_MAX];
        let (_, len) = recv(
            self.control.as_fd(),
            buffer.as_mut_slice(),
            RecvFlags::empty(),
        )
        .expect("the daemon says something");
        assert_ne!(len, 0, "the daemon closed the control socket");
        codec::decode(&buffer[..len]).unwrap()
    }

    /// Whether [`receive`](Self::receive) would not have to wait.
    pub(super) fn has_message(&self) -> bool {
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        recv(self.control.as_fd(), [0; 1].as_mut_slice(), flags).is_ok()
    }

    /// The same after the daemon's greeting.
    pub(super) fn skip_hello_to(&self, wanted: &ToWorker) {
        assert!(matches!(self.receive(), ToWorker::Hello { .. }));
        self.skip_to(wanted);
    }

    /// The next message that is about no key frame and no link: observers want theirs at any time.
    /// A question whether the worker lives is answered.
    pub(super) fn receive_but_keyframes(&self) -> ToWorker {
        loop {
            match self.receive() {
                ToWorker::Keyframe
                | ToWorker::Touch
                | ToWorker::Target(_)
                | ToWorker::Flow(_)
                | ToWorker::Pictures(_) => {}
                ToWorker::Count => self.answer(),
                other @ (ToWorker::Hello { .. }
                | ToWorker::Input { .. }
                | ToWorker::Resize(_)
                | ToWorker::Invalidate(_)
                | ToWorker::Whole
                | ToWorker::Paste { .. }) => return other,
            }
        }
    }

    /// Reads on to a message, over wishes of key frames too.
    pub(super) fn skip_over_keyframes_to(&self, wanted: &ToWorker) {
        loop {
            let message = self.receive();
            if message == *wanted {
                return;
            }
            match message {
                ToWorker::Keyframe
                | ToWorker::Touch
                | ToWorker::Target(_)
                | ToWorker::Flow(_)
                | ToWorker::Pictures(_) => {}
                ToWorker::Count => self.answer(),
                other @ (ToWorker::Hello { .. }
                | ToWorker::Input { .. }
                | ToWorker::Resize(_)
                | ToWorker::Invalidate(_)
                | ToWorker::Whole
                | ToWorker::Paste { .. }) => panic!("{other:?} instead of {wanted:?}"),
            }
        }
    }

    /// Answers the next question, whatever comes before it.
    pub(super) fn answer_next(&self) {
        while self.receive() != ToWorker::Count {}
        self.answer();
    }

    /// Says that nothing was counted, which is a sign of life.
    fn answer(&self) {
        self.send(&FromWorker::Counters(Counters::default()));
    }

    /// Reads on until a message comes; what the daemon says of its own accord in between is
    /// skipped.
    pub(super) fn skip_to(&self, wanted: &ToWorker) {
        loop {
            let message = self.receive();
            if message == *wanted {
                return;
            }
            if message == ToWorker::Count {
                self.answer();
                continue;
            }
            let is_our_own = matches!(
                message,
                ToWorker::Touch | ToWorker::Target(_) | ToWorker::Flow(_)
            );
            assert!(is_our_own, "{message:?} instead of {wanted:?}");
        }
    }

    /// Reads on to a message, whatever comes before it.
    pub(super) fn hear(&self, wanted: &ToWorker) {
        loop {
            let message = self.receive();
            if message == *wanted {
                return;
            }
            if message == ToWorker::Count {
                self.answer();
            }
        }
    }

    /// Whether input has come; what came before it is skipped.
    pub(super) fn has_input(&self) -> bool {
        while self.has_message() {
            if self.peek_is_input() {
                return true;
            }
            if self.receive() == ToWorker::Count {
                self.answer();
            }
        }
        false
    }

    /// Whether a message has come; all up to it is taken.
    pub(super) fn has(&self, wanted: &ToWorker) -> bool {
        while self.has_message() {
            let message = self.receive();
            if message == *wanted {
                return true;
            }
            if message == ToWorker::Count {
                self.answer();
            }
        }
        false
    }

    fn peek_is_input(&self) -> bool {
        let mut buffer = vec![0; LOCAL_MESSAGE_BYTES_MAX];
        let (_, len) = recv(self.control.as_fd(), buffer.as_mut_slice(), RecvFlags::PEEK).unwrap();
        matches!(codec::decode(&buffer[..len]), Ok(ToWorker::Input { .. }))
    }

    /// Sends an update that holds no video.
    pub(super) fn send_update(&self, is_whole: bool, bytes: &[u8]) {
        self.send_content(
            Content::Update {
                is_whole,
                is_video_only: false,
                recovers: false,
            },
            0,
            super::SIZE,
            bytes,
        );
    }

    /// Sends an update or access unit as it is.
    pub(super) fn send_content(&self, content: Content, frame: u32, size: Size, bytes: &[u8]) {
        let header = FrameHeader {
            content,
            is_keyframe: false,
            is_refinement: false,
            qp: 22,
            frame,
            size,
            input_seq: 10,
            injected: Micros(1),
            damaged: Micros(2),
            captured: crate::clock::micros(),
            encoded: Micros(4),
        };
        self.send_raw(&header.encode(bytes.len()));
        self.send_raw(bytes);
    }

    pub(super) fn send_frame(&mut self, is_keyframe: bool, len: usize) {
        self.frame += 1;
        let header = FrameHeader {
            content: Content::AccessUnit,
            is_keyframe,
            is_refinement: false,
            qp: 22,
            frame: self.frame,
            size: Size {
                width: 640,
                height: 480,
            },
            input_seq: self.frame * 10,
            injected: Micros(1),
            damaged: Micros(2),
            captured: crate::clock::micros(),
            encoded: Micros(4),
        };
        let payload = annex_b(is_keyframe, len);
        self.send_raw(&header.encode(payload.len()));
        self.send_raw(&payload);
    }

    pub(super) fn send_raw(&self, bytes: &[u8]) {
        (&*self.media).write_all(bytes).unwrap();
    }
}

/// A page's input packet as the worker is told of it.
pub(super) fn as_told(packet: Packet) -> ToWorker {
    ToWorker::Input {
        stream: packet.stream,
        first_seq: packet.first_seq,
        events: packet.events,
        pointer: packet.pointer,
        held: packet.held,
    }
}

/// Units that a depacketizer takes for H.264, of exactly `len` bytes after the parameter sets.
fn annex_b(is_keyframe: bool, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if is_keyframe {
        bytes.extend([0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0x11]);
        bytes.extend([0, 0, 0, 1, 0x68, 0xce, 0x11]);
        bytes.extend([0, 0, 0, 1, 0x65]);
    } else {
        bytes.extend([0, 0, 0, 1, 0x41]);
    }
    bytes.extend(std::iter::repeat_n(0x5a, len - 1));
    bytes
}
