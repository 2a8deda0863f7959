//! The roles that the warden starts, as small as they can be.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use sandbox_jail::warden::WardenConfig;
use sandbox_jail::{Layer, Sys, warden};
use sandbox_protocol::codec;
use sandbox_protocol::limits::LOCAL_MESSAGE_BYTES_MAX;
use sandbox_protocol::local::VERSION;
use sandbox_protocol::local::worker::{FromWarden, FromWorker, ToWarden};

use crate::hold::Hold;
use crate::x11;

/// Takes one layer away.
#[derive(Debug)]
struct Without(String);

impl Sys for Without {
    fn enter(&self, layer: Layer, step: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if layer.name() == self.0 {
            return Err(io::Error::from_raw_os_error(38));
        }
        step()
    }
}

/// `serve DIRECTORY NAME [KEY=VALUE …]`: the warden; NAME is where the daemon finds the test.
pub(crate) fn serve(arguments: &[String]) {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing::Level::DEBUG)
        .init();
    let directory = PathBuf::from(&arguments[0]);
    let option = |name: &str| {
        let prefix = format!("{name}=");
        arguments[2..]
            .iter()
            .find_map(|it| it.strip_prefix(&prefix))
    };
    let number = |name: &str, default: u64| option(name).map_or(default, |it| it.parse().unwrap());
    let loopback = |name| {
        let port = u16::try_from(number(name, 0)).unwrap();
        std::net::SocketAddr::from(([127, 0, 0, 1], port))
    };
    let config = WardenConfig {
        state_dir: directory.join("state"),
        runtime_dir: directory.join("run"),
        homes: directory.join("state/users"),
        uid_base: u32::try_from(number("uid_base", 0)).unwrap(),
        sessions_max: Some(u32::try_from(number("sessions", 4)).unwrap()),
        memory_limit_mb: number("memory", 300),
        cpu_percent: u32::try_from(number("cpu", 80)).unwrap(),
        pid_limit: number("pids", 60),
        session_timeout: Duration::from_millis(number("timeout_ms", 60_000)),
        allow_unlimited: option("unlimited").is_some(),
        http: loopback("http"),
        media: loopback("media"),
        metrics: loopback("metrics"),
        tls: None,
        daemon_user: "no-such-account".to_owned(),
        daemon_config: arguments[1].clone().into_bytes(),
        codec: "auto".to_owned(),
        fps_max: 60,
        log_filter: "info".to_owned(),
    };
    let outcome = match (option("without"), option("hold")) {
        (Some(layer), _) => warden::run_on(config, &Without(layer.to_owned())),
        (None, Some(place)) => warden::run_on(config, &Hold::parse(place)),
        (None, None) => warden::run(config),
    };
    if let Err(error) = outcome {
        eprintln!("{error}");
        std::process::exit(error.exit_code().into());
    }
}

