//! How sessions begin and end.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::RecvFlags;
use rustix::process::Signal;
use sandbox_protocol::codec;
use sandbox_protocol::local::warden::{EndReason, Event, MemoryShortage, Refusal, Request};
use sandbox_protocol::local::worker::FromWorker;

use crate::Test;
use crate::roles::{bad_worker, receive_message};
use crate::server::{
    Played, Server, assert_nothing_left, children, fresh_directory, kill, session_id, start,
    status_field, uid_base, wait_for,
};

pub(crate) const TESTS: &[Test] = &[
    (
        "a_desktop_starts_and_ends_without_a_trace",
        a_desktop_starts_and_ends_without_a_trace,
    ),
    (
        "each_attach_brings_fresh_sockets_to_worker_and_daemon",
        each_attach_brings_fresh_sockets_to_worker_and_daemon,
    ),
    (
        "the_end_of_each_jail_ends_the_session_with_its_reason",
        the_end_of_each_jail_ends_the_session_with_its_reason,
    ),
    (
        "each_killed_worker_has_a_successor_until_five_have_ended",
        each_killed_worker_has_a_successor_until_five_have_ended,
    ),
    (
        "twenty_starts_and_ends_cost_the_warden_no_descriptor",
        twenty_starts_and_ends_cost_the_warden_no_descriptor,
    ),
    (
        "sessions_outlive_the_daemon_but_not_for_ever",
        sessions_outlive_the_daemon_but_not_for_ever,
    ),
    (
        "an_upgrade_switches_when_the_next_daemon_serves_and_never_without",
        an_upgrade_switches_when_the_next_daemon_serves_and_never_without,
    ),
    (
        "a_malformed_request_costs_the_daemon_its_life",
        a_malformed_request_costs_the_daemon_its_life,
    ),
    (
        "a_killed_warden_takes_everything_with_it_and_the_next_sweeps",
        a_killed_warden_takes_everything_with_it_and_the_next_sweeps,
    ),
    (
        "a_worker_that_misbehaves_ends_its_own_session_alone",
        a_worker_that_misbehaves_ends_its_own_session_alone,
    ),
    (
        "a_program_that_takes_all_memory_dies_and_the_desktop_lives",
        a_program_that_takes_all_memory_dies_and_the_desktop_lives,
    ),
    (
        "requests_out_of_range_are_refused",
        requests_out_of_range_are_refused,
    ),
    (
        "a_home_of_somebody_else_is_refused",
        a_home_of_somebody_else_is_refused,
    ),
    (
        "what_keeps_the_server_from_starting_is_named",
        what_keeps_the_server_from_starting_is_named,
    ),
];

fn a_desktop_starts_and_ends_without_a_trace() {
    let server = Server::start(&[]);
    let session = server.start_session(1);
    server.send(&Request::End { session });
    assert_eq!(server.ended(), (session_id(1), EndReason::Requested));
    assert!(server.groups_of(session).is_empty());
    server.send(&Request::End { session });
    assert_eq!(server.refused(), Refusal::Unknown);
    // The home stays and takes the next session.
    server.start_session(1);
    server.stop();
}

fn each_attach_brings_fresh_sockets_to_worker_and_daemon() {
    let server = Server::start(&[]);
    let session = server.start_session(1);
    for _ in 0..2 {
        server.send(&Request::Attach { session });
        let (event, descriptors) = server.event();
        assert_eq!(event, Event::Attached { session });
        let [control, media]: [OwnedFd; 2] = descriptors.try_into().unwrap();
        let (hello, _) = receive_message(control.as_fd(), RecvFlags::empty()).unwrap();
        let hello: FromWorker = codec::decode(&hello).unwrap();
        assert!(matches!(hello, FromWorker::Hello { .. }));
        let mut bytes = [0; 5];
        UnixStream::from(media).read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"media");
    }
    server.stop();
}

fn the_end_of_each_jail_ends_the_session_with_its_reason() {
    let server = Server::start(&[]);
    for (place, reason) in [(0, EndReason::DisplayEnded), (2, EndReason::ProgramsEnded)] {
        server.start_session(1);
        kill(server.jails(1)[place].program);
        assert_eq!(server.ended(), (session_id(1), reason));
    }
    server.stop();
}

