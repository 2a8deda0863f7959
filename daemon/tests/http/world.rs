//! A daemon in this process, with a warden of the test's own at the other end of its socket.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, sendmsg, socketpair,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sandbox_daemon::config::{Certificate, Config, DaemonConfig, Host};
use sandbox_daemon::daemon::{DaemonError, run_on};
use sandbox_daemon::state::users::{Role, create};
use sandbox_daemon::{auth, clock, state};
use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::warden::{EndReason, Event, Refusal, Request};
use sandbox_protocol::{SessionId, codec};
use serde_json::Value;

/// Nothing here takes a second; a test that waits this long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const PASSWORD: &str = "correct horse battery";

/// What the test's warden does when it is asked.
#[derive(Default)]
pub(crate) struct Policy {
    /// Refuse starts with this.
    pub(crate) refusal: Option<Refusal>,
    /// Attach as to a daemon that may open no more files: the kernel keeps the descriptors.
    pub(crate) keeps_descriptors: bool,
    /// Leave starts unanswered.
    pub(crate) is_slow: bool,
    /// Requests that came, in order.
    pub(crate) requests: Vec<Request>,
    /// What the operator's files hold, by their order: certificate and key.
    pub(crate) tls_files: Option<[PathBuf; 2]>,
    /// Our ends of the workers' sockets: the newest pair of each session.
    pub(crate) workers: BTreeMap<SessionId, (OwnedFd, OwnedFd)>,
}

pub(crate) struct World {
    pub(crate) port: u16,
    /// Where media and native viewers meet the daemon.
    pub(crate) media: SocketAddr,
    pub(crate) dir: PathBuf,
    pub(crate) policy: Arc<Mutex<Policy>>,
    /// Speak TLS, and trust this certificate alone.
    pub(crate) trusted: Option<PathBuf>,
    socket: Arc<OwnedFd>,
    daemon: Option<JoinHandle<Result<(), DaemonError>>>,
    warden: Option<JoinHandle<()>>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(problem["code"], code, "{}", self.body);
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().len() > 8);
    }
}

