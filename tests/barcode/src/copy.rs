//! Copies, at once or late: what a viewer may get out of a desktop, and what not.

use std::sync::Arc;
use std::time::Duration;

use sandbox_barcode::Key;
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{
    ConnectionExt, EventMask, PropMode, SELECTION_NOTIFY_EVENT, SelectionNotifyEvent,
    SelectionRequestEvent, Window,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::Error;

const CONTROL: u8 = 4;

/// Longer than a viewer's key counts as the reason of a copy.
const LATE: Duration = Duration::from_secs(3);

/// Copies where the key says so.
pub(super) fn handle_key(x: &Arc<RustConnection>, window: Window, key: Key) -> Result<(), Error> {
    if key.modifiers & CONTROL == 0 {
        return Ok(());
    }
    match char::from_u32(key.keysym) {
        Some('c') => own(x, window),
        Some('l') => {
            let x = x.clone();
            std::thread::spawn(move || {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a thread of its own, and real time"
                )]
                std::thread::sleep(LATE);
                // A connection that ended ends the program too.
                own(&x, window).ok();
            });
            Ok(())
        }
        Some(_) | None => Ok(()),
    }
}

/// Hands the text to whoever asks: which key it was that copied.
pub(super) fn answer(
    x: &RustConnection,
    request: &SelectionRequestEvent,
    number: u16,
) -> Result<(), Error> {
    let text = format!("copied with key {number}: schöne Grüße €");
    let (to, under) = (request.requestor, request.property);
    x.change_property8(
        PropMode::REPLACE,
        to,
        under,
        request.target,
        text.as_bytes(),
    )?;
    let notify = SelectionNotifyEvent {
        response_type: SELECTION_NOTIFY_EVENT,
        sequence: 0,
        time: request.time,
        requestor: to,
        selection: request.selection,
        target: request.target,
        property: under,
    };
    x.send_event(false, to, EventMask::NO_EVENT, notify)?;
    Ok(x.flush()?)
}

fn own(x: &RustConnection, window: Window) -> Result<(), Error> {
    let clipboard = x.intern_atom(false, b"CLIPBOARD")?.reply()?.atom;
    x.set_selection_owner(window, clipboard, x11rb::CURRENT_TIME)?;
    Ok(x.flush()?)
}
