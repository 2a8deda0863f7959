//! Checks what the daemon asks for, as if the daemon were hostile.

use sandbox_protocol::limits::{DESKTOP_SIZE_MAX, DESKTOP_SIZE_MIN};
use sandbox_protocol::local::warden::{Refusal, StartSession};
use sandbox_protocol::{SessionId, Size};

use crate::ids::{Ids, UserIds};

/// The profile that exists.
const PROFILE: &str = "desktop";

/// A checked request: every field is in range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) session: SessionId,
    pub(crate) user_name: String,
    /// What the user's jails run under.
    pub(crate) ids: UserIds,
    /// Size Xvfb starts with.
    pub(crate) screen: Size,
    /// Size the desktop shall have.
    pub(crate) size: Size,
}

impl Wanted {
    /// Reads a request, or says which field is wrong.
    pub(crate) fn read(request: &StartSession, ids: Ids) -> Result<Self, Refusal> {
        let invalid = |detail: String| Refusal::Invalid { detail };
        if !is_user_name(&request.user_name) {
            return Err(invalid(format!(
                "user name {:?} is not of [a-z_][a-z0-9_-]{{0,31}}",
                request.user_name
            )));
        }
        if request.profile != PROFILE {
            return Err(invalid(format!(
                "profile {:?} is unknown; there is {PROFILE:?}",
                request.profile
            )));
        }
        let ids = ids.of_user(request.user).map_err(invalid)?;
        Ok(Self {
            session: request.session,
            user_name: request.user_name.clone(),
            ids,
            screen: DESKTOP_SIZE_MAX,
            size: request.size.fit(DESKTOP_SIZE_MIN, DESKTOP_SIZE_MAX),
        })
    }
}

fn is_user_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts = bytes
        .next()
        .is_some_and(|it| it == b'_' || it.is_ascii_lowercase());
    starts
        && name.len() <= 32
        && bytes
            .all(|it| it == b'_' || it == b'-' || it.is_ascii_lowercase() || it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::UserIndex;

    use super::*;

    const IDS: Ids = Ids::Many {
        base: 1_900_000_000,
        users: 3,
    };

    fn request() -> StartSession {
        StartSession {
            session: SessionId::from_bytes([1; 16]),
            user: UserIndex(2),
            user_name: "ada".to_owned(),
            profile: "desktop".to_owned(),
            size: Size {
                width: 1921,
                height: 1080,
            },
        }
    }

    #[test]
    fn a_request_in_range_is_taken_with_an_even_size() {
        let wanted = Wanted::read(&request(), IDS).unwrap();
        assert_eq!(wanted.ids, UserIds::From(1_900_000_032));
        assert_eq!(wanted.size.width, 1920);
    }

    #[test]
    fn names_that_are_paths_or_lines_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "../a",
            "a\0",
            "a:b",
            "a\nb",
            "Ada",
            "-a",
            "1a",
            "ä",
            &"a".repeat(33),
        ] {
            let mut request = request();
            request.user_name = name.to_owned();
            assert!(
                matches!(Wanted::read(&request, IDS), Err(Refusal::Invalid { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_user_number_never_leaves_the_range() {
        let mut request = request();
        request.user = UserIndex(3);
        assert!(Wanted::read(&request, IDS).is_err());
    }

    #[test]
    fn an_unknown_profile_is_refused() {
        let mut request = request();
        request.profile = "../desktop".to_owned();
        assert!(Wanted::read(&request, IDS).is_err());
    }
}
