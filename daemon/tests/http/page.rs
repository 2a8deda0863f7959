//! The page, the document, and answers that hold for everything.

use crate::world::World;

#[test]
fn the_page_is_served_with_the_headers_that_keep_browsers_strict() {
    let world = World::start();
    let page = world.request("GET", "/", None, None);
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(page.body.contains("<html"), "{}", page.body);
    let csp = page.header("content-security-policy").unwrap();
    assert!(csp.contains("default-src 'self'") && csp.contains("frame-ancestors 'none'"));
    assert!(!csp.contains("unsafe"), "{csp}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-embedder-policy", "require-corp"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    let tag = page.header("etag").unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost:{}\r\nIf-None-Match: \"x\", {tag}\r\n\
         Connection: close\r\n\r\n",
        world.port
    );
    let again = world.raw(request.as_bytes());
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let script = world.request("GET", "/main.js", None, None);
    assert_eq!(
        script.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
}

#[test]
fn what_is_not_there_is_a_problem_document_with_the_same_headers() {
    let world = World::start();
    for path in [
        "/nothing",
        "/../etc/passwd",
        "/api/nothing",
        "/index.html/",
        "//",
    ] {
        let answer = world.request("GET", path, None, None);
        answer.is_problem(404, "not_found");
        assert!(answer.header("content-security-policy").is_some());
    }
    let answer = world.request("PUT", "/api/sessions", None, Some("{}"));
    answer.is_problem(405, "method_not_allowed");
    world
        .request("POST", "/", None, Some("{}"))
        .is_problem(405, "method_not_allowed");
}

#[test]
fn every_operation_of_the_document_exists_and_wants_what_it_says() {
    let world = World::start();
    let document = world.request("GET", "/api/openapi.json", None, None).json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{id}", &"0".repeat(32));
        for (method, operation) in operations.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let body = operation["requestBody"].is_object().then_some("{}");
            let method = method.to_uppercase();
            let answer = world.request(&method, &concrete, None, body);
            let name = format!("{method} {path}: {} {}", answer.status, answer.body);
            assert!(
                operation["responses"][answer.status.to_string()].is_object(),
                "{name}"
            );
            let wants_token = operation.get("security").is_some();
            assert_eq!(answer.status == 401, wants_token, "{name}");
        }
        let answer = world.request("PATCH", &concrete, None, None);
        assert_eq!(answer.status, 405, "PATCH {path}");
    }
}

#[test]
fn the_server_is_up_and_ready() {
    let world = World::start();
    let health = world.request("GET", "/health", None, None);
    assert_eq!(health.json()["status"], "ok");
    assert_eq!(world.request("GET", "/ready", None, None).status, 200);
}

#[test]
fn what_is_no_http_gets_no_desktop() {
    let world = World::start();
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        &[b'x'; 100_000],
    ] {
        let answer = world.raw(nonsense);
        assert!(
            matches!(answer.status, 0 | 400 | 414 | 431 | 505),
            "{}",
            answer.head
        );
    }
    assert_eq!(world.request("GET", "/health", None, None).status, 200);
}

/// RFC 4571 frames begin with a length: such a connection belongs to media, which closes what
/// proves nothing.
#[test]
fn a_first_byte_of_a_frame_is_not_taken_for_http() {
    let world = World::start();
    let answer = world.raw(b"\x00\x04abcd");
    assert_eq!(answer.head, "");
    assert_eq!(world.request("GET", "/health", None, None).status, 200);
}
