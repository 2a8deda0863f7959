//! `/ws`: from an HTTP request to a WebSocket, and the conversation that follows.

mod conversation;
mod farewell;

use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::error::{CapacityError, Error};
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use futures_lite::{StreamExt as _, future};
use http::header::{
    CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use sandbox_protocol::limits::SIGNAL_BYTES_MAX;
use sandbox_protocol::wire::input::Packet;
use sandbox_protocol::wire::signal::{ToPage, ToServer};
use serde::Deserialize;
use smol::Timer;

use super::App;
use super::guard::{ClientAddress, Held, demand_origin, is_tunnel};
use super::problem::Problem;
use super::socket_io::SocketIo;
use crate::media::AckPacket;

/// How long a page may take to read one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the other side may take to confirm the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Address {
    session: Option<String>,
    mode: Option<String>,
}

/// `GET /ws?session=ID` of a page, `GET /ws?mode=media` of a native viewer without UDP.
pub(super) async fn upgrade(
    State(app): State<Arc<App>>,
    client: ClientAddress,
    address: Result<Query<Address>, QueryRejection>,
    mut request: Request,
) -> Result<Response, Problem> {
    // A native viewer is no page: it has no Origin. A page of somebody else has one.
    let is_page = request.headers().contains_key(ORIGIN);
    if is_page || !is_tunnel(request.uri()) {
        demand_origin(&app.names, request.headers())?;
    }
    let Query(Address { session, mode }) = address?;
    let wanted = wanted(session, mode.as_deref())?;
    let handshake = Handshake::take(&mut request)?;
    let tasks = app.tasks.clone();
    let response = handshake.response();
    match wanted {
        Wanted::Signalling { session } => tasks.spawn("signalling", async move {
            let Some((io, _held)) = handshake.finish().await else {
                return;
            };
            conversation::run(app, Socket::new(io).await, &session).await;
        }),
        Wanted::Tunnel => tasks.spawn("tunnel", async move {
            let Some((io, _held)) = handshake.finish().await else {
                return;
            };
            app.media.carry(Box::new(io), client.0).await;
        }),
    }
    Ok(response)
}

/// What a WebSocket is opened for.
enum Wanted {
    /// A page's words about its session.
    Signalling { session: String },
    /// A native viewer's connection. Who it is it says inside.
    Tunnel,
}

fn wanted(session: Option<String>, mode: Option<&str>) -> Result<Wanted, Problem> {
    let bad = |code, words| Problem::new(StatusCode::BAD_REQUEST, code, words);
    match (session, mode) {
        (Some(session), None) => Ok(Wanted::Signalling { session }),
        (None, Some("media")) => Ok(Wanted::Tunnel),
        (Some(_), Some("media")) => Err(bad(
            "malformed",
            "session: with mode=media the session is chosen inside; leave it out",
        )),
        (_, Some(_)) => Err(bad("mode_unsupported", "mode: media, or none at all")),
        (None, None) => Err(bad("malformed", "session: which one?")),
    }
}

/// A request that asks for a WebSocket.
struct Handshake {
    key: HeaderValue,
    upgrade: OnUpgrade,
    held: Held,
}

impl Handshake {
    fn take(request: &mut Request) -> Result<Self, Problem> {
        let key = handshake_key(request.headers()).ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "no_websocket",
                "this path speaks WebSocket, version 13",
            )
        })?;
        let extensions = request.extensions_mut();
        let (Some(upgrade), Some(held)) = (
            extensions.remove::<OnUpgrade>(),
            extensions.remove::<Held>(),
        ) else {
            return Err(Problem::internal());
        };
        Ok(Self { key, upgrade, held })
    }

    fn response(&self) -> Response {
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.key.clone());
        response
    }

    /// The connection once the response has left, and the places that it goes on to hold.
    async fn finish(self) -> Option<(SocketIo, Held)> {
        match self.upgrade.await {
            Ok(upgraded) => Some((SocketIo::new(upgraded), self.held)),
            Err(error) => {
                tracing::debug!(%error, "an upgrade failed");
                None
            }
        }
    }
}

/// The answer to the client's key (RFC 6455 §4.2), where this is a WebSocket handshake.
fn handshake_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let field = |name| headers.get(name).and_then(|it| it.to_str().ok());
    let is_websocket = field(UPGRADE)?.eq_ignore_ascii_case("websocket")
        && field(SEC_WEBSOCKET_VERSION)? == "13"
        && field(CONNECTION)?
            .split(',')
            .any(|it| it.trim().eq_ignore_ascii_case("upgrade"));
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_websocket)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

/// What came from the page, or why nothing more will.
#[derive(Debug)]
enum Incoming {
    Message(ToServer),
    /// A copy of an input packet.
    Input(Packet),
    /// No message of ours.
    Malformed(String),
    TooLarge,
    Closed,
}

/// A WebSocket that speaks [`ToServer`] and [`ToPage`].
struct Socket(WebSocketStream<SocketIo>);

impl Socket {
    async fn new(io: SocketIo) -> Self {
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(SIGNAL_BYTES_MAX);
        config.max_frame_size = Some(SIGNAL_BYTES_MAX);
        config.write_buffer_size = 0;
        config.max_write_buffer_size = 4 * SIGNAL_BYTES_MAX;
        Self(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await)
    }

    /// Waits for the next message; safe to give up and call again.
    async fn receive(&mut self) -> Incoming {
        loop {
            return match self.0.next().await {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                    Ok(message) => Incoming::Message(message),
                    // serde's words may quote a token; line and column say enough.
                    Err(error) => Incoming::Malformed(format!(
                        "no message of this protocol at line {}, column {}",
                        error.line(),
                        error.column()
                    )),
                },
                Some(Ok(Message::Binary(bytes))) => match Packet::decode(&bytes) {
                    Ok(packet) => Incoming::Input(packet),
                    Err(error) => Incoming::Malformed(error.to_string()),
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(_))) | None => Incoming::Closed,
                Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                    Incoming::TooLarge
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a socket failed");
                    Incoming::Closed
                }
            };
        }
    }

    /// Sends a message; `false` when the socket is gone or nobody reads it.
    async fn send(&mut self, message: &ToPage) -> bool {
        let Ok(text) = serde_json::to_string(message) else {
            return false;
        };
        self.write(Message::text(text)).await
    }

    /// Acknowledges input.
    async fn acknowledge(&mut self, ack: AckPacket) -> bool {
        self.write(Message::binary(ack.to_vec())).await
    }

    /// Shows proxies on the way that the socket is in use.
    async fn ping(&mut self) -> bool {
        self.write(Message::Ping(Vec::new().into())).await
    }

    async fn write(&mut self, message: Message) -> bool {
        let sent = async { self.0.send(message).await.is_ok() };
        let late = async {
            Timer::after(SEND_TIMEOUT).await;
            false
        };
        future::or(sent, late).await
    }

    /// Ends in good order: says so and waits a moment for the other side's word.
    async fn close(mut self, code: CloseCode) {
        let goodbye = async {
            let frame = CloseFrame {
                code,
                reason: "".into(),
            };
            if self.0.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.0.next().await {}
            }
        };
        let late = async {
            Timer::after(CLOSE_TIMEOUT).await;
        };
        future::or(goodbye, late).await;
    }
}
