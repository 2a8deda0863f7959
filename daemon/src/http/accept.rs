//! The accept loop: tells HTTP and ICE-TCP apart by the first byte, and bounds both.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt as _, FutureExt as _, future};
use futures_rustls::server::TlsStream;
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use smol::{Async, Timer};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use socket2::SockRef;
use tower::ServiceExt as _;

use super::App;
use super::connections::Place;
use super::guard::Peer;
use super::names::Names;
use super::problem::Problem;
use crate::tls::Tls;

/// How long a connection may be silent before its first byte, and take for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request may take: a start waits half a minute for the warden at worst.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes that the kernel takes before it can send them. What waits outside of it can be replaced
/// by what is newer; what is on its way is TCP's own decision.
const UNSENT_BYTES_MAX: u32 = 16 << 10;

/// Pause after an accept that failed, which is a lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// First byte of a TLS handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 5\r\n\
                          content-length: 0\r\nconnection: close\r\n\r\n";

/// Serves one listener for ever.
pub(crate) async fn serve(app: Arc<App>, listener: TcpListener) -> io::Result<()> {
    let listener = Async::new(listener)?;
    let router = super::router(&app);
    let mut is_short = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                is_short = false;
                admit(&app, &router, stream, peer);
            }
            Err(error) => {
                // Once for each time that something runs short.
                if !std::mem::replace(&mut is_short, true) {
                    tracing::warn!(%error, "cannot accept connections for the time being");
                }
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(app: &Arc<App>, router: &Router, stream: Async<TcpStream>, peer: SocketAddr) {
    let is_proxy = app
        .config
        .trusted_proxies
        .iter()
        .any(|it| it.contains(peer.ip()));
    let place = if is_proxy {
        app.connections.enter_proxy()
    } else {
        app.connections.enter(peer.ip())
    };
    let Some(place) = place else {
        tracing::debug!(%peer, "too many connections");
        // Whoever does not take these few bytes at once does without them.
        let _best_effort = io::Write::write(&mut stream.get_ref(), TOO_MANY);
        return;
    };
    let (app, router) = (Arc::clone(app), router.clone());
    app.clone().tasks.spawn("connection", async move {
        if let Err(error) = handle(&app, router, stream, peer, place).await {
            tracing::debug!(%peer, %error, "a connection failed");
        }
    });
}

async fn handle(
    app: &Arc<App>,
    router: Router,
    mut stream: Async<TcpStream>,
    peer: SocketAddr,
    place: Place,
) -> io::Result<()> {
    stream.get_ref().set_nodelay(true)?;
    let Some(first) = first_byte(&stream).await? else {
        return stream.close().await;
    };
    // RFC 4571: a frame begins with its length, and the STUN request that opens ICE-TCP has less
    // than 512 bytes. No HTTP method begins with such a byte.
    if first <= 1 {
        app.media.accept_tcp(stream.into_inner()?, peer);
        return Ok(());
    }
    if let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
        // A slow connection then shows what is older.
        tracing::debug!(%error, "the kernel keeps as much unsent as it likes");
    }
    let peer = Peer {
        address: peer.ip().to_canonical(),
        place: Arc::new(place),
        is_tls: first == TLS_HANDSHAKE && app.tls.is_some(),
    };
    match &app.tls {
        None => converse(stream, move |it| answer(router.clone(), peer.clone(), it)).await,
        Some(tls) if peer.is_tls => {
            let Some(stream) = handshake(tls, stream).await? else {
                return Ok(());
            };
            converse(stream, move |it| answer(router.clone(), peer.clone(), it)).await
        }
        Some(_) => {
            let app = Arc::clone(app);
            converse(stream, move |it| {
                future::ready(Ok(to_https(&app.names, &it)))
            })
            .await
        }
    }
}

/// Makes a connection secret; `None` when that takes too long or there is no certificate.
async fn handshake(
    tls: &Tls,
    stream: Async<TcpStream>,
) -> io::Result<Option<TlsStream<Async<TcpStream>>>> {
    let done = async {
        match tls.acceptor().await {
            Some(acceptor) => acceptor.accept(stream).await.map(Some),
            None => Ok(None),
        }
    };
    let late = async {
        Timer::after(HEAD_TIMEOUT).await;
        Ok(None)
    };
    future::or(done, late).await
}

/// Whoever speaks plain HTTP to a port with TLS is shown the way.
fn to_https(names: &Names, request: &Request<Incoming>) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let is_plain_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let location = HeaderValue::from_str(&format!("https://{host}{path}"));
    match location {
        Ok(location) if is_plain_read && names.is_host(host) => (
            StatusCode::PERMANENT_REDIRECT,
            [(header::LOCATION, location)],
        )
            .into_response(),
        _ => Problem::new(
            StatusCode::BAD_REQUEST,
            "tls_required",
            "this port speaks TLS: begin the address with https://",
        )
        .into_response(),
    }
}

async fn converse<S, F>(stream: S, answer: impl Fn(Request<Incoming>) -> F) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = Result<Response, Infallible>>,
{
    let service = hyper::service::service_fn(answer);
    let connection = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(FuturesIo::new(stream), service)
        .with_upgrades();
    connection.await.map_err(io::Error::other)
}

/// Looks at the first byte without taking it; `None` when there is none in time.
async fn first_byte(stream: &Async<TcpStream>) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let peek = async { stream.peek(&mut byte).await };
    let silence = async {
        Timer::after(HEAD_TIMEOUT).await;
        Ok(0)
    };
    let taken = future::or(peek, silence).await?;
    Ok((taken > 0).then_some(byte[0]))
}

async fn answer(
    router: Router,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    let answered = AssertUnwindSafe(router.oneshot(request)).catch_unwind();
    let answered = async {
        answered.await.map_or_else(
            |_| {
                tracing::error!("a request panicked");
                Problem::internal().into_response()
            },
            |Ok(response)| response,
        )
    };
    let late = async {
        Timer::after(REQUEST_TIMEOUT).await;
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "the request took too long",
        )
        .into_response()
    };
    Ok(future::or(answered, late).await)
}
