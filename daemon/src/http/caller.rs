//! Who asks over HTTP: the bearer of an access token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sandbox_protocol::SessionId;

use super::App;
use super::problem::Problem;
use crate::caller::{Caller, identify};
use crate::sessions::View;

impl Caller {
    /// The session of this id, as far as it exists for the caller.
    pub(super) async fn session(&self, app: &App, id: &str) -> Result<View, Problem> {
        let id: SessionId = id.parse().map_err(|_| Problem::not_found())?;
        let view = app.sessions.find(id).await;
        view.filter(|it| self.may_see(it))
            .ok_or_else(Problem::not_found)
    }
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
