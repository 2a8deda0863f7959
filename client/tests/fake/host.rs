//! The fake server on a real UDP port, in a thread of its own.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sandbox_quic::Arrived;

use super::Server;

/// Longest wait of a test.
const WAIT_MAX: Duration = Duration::from_secs(30);

pub struct Host {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    pub address: SocketAddr,
    socket: UdpSocket,
}

struct Shared {
    server: Mutex<Server>,
    changed: Condvar,
    is_over: AtomicBool,
    /// Where the viewer was heard last, and what is no longer carried there.
    viewer: Mutex<Option<SocketAddr>>,
    cut: Mutex<Option<SocketAddr>>,
}

#[expect(clippy::disallowed_methods, reason = "the test's clock")]
pub fn now() -> Instant {
    Instant::now()
}

impl Host {
    pub fn new(server: Server) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
            viewer: Mutex::default(),
            cut: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        let own = socket.try_clone().unwrap();
        Self {
            shared,
            thread: Some(std::thread::spawn(move || theirs.run(&own))),
            address,
            socket,
        }
    }

    pub fn server(&self) -> MutexGuard<'_, Server> {
        self.shared.server.lock().unwrap()
    }

    /// Changes something at the server. What follows leaves at once: the words of an end are
    /// forgotten within milliseconds.
    pub fn change(&self, change: impl FnOnce(&mut Server)) {
        let mut server = self.server();
        change(&mut server);
        self.shared.send(&mut server, &self.socket);
        drop(server);
        self.wake();
    }

    /// Waits until the server is as wanted.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&Server) -> bool) {
        let server = self.server();
        let (server, wait) = self
            .shared
            .changed
            .wait_timeout_while(server, WAIT_MAX, |it| !is_so(it))
            .unwrap();
        assert!(
            !wait.timed_out(),
            "not within 30 s: {what}; {:?}",
            server.input
        );
    }

    /// Nothing more is carried to or from the address that the viewer has now.
    pub fn cut(&self) {
        *self.shared.cut.lock().unwrap() = *self.shared.viewer.lock().unwrap();
    }

    fn wake(&self) {
        self.socket.send_to(&[], self.address).unwrap();
    }
}

impl Shared {
    fn run(&self, socket: &UdpSocket) {
        let mut buffer = vec![0; 64 << 10];
        while !self.is_over.load(Ordering::Acquire) {
            let due = {
                let mut server = self.server.lock().unwrap();
                self.send(&mut server, socket);
                server.poll_timeout()
            };
            self.changed.notify_all();
            let wait = due.map(|it| it.saturating_duration_since(now()));
            let wait = wait.map(|it| it.max(Duration::from_micros(100)));
            socket.set_read_timeout(wait).unwrap();
            let came = socket.recv_from(&mut buffer);
            let mut server = self.server.lock().unwrap();
            match came {
                Ok((length, from)) if length > 0 && !self.is_cut(from) => {
                    *self.viewer.lock().unwrap() = Some(from);
                    let arrived = Arrived {
                        from,
                        to: None,
                        bytes: &buffer[..length],
                    };
                    server.handle_datagram(now(), arrived);
                }
                Ok(_) | Err(_) => (),
            }
            server.handle_timeout(now());
        }
    }

    fn is_cut(&self, address: SocketAddr) -> bool {
        *self.cut.lock().unwrap() == Some(address)
    }

    fn send(&self, server: &mut Server, socket: &UdpSocket) {
        let mut out = Vec::new();
        while let Some(outgoing) = server.poll_transmit(now(), &mut out) {
            for datagram in out.chunks(outgoing.segment) {
                if !self.is_cut(outgoing.to) {
                    // A viewer that has gone is told of by the kernel.
                    let _gone = socket.send_to(datagram, outgoing.to);
                }
            }
            out.clear();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _failed = thread.join();
        }
    }
}
