//! A program that copies: it owns the clipboard and hands its text to whoever asks.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, ChangeWindowAttributesAux, ConnectionExt as _, CreateWindowAux, EventMask, PropMode,
    Property, SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Window,
    WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::harness::Desktop;
use crate::program::connect;

/// Longer texts go in pieces of this many bytes (ICCCM §2.7.2).
const PIECE: usize = 100_000;

pub(crate) struct Editor {
    x: Arc<RustConnection>,
    window: Window,
    text: Arc<Mutex<String>>,
    read: Receiver<()>,
}

impl Editor {
    pub(crate) fn start(desktop: &Desktop) -> Self {
        let x = Arc::new(connect(desktop));
        let root = x.setup().roots[0].root;
        let window = x.generate_id().unwrap();
        let (aux, class) = (CreateWindowAux::new(), WindowClass::INPUT_ONLY);
        x.create_window(0, window, root, 0, 0, 1, 1, 0, class, 0, &aux)
            .unwrap();
        let text = Arc::new(Mutex::new(String::new()));
        let (sender, read) = channel();
        let (its_x, its_text) = (x.clone(), text.clone());
        std::thread::spawn(move || answer_all(&its_x, &its_text, &sender));
        Self {
            x,
            window,
            text,
            read,
        }
    }

    /// Puts a text into the clipboard.
    pub(crate) fn copy(&self, text: &str) {
        while self.read.try_recv().is_ok() {}
        text.clone_into(&mut self.text.lock().unwrap());
        let clipboard = atom(&self.x, "CLIPBOARD");
        self.x
            .set_selection_owner(self.window, clipboard, x11rb::CURRENT_TIME)
            .unwrap();
        let owner = self.x.get_selection_owner(clipboard).unwrap().reply();
        assert_eq!(owner.unwrap().owner, self.window);
    }

    /// Waits until somebody has asked for the text put there last.
    pub(crate) fn wait_until_read(&self) {
        let patience = Duration::from_secs(30);
        self.read.recv_timeout(patience).expect("somebody asks");
    }
}

fn answer_all(x: &RustConnection, text: &Mutex<String>, read: &Sender<()>) {
    // A text on its way: to whom, and what is left of it.
    let mut sending: Option<(SelectionRequestEvent, Vec<u8>)> = None;
    while let Ok(event) = x.wait_for_event() {
        match event {
            Event::SelectionRequest(request) => {
                let text = text.lock().unwrap().clone().into_bytes();
                sending = answer(x, request, text);
                if read.send(()).is_err() {
                    return;
                }
            }
            Event::PropertyNotify(event) if event.state == Property::DELETE => {
                if let Some((request, rest)) = &mut sending
                    && event.window == request.requestor
                    && event.atom == request.property
                {
                    let piece: Vec<u8> = rest.drain(..rest.len().min(PIECE)).collect();
                    put(x, request, request.target, &piece);
                    sending.take_if(|_| piece.is_empty());
                }
            }
            _ => (),
        }
    }
}

fn answer(
    x: &RustConnection,
    request: SelectionRequestEvent,
    text: Vec<u8>,
) -> Option<(SelectionRequestEvent, Vec<u8>)> {
    let is_long = text.len() > PIECE;
    if is_long {
        let aux = ChangeWindowAttributesAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        x.change_window_attributes(request.requestor, &aux).unwrap();
        let incr = atom(x, "INCR");
        let length = [u32::try_from(text.len()).unwrap()];
        let (to, under) = (request.requestor, request.property);
        x.change_property32(PropMode::REPLACE, to, under, incr, &length)
            .unwrap();
    } else {
        put(x, &request, request.target, &text);
    }
    let notify = SelectionNotifyEvent {
        response_type: SELECTION_NOTIFY_EVENT,
        sequence: 0,
        time: request.time,
        requestor: request.requestor,
        selection: request.selection,
        target: request.target,
        property: request.property,
    };
    x.send_event(false, request.requestor, EventMask::NO_EVENT, notify)
        .unwrap();
    x.flush().unwrap();
    is_long.then_some((request, text))
}

fn put(x: &RustConnection, request: &SelectionRequestEvent, target: Atom, bytes: &[u8]) {
    let (to, under) = (request.requestor, request.property);
    x.change_property8(PropMode::REPLACE, to, under, target, bytes)
        .unwrap();
    x.flush().unwrap();
}

fn atom(x: &RustConnection, name: &str) -> Atom {
    let cookie = x.intern_atom(false, name.as_bytes()).unwrap();
    cookie.reply().unwrap().atom
}
