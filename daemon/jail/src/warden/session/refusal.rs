//! How a failed step is told to the daemon.

use sandbox_protocol::local::warden::Refusal;

use crate::layer::LayerError;
use crate::plan::JailKind;

/// A peer's words, short enough for a log line and a page.
pub(super) fn shortened(mut text: String) -> String {
    const LENGTH_MAX: usize = 300;
    if let Some((at, _)) = text.char_indices().nth(LENGTH_MAX) {
        text.truncate(at);
    }
    text
}

/// Steps that are no layer and no part of the host: their failure is ours.
const STEPS: [&str; 8] = [
    "link", "log", "stage", "x_socket", "home", "start", "worker", "display",
];

pub(crate) fn refusal(error: &LayerError) -> Refusal {
    if STEPS.contains(&error.layer.as_str()) || error.layer == JailKind::Programs.name() {
        Refusal::Failed {
            detail: error.to_string(),
        }
    } else {
        Refusal::Missing {
            layer: error.layer.clone(),
            detail: error.detail.clone(),
        }
    }
}
