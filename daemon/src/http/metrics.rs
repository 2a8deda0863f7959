//! Figures for Prometheus, on a listener of their own.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, future};
use smol::{Async, Timer};

use super::App;
use super::names::Names;
use sandbox_core::lifecycle::Lifecycle;

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `GET /metrics`, one connection at a time: one collector asks every few seconds.
pub(crate) async fn serve(app: Arc<App>, listener: TcpListener) -> io::Result<()> {
    let listener = Async::new(listener)?;
    let names = Names::of_metrics(&app.config);
    loop {
        let Ok((mut stream, peer)) = listener.accept().await else {
            Timer::after(Duration::from_millis(50)).await;
            continue;
        };
        let work = async {
            let answer = match head(&mut stream).await? {
                Some(head) => answer(&app, &names, &head).await,
                None => response("431 Request Header Fields Too Large", ""),
            };
            stream.write_all(answer.as_bytes()).await?;
            stream.close().await
        };
        let late = async {
            Timer::after(REQUEST_TIMEOUT).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        if let Err(error) = future::or(work, late).await {
            tracing::debug!(%peer, %error, "a request for metrics failed");
        }
    }
}

/// Reads up to the empty line; `None` when there is none within the limit.
async fn head<S: smol::io::AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 1_024];
    while bytes.len() < HEAD_BYTES_MAX {
        let taken = stream.read(&mut piece).await?;
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(piece.get(..taken).unwrap_or_default());
        if bytes.windows(4).any(|it| it == b"\r\n\r\n") {
            return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    Ok(None)
}

async fn answer(app: &App, names: &Names, head: &str) -> String {
    let host = head.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    if !host.is_some_and(|it| names.is_host(it)) {
        return response("421 Misdirected Request", "");
    }
    if !head.starts_with("GET /metrics ") {
        return response("404 Not Found", "");
    }
    response("200 OK", &figures(app).await)
}

async fn figures(app: &App) -> String {
    use std::fmt::Write as _;
    let views = app.sessions.live().await;
    let mut text = String::from(
        "# HELP sandbox_sessions Sessions that are not over, by state.\n\
         # TYPE sandbox_sessions gauge\n",
    );
    for state in Lifecycle::ALL.iter().filter(|it| it.is_live()) {
        let count = views.iter().filter(|it| it.state == *state).count();
        let code = state.code();
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "sandbox_sessions{{state=\"{code}\"}} {count}");
    }
    text
}

fn response(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\n\
         x-content-type-options: nosniff\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
