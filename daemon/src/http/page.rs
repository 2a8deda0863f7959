//! The page: files that are part of the program.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};

use super::problem::Problem;
use crate::auth::hex;

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        /// Every file of the page with its bytes.
        const FILES: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("../../web/", $name)))),+];
    };
}

files!(
    "index.html",
    "style.css",
    "api.js",
    "attachment.js",
    "auth.js",
    "clipboard.js",
    "cursor.js",
    "dead.js",
    "desktop.js",
    "geometry.js",
    "input.js",
    "keyboard.js",
    "keys.js",
    "main.js",
    "overlay.js",
    "paste.js",
    "pointer.js",
    "screens.js",
    "sender.js",
    "signal.js",
    "stages.js",
    "storage.js",
    "stream.js",
    "words.js",
);

/// Serves a file of the page; everything else is not found.
pub(super) async fn serve(request: Request) -> Response {
    let path = request.uri().path();
    let name = match path.strip_prefix('/') {
        Some("") => "index.html",
        Some(name) => name,
        None => return Problem::not_found().into_response(),
    };
    let Some((_, bytes)) = FILES.iter().find(|(it, _)| *it == name) else {
        return Problem::not_found().into_response();
    };
    if request.method() != http::Method::GET && request.method() != http::Method::HEAD {
        return super::method_not_allowed().await.into_response();
    }
    let tag = tag(bytes);
    let is_known = request
        .headers()
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .any(|it| it.trim() == tag);
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        bytes.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

fn tag(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::digest(bytes);
    format!("\"{}\"", hex(hash.get(..8).unwrap_or_default()))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/web");
        let mut in_folder: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap())
            .filter(|it| it.file_type().unwrap().is_file())
            .map(|it| it.file_name().into_string().unwrap())
            .filter(|it| !it.ends_with(".json"))
            .collect();
        in_folder.sort();
        let mut served: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        served.sort_unstable();
        assert_eq!(served, in_folder);
        assert!(
            served
                .iter()
                .all(|it| content_type(it).starts_with("text/"))
        );
    }
}
