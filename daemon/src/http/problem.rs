//! What every error looks like from outside: a problem document (RFC 9457) with a stable code.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::sessions::{RequestError, StartError, WishError};
use crate::state::{StateError, Trouble};
use sandbox_core::rate_limit::RetryAfter;
use sandbox_core::sessions::{CannotAttach, NoRoom};
use sandbox_protocol::local::warden::Refusal;

/// One error, for the one who caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// Nobody is signed in, or no longer.
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "token_invalid",
            "sign in: the access token is missing, has run out or was revoked",
        )
    }

    /// No such thing, or somebody else's: the answer is the same.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such thing")
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }

    pub(crate) fn too_many(detail: impl Into<String>, after: RetryAfter) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        problem.retry_after = Some(after.seconds());
        problem
    }

    /// A mistake of ours; what it is stands in the log.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong in the server; its log says what",
        )
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("urn:sandbox-server:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, json);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Self {
        tracing::error!(%error, "the database failed");
        match error.trouble() {
            Some(Trouble::Full) => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "storage_full",
                "the disk of this server is full, so nothing new can be written down; whoever \
                 runs it has to make room below STATE_DIR",
            ),
            Some(Trouble::Held) => Self::unavailable(
                "database_held",
                "another program holds this server's database; try again in a moment",
            )
            .retry_after(5),
            None => Self::internal(),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let (status, code) = match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                return Self::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "media_type",
                    "the body must be JSON, with the field Content-Type: application/json",
                );
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                return Self::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "too_large",
                    format!("the body exceeds {} bytes", super::BODY_BYTES_MAX),
                );
            }
            StatusCode::UNPROCESSABLE_ENTITY => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_field"),
            _ => (StatusCode::BAD_REQUEST, "malformed"),
        };
        Self::new(status, code, without_values(&rejection.body_text()))
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", rejection.body_text())
    }
}

/// serde's words quote what was sent, which may be a password: `invalid type: string "hunter2"`.
fn without_values(words: &str) -> String {
    let mut out = String::new();
    for (index, piece) in words.split('"').enumerate() {
        out.push_str(if index % 2 == 0 { piece } else { "\u{2026}" });
    }
    out
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let words = error.to_string();
        match error {
            StartError::NoRoom(NoRoom::Node(_)) => {
                Self::unavailable("node_full", words).retry_after(30)
            }
            StartError::NoRoom(NoRoom::User(_)) => {
                Self::new(StatusCode::CONFLICT, "user_full", words)
            }
            StartError::Refused(refusal) => Self::from(&refusal),
            StartError::Ended(reason) => Self::unavailable(reason.code(), words),
            StartError::Stopping => Self::unavailable("stopping", words).retry_after(2),
        }
    }
}

impl From<WishError> for Problem {
    fn from(error: WishError) -> Self {
        let words = error.to_string();
        match error {
            WishError::Profile => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", words)
            }
            WishError::Role => Self::forbidden(words),
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let words = error.to_string();
        match error {
            RequestError::Attach(CannotAttach::Unknown) => Self::not_found(),
            RequestError::Attach(CannotAttach::Starting) => Self::unavailable("starting", words),
            RequestError::Attach(CannotAttach::Ended(reason)) => {
                Self::new(StatusCode::CONFLICT, "ended", reason.code())
            }
            RequestError::Refused(refusal) => Self::from(&refusal),
            RequestError::Stopping => Self::unavailable("stopping", words).retry_after(2),
        }
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let words = crate::sessions::words(refusal);
        match refusal {
            Refusal::Missing { .. } => Self::unavailable("layer_missing", words),
            Refusal::Full { .. } => Self::unavailable("node_full", words).retry_after(30),
            Refusal::Failed { .. } => Self::unavailable("start_failed", words),
            Refusal::Invalid { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", words)
            }
            Refusal::Unknown => Self::not_found(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_quoted_back() {
        let words = without_values(r#"invalid type: string "hunter2", expected u16 at "x""#);
        assert!(!words.contains("hunter2"), "{words}");
        assert!(words.starts_with("invalid type: string \u{2026}, expected u16"));
    }
}
