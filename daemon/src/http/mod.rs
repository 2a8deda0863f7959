//! What the network sees: routes, who may call them, and in which order a request is checked.

mod accept;
mod caller;
mod connections;
mod guard;
pub(crate) mod metrics;
mod names;
mod page;
mod problem;
mod refresh_cookie;
mod session_routes;
mod sign_in;
mod socket_io;
mod ws;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use http::{HeaderValue, StatusCode};
use sandbox_core::rate_limit::RateLimit;
use serde_json::json;

pub(crate) use accept::serve;
pub(crate) use names::counted;

use crate::auth::password::Checker;
use crate::auth::token::Tokens;
use crate::changes::Changes;
use crate::config::DaemonConfig;
use crate::identity::NativeAddress;
use crate::media::Media;
use crate::native::TicketHolders;
use crate::sessions::Sessions;
use crate::state::Store;
use crate::tasks::Tasks;
use crate::tls::Tls;
use connections::Connections;
use names::Names;
use problem::Problem;

/// Bytes of a request's body.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// What every request may need.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: DaemonConfig,
    pub(crate) names: Names,
    pub(crate) store: Store,
    pub(crate) tokens: Tokens,
    pub(crate) checker: Checker,
    pub(crate) sessions: Sessions,
    pub(crate) media: Media,
    pub(crate) native: NativeAddress,
    pub(crate) changes: Changes,
    pub(crate) tasks: Tasks,
    /// `None`: plain HTTP.
    pub(crate) tls: Option<Tls>,
    /// What is weaker on this node than designed, for the page.
    pub(crate) notices: Vec<String>,
    pub(crate) connections: Connections,
    pub(crate) ticket_holders: TicketHolders,
    limits: Mutex<Limits>,
}

/// What an [`App`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: DaemonConfig,
    pub(crate) store: Store,
    pub(crate) tokens: Tokens,
    pub(crate) checker: Checker,
    pub(crate) sessions: Sessions,
    pub(crate) media: Media,
    pub(crate) native: NativeAddress,
    pub(crate) changes: Changes,
    pub(crate) tasks: Tasks,
    pub(crate) tls: Option<Tls>,
    pub(crate) notices: Vec<String>,
}

/// Who asked how often.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) api: RateLimit<std::net::IpAddr>,
    pub(crate) login_by_address: RateLimit<std::net::IpAddr>,
    pub(crate) login_by_account: RateLimit<String>,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let config = parts.config;
        Arc::new(Self {
            names: Names::of_http(&config),
            limits: Mutex::new(Limits {
                api: RateLimit::per_minute(config.rate_limit_api),
                login_by_address: RateLimit::per_minute(config.rate_limit_login),
                login_by_account: RateLimit::per_minute(config.rate_limit_login),
            }),
            connections: Connections::new(config.connections_per_address),
            ticket_holders: TicketHolders::default(),
            config,
            store: parts.store,
            tokens: parts.tokens,
            checker: parts.checker,
            sessions: parts.sessions,
            media: parts.media,
            native: parts.native,
            changes: parts.changes,
            tasks: parts.tasks,
            tls: parts.tls,
            notices: parts.notices,
        })
    }

    /// The counters; held for a moment, never across an `.await`.
    pub(crate) fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All routes behind all checks.
fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/api/auth/login", post(sign_in::login))
        .route("/api/auth/once", post(sign_in::once))
        .route("/api/auth/refresh", post(sign_in::refresh))
        .route("/api/auth/logout", post(sign_in::logout))
        .route(
            "/api/sessions",
            get(session_routes::list).post(session_routes::start),
        )
        .route(
            "/api/sessions/{id}",
            get(session_routes::show).delete(session_routes::end),
        )
        .route("/api/sessions/{id}/stats", get(session_routes::stats))
        .route("/api/openapi.json", get(openapi))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/ws", get(ws::upgrade))
        .fallback(page::serve)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(
            Arc::clone(app),
            guard::check,
        ))
        .with_state(Arc::clone(app))
}

/// The process is up: who is attached stays so.
async fn health() -> impl IntoResponse {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// Whether a new session would be taken.
async fn ready(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Problem> {
    match app.sessions.room().await {
        Ok(()) => Ok(Json(json!({ "status": "ready" }))),
        Err(reason) => Err(Problem::unavailable("not_ready", reason)),
    }
}

async fn openapi() -> impl IntoResponse {
    const DOCUMENT: &str = include_str!("openapi.json");
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], DOCUMENT)
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path knows other methods; /api/openapi.json lists them",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_document_describes_every_path_and_no_other() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("openapi.json")).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let described: BTreeSet<&str> = document["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let source = include_str!("mod.rs");
        let routes: BTreeSet<&str> = source
            .split(".route(")
            .skip(1)
            .filter_map(|it| it.split('"').nth(1))
            .filter(|it| it.starts_with('/'))
            .collect();
        assert!(routes.len() > 5, "{routes:?}");
        assert_eq!(described, routes);
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let text = include_str!("openapi.json");
        let document: serde_json::Value = serde_json::from_str(text).unwrap();
        for piece in text.split("\"$ref\": \"#").skip(1) {
            let pointer = piece.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
