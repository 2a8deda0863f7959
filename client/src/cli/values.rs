//! What stands after a flag.

use sandbox_client::net::{BadTransport, Transport};
use sandbox_client::window::{BadMonitors, Monitors};
use sandbox_protocol::Size;

use super::Failure;

pub(super) fn size(text: &str) -> Result<Size, Failure> {
    let bad = || {
        Failure::usage(format!(
            "--size {text}: a size is WIDTHxHEIGHT in pixels, 320x200 to 3840x2160"
        ))
    };
    let (width, height) = text.split_once('x').ok_or_else(bad)?;
    let size = Size {
        width: width.parse().map_err(|_| bad())?,
        height: height.parse().map_err(|_| bad())?,
    };
    let (min, max) = (
        sandbox_protocol::limits::DESKTOP_SIZE_MIN,
        sandbox_protocol::limits::DESKTOP_SIZE_MAX,
    );
    let is_within = (min.width..=max.width).contains(&size.width)
        && (min.height..=max.height).contains(&size.height);
    if is_within { Ok(size) } else { Err(bad()) }
}

pub(super) fn transport(text: &str) -> Result<Transport, Failure> {
    let transport = text.parse();
    transport.map_err(|bad: BadTransport| Failure::usage(format!("--transport {bad}")))
}

pub(super) fn monitors(text: &str) -> Result<Monitors, Failure> {
    let monitors = text.parse();
    monitors.map_err(|bad: BadMonitors| Failure::usage(bad.to_string()))
}