/// `become DIRECTORY`: a subcommand that prints whom it became and what it may still do.
pub(crate) fn become_daemon(arguments: &[String]) {
    let state = PathBuf::from(&arguments[0]);
    warden::become_daemon(&state, u32::MAX / 2 + 1, "no-such-account").unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for field in ["Uid:", "Gid:", "Groups:", "CapEff:", "CapPrm:", "CapBnd:"] {
        let line = status.lines().find(|it| it.starts_with(field)).unwrap();
        println!("{}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

/// Hands its link to the test and stays until the test lets go.
pub(crate) fn daemon() {
    let link = io::stdin();
    let (_, descriptors) = receive_message(link.as_fd(), RecvFlags::PEEK).unwrap();
    let mut name = vec![0; 100];
    let length = fs::File::from(descriptors.into_iter().next().unwrap())
        .read_at(&mut name, 0)
        .unwrap();
    let name = &name[..length];
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let test = UnixStream::connect_addr(&address).unwrap();
    send_message(test.as_fd(), b"link", &[link.as_fd()]).unwrap();
    let mut end = [0];
    let _ended = rustix::io::read(&test, &mut end);
}

/// Desktop widths at which the worker misbehaves.
pub(crate) mod bad_worker {
    pub(crate) const LACKS_A_LIBRARY: u16 = 640;
    pub(crate) const TALKS_NONSENSE: u16 = 642;
    pub(crate) const IS_READY_TWICE: u16 = 644;
    pub(crate) const LEAVES: u16 = 646;
    pub(crate) const SEES_X_HELD: u16 = 648;
}

/// What a worker says besides its duty, by the width it was asked for.
fn misbehave(width: u16, say: &dyn Fn(&[u8])) {
    let message = |it: &ToWarden| say(&codec::encode(it).unwrap());
    let size = sandbox_protocol::Size {
        width: 65_535,
        height: 65_535,
    };
    match width {
        bad_worker::LACKS_A_LIBRARY => message(&ToWarden::Failed {
            layer: "libx264".to_owned(),
            detail: "not found".to_owned(),
        }),
        bad_worker::TALKS_NONSENSE => say(&[0xff; 40_000]),
        bad_worker::IS_READY_TWICE => message(&ToWarden::Ready {
            size,
            weaker: Vec::new(),
        }),
        bad_worker::LEAVES => panic!("as asked"),
        bad_worker::SEES_X_HELD => message(&ToWarden::XHeld),
        _ => {}
    }
}

/// Seals itself, greets X, reports ready, greets whoever is attached.
pub(crate) fn desktop() {
    let warden = io::stdin();
    let (bytes, descriptors) = receive_message(warden.as_fd(), RecvFlags::empty()).unwrap();
    let Ok(FromWarden::Start(plan)) = codec::decode(&bytes) else {
        panic!("the first message is a plan");
    };
    assert_eq!(plan.version, VERSION);
    let weaker = sandbox_jail::seal::seal_worker().unwrap();
    // What a sealed worker cannot do.
    assert!(fs::File::open("/dev/null").is_err());
    assert!(std::os::unix::net::UnixDatagram::unbound().is_err());
    let thread = std::thread::spawn(|| 7).join().unwrap();
    assert_eq!(thread, 7);

    let [_framebuffer, own, _spare, notes]: [OwnedFd; 4] = descriptors.try_into().unwrap();
    // The one thing that it writes outside itself.
    fs::File::from(notes).write_all_at(b"kept", 0).unwrap();
    let stream = UnixStream::from(own);
    stream.set_nonblocking(false).unwrap();
    let size = x11::greet(&stream, &plan.cookie).unwrap();
    assert_eq!(size, (plan.screen_size.width, plan.screen_size.height));
    misbehave(plan.size.width, &|bytes| {
        send_message(warden.as_fd(), bytes, &[]).unwrap();
    });
    let ready = ToWarden::Ready {
        size: plan.size,
        weaker,
    };
    send_message(warden.as_fd(), &codec::encode(&ready).unwrap(), &[]).unwrap();
    let mut attached = Vec::new();
    while let Ok((bytes, descriptors)) = receive_message(warden.as_fd(), RecvFlags::empty()) {
        if bytes.is_empty() {
            return;
        }
        let message: FromWarden = codec::decode(&bytes).unwrap();
        assert_eq!(message, FromWarden::Attach);
        let hello = FromWorker::Hello {
            version: VERSION,
            size: plan.size,
            encoder_name: "none".to_owned(),
        };
        let hello = codec::encode(&hello).unwrap();
        // Whoever attached may have left already.
        let _gone = send_message(descriptors[0].as_fd(), &hello, &[])
            .and_then(|()| send_message(descriptors[1].as_fd(), b"media", &[]));
        let answer = codec::encode(&ToWarden::Attached).unwrap();
        send_message(warden.as_fd(), &answer, &[]).unwrap();
        attached = descriptors;
    }
    drop(attached);
}

pub(crate) fn receive_message(
    socket: BorrowedFd<'_>,
    flags: RecvFlags,
) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; LOCAL_MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        flags | RecvFlags::CMSG_CLOEXEC,
    )?;
    bytes.truncate(received.bytes);
    let descriptors = control
        .drain()
        .filter_map(|it| match it {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    Ok((bytes, descriptors))
}

pub(crate) fn send_message(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
