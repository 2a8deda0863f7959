//! Plays warden, daemon and program around a real worker and a real Xvfb.

use std::collections::VecDeque;
use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, send, sendmsg, socketpair,
};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::gettid;
use sandbox_hw::I420;
use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::frame::{Content, FrameHeader, PREFIX_LEN};
use sandbox_protocol::local::worker::{
    Begin, Counters, Cursor, FromWarden, FromWorker, Pictures, ToWarden, ToWorker, WorkerPlan,
};
use sandbox_protocol::wire::input::Event;
use sandbox_protocol::{Bitrate, Rect, Size, codec};

use crate::eye::Eye;
use crate::seal::seal;
use crate::xvfb;

pub(crate) const SCREEN: Size = Size {
    width: 1280,
    height: 720,
};
pub(crate) const SIZE: Size = Size {
    width: 640,
    height: 480,
};

/// Bytes before the first pixel of Xvfb's file: an XWD header with the window's name (160), and
/// a colour map of 256 entries of 12 bytes.
const PIXELS_OFFSET: u32 = 160 + 256 * 12;
pub(crate) const STRIDE: u32 = SCREEN.width as u32 * 4;

pub(crate) const COOKIE: [u8; 16] = *b"0123456789abcdef";

/// Waiting longer than this is a failure, on however loaded a machine.
const PATIENCE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// A worker, and the X server it works on.
pub(crate) struct Desktop {
    pub(crate) warden: OwnedFd,
    pub(crate) worker: Option<JoinHandle<u8>>,
    thread: Receiver<Pid>,
    x_server: Child,
    folder: PathBuf,
    socket: PathBuf,
    /// Xvfb finds the framebuffer through our descriptor.
    memfd: OwnedFd,
    /// What the warden keeps for the next worker.
    spare: OwnedFd,
    notes: OwnedFd,
}

impl Desktop {
    /// Starts both and waits until the worker is ready.
    pub(crate) fn start() -> Self {
        Self::start_encoding_by("auto")
    }

