//! Sessions over HTTP: whose they are, and how they begin and end.

use std::time::Duration;

use sandbox_daemon::clock;
use sandbox_daemon::state::sessions::{Record, write};
use sandbox_daemon::state::users::{Role, create};
use sandbox_protocol::local::warden::{EndReason, Event, Refusal, Request, StartSession};
use sandbox_protocol::{SessionId, Size};
use sandbox_quic::Fingerprint;

use crate::world::World;

fn world_with_two() -> (World, String, String) {
    let world = World::start();
    world.add_user("ada", Role::User);
    world.add_user("bob", Role::User);
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    (world, ada, bob)
}

#[test]
fn a_desktop_is_started_once_and_given_again() {
    let (world, ada, _) = world_with_two();
    let first = world.start_session(&ada);
    assert_eq!(first.status, 201, "{}", first.body);
    let session = first.json();
    assert_eq!(session["state"], "ready");
    assert_eq!(session["profile"], "desktop");
    assert_eq!(session["node"], "node1");
    assert_eq!(
        (&session["width"], &session["height"]),
        (&1280.into(), &720.into())
    );
    let quic_url = session["quic_url"].as_str().unwrap();
    let (place, pin) = quic_url.split_once("#pin=").unwrap();
    let port = place.strip_prefix("ada@127.0.0.1:").unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    assert!(pin.parse::<Fingerprint>().is_ok(), "{pin}");
    let id = session["id"].as_str().unwrap();
    let url = format!("ws://localhost:{}/ws?session={id}", world.port);
    assert_eq!(session["websocket_url"], url);
    let second = world.start_session(&ada);
    assert_eq!((second.status, second.json()), (200, session.clone()));
    let list = world
        .request("GET", "/api/sessions", Some(&ada), None)
        .json();
    assert_eq!(list["sessions"], serde_json::json!([session]));
}

#[test]
fn the_warden_is_told_names_and_numbers_only() {
    let (world, ada, _) = world_with_two();
    let id: SessionId = world.session(&ada).parse().unwrap();
    let requests = world.policy.lock().unwrap().requests.clone();
    let plan = StartSession {
        session: id,
        user: sandbox_protocol::UserIndex(1),
        user_name: "ada".into(),
        profile: "desktop".into(),
        size: Size {
            width: 1280,
            height: 720,
        },
    };
    assert_eq!(requests, [Request::Ready, Request::Start(plan)]);
}

