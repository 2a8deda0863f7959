//! What every request passes: our name, a limit, and the headers that keep browsers strict.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, ORIGIN, STRICT_TRANSPORT_SECURITY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::connections::Place;
use super::names::{counted, is_loopback};
use super::problem::Problem;
use super::{App, Names};
use crate::clock;
use crate::config::{Cidr, Origin};

/// The other end of a connection, and its place among all.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) place: Arc<Place>,
    /// The connection is TLS of our own.
    pub(super) is_tls: bool,
}

/// Whom a request comes from: the peer, or whom a trusted proxy speaks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAddress(pub(super) IpAddr);

/// The places that a request occupies: a socket that it becomes keeps them.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "held for their drop")]
pub(super) struct Held {
    direct: Arc<Place>,
    forwarded: Option<Arc<Place>>,
}

const CSP: &str = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; \
                   base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What every answer carries. Opener and embedder policies isolate the page, which also gives it
/// a fine-grained clock.
const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", CSP),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Checks a request, lets it through, and sets the headers of its answer.
pub(super) async fn check(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let transport_security = transport_security(&app, &request);
    let mut response = match admit(&app, &mut request) {
        Ok(address) => {
            let response = next.run(request).await;
            log_refusal(&uri, &method, address, response.status());
            response
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if let Some(policy) = transport_security {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(policy));
    }
    // The page's files say themselves how they are kept; answers of the API are kept nowhere.
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// For how long browsers shall come by https alone, where the browser did come by it.
fn transport_security(app: &App, request: &Request) -> Option<&'static str> {
    let peer = request.extensions().get::<Peer>()?;
    if !peer.is_tls && !is_forwarded_https(peer.address, request, &app.config.trusted_proxies) {
        return None;
    }
    let host = request.headers().get(HOST)?.to_str().ok()?;
    // Browsers would apply it to every port of the name, and others run servers there too.
    Some(if is_loopback(host) {
        "max-age=0"
    } else {
        "max-age=31536000"
    })
}

/// Whether a trusted proxy says that the browser spoke TLS with it.
fn is_forwarded_https(peer: IpAddr, request: &Request, proxies: &[Cidr]) -> bool {
    let fields = request.headers().get_all("x-forwarded-proto");
    let nearest = fields.iter().next_back().and_then(|it| it.to_str().ok());
    let nearest = nearest.and_then(|it| it.rsplit(',').next());
    nearest.is_some_and(|it| it.trim().eq_ignore_ascii_case("https"))
        && proxies.iter().any(|it| it.contains(peer))
}

/// Leaves a line, with the session's id where the path has one. What is admitted is limited in
/// number, so that nobody can fill a disk with lines.
fn log_refusal(
    uri: &Uri,
    method: &Method,
    ClientAddress(address): ClientAddress,
    status: StatusCode,
) {
    if status.is_client_error() && is_limited(uri.path()) {
        let path: String = uri.path().chars().take(128).collect();
        tracing::info!(%method, path, %address, status = status.as_u16(), "a request was refused");
    }
}

/// Whether requests to this path are counted.
fn is_limited(path: &str) -> bool {
    path.starts_with("/api/") || path == "/ws"
}

/// Lets a request in, and tells whom it comes from.
fn admit(app: &App, request: &mut Request) -> Result<ClientAddress, Problem> {
    if !is_for_us(&app.names, request) && !is_of_native_viewer(request) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "this server does not answer to this name: whoever runs it can add the name to \
             HOST_ALIASES or set PUBLIC_URL",
        ));
    }
    let Some(peer) = request.extensions_mut().remove::<Peer>() else {
        return Err(Problem::internal());
    };
    let proxies = &app.config.trusted_proxies;
    let address = client_address(peer.address, request.headers(), proxies);
    let forwarded = if address == peer.address {
        None
    } else {
        let place = app.connections.enter(address);
        Some(Arc::new(place.ok_or_else(too_many_connections)?))
    };
    if is_limited(request.uri().path()) {
        app.limits()
            .api
            .take(&counted(address), clock::now())
            .map_err(|wait| Problem::too_many("too many requests", wait))?;
    }
    let extensions = request.extensions_mut();
    extensions.insert(ClientAddress(address));
    extensions.insert(Held {
        direct: peer.place,
        forwarded,
    });
    Ok(ClientAddress(address))
}

