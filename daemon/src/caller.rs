//! Who asks: an account whose sign-in holds.

use sandbox_protocol::SessionId;

use crate::clock;
use crate::http::App;
use crate::sessions::View;
use crate::state::StateError;
use crate::state::sign_ins::{self, Family, FamilyId};
use crate::state::users::{Role, User};

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: User,
    pub(crate) family: Family,
}

impl Caller {
    /// Whether a session exists for this caller: its own does, for an admin everybody's.
    pub(crate) fn may_see(&self, view: &View) -> bool {
        self.owns(view) || self.user.role == Role::Admin
    }

    /// Whether the session is the caller's own.
    pub(crate) fn owns(&self, view: &View) -> bool {
        view.plan.user == self.user.index
    }

    /// A session that the caller may look at: an admin may end one of somebody else, not watch it.
    pub(crate) async fn own_session(&self, app: &App, session: SessionId) -> Option<View> {
        let view = app.sessions.find(session).await;
        view.filter(|it| self.owns(it))
    }
}

impl From<Family> for Caller {
    fn from(family: Family) -> Self {
        Self {
            user: family.user.clone(),
            family,
        }
    }
}

/// The account behind a token, where its sign-in holds at this moment.
pub(crate) async fn identify(app: &App, token: &str) -> Result<Option<Caller>, StateError> {
    let Some(claim) = app.tokens.read(token, clock::unix_seconds()) else {
        return Ok(None);
    };
    Ok(still_holds(app, claim.family).await?.map(Caller::from))
}

/// The sign-in of this name, as long as it holds.
pub(crate) async fn still_holds(app: &App, id: FamilyId) -> Result<Option<Family>, StateError> {
    let now = clock::unix_seconds();
    app.store
        .run(move |connection| sign_ins::live(connection, id, now))
        .await
}
