//! Signing in: what is checked alike whether a page asks or a native viewer.

use std::net::IpAddr;

use sandbox_core::rate_limit::RetryAfter;
use sandbox_protocol::UserIndex;

use crate::auth::password::{Busy, PASSWORD_LEN_MAX};
use crate::auth::random;
use crate::clock;
use crate::http::{App, counted};
use crate::redacted::Redacted;
use crate::state::StateError;
use crate::state::devices::DeviceKey;
use crate::state::sign_ins::{self, Family, FamilyId};
use crate::state::users;

/// Nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Too many attempts of this address or for this account.
    #[error("too many attempts to sign in")]
    TooMany(RetryAfter),
    /// Others are being checked.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Which part of it is wrong is not said.
    #[error("this user name and password do not belong together")]
    Wrong,
    #[error("this account is disabled; ask whoever runs this server")]
    Disabled,
    #[error(transparent)]
    State(#[from] StateError),
}

/// The account of this name, its password being right.
pub(crate) async fn check_password(
    app: &App,
    address: IpAddr,
    username: String,
    password: Redacted<String>,
) -> Result<UserIndex, Refusal> {
    // Names that no account can have share one bucket, or they would fill the table.
    let account = if users::is_name(&username) {
        username
    } else {
        String::new()
    };
    take_attempt(app, address, Some(&account))?;
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
    let is_right = app.checker.is_right(password, hash).await?;
    let Some(user) = user.filter(|_| is_right && !is_too_long) else {
        tracing::info!(%address, "a sign-in failed");
        return Err(Refusal::Wrong);
    };
    if user.is_disabled {
        return Err(Refusal::Disabled);
    }
    app.limits().login_by_account.refund(&account);
    Ok(user.index)
}

/// Counts an attempt to sign in, by address and by account.
pub(crate) fn take_attempt(
    app: &App,
    address: IpAddr,
    account: Option<&String>,
) -> Result<(), Refusal> {
    let now = clock::now();
    let mut limits = app.limits();
    let mut outcome = limits.login_by_address.take(&counted(address), now);
    if let (Ok(()), Some(account)) = (outcome, account) {
        outcome = limits.login_by_account.take(account, now);
    }
    outcome.map_err(Refusal::TooMany)
}

/// Counts an attempt that nobody can guess right: the limit only spares the CPU.
pub(crate) fn take_proof(app: &App, address: IpAddr) -> Result<(), Refusal> {
    let outcome = app.limits().api.take(&counted(address), clock::now());
    outcome.map_err(Refusal::TooMany)
}

/// Writes a sign-in of this account down, with the device whose key made it. It lasts from `now`
/// on, however long the file lets it wait.
pub(crate) async fn begin(
    app: &App,
    now: i64,
    user: UserIndex,
    device: Option<DeviceKey>,
) -> Result<Family, Refusal> {
    let id = FamilyId(random());
    let ends = now.saturating_add(life(app));
    let family = app
        .store
        .run(move |connection| {
            sign_ins::begin(connection, id, user, device, now, ends)?;
            sign_ins::live(connection, id, now)
        })
        .await?;
    // Disabled between the check and here.
    let family = family.ok_or(Refusal::Disabled)?;
    tracing::info!(user = user.0, "signed in");
    Ok(family)
}

/// Seconds that a sign-in lasts.
fn life(app: &App) -> i64 {
    i64::try_from(app.config.refresh_expiry.as_secs()).unwrap_or(i64::MAX)
}