fn each_killed_worker_has_a_successor_until_five_have_ended() {
    let server = Server::start(&[]);
    let other = server.start_session(2);
    let session = server.start_session(1);
    let [display, mut worker, programs] = server.jails(1);
    for end in 1..=5 {
        kill(worker.program);
        // At once, whether the warden has seen the end or not: all are answered in their order.
        server.send(&Request::Attach { session });
        server.send(&Request::Usage { session });
        if end == 5 {
            break;
        }
        let (event, descriptors) = server.event();
        assert_eq!(event, Event::Attached { session });
        assert!(matches!(server.event().0, Event::Usage { .. }));
        let gone = worker.program;
        wait_for("the next worker", || {
            let programs = children(server.worker_init(1)?);
            (programs.first()? != &gone).then_some(())
        });
        worker = server.jails(1)[1];
        drop(descriptors);
        server.send(&Request::Attach { session });
        let (event, descriptors) = server.event();
        assert_eq!(event, Event::Attached { session });
        let (hello, _) = receive_message(descriptors[0].as_fd(), RecvFlags::empty()).unwrap();
        let hello: FromWorker = codec::decode(&hello).unwrap();
        assert!(matches!(hello, FromWorker::Hello { .. }));
        let [still_display, _, still_programs] = server.jails(1);
        assert_eq!(still_display.program, display.program);
        assert_eq!(still_programs.program, programs.program);
    }
    let reason = loop {
        match server.event().0 {
            Event::Ended { reason, .. } => break reason,
            Event::Attached { .. } | Event::Usage { .. } | Event::Refused { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason, EndReason::WorkerEnded);
    server.send(&Request::Attach { session: other });
    let answered = loop {
        match server.event().0 {
            Event::Refused { session, .. } | Event::Usage { session, .. } if session != other => {}
            event => break event,
        }
    };
    assert_eq!(answered, Event::Attached { session: other });
    server.stop();
}

fn twenty_starts_and_ends_cost_the_warden_no_descriptor() {
    let server = Server::start(&[]);
    let open = || {
        fs::read_dir(format!("/proc/{}/fd", server.warden.id()))
            .unwrap()
            .count()
    };
    let before = open();
    for _ in 0..20 {
        let session = server.start_session(1);
        server.send(&Request::End { session });
        server.ended();
    }
    assert_eq!(open(), before);
    server.stop();
}

fn sessions_outlive_the_daemon_but_not_for_ever() {
    let mut server = Server::start(&["timeout_ms=1500"]);
    let session = server.start_session(1);
    server.crash_daemon();
    match server.meet_daemon() {
        Event::Hello { sessions, .. } => assert_eq!(sessions, [session]),
        other => panic!("{other:?}"),
    }
    server.send(&Request::Attach { session });
    assert_eq!(server.event().0, Event::Attached { session });
    assert!(!server.groups_of(session).is_empty());
    // A daemon that never serves again.
    server.refuse_daemons();
    wait_for("the orphaned session's end", || {
        server.groups_of(session).is_empty().then_some(())
    });
    server.stop();
}

pub(crate) fn an_upgrade_switches_when_the_next_daemon_serves_and_never_without() {
    let mut server = Server::start(&[]);
    let session = server.start_session(1);
    let old_daemon = server.daemon_pid();
    let mut old = Played::default();
    let usage_is_told = |server: &Server| {
        server.send(&Request::Usage { session });
        assert!(matches!(server.event().0, Event::Usage { .. }));
    };

    // One that ends before it serves.
    server.signal(Signal::USR2);
    server.play(&mut old);
    server.await_daemon();
    server.play(&mut old);
    server.send(&Request::Start(start(2)));
    assert!(matches!(server.refused(), Refusal::Full { .. }));
    drop(std::mem::take(&mut old));
    wait_for("the failed upgrade", || {
        let told = server.log().contains("the old one goes on");
        told.then_some(())
    });
    usage_is_told(&server);
    let other = server.start_session(2);

    // One that serves: what happened while it started is told to it.
    server.signal(Signal::USR2);
    server.play(&mut old);
    match server.await_daemon() {
        Event::Hello { sessions, .. } => assert_eq!(sessions, [session, other]),
        event => panic!("{event:?}"),
    }
    server.play(&mut old);
    server.send(&Request::End { session: other });
    assert_eq!(server.ended(), (other, EndReason::Requested));
    usage_is_told(&server);
    server.play(&mut old);
    server.send(&Request::Ready);
    assert_eq!(server.ended(), (other, EndReason::Requested));
    usage_is_told(&server);
    wait_for("the old daemon's end", || {
        let is_gone = !std::path::Path::new(&format!("/proc/{old_daemon}")).exists();
        is_gone.then_some(())
    });
    drop(old);
    usage_is_told(&server);
    server.stop();
}

fn a_malformed_request_costs_the_daemon_its_life() {
    let mut server = Server::start(&[]);
    let session = server.start_session(1);
    for bytes in [
        b"nonsense".as_slice(),
        &[0xff; 70_000],
        &codec::encode(&Request::Ready).unwrap(),
    ] {
        server.send_bytes(bytes);
        server.crash_daemon();
        match server.meet_daemon() {
            Event::Hello { sessions, .. } => assert_eq!(sessions, [session]),
            other => panic!("{other:?}"),
        }
    }
    server.send(&Request::End { session });
    assert_eq!(server.ended().1, EndReason::Requested);
    server.stop();
}

pub(crate) fn a_killed_warden_takes_everything_with_it_and_the_next_sweeps() {
    let mut server = Server::start(&[]);
    let session = server.start_session(1);
    let inits = server.jails(1).map(|it| it.init);
    server.signal(Signal::KILL);
    server.wait();
    wait_for("the jails' end", || {
        let gone = inits
            .iter()
            .all(|it| !std::path::Path::new(&format!("/proc/{it}")).exists());
        gone.then_some(())
    });
    assert!(!server.groups_of(session).is_empty());
    let mut next = Server::start_in(server.directory.clone(), &[]);
    next.meet_daemon();
    assert!(server.groups_of(session).is_empty());
    next.start_session(1);
    next.signal(Signal::TERM);
    assert!(next.wait().success());
    assert_nothing_left(&next.directory);
}

fn a_worker_that_misbehaves_ends_its_own_session_alone() {
    let server = Server::start(&[]);
    let other = server.start_session(2);
    let ask = |width| {
        let mut request = start(1);
        request.size.width = width;
        server.send(&Request::Start(request));
        // It may be up before it misbehaves.
        loop {
            match server.event().0 {
                Event::Started { .. } => {}
                event => return event,
            }
        }
    };
    match ask(bad_worker::LACKS_A_LIBRARY) {
        Event::Refused {
            why: Refusal::Missing { layer, .. },
            ..
        } => assert_eq!(layer, "libx264"),
        event => panic!("{event:?}"),
    }
    server.await_end(session_id(1));
    for (width, reason) in [
        (bad_worker::TALKS_NONSENSE, EndReason::WorkerEnded),
        (bad_worker::IS_READY_TWICE, EndReason::WorkerEnded),
        (bad_worker::SEES_X_HELD, EndReason::XHeldByProgram),
    ] {
        let event = ask(width);
        assert_eq!(
            event,
            Event::Ended {
                session: session_id(1),
                reason
            },
            "{width}"
        );
    }
    match ask(bad_worker::LEAVES) {
        Event::Refused {
            why: Refusal::Failed { detail },
            ..
        } => {
            assert!(detail.contains("as asked"), "{detail}");
        }
        event => panic!("{event:?}"),
    }
    server.send(&Request::Attach { session: other });
    assert_eq!(server.event().0, Event::Attached { session: other });
    server.stop();
}

fn a_program_that_takes_all_memory_dies_and_the_desktop_lives() {
    let server = Server::start(&["memory=200"]);
    let hog = b"dd if=/dev/zero of=/dev/null bs=400M count=1\necho $? > ~/result\n";
    server.lay_autostart(1, hog);
    let session = server.start_session(1);
    let result = wait_for("the end of the hog", || {
        fs::read_to_string(server.home(1).join("result"))
            .ok()
            .filter(|it| it.ends_with('\n'))
    });
    assert!(result.contains("137"), "{result}");
    let [_, _, programs] = server.jails(1);
    assert_eq!(status_field(programs.program, "Name"), "session");
    // The operator reads whose program it was, and why it went.
    wait_for("the line about the killed program", || {
        let log = server.log();
        log.lines()
            .any(|it| it.contains("memory was used up") && it.contains(&session.to_string()))
            .then_some(())
    });
    // And the daemon hears of it, once.
    let shortage = MemoryShortage {
        limit_mb: 200,
        killed: 1,
        programs: vec!["dd".to_owned()],
    };
    assert_eq!(server.event().0, Event::OutOfMemory { session, shortage });
    server.send(&Request::Attach { session });
    assert_eq!(server.event().0, Event::Attached { session });
    server.stop();
}

fn requests_out_of_range_are_refused() {
    let server = Server::start(&["sessions=1"]);
    let mut request = start(1);
    request.user_name = "../user".to_owned();
    server.send(&Request::Start(request));
    assert!(matches!(server.refused(), Refusal::Invalid { .. }));
    let mut request = start(1);
    request.user.0 = u32::MAX;
    server.send(&Request::Start(request));
    assert!(matches!(server.refused(), Refusal::Invalid { .. }));
    server.start_session(1);
    server.send(&Request::Start(start(1)));
    assert!(matches!(server.refused(), Refusal::Invalid { .. }));
    server.send(&Request::Start(start(2)));
    assert!(matches!(server.refused(), Refusal::Full { .. }));
    server.stop();
}

fn a_home_of_somebody_else_is_refused() {
    let server = Server::start(&[]);
    let homes = server.directory.join("state/users");
    fs::create_dir(homes.join("user1")).unwrap();
    server.send(&Request::Start(start(1)));
    match server.refused() {
        Refusal::Failed { detail } => assert!(detail.contains("belongs to uid 0"), "{detail}"),
        other => panic!("{other:?}"),
    }
    std::os::unix::fs::symlink("/root", homes.join("user2")).unwrap();
    server.send(&Request::Start(start(2)));
    assert!(matches!(server.refused(), Refusal::Failed { .. }));
    server.stop();
}

fn what_keeps_the_server_from_starting_is_named() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = format!("(process {})", std::process::id());
    check_start(
        &[&format!("http={}", tcp.local_addr().unwrap().port())],
        1,
        &["PORT", &own],
    );
    check_start(
        &[&format!("media={}", udp.local_addr().unwrap().port())],
        1,
        &["MEDIA_PORT", &own],
    );
    let foreign = fresh_directory();
    std::os::unix::fs::chown(&foreign, Some(65_534), None).unwrap();
    check_start_in(foreign, &[], 3, &["belongs to uid 65534"]);
    check_start(&["uid_base=65000"], 2, &["SANDBOX_UID_BASE", "nobody"]);

    let running = Server::start(&[&format!("metrics={}", tcp.local_addr().unwrap().port())]);
    let mut second = Server::start_in(running.directory.clone(), &["uid_base=1200000000"]);
    assert_eq!(second.wait().code(), Some(1));
    assert!(second.log().contains("STATE_DIR"), "{}", second.log());
    std::mem::forget(second);
    check_start(
        &[&format!("uid_base={}", uid_base() + 16)],
        1,
        &["SANDBOX_UID_BASE"],
    );
    running.stop();
}

#[track_caller]
fn check_start(options: &[&str], code: i32, words: &[&str]) {
    check_start_in(fresh_directory(), options, code, words);
}

#[track_caller]
fn check_start_in(directory: std::path::PathBuf, options: &[&str], code: i32, words: &[&str]) {
    let mut server = Server::start_in(directory, options);
    assert_eq!(
        server.wait().code(),
        Some(code),
        "{options:?}\n{}",
        server.log()
    );
    for word in words {
        assert!(
            server.log().contains(word),
            "{word} is not in {}",
            server.log()
        );
    }
}