/// The default configuration, limits off.
fn config(http: SocketAddr, dir: &std::path::Path) -> DaemonConfig {
    let environment = [
        ("PORT", http.port().to_string()),
        ("STATE_DIR", dir.display().to_string()),
        ("RATE_LIMIT_LOGIN", "0".into()),
        ("RATE_LIMIT_API", "0".into()),
        ("RUST_LOG", "error".into()),
        ("MEDIA_ADVERTISE", "127.0.0.1".into()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value));
    let host = Host {
        is_root: false,
        user_state_dir: None,
        name: "node1".into(),
        memory_mb: 16_384,
        is_terminal: false,
    };
    Config::load(&[], environment, &host).unwrap().daemon
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut DaemonConfig)) -> Self {
        Self::surviving(change, Vec::new(), |_| {})
    }

    /// Speaks TLS with a certificate of its own.
    pub(crate) fn self_signed() -> Self {
        Self::with(|config| {
            config.tls = Some(Certificate::SelfSigned);
            be_https(config);
        })
    }

    /// Starts a daemon whose warden holds sessions already; `prepare` fills the database.
    pub(crate) fn surviving(
        change: impl FnOnce(&mut DaemonConfig),
        sessions: Vec<SessionId>,
        prepare: impl FnOnce(&rusqlite::Connection),
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sandbox-http-{}-{number}", std::process::id());
        let parent = std::env::temp_dir().join(name);
        let dir = parent.join("daemon");
        std::fs::create_dir_all(&dir).unwrap();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let http = tcp.local_addr().unwrap();
        let mut config = config(http, &parent);
        change(&mut config);
        prepare(&state::open(&dir.join("state.db")).unwrap());
        let (trusted, tls_files) = match &config.tls {
            None => (None, None),
            Some(Certificate::SelfSigned) => (Some(dir.join("tls.crt")), None),
            Some(Certificate::Files { certificate, key }) => {
                let files = [certificate.clone(), key.clone()];
                (Some(certificate.clone()), Some(files))
            }
        };

        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let hello = Event::Hello {
            version: VERSION,
            tcp: 1,
            udp: 1,
            metrics: 0,
            weaker: vec!["This kernel has no Landlock.".into()],
            sessions,
        };
        let config = memory_file(&serde_json::to_vec(&config).unwrap());
        let descriptors = [config.as_fd(), tcp.as_fd(), udp.as_fd()];
        send(&theirs, &hello, &descriptors);
        let policy = Arc::new(Mutex::new(Policy {
            tls_files,
            ..Policy::default()
        }));
        let socket = Arc::new(theirs);
        let warden = {
            let (policy, socket) = (Arc::clone(&policy), Arc::clone(&socket));
            std::thread::spawn(move || serve(&socket, &policy))
        };
        let daemon = std::thread::spawn(move || run_on(ours));
        Self {
            port: http.port(),
            media: udp.local_addr().unwrap(),
            dir,
            policy,
            trusted,
            socket,
            daemon: Some(daemon),
            warden: Some(warden),
        }
    }

    /// Lets the warden say something unasked.
    pub(crate) fn tell(&self, event: &Event) {
        send(&self.socket, event, &[]);
    }

    pub(crate) fn database(&self) -> rusqlite::Connection {
        state::open(&self.dir.join("state.db")).unwrap()
    }

    pub(crate) fn add_user(&self, name: &str, role: Role) {
        let now = clock::unix_seconds();
        create(&self.database(), name, role, password_hash(), now)
            .unwrap()
            .unwrap();
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// How to speak TLS with this server, where it does.
    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        let path = self.trusted.as_ref()?;
        // A server that makes its own certificate may not have got there yet.
        while !path.exists() {
            std::thread::yield_now();
        }
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(path).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Some(Arc::new(config))
    }

    /// A request with exactly these header lines.
    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let stream = self.connect();
        match self.client() {
            None => exchange(stream, request),
            Some(client) => {
                let name = "localhost".try_into().unwrap();
                let connection = ClientConnection::new(client, name).unwrap();
                exchange(StreamOwned::new(connection, stream), request)
            }
        }
    }

    /// The same without TLS.
    pub(crate) fn raw_plain(&self, request: &[u8]) -> Answer {
        exchange(self.connect(), request)
    }

    pub(crate) fn origin(&self) -> String {
        let scheme = if self.trusted.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://localhost:{}", self.port)
    }

    /// A request as the page makes it.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&str>,
    ) -> Answer {
        let (origin, port) = (self.origin(), self.port);
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: {origin}\r\n\
             Connection: close\r\n"
        );
        if let Some(token) = token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if let Some(body) = body {
            let length = body.len();
            head += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
        }
        self.raw((head + "\r\n" + body.unwrap_or_default()).as_bytes())
    }

    pub(crate) fn try_login(&self, name: &str, password: &str) -> Answer {
        let body = serde_json::json!({ "username": name, "password": password }).to_string();
        self.request("POST", "/api/auth/login", None, Some(&body))
    }

    pub(crate) fn login(&self, name: &str) -> String {
        let answer = self.try_login(name, PASSWORD);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn start_session(&self, token: &str) -> Answer {
        let body = r#"{"profile":"desktop","width":1280,"height":720}"#;
        self.request("POST", "/api/sessions", Some(token), Some(body))
    }

    /// Starts a session and gives its id.
    pub(crate) fn session(&self, token: &str) -> String {
        let answer = self.start_session(token);
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Asks until the session is in this state.
    pub(crate) fn until_state(&self, token: &str, id: &str, state: &str) -> Value {
        let limit = clock::now() + LIMIT;
        loop {
            let answer = self.request("GET", &format!("/api/sessions/{id}"), Some(token), None);
            let session = answer.json();
            if session["state"] == state {
                return session;
            }
            assert!(clock::now() < limit, "not {state}: {session}");
            std::thread::yield_now();
        }
    }
}

/// What the configuration does to both names where TLS is on.
pub(crate) fn be_https(config: &mut DaemonConfig) {
    config.public_url.is_https = true;
    config.node_url.is_https = true;
}

impl Drop for World {
    fn drop(&mut self) {
        // Ends both threads: the daemon sees the end of the warden's socket.
        let _closed = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        let daemon = self.daemon.take().unwrap().join().unwrap();
        self.warden.take().unwrap().join().unwrap();
        let _gone = std::fs::remove_dir_all(self.dir.parent().unwrap());
        if !std::thread::panicking() {
            assert!(matches!(daemon, Err(DaemonError::Warden(_))), "{daemon:?}");
        }
    }
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Answer {
    // A server that refuses early may close before it has read all.
    let _refused_early = stream.write_all(request);
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|it| it.parse().ok()).unwrap_or(0);
    Answer {
        status,
        head: head.into(),
        body: body.into(),
    }
}

fn password_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| auth::password::hash(PASSWORD).unwrap())
}