fn too_many_connections() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_connections",
        "this address holds as many connections as it may (MAX_CONNECTIONS_PER_ADDRESS)",
    )
    .retry_after(5)
}

/// Whether no page can have sent it, and a native viewer may have: it knows this server by its
/// key, and may call it by any name.
fn is_of_native_viewer(request: &Request) -> bool {
    is_tunnel(request.uri()) && !request.headers().contains_key(ORIGIN)
}

/// Whether a WebSocket is asked for that carries a native viewer's connection.
pub(super) fn is_tunnel(uri: &Uri) -> bool {
    uri.path() == "/ws" && uri.query() == Some("mode=media")
}

fn is_for_us(names: &Names, request: &Request) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        _ => return false,
    };
    // RFC 9112 §3.2.2: a whole URL in the request line outweighs the field; both must be ours.
    let authority = request.uri().authority().map(|it| it.as_str());
    names.is_host(host) && authority.is_none_or(|it| names.is_host(it))
}

/// The rightmost address in `X-Forwarded-For` that no trusted proxy vouches for.
fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &[Cidr]) -> IpAddr {
    let is_trusted = |address: IpAddr| proxies.iter().any(|it| it.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let mut nearest = peer;
    let hops = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','));
    for hop in hops.collect::<Vec<_>>().into_iter().rev() {
        let Ok(address) = hop.trim().parse() else {
            return nearest;
        };
        nearest = address;
        if !is_trusted(address) {
            return address;
        }
    }
    nearest
}

/// Demands that a page of ours asks: a browser sets `Origin`, and no page can forge it.
pub(super) fn demand_origin(names: &Names, headers: &HeaderMap) -> Result<Origin, Problem> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = match (origins.next(), origins.next()) {
        (Some(origin), None) => origin.to_str().unwrap_or_default(),
        _ => "",
    };
    names.own_origin(origin).ok_or_else(|| {
        Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "this request must come from a page of this server (field Origin)",
        )
    })
}

/// A request that comes from a page of ours, with the page's origin.
#[derive(Clone, Debug)]
pub(super) struct OwnPage(pub(super) Origin);

impl axum::extract::FromRequestParts<Arc<App>> for OwnPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        demand_origin(&app.names, &parts.headers).map(Self)
    }
}

impl axum::extract::FromRequestParts<Arc<App>> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, Problem> {
        let address = parts.extensions.get::<Self>().copied();
        address.ok_or_else(Problem::internal)
    }
}

/// Demands that a body, where there is one, is JSON: a form of a foreign page cannot say so.
pub(super) fn demand_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind.to_str().unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "media_type",
        "the body must be JSON, with the field Content-Type: application/json",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(peer: &str, forwarded: &[&str], expected: &str) {
        let proxies = [Cidr::parse("10.0.0.0/8").unwrap()];
        let mut headers = HeaderMap::new();
        for it in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(it).unwrap());
        }
        let address = client_address(peer.parse().unwrap(), &headers, &proxies);
        assert_eq!(address.to_string(), expected);
    }

    #[test]
    fn only_trusted_proxies_say_whom_they_speak_for() {
        check("192.0.2.1", &["198.51.100.7"], "192.0.2.1");
        check("10.0.0.1", &["198.51.100.7"], "198.51.100.7");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7");
        check(
            "10.0.0.1",
            &["203.0.113.9", "198.51.100.7, 10.0.0.2"],
            "198.51.100.7",
        );
        check("10.0.0.1", &["nonsense, 10.0.0.2"], "10.0.0.2");
    }
}