    pub(crate) fn start_encoding_by(codec: &str) -> Self {
        let encoding_by = |plan: &mut WorkerPlan| codec.clone_into(&mut plan.codec);
        let desktop = Self::start_with(encoding_by, SealFlags::SHRINK | SealFlags::GROW);
        let ToWarden::Ready { size, weaker } = desktop.word_of_worker() else {
            panic!("the worker is not ready");
        };
        assert_eq!((size, weaker), (SIZE, vec!["one layer".to_owned()]));
        desktop
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut WorkerPlan), seals: SealFlags) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sandbox-worker-test-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let memfd = memfd_create("framebuffer", MemfdFlags::ALLOW_SEALING).unwrap();
        let bytes = PIXELS_OFFSET + STRIDE * u32::from(SCREEN.height);
        ftruncate(&memfd, bytes.into()).unwrap();
        fcntl_add_seals(&memfd, seals).unwrap();
        let of_us = format!("/proc/{}/fd/{}", std::process::id(), memfd.as_raw_fd());
        symlink(of_us, folder.join("Xvfb_screen0")).unwrap();
        xvfb::write_cookie(&folder.join("cookie"));
        let socket = folder.join("X");
        let listener = UnixListener::bind(&socket).unwrap();
        // Both wait in the backlog: the X server does not run yet.
        let main = OwnedFd::from(UnixStream::connect(&socket).unwrap());
        let spare = OwnedFd::from(UnixStream::connect(&socket).unwrap());
        let notes = memfd_create("notes", MemfdFlags::empty()).unwrap();
        ftruncate(&notes, 4096).unwrap();
        let mut plan = plan();
        change(&mut plan);
        let (warden, worker, thread) = start_worker(plan, &[&memfd, &main, &spare, &notes]);
        let x_server = xvfb::start(&folder, listener, number);
        Self {
            warden,
            worker: Some(worker),
            thread,
            x_server,
            folder,
            socket,
            memfd,
            spare,
            notes,
        }
    }

    /// Ends the worker, and starts the next one as the warden does.
    pub(crate) fn replace_worker(&mut self) -> ToWarden {
        let (unused, _) = seqpacket();
        drop(std::mem::replace(&mut self.warden, unused));
        assert_eq!(self.worker.take().unwrap().join().unwrap(), 0);
        let fresh = OwnedFd::from(self.connect());
        let mut plan = plan();
        plan.begin = Begin::Succeed;
        let along = [&self.memfd, &self.spare, &fresh, &self.notes];
        let (warden, worker, thread) = start_worker(plan, &along);
        (self.warden, self.worker, self.thread) = (warden, Some(worker), thread);
        self.spare = fresh;
        self.word_of_worker()
    }

    pub(crate) fn word_of_worker(&self) -> ToWarden {
        receive(self.warden.as_fd()).expect("the worker says something")
    }

    /// Attaches without a word, as a daemon does first.
    pub(crate) fn attach_silently(&self) -> Viewer {
        let (control, of_worker) = seqpacket();
        let (media, media_of_worker) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        send_with(
            &self.warden,
            &FromWarden::Attach,
            &[&of_worker, &media_of_worker],
        );
        assert_eq!(self.word_of_worker(), ToWarden::Attached);
        Viewer {
            control,
            media,
            eye: Eye::new(),
            messages: VecDeque::new(),
        }
    }

    /// Attaches and greets.
    pub(crate) fn attach(&self, size: Size) -> Viewer {
        self.attach_for(size, Pictures::ACCESS_UNITS)
    }

    pub(crate) fn attach_for(&self, size: Size, pictures: Pictures) -> Viewer {
        let viewer = self.attach_silently();
        viewer.send(&ToWorker::Hello {
            version: VERSION,
            bitrate: Bitrate::kbps(20_000),
            size,
            pictures,
        });
        viewer
    }

    /// Connects a program of the user's.
    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).unwrap()
    }

    /// Closes the warden's end; returns the worker's exit code.
    pub(crate) fn end(mut self) -> u8 {
        let (unused, _) = seqpacket();
        drop(std::mem::replace(&mut self.warden, unused));
        self.worker.take().unwrap().join().unwrap()
    }

    /// How to count the times that the worker's loop fell asleep, and so was woken. To be asked
    /// for once.
    pub(crate) fn sleeps(&self) -> impl Fn() -> u64 + use<> {
        let thread = self.thread.recv().unwrap().as_raw_pid();
        move || {
            let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
            let line = status
                .lines()
                .find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"));
            line.unwrap().trim().parse().unwrap()
        }
    }

    /// What the X server drew, as an encoder's frame.
    pub(crate) fn screen(&self, size: Size) -> I420 {
        let mut frame = I420::new(size);
        let pixels = self.pixels(size);
        frame.update(&pixels, STRIDE as usize, &[Rect::whole(size)]);
        frame
    }

    /// What the X server drew, in rows of [`STRIDE`] bytes.
    pub(crate) fn pixels(&self, size: Size) -> Vec<u8> {
        let mut pixels = vec![0; (STRIDE * u32::from(size.height)) as usize];
        let read = rustix::io::pread(&self.memfd, pixels.as_mut_slice(), PIXELS_OFFSET.into());
        assert_eq!(read.unwrap(), pixels.len());
        pixels
    }

    /// Stops the X server without ending it.
    pub(crate) fn freeze_x_server(&self) {
        let pid = Pid::from_child(&self.x_server);
        kill_process(pid, Signal::STOP).unwrap();
    }

    pub(crate) fn kill_x_server(&mut self) {
        self.x_server.kill().unwrap();
        self.x_server.wait().unwrap();
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        let _ = self.x_server.kill();
        let _ = self.x_server.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn start_worker(
    plan: WorkerPlan,
    descriptors: &[&OwnedFd],
) -> (OwnedFd, JoinHandle<u8>, Receiver<Pid>) {
    let (warden, of_worker) = seqpacket();
    let (sender, thread) = channel();
    let worker = std::thread::spawn(move || {
        sandbox_desktop::run_on(of_worker, move || {
            sender.send(gettid()).unwrap();
            seal()
        })
    });
    send_with(&warden, &FromWarden::Start(plan), descriptors);
    (warden, worker, thread)
}

/// The daemon's end of an attach.
pub(crate) struct Viewer {
    pub(crate) control: OwnedFd,
    pub(crate) media: OwnedFd,
    pub(crate) eye: Eye,
    messages: VecDeque<FromWorker>,
}

impl Viewer {
    pub(crate) fn send(&self, message: &ToWorker) {
        let bytes = codec::encode(message).unwrap();
        send(&self.control, &bytes, SendFlags::NOSIGNAL).unwrap();
    }

    pub(crate) fn send_events(&self, stream: u64, first_seq: u32, events: &[Event]) {
        self.send(&ToWorker::Input {
            stream,
            first_seq,
            events: events.to_vec(),
            pointer: None,
            held: None,
        });
    }

    /// Closes the media socket alone; the control socket then shows when the worker has noticed.
    pub(crate) fn leave(self) -> OwnedFd {
        self.control
    }

    /// Waits for a message that `pick` takes; keeps the others for later.
    pub(crate) fn wait_for<T>(&mut self, pick: impl Fn(&FromWorker) -> Option<T>) -> T {
        for at in 0..self.messages.len() {
            if let Some(found) = pick(&self.messages[at]) {
                self.messages.remove(at);
                return found;
            }
        }
        loop {
            let message = receive(self.control.as_fd()).expect("the worker closed the control");
            if let Some(found) = pick(&message) {
                return found;
            }
            self.messages.push_back(message);
        }
    }

    pub(crate) fn wait_for_cursor(&mut self) -> Cursor {
        self.wait_for(|it| match it {
            FromWorker::Cursor(cursor) => Some(cursor.clone()),
            _ => None,
        })
    }

    /// Waits for a whole copied text.
    pub(crate) fn wait_for_copy(&mut self) -> String {
        let mut text = String::new();
        loop {
            let piece = self.wait_for(|it| match it {
                FromWorker::Copied(piece) => Some(piece.clone()),
                _ => None,
            });
            assert_eq!(piece.is_first, text.is_empty());
            text.push_str(&piece.text);
            if piece.is_last {
                return text;
            }
        }
    }

    /// How many pictures of the pointer have come and were not waited for.
    pub(crate) fn cursors_waiting(&self) -> usize {
        let is_cursor = |it: &&FromWorker| matches!(it, FromWorker::Cursor(_));
        self.messages.iter().filter(is_cursor).count()
    }

    pub(crate) fn wait_for_ack(&mut self, stream: u64, seq: u32) {
        self.wait_for(|it| {
            let wanted = FromWorker::Applied { stream, seq };
            (*it == wanted).then_some(())
        });
    }

    pub(crate) fn counters(&mut self) -> Counters {
        self.send(&ToWorker::Count);
        self.wait_for(|it| match it {
            FromWorker::Counters(counters) => Some(*counters),
            _ => None,
        })
    }

    /// Waits for the next access unit and decodes it.
    pub(crate) fn access_unit(&mut self) -> (FrameHeader, Vec<u8>) {
        let (header, payload) = self.frame();
        assert_eq!(header.content, Content::AccessUnit);
        self.eye.see(&payload);
        (header, payload)
    }

    /// Waits for the next frame.
    pub(crate) fn frame(&self) -> (FrameHeader, Vec<u8>) {
        let mut prefix = [0; PREFIX_LEN];
        self.read_exact(&mut prefix);
        let length = FrameHeader::decode_prefix(prefix).unwrap();
        let mut bytes = vec![0; length];
        self.read_exact(&mut bytes);
        let (header, payload) = FrameHeader::decode(&bytes).unwrap();
        (header, payload.to_vec())
    }

    /// Whether a frame begins to arrive within a fifth of a second: two changes further apart are
    /// no motion.
    pub(crate) fn has_frame_soon(&self) -> bool {
        is_readable(self.media.as_fd(), &PAUSE)
    }

    /// Whether an access unit has begun to arrive.
    pub(crate) fn has_access_unit(&self) -> bool {
        is_readable(self.media.as_fd(), &Timespec::default())
    }

    /// Reads until the picture rests, and returns the last access unit and the counters. Rest is
    /// seen in the worker's own counts: five answers in a row without a frame, asked while a
    /// program's worth of time passes between two of them.
    pub(crate) fn wait_for_rest(&mut self) -> (FrameHeader, Counters) {
        let (mut last, _) = self.access_unit();
        let mut before = self.counters();
        let mut still = 0;
        while still < 5 {
            if self.has_frame_soon() {
                (last, _) = self.access_unit();
                still = 0;
                continue;
            }
            let counters = self.counters();
            still = if counters == before { still + 1 } else { 0 };
            before = counters;
        }
        (last, before)
    }

    fn read_exact(&self, mut into: &mut [u8]) {
        while !into.is_empty() {
            assert!(
                is_readable(self.media.as_fd(), &PATIENCE),
                "no access unit came"
            );
            let (length, _) = recv(&self.media, &mut *into, RecvFlags::empty()).unwrap();
            assert!(length > 0, "the worker closed the media socket");
            into = &mut into[length..];
        }
    }
}

/// Lets a second pass, in which nothing may come.
pub(crate) fn stays_silent(socket: BorrowedFd<'_>) -> bool {
    let second = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    !is_readable(socket, &second)
}

pub(crate) fn is_closed(socket: BorrowedFd<'_>) -> bool {
    receive::<FromWorker>(socket).is_none()
}

fn receive<T: bincode::Decode<()>>(socket: BorrowedFd<'_>) -> Option<T> {
    assert!(is_readable(socket, &PATIENCE), "no message came");
    let mut bytes = vec![0; 1 << 16];
    match recv(socket, bytes.as_mut_slice(), RecvFlags::empty()) {
        Ok((0, _)) | Err(_) => None,
        Ok((length, _)) => Some(codec::decode(&bytes[..length]).unwrap()),
    }
}

fn is_readable(socket: BorrowedFd<'_>, timeout: &Timespec) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    poll(&mut fds, Some(timeout)).unwrap() > 0
}

fn seqpacket() -> (OwnedFd, OwnedFd) {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap()
}

fn send_with(socket: &OwnedFd, message: &FromWarden, descriptors: &[&OwnedFd]) {
    let descriptors: Vec<_> = descriptors.iter().map(|it| it.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    assert!(along.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let bytes = codec::encode(message).unwrap();
    sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut along,
        SendFlags::NOSIGNAL,
    )
    .unwrap();
}

fn plan() -> WorkerPlan {
    WorkerPlan {
        version: VERSION,
        begin: Begin::First,
        screen_size: SCREEN,
        size: SIZE,
        pixels_offset: PIXELS_OFFSET,
        stride: STRIDE,
        cookie: COOKIE,
        fps_max: 60,
        encoder_threads: 2,
        codec: "auto".to_owned(),
        log_filter: "debug".to_owned(),
    }
}
