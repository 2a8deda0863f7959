//! How a native viewer proves who it is.

use std::net::IpAddr;

use sandbox_protocol::wire::control::{AuthMethod, Secret};

use crate::auth::proof::{self, Exporter};
use crate::auth::{CODE_LEN_MAX, code_hash};
use crate::caller::{self, Caller};
use crate::clock;
use crate::http::App;
use crate::redacted::Redacted;
use crate::sign_in::{self, Refusal};
use crate::state::devices::{self, DeviceKey};
use crate::state::tickets::{self, TicketId};

/// The account behind a proof, signed in.
pub(super) async fn sign_in(
    app: &App,
    address: IpAddr,
    method: AuthMethod,
    exporter: &Exporter,
) -> Result<Caller, Refusal> {
    let outcome = match method {
        AuthMethod::Password { user, password } => {
            let password = Redacted::new(password.0);
            let user = sign_in::check_password(app, address, user, password).await?;
            let now = clock::unix_seconds();
            return Ok(sign_in::begin(app, now, user, None).await?.into());
        }
        AuthMethod::Enrol {
            code,
            key,
            signature,
            name,
        } => {
            sign_in::take_attempt(app, address, None)?;
            let key = signed(DeviceKey(key), exporter, &signature);
            enrol(app, code, key, name).await
        }
        AuthMethod::Token { token, proof } => {
            sign_in::take_proof(app, address)?;
            by_token(app, &token.0, &proof.0, exporter).await
        }
        AuthMethod::DeviceKey { key, signature } => {
            sign_in::take_proof(app, address)?;
            by_device(app, signed(DeviceKey(key), exporter, &signature)).await
        }
        AuthMethod::Ticket { id, proof } => {
            sign_in::take_proof(app, address)?;
            by_ticket(app, TicketId(id), &proof.0, exporter).await
        }
    };
    if let Err(Refusal::Wrong) = outcome {
        tracing::info!(%address, "a sign-in failed");
    }
    outcome
}

/// The key, where it signed the exporter.
fn signed(
    key: DeviceKey,
    exporter: &Exporter,
    Secret(signature): &Secret<[u8; 64]>,
) -> Result<DeviceKey, Refusal> {
    if proof::is_signed(key, exporter, signature) {
        Ok(key)
    } else {
        Err(Refusal::Wrong)
    }
}

async fn enrol(
    app: &App,
    Secret(code): Secret<String>,
    key: Result<DeviceKey, Refusal>,
    name: String,
) -> Result<Caller, Refusal> {
    let key = key?;
    if code.len() > CODE_LEN_MAX {
        return Err(Refusal::Wrong);
    }
    let hash = code_hash(&code);
    let now = clock::unix_seconds();
    let user = app
        .store
        .run(move |connection| devices::enrol(connection, &hash, key, &name, now))
        .await?
        .ok_or(Refusal::Wrong)?;
    // It may have been another account's.
    app.changes.announce();
    tracing::info!(
        user = user.index.0,
        device = key.short_id(),
        "a device is enrolled"
    );
    Ok(sign_in::begin(app, now, user.index, Some(key))
        .await?
        .into())
}

async fn by_token(
    app: &App,
    token: &str,
    proof: &[u8; 32],
    exporter: &Exporter,
) -> Result<Caller, Refusal> {
    if !proof::is_right(&code_hash(token), exporter, proof) {
        return Err(Refusal::Wrong);
    }
    caller::identify(app, token).await?.ok_or(Refusal::Wrong)
}

async fn by_device(app: &App, key: Result<DeviceKey, Refusal>) -> Result<Caller, Refusal> {
    let key = key?;
    let owner = app
        .store
        .run(move |connection| devices::owner(connection, key))
        .await?
        .ok_or(Refusal::Wrong)?;
    if owner.is_disabled {
        return Err(Refusal::Disabled);
    }
    let now = clock::unix_seconds();
    Ok(sign_in::begin(app, now, owner.index, Some(key))
        .await?
        .into())
}

async fn by_ticket(
    app: &App,
    ticket: TicketId,
    proof: &[u8; 32],
    exporter: &Exporter,
) -> Result<Caller, Refusal> {
    if !proof::is_right(&app.tokens.tickets().key(ticket), exporter, proof) {
        return Err(Refusal::Wrong);
    }
    let now = clock::unix_seconds();
    let family = app
        .store
        .run(move |connection| tickets::take(connection, ticket, now))
        .await?;
    Ok(family.ok_or(Refusal::Wrong)?.into())
}

#[cfg(test)]
mod tests;