fn memory_file(bytes: &[u8]) -> OwnedFd {
    let memory = rustix::fs::memfd_create("config", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(memory);
    file.write_all(bytes).unwrap();
    file.into()
}

fn send(socket: &OwnedFd, event: &Event, descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    let bytes = codec::encode(event).unwrap();
    // The daemon may be gone at the end of a test.
    let _gone = sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
}

fn serve(socket: &OwnedFd, policy: &Mutex<Policy>) {
    let mut bytes = vec![0; 65_536];
    loop {
        let Ok((length, _)) = recv(socket, &mut bytes[..], RecvFlags::empty()) else {
            return;
        };
        if length == 0 {
            return;
        }
        let request: Request = codec::decode(&bytes[..length]).unwrap();
        let mut policy = policy.lock().unwrap();
        policy.requests.push(request.clone());
        answer(socket, &mut policy, request);
    }
}

fn answer(socket: &OwnedFd, policy: &mut Policy, request: Request) {
    match request {
        Request::Ready => {}
        Request::Certificate => send_certificate(socket, policy),
        Request::Start(_) if policy.is_slow => {}
        Request::Start(plan) => {
            let session = plan.session;
            let event = match policy.refusal.clone() {
                Some(why) => Event::Refused { session, why },
                None => Event::Started {
                    session,
                    size: plan.size,
                    weaker: vec!["This session has no CPU limit.".into()],
                },
            };
            send(socket, &event, &[]);
        }
        Request::Attach { session } => {
            let (control, control_far) = socketpair(
                AddressFamily::UNIX,
                SocketType::SEQPACKET,
                SocketFlags::CLOEXEC,
                None,
            )
            .unwrap();
            let (media, media_far) = UnixStream::pair().unwrap();
            policy.workers.insert(session, (control, media.into()));
            let descriptors = [control_far.as_fd(), media_far.as_fd()];
            let passed = if policy.keeps_descriptors { 1 } else { 2 };
            send(socket, &Event::Attached { session }, &descriptors[..passed]);
        }
        Request::Usage { session } => {
            let event = Event::Usage {
                session,
                cpu_nanos: 1_500_000_000,
                memory_bytes: 123_456_789,
                pids: 7,
            };
            send(socket, &event, &[]);
        }
        Request::End { session } => {
            policy.workers.remove(&session);
            let reason = EndReason::Requested;
            send(socket, &Event::Ended { session, reason }, &[]);
        }
    }
}

fn send_certificate(socket: &OwnedFd, policy: &Policy) {
    let paths = policy.tls_files.as_ref().unwrap();
    let opened: std::io::Result<Vec<File>> = paths.iter().map(File::open).collect();
    match opened {
        Ok(files) => {
            let descriptors: Vec<BorrowedFd<'_>> = files.iter().map(|it| it.as_fd()).collect();
            send(socket, &Event::Certificate, &descriptors);
        }
        Err(error) => {
            let why = error.to_string();
            send(socket, &Event::NoCertificate { why }, &[]);
        }
    }
}
