//! Who asks: the account behind an access token whose sign-in still holds.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sandbox_protocol::SessionId;

use super::App;
use super::problem::Problem;
use crate::clock;
use crate::sessions::View;
use crate::state::StateError;
use crate::state::sign_ins::{self, Family};
use crate::state::users::{Role, User};

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) user: User,
    pub(super) family: Family,
}

impl Caller {
    /// Whether a session exists for this caller: its own does, for an admin everybody's.
    pub(super) fn may_see(&self, view: &View) -> bool {
        self.owns(view) || self.user.role == Role::Admin
    }

    /// Whether the session is the caller's own.
    pub(super) fn owns(&self, view: &View) -> bool {
        view.plan.user == self.user.index
    }

    /// The session of this id, as far as it exists for the caller.
    pub(super) async fn session(&self, app: &App, id: &str) -> Result<View, Problem> {
        let id: SessionId = id.parse().map_err(|_| Problem::not_found())?;
        let view = app.sessions.find(id).await;
        view.filter(|it| self.may_see(it))
            .ok_or_else(Problem::not_found)
    }
}

/// The account behind a token, where its sign-in holds at this moment.
pub(super) async fn identify(app: &App, token: &str) -> Result<Option<Caller>, StateError> {
    let now = clock::unix_seconds();
    let Some(claim) = app.tokens.read(token, now) else {
        return Ok(None);
    };
    let family = app
        .store
        .run(move |connection| sign_ins::live(connection, claim.family, now))
        .await?;
    Ok(family.map(|family| Caller {
        user: family.user.clone(),
        family,
    }))
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let field = parts.headers.get(AUTHORIZATION);
        let token = field
            .and_then(|it| it.to_str().ok())
            .and_then(|it| it.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let token = token.ok_or_else(Problem::unauthorized)?;
        identify(app, token)
            .await?
            .ok_or_else(Problem::unauthorized)
    }
}
