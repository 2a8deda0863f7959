//! Sessions over HTTP: start, look, end.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::StatusCode;
use sandbox_core::sessions::Reason;
use sandbox_protocol::Size;
use serde::{Deserialize, Serialize};

use super::App;
use super::problem::Problem;
use crate::caller::Caller;
use crate::media::{Recent, Spread, StreamCounters};
use crate::sessions::{Outcome, PROFILES, Usage, View, plan};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    #[serde(default = "usual_profile")]
    profile: String,
    width: u16,
    height: u16,
}

fn usual_profile() -> String {
    let [usual] = PROFILES;
    usual.into()
}

/// A session as the API shows it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    id: String,
    user: String,
    profile: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    width: u16,
    height: u16,
    node: String,
    websocket_url: String,
    /// What `sandbox-client` takes as its argument.
    quic_url: String,
    /// What was ended last because memory was used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    out_of_memory: Option<OutOfMemory>,
}

#[derive(Debug, Serialize)]
struct OutOfMemory {
    limit_mb: u64,
    killed: u32,
    programs: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct List {
    sessions: Vec<Shown>,
}

/// What a session uses and does; the stream's fields are there while somebody is attached.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    state: &'static str,
    cpu_seconds: f64,
    memory_bytes: u64,
    pids: u32,
    #[serde(flatten)]
    stream: Option<Stream>,
}

#[derive(Debug, Serialize)]
struct Stream {
    captures: u64,
    access_units: u64,
    keyframes: u64,
    refinements: u64,
    input_applied: u64,
    damage_reports: u64,
    rtp_packets: u64,
    rtp_bytes: u64,
    frames_sent: u64,
    frames_dropped: u64,
    keyframe_requests: u64,
    keyframe_requests_answered: u64,
    target_kbps: u64,
    round_trip_ms: Option<f64>,
    viewers: usize,
    fps: f64,
    bitrate_kbps: f64,
    latency_ms: Latency,
    inputs_in_doubt: u64,
}

/// By stage, over the last seconds; null where no frame has gone through one.
#[derive(Debug, Serialize)]
struct Latency {
    inject_damage: Option<Millis>,
    damage_capture: Option<Millis>,
    capture_encode: Option<Millis>,
    encode_send: Option<Millis>,
}

#[derive(Debug, Serialize)]
struct Millis {
    p50: f64,
    p95: f64,
}

impl From<Spread> for Millis {
    fn from(Spread { p50, p95 }: Spread) -> Self {
        let [p50, p95] = [p50, p95].map(|it| it.as_secs_f64() * 1_000.0);
        Self { p50, p95 }
    }
}

impl From<Recent> for Latency {
    fn from(recent: Recent) -> Self {
        Self {
            inject_damage: recent.inject_damage.map(Millis::from),
            damage_capture: recent.damage_capture.map(Millis::from),
            capture_encode: recent.capture_encode.map(Millis::from),
            encode_send: recent.encode_send.map(Millis::from),
        }
    }
}

/// `POST /api/sessions`: answers once the desktop runs.
pub(super) async fn start(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Result<Json<Wish>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(wish) = body?;
    let size = Size {
        width: wish.width,
        height: wish.height,
    };
    let plan = plan(caller.user, wish.profile, size)?;
    let Outcome { view, is_new } = app.sessions.start(plan).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(shown(&app, &view))))
}

/// `GET /api/sessions`: those that are not over.
pub(super) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Json<List> {
    let views = app.sessions.live().await;
    Json(List {
        sessions: views
            .iter()
            .filter(|it| caller.may_see(it))
            .map(|it| shown(&app, it))
            .collect(),
    })
}

/// `GET /api/sessions/{id}`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    let view = caller.session(&app, &id).await?;
    Ok(Json(shown(&app, &view)))
}

/// `DELETE /api/sessions/{id}`
pub(super) async fn end(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let view = caller.session(&app, &id).await?;
    app.sessions.end(view.plan.session, Reason::Requested).await;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/sessions/{id}/stats`
pub(super) async fn stats(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Stats>, Problem> {
    let view = caller.session(&app, &id).await?;
    let session = view.plan.session;
    let Usage {
        cpu_nanos,
        memory_bytes,
        pids,
    } = app.sessions.usage(session).await?;
    let counters = app.media.counters(session).await;
    Ok(Json(Stats {
        state: view.state.code(),
        cpu_seconds: std::time::Duration::from_nanos(cpu_nanos).as_secs_f64(),
        memory_bytes,
        pids,
        stream: counters.as_ref().map(stream),
    }))
}

fn stream(counters: &StreamCounters) -> Stream {
    Stream {
        captures: counters.worker.captures,
        access_units: counters.worker.access_units,
        keyframes: counters.worker.keyframes,
        refinements: counters.worker.refinements,
        input_applied: counters.worker.input_applied,
        damage_reports: counters.worker.damage_reports,
        rtp_packets: counters.rtp_packets,
        rtp_bytes: counters.rtp_bytes,
        frames_sent: counters.frames,
        frames_dropped: counters.frames_dropped,
        keyframe_requests: counters.plis_received,
        keyframe_requests_answered: counters.plis_answered,
        target_kbps: counters.target.as_kbps(),
        round_trip_ms: counters.round_trip.map(|it| it.as_secs_f64() * 1_000.0),
        viewers: counters.viewers,
        fps: counters.recent.fps,
        bitrate_kbps: counters.recent.kbps,
        latency_ms: counters.recent.into(),
        inputs_in_doubt: counters.inputs_in_doubt,
    }
}

fn shown(app: &App, view: &View) -> Shown {
    let plan = &view.plan;
    let origin = app.config.node_url.to_string();
    // http becomes ws, https becomes wss.
    let socket = origin.replacen("http", "ws", 1);
    Shown {
        id: plan.session.to_string(),
        user: plan.user_name.clone(),
        profile: plan.profile.clone(),
        state: view.state.code(),
        reason: view.reason.map(Reason::code),
        width: plan.size.width,
        height: plan.size.height,
        node: app.config.node_name.clone(),
        websocket_url: format!("{socket}/ws?session={}", plan.session),
        quic_url: app.native.url(&plan.user_name),
        out_of_memory: view.out_of_memory.clone().map(|it| OutOfMemory {
            limit_mb: it.limit_mb,
            killed: it.killed,
            programs: it.programs,
        }),
    }
}
