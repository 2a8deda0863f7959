//! Signing in and out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{AppendHeaders, IntoResponse as _, Response};
use http::header::{HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use sandbox_protocol::UserIndex;
use serde::{Deserialize, Serialize};

use super::App;
use super::guard::{ClientAddress, OwnPage, demand_json};
use super::problem::Problem;
use super::refresh_cookie;
use crate::auth::refresh::RefreshClaim;
use crate::auth::{CODE_LEN_MAX, code_hash};
use crate::caller::Caller;
use crate::clock;
use crate::config::Origin;
use crate::redacted::Redacted;
use crate::sign_in::{self, Refusal, check_password};
use crate::state::sign_ins::{self, Family, FamilyId, Refreshed};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    username: String,
    password: Redacted<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Once {
    code: Redacted<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Token {
    access_token: Redacted<String>,
    token_type: &'static str,
    expires_in: i64,
    /// Whose it is, for a page that was loaded anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
}

/// An answer that sets the cookie, or takes it away.
type WithCookie<T> = (AppendHeaders<[(HeaderName, HeaderValue); 1]>, T);

fn with_cookie<T>(cookie: HeaderValue, answer: T) -> WithCookie<T> {
    (AppendHeaders([(SET_COOKIE, cookie)]), answer)
}

/// `POST /api/auth/login`
pub(super) async fn login(
    State(app): State<Arc<App>>,
    OwnPage(origin): OwnPage,
    ClientAddress(address): ClientAddress,
    body: Result<Json<Login>, JsonRejection>,
) -> Result<WithCookie<Json<Token>>, Problem> {
    let Json(Login { username, password }) = body?;
    let user = check_password(&app, address, username, password).await?;
    begin(&app, user, &origin).await
}

/// `POST /api/auth/once`
pub(super) async fn once(
    State(app): State<Arc<App>>,
    OwnPage(origin): OwnPage,
    ClientAddress(address): ClientAddress,
    body: Result<Json<Once>, JsonRejection>,
) -> Result<WithCookie<Json<Token>>, Problem> {
    let Json(Once { code }) = body?;
    sign_in::take_attempt(&app, address, None)?;
    let refused = || {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "invalid_code",
            "this sign-in link has been used or has run out; ask for a fresh one",
        )
    };
    if code.reveal().len() > CODE_LEN_MAX {
        return Err(refused());
    }
    let hash = code_hash(code.reveal());
    let now = clock::unix_seconds();
    let user = app
        .store
        .run(move |connection| sign_ins::take_code(connection, &hash, now))
        .await?;
    let user = user.ok_or_else(refused)?;
    begin(&app, user.index, &origin).await
}

/// `POST /api/auth/refresh`: the cookie's successor, and an access token with it.
pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    OwnPage(origin): OwnPage,
    headers: HeaderMap,
) -> Response {
    let now = clock::unix_seconds();
    match exchange(&app, &origin, &headers, now).await {
        Ok((family, generation)) => {
            let token = Token {
                username: Some(family.user.name.clone()),
                ..token(&app, &family, now)
            };
            let cookie = cookie(&app, &origin, &family, generation, now);
            with_cookie(cookie, Json(token)).into_response()
        }
        Err(problem) if problem.status == StatusCode::UNAUTHORIZED => {
            let cookie = refresh_cookie::clear(&app.tokens, &origin);
            with_cookie(cookie, problem).into_response()
        }
        // The cookie may still be good.
        Err(problem) => problem.into_response(),
    }
}

/// The sign-in of the request's cookie, and the number of its newest token.
async fn exchange(
    app: &App,
    origin: &Origin,
    headers: &HeaderMap,
    now: i64,
) -> Result<(Family, u32), Problem> {
    demand_json(headers)?;
    let claim = refresh_cookie::read(&app.tokens, origin, headers).ok_or_else(signed_out)?;
    let RefreshClaim { family, generation } = claim;
    let refreshed = app
        .store
        .run(move |connection| sign_ins::refresh(connection, family, generation, now))
        .await?;
    match refreshed {
        Refreshed::Holds { family, generation } => Ok((family, generation)),
        Refreshed::Reused(user) => {
            app.changes.announce();
            tracing::warn!(
                user = user.0,
                "a refresh token came after its successor: the sign-in has ended, since somebody \
                 may have a copy"
            );
            Err(signed_out())
        }
        Refreshed::Over => Err(signed_out()),
    }
}

/// `POST /api/auth/logout`: the sign-in of token and cookie ends, its viewers are detached, the
/// desktop stays.
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    OwnPage(origin): OwnPage,
    caller: Result<Caller, Problem>,
    headers: HeaderMap,
) -> Result<WithCookie<StatusCode>, Problem> {
    demand_json(&headers)?;
    let by_cookie = refresh_cookie::read(&app.tokens, &origin, &headers).map(|it| it.family);
    let families: Vec<FamilyId> = match (caller, by_cookie) {
        (Err(problem), None) => return Err(problem),
        (caller, by_cookie) => {
            let by_token = caller.ok().map(|it| it.family.id);
            by_token.into_iter().chain(by_cookie).collect()
        }
    };
    let now = clock::unix_seconds();
    app.store
        .run(move |connection| {
            families
                .iter()
                .try_for_each(|it| sign_ins::revoke(connection, *it, now))
        })
        .await?;
    app.changes.announce();
    tracing::info!("signed out");
    let cookie = refresh_cookie::clear(&app.tokens, &origin);
    Ok(with_cookie(cookie, StatusCode::NO_CONTENT))
}

fn signed_out() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "signed_out",
        "nobody is signed in with this browser, or not any more; sign in",
    )
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let words = refusal.to_string();
        match refusal {
            Refusal::TooMany(wait) => Self::too_many(words, wait),
            Refusal::Busy(_) => Self::unavailable("busy", words).retry_after(2),
            Refusal::Wrong => Self::new(StatusCode::UNAUTHORIZED, "invalid_credentials", words),
            Refusal::Disabled => Self::new(StatusCode::FORBIDDEN, "user_disabled", words),
            Refusal::State(error) => error.into(),
        }
    }
}

async fn begin(
    app: &App,
    user: UserIndex,
    origin: &Origin,
) -> Result<WithCookie<Json<Token>>, Problem> {
    let now = clock::unix_seconds();
    let family = sign_in::begin(app, now, user, None).await?;
    let cookie = cookie(app, origin, &family, 0, now);
    Ok(with_cookie(cookie, Json(token(app, &family, now))))
}

fn cookie(app: &App, origin: &Origin, family: &Family, generation: u32, now: i64) -> HeaderValue {
    let claim = RefreshClaim {
        family: family.id,
        generation,
    };
    refresh_cookie::set(&app.tokens, origin, claim, family.expires_at - now)
}

fn token(app: &App, family: &Family, now: i64) -> Token {
    let ends = family.expires_at;
    let access = app.tokens.issue(family.user.index.0, family.id, ends, now);
    Token {
        access_token: Redacted::new(access),
        token_type: "Bearer",
        expires_in: app.tokens.expires_in().min(ends - now),
        username: None,
    }
}