#[test]
fn somebody_elses_session_looks_like_a_missing_one() {
    let (world, ada, bob) = world_with_two();
    let id = world.session(&ada);
    for (method, tail) in [("GET", ""), ("DELETE", ""), ("GET", "/stats")] {
        let ask = |id: &str| {
            let path = format!("/api/sessions/{id}{tail}");
            world.request(method, &path, Some(&bob), None)
        };
        let theirs = ask(&id);
        theirs.is_problem(404, "not_found");
        for missing in [&"0".repeat(32), "nonsense", "%2e%2e", &"f".repeat(33)] {
            let answer = ask(missing);
            assert_eq!(
                (answer.status, &answer.body),
                (404, &theirs.body),
                "{missing}"
            );
        }
    }
    let list = world.request("GET", "/api/sessions", Some(&bob), None);
    assert_eq!(list.body, r#"{"sessions":[]}"#);
    world.until_state(&ada, &id, "ready");
}

#[test]
fn an_admin_lists_and_ends_what_others_have() {
    let (world, ada, _) = world_with_two();
    world.add_user("boss", Role::Admin);
    let boss = world.login("boss");
    let id = world.session(&ada);
    let list = world
        .request("GET", "/api/sessions", Some(&boss), None)
        .json();
    assert_eq!(list["sessions"][0]["user"], "ada");
    let path = format!("/api/sessions/{id}");
    assert_eq!(
        world.request("DELETE", &path, Some(&boss), None).status,
        204
    );
    let session = world.until_state(&ada, &id, "ended");
    assert_eq!(session["reason"], "requested");
}

#[test]
fn a_deleted_session_is_over_at_once_and_makes_room_for_the_next() {
    let (world, ada, _) = world_with_two();
    let id = world.session(&ada);
    let path = format!("/api/sessions/{id}");
    for _ in 0..2 {
        assert_eq!(world.request("DELETE", &path, Some(&ada), None).status, 204);
        assert_eq!(
            world.request("GET", &path, Some(&ada), None).json()["state"],
            "ended"
        );
    }
    // The warden has answered this only after what it was asked before.
    assert_ne!(world.session(&ada), id);
    let ended: SessionId = id.parse().unwrap();
    let requests = world.policy.lock().unwrap().requests.clone();
    let ends = requests
        .iter()
        .filter(|it| **it == Request::End { session: ended });
    assert_eq!(ends.count(), 1);
    let stats = world.request("GET", &format!("{path}/stats"), Some(&ada), None);
    stats.is_problem(404, "not_found");
}

#[test]
fn a_session_that_ends_by_itself_says_why_and_leaves_the_others_alone() {
    let (world, ada, bob) = world_with_two();
    let (of_ada, of_bob) = (world.session(&ada), world.session(&bob));
    world.tell(&Event::Ended {
        session: of_ada.parse().unwrap(),
        reason: EndReason::DisplayEnded,
    });
    let session = world.until_state(&ada, &of_ada, "ended");
    assert_eq!(session["reason"], "display_ended");
    world.until_state(&bob, &of_bob, "ready");
}

#[test]
fn a_missing_layer_is_named_and_the_server_is_not_ready_until_a_start_succeeds() {
    let (world, ada, bob) = world_with_two();
    let of_bob = world.session(&bob);
    world.policy.lock().unwrap().refusal = Some(Refusal::Missing {
        layer: "libx264".into(),
        detail: "it is not installed: apt install libx264-164".into(),
    });
    let answer = world.start_session(&ada);
    answer.is_problem(503, "layer_missing");
    assert!(answer.body.contains("libx264"), "{}", answer.body);
    assert!(answer.body.contains("apt install"), "{}", answer.body);
    let ready = world.request("GET", "/ready", None, None);
    ready.is_problem(503, "not_ready");
    assert!(ready.body.contains("libx264"), "{}", ready.body);
    assert_eq!(world.request("GET", "/health", None, None).status, 200);
    world.until_state(&bob, &of_bob, "ready");
    world.policy.lock().unwrap().refusal = None;
    world.session(&ada);
    assert_eq!(world.request("GET", "/ready", None, None).status, 200);
}

#[test]
fn other_refusals_keep_their_kind() {
    let (world, ada, _) = world_with_two();
    let detail = "sixteen bytes short".to_owned();
    for (refusal, status, code) in [
        (
            Refusal::Full {
                detail: detail.clone(),
            },
            503,
            "node_full",
        ),
        (
            Refusal::Failed {
                detail: detail.clone(),
            },
            503,
            "start_failed",
        ),
        (
            Refusal::Invalid {
                detail: detail.clone(),
            },
            422,
            "invalid_field",
        ),
    ] {
        world.policy.lock().unwrap().refusal = Some(refusal);
        let answer = world.start_session(&ada);
        answer.is_problem(status, code);
        assert!(answer.body.contains(&detail), "{}", answer.body);
    }
}

#[test]
fn a_full_node_says_so() {
    let world = World::with(|config| config.sessions_max = 1);
    world.add_user("ada", Role::User);
    world.add_user("bob", Role::User);
    world.session(&world.login("ada"));
    let answer = world.start_session(&world.login("bob"));
    answer.is_problem(503, "node_full");
    assert!(answer.header("retry-after").is_some());
    assert!(
        answer.body.contains("SANDBOX_SESSIONS_MAX"),
        "{}",
        answer.body
    );
    world
        .request("GET", "/ready", None, None)
        .is_problem(503, "not_ready");
}

#[test]
fn a_viewer_account_starts_no_desktop() {
    let world = World::start();
    world.add_user("guest", Role::Viewer);
    world
        .start_session(&world.login("guest"))
        .is_problem(403, "forbidden");
}

#[test]
fn wishes_outside_what_there_is_are_refused_or_fitted() {
    let (world, ada, bob) = world_with_two();
    let wish =
        |token: &str, body: &str| world.request("POST", "/api/sessions", Some(token), Some(body));
    for body in [
        r#"{"profile":"../../etc","width":1280,"height":720}"#,
        r#"{"profile":"desktop","width":70000,"height":720}"#,
        r#"{"profile":"desktop","width":-1,"height":720}"#,
        r#"{"profile":"desktop","width":"1280","height":720}"#,
        r#"{"profile":"desktop","width":1280}"#,
        r#"{"profile":"desktop","width":1280,"height":720,"uid":0}"#,
    ] {
        wish(&ada, body).is_problem(422, "invalid_field");
    }
    let small = wish(&ada, r#"{"profile":"desktop","width":1,"height":0}"#).json();
    assert_eq!(
        (&small["width"], &small["height"]),
        (&320.into(), &200.into())
    );
    let large = wish(&bob, r#"{"profile":"desktop","width":65535,"height":1081}"#).json();
    assert_eq!(
        (&large["width"], &large["height"]),
        (&3840.into(), &1080.into())
    );
}

#[test]
fn figures_come_from_the_warden() {
    let (world, ada, _) = world_with_two();
    let path = format!("/api/sessions/{}/stats", world.session(&ada));
    let stats = world.request("GET", &path, Some(&ada), None).json();
    assert_eq!(stats["cpu_seconds"], 1.5);
    assert_eq!(stats["memory_bytes"], 123_456_789);
    assert_eq!(stats["pids"], 7);
    assert!(
        stats.get("captures").is_none(),
        "nobody is attached: {stats}"
    );
}

#[test]
fn an_admin_sees_the_figures_of_others() {
    let (world, ada, _) = world_with_two();
    world.add_user("boss", Role::Admin);
    let path = format!("/api/sessions/{}/stats", world.session(&ada));
    let stats = world.request("GET", &path, Some(&world.login("boss")), None);
    assert_eq!(stats.status, 200, "{}", stats.body);
}

#[test]
fn a_desktop_that_nobody_attaches_ends_at_its_timeout() {
    let world = World::with(|config| config.session_timeout = Duration::from_secs(1));
    world.add_user("ada", Role::User);
    let ada = world.login("ada");
    let id = world.session(&ada);
    let session = world.until_state(&ada, &id, "ended");
    assert_eq!(session["reason"], "timeout");
}

#[test]
fn a_session_can_be_ended_while_it_is_started() {
    let (world, ada, _) = world_with_two();
    world.policy.lock().unwrap().is_slow = true;
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| world.start_session(&ada));
        let id = loop {
            let list = world
                .request("GET", "/api/sessions", Some(&ada), None)
                .json();
            if let Some(id) = list["sessions"][0]["id"].as_str() {
                assert_eq!(list["sessions"][0]["state"], "starting");
                break id.to_owned();
            }
        };
        let path = format!("/api/sessions/{id}");
        assert_eq!(world.request("DELETE", &path, Some(&ada), None).status, 204);
        starting.join().unwrap().is_problem(503, "requested");
    });
}

