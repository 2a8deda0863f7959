//! Signing in and out.

use std::net::IpAddr;
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
use super::caller::Caller;
use super::guard::{ClientAddress, OwnPage, demand_json};
use super::names::counted;
use super::problem::Problem;
use super::refresh_cookie;
use crate::auth::password::PASSWORD_LEN_MAX;
use crate::auth::refresh::RefreshClaim;
use crate::auth::{code_hash, random};
use crate::clock;
use crate::config::Origin;
use crate::redacted::Redacted;
use crate::state::sign_ins::{self, Family, FamilyId, Refreshed};
use crate::state::users;

/// Longest single-use code that is looked up, in bytes.
const CODE_LEN_MAX: usize = 256;

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
    // Names that no account can have share one bucket, or they would fill the table.
    let account = if users::is_name(&username) {
        username
    } else {
        String::new()
    };
    take_attempt(&app, address, Some(&account))?;
    let lookup = account.clone();
    let found = app
        .store
        .run(move |connection| users::with_hash(connection, &lookup))
        .await?;
    let (user, hash) = found.map_or((None, None), |(user, hash)| (Some(user), hash));
    let is_too_long = password.reveal().len() > PASSWORD_LEN_MAX;
    let password = if is_too_long {
        Redacted::default()
    } else {
        password
    };
    let is_right = app.checker.is_right(password, hash).await.map_err(|busy| {
        let words = busy.to_string();
        Problem::unavailable("busy", words).retry_after(2)
    })?;
    let Some(user) = user.filter(|_| is_right && !is_too_long) else {
        tracing::info!(%address, "a sign-in failed");
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "invalid_credentials",
            "this user name and password do not belong together",
        ));
    };
    if user.is_disabled {
        return Err(disabled());
    }
    app.limits().login_by_account.refund(&account);
    begin(&app, user.index, &origin).await
}

/// `POST /api/auth/once`
pub(super) async fn once(
    State(app): State<Arc<App>>,
    OwnPage(origin): OwnPage,
    ClientAddress(address): ClientAddress,
    body: Result<Json<Once>, JsonRejection>,
) -> Result<WithCookie<Json<Token>>, Problem> {
    let Json(Once { code }) = body?;
    take_attempt(&app, address, None)?;
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

fn disabled() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "user_disabled",
        "this account is disabled; ask whoever runs this server",
    )
}

/// Counts an attempt to sign in, by address and by account.
fn take_attempt(app: &App, address: IpAddr, account: Option<&String>) -> Result<(), Problem> {
    let now = clock::now();
    let mut limits = app.limits();
    let mut outcome = limits.login_by_address.take(&counted(address), now);
    if let (Ok(()), Some(account)) = (outcome, account) {
        outcome = limits.login_by_account.take(account, now);
    }
    outcome.map_err(|wait| Problem::too_many("too many attempts to sign in", wait))
}

/// Seconds that a sign-in lasts.
fn life(app: &App) -> i64 {
    i64::try_from(app.config.refresh_expiry.as_secs()).unwrap_or(i64::MAX)
}

async fn begin(
    app: &App,
    user: UserIndex,
    origin: &Origin,
) -> Result<WithCookie<Json<Token>>, Problem> {
    let id = FamilyId(random());
    let now = clock::unix_seconds();
    let ends = now.saturating_add(life(app));
    let family = app
        .store
        .run(move |connection| {
            sign_ins::begin(connection, id, user, now, ends)?;
            sign_ins::live(connection, id, now)
        })
        .await?;
    // Disabled between the check and here.
    let family = family.ok_or_else(disabled)?;
    tracing::info!(user = user.0, "signed in");
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
