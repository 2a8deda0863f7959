//! How sessions begin and end.

use sandbox_protocol::local::warden::{EndReason, Request};

use crate::Test;
use crate::server::{Server, session_id};

pub(crate) const TESTS: &[Test] = &[(
    "a_desktop_starts_and_ends_without_a_trace",
    a_desktop_starts_and_ends_without_a_trace,
)];

fn a_desktop_starts_and_ends_without_a_trace() {
    let server = Server::start(&[]);
    let session = server.start_session(1);
    server.send(&Request::End { session });
    assert_eq!(server.ended(), (session_id(1), EndReason::Requested));
    server.stop();
}