fn record(number: u8, user: sandbox_protocol::UserIndex, user_name: &str) -> Record {
    Record {
        plan: StartSession {
            session: SessionId::from_bytes([number; 16]),
            user,
            user_name: user_name.into(),
            profile: "desktop".into(),
            size: Size {
                width: 800,
                height: 600,
            },
        },
        state: "attached",
        reason: None,
    }
}

#[test]
fn a_fresh_daemon_takes_over_what_the_warden_still_holds() {
    let (kept, unknown) = (
        SessionId::from_bytes([1; 16]),
        SessionId::from_bytes([9; 16]),
    );
    let world = World::surviving(
        |_| {},
        vec![kept, unknown],
        |database| {
            let now = clock::unix_seconds();
            let boss = create(database, "boss", Role::Admin, "h", now)
                .unwrap()
                .unwrap();
            write(database, &record(1, boss, "boss"), now).unwrap();
            write(database, &record(2, boss, "boss"), now).unwrap();
        },
    );
    world.add_user("ada", Role::Admin);
    let ada = world.login("ada");
    let list = world
        .request("GET", "/api/sessions", Some(&ada), None)
        .json();
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["sessions"][0]["id"], kept.to_string());
    assert_eq!(list["sessions"][0]["state"], "detached");
    let requests = world.policy.lock().unwrap().requests.clone();
    assert!(
        requests.contains(&Request::End { session: unknown }),
        "{requests:?}"
    );
    let lost: String = world
        .database()
        .query_row(
            "SELECT reason FROM sessions WHERE id = ?1",
            [SessionId::from_bytes([2; 16]).to_string()],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(lost, "lost");
}
