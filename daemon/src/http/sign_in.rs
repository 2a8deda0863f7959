//! Signing in and out.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::App;
use super::caller::Caller;
use super::guard::{ClientAddress, OwnPage, demand_json};
use super::names::counted;
use super::problem::Problem;
use crate::auth::password::PASSWORD_LEN_MAX;
use crate::auth::{code_hash, random};
use crate::clock;
use crate::redacted::Redacted;
use crate::state::sign_ins::{self, FamilyId};
use crate::state::users::{self, User};

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
}

/// `POST /api/auth/login`
pub(super) async fn login(
    State(app): State<Arc<App>>,
    _page: OwnPage,
    ClientAddress(address): ClientAddress,
    body: Result<Json<Login>, JsonRejection>,
) -> Result<Json<Token>, Problem> {
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
    begin(&app, user).await.map(Json)
}

/// `POST /api/auth/once`
pub(super) async fn once(
    State(app): State<Arc<App>>,
    _page: OwnPage,
    ClientAddress(address): ClientAddress,
    body: Result<Json<Once>, JsonRejection>,
) -> Result<Json<Token>, Problem> {
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
    begin(&app, user.ok_or_else(refused)?).await.map(Json)
}

/// `POST /api/auth/logout`: the sign-in ends, its viewers are detached, the desktop stays.
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    _page: OwnPage,
    caller: Caller,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    demand_json(&headers)?;
    let family = caller.family.id;
    let now = clock::unix_seconds();
    app.store
        .run(move |connection| sign_ins::revoke(connection, family, now))
        .await?;
    app.changes.announce();
    tracing::info!(user = caller.user.index.0, "signed out");
    Ok(StatusCode::NO_CONTENT)
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

async fn begin(app: &App, user: User) -> Result<Token, Problem> {
    let id = FamilyId(random());
    let now = clock::unix_seconds();
    let life = i64::try_from(app.config.refresh_expiry.as_secs()).unwrap_or(i64::MAX);
    let ends = now.saturating_add(life);
    let index = user.index;
    app.store
        .run(move |connection| sign_ins::begin(connection, id, index, now, ends))
        .await?;
    tracing::info!(user = index.0, "signed in");
    Ok(Token {
        access_token: Redacted::new(app.tokens.issue(index.0, id, ends, now)),
        token_type: "Bearer",
        expires_in: app.tokens.expires_in().min(life),
    })
}
