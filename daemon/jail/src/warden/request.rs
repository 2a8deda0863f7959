//! Checks what the daemon asks for, as if the daemon were hostile.

use sandbox_protocol::limits::{DESKTOP_SIZE_MAX, DESKTOP_SIZE_MIN};
use sandbox_protocol::local::warden::{Refusal, StartSession};
use sandbox_protocol::{SessionId, Size};

use crate::limits::{IDS_PER_USER, USER_INDEX_MAX};

/// The profile that exists.
const PROFILE: &str = "desktop";

/// A checked request: every field is in range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) session: SessionId,
    pub(crate) user_name: String,
    /// First of the user's host uids.
    pub(crate) ids: u32,
    /// Size Xvfb starts with.
    pub(crate) screen: Size,
    /// Size the desktop shall have.
    pub(crate) size: Size,
}

impl Wanted {
    /// Reads a request, or says which field is wrong.
    pub(crate) fn read(request: &StartSession, uid_base: u32) -> Result<Self, Refusal> {
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
        let index = request.user.0;
        let ids = (index <= USER_INDEX_MAX)
            .then(|| uid_base.checked_add(index * IDS_PER_USER))
            .flatten()
            .ok_or_else(|| invalid(format!("user number {index} exceeds {USER_INDEX_MAX}")))?;
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
        let wanted = Wanted::read(&request(), 1_900_000_000).unwrap();
        assert_eq!(wanted.ids, 1_900_000_032);
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
                matches!(Wanted::read(&request, 1), Err(Refusal::Invalid { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_user_number_never_leaves_the_range() {
        let mut request = request();
        for (index, base) in [(USER_INDEX_MAX + 1, 1), (u32::MAX, 1), (1, u32::MAX - 15)] {
            request.user = UserIndex(index);
            assert!(Wanted::read(&request, base).is_err(), "{index}");
        }
    }

    #[test]
    fn an_unknown_profile_is_refused() {
        let mut request = request();
        request.profile = "../desktop".to_owned();
        assert!(Wanted::read(&request, 1).is_err());
    }
}
