//! Reads what a program put into the clipboard, where the viewer has just asked for it.

use std::time::{Duration, Instant};

use sandbox_protocol::limits::COPY_BYTES_MAX;
use sandbox_protocol::{Deadline, Wakeup};
use x11rb::connection::Connection as _;
use x11rb::protocol::xfixes::{self, ConnectionExt as _, SelectionEventMask};
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, CreateWindowAux, EventMask, Property,
    PropertyNotifyEvent, SelectionNotifyEvent, Window, WindowClass,
};

use crate::display::{Display, DisplayError};

/// A program copies because of a key or click that is no older than this.
const GESTURE: Duration = Duration::from_secs(2);

/// How long a program may take to hand its text over.
const READING: Duration = Duration::from_secs(2);

x11rb::atom_manager! {
    /// Names of what is asked for.
    pub(crate) Atoms: AtomsCookie {
        CLIPBOARD,
        UTF8_STRING,
        INCR,
        COPIED,
    }
}

/// The desktop's clipboard as far as the viewer may see it.
#[derive(Debug)]
pub(crate) struct Copy {
    atoms: Atoms,
    /// Asks for the selection.
    window: Window,
    /// When the viewer last pressed or clicked something.
    gesture: Option<Instant>,
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    until: Instant,
    text: Vec<u8>,
    /// The owner hands the text over piece by piece (ICCCM §2.7.2).
    is_incremental: bool,
}

/// One piece of the text, as it lay in our window's property.
enum Piece {
    Last,
    NotLast,
    Bad(&'static str),
}

impl Copy {
    pub(crate) fn new(display: &Display) -> Result<Self, DisplayError> {
        let x = display.x();
        let window = x.generate_id()?;
        let aux = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        let class = WindowClass::INPUT_ONLY;
        let root = display.root();
        x.create_window(0, window, root, -1, -1, 1, 1, 0, class, 0, &aux)?;
        Ok(Self {
            atoms: Atoms::new(x)?.reply()?,
            window,
            gesture: None,
            reading: None,
        })
    }

    /// A viewer is there: what programs copy is looked at.
    pub(crate) fn handle_attached(&mut self, display: &Display) -> Result<(), DisplayError> {
        self.gesture = None;
        self.reading = None;
        self.select(SelectionEventMask::SET_SELECTION_OWNER, display)
    }

    /// Nobody is there: what programs copy stays among them.
    pub(crate) fn handle_detached(&mut self, display: &Display) -> Result<(), DisplayError> {
        self.gesture = None;
        self.reading = None;
        self.select(SelectionEventMask::default(), display)
    }

    /// The viewer pressed or clicked something.
    pub(crate) const fn handle_gesture(&mut self, now: Instant) {
        self.gesture = Some(now);
    }

    /// Somebody else owns the clipboard from now on, or nobody.
    pub(crate) fn handle_owner(
        &mut self,
        event: &xfixes::SelectionNotifyEvent,
        display: &Display,
        now: Instant,
    ) -> Result<(), DisplayError> {
        let x = display.x();
        self.reading = None;
        let is_ours = event.owner & !x.setup().resource_id_mask == x.setup().resource_id_base;
        if event.owner == x11rb::NONE || is_ours || !self.is_asked_for(now) {
            return Ok(());
        }
        let Atoms {
            CLIPBOARD,
            UTF8_STRING,
            COPIED,
            ..
        } = self.atoms;
        x.delete_property(self.window, COPIED)?;
        let time = event.selection_timestamp;
        x.convert_selection(self.window, CLIPBOARD, UTF8_STRING, COPIED, time)?;
        self.reading = Some(Reading {
            until: now + READING,
            text: Vec::new(),
            is_incremental: false,
        });
        Ok(())
    }

    /// The owner has answered. Returns the text where that was all of it.
    pub(crate) fn handle_answer(
        &mut self,
        event: &SelectionNotifyEvent,
        display: &Display,
    ) -> Result<Option<String>, DisplayError> {
        let is_for_us = event.requestor == self.window && event.selection == self.atoms.CLIPBOARD;
        if !is_for_us || self.reading.as_ref().is_none_or(|it| it.is_incremental) {
            return Ok(None);
        }
        if event.property != self.atoms.COPIED {
            // It holds no text: a picture, say.
            self.reading = None;
            return Ok(None);
        }
        self.take(display)
    }

    /// A property of our window has changed. Returns the text where that was the end of it.
    pub(crate) fn handle_property(
        &mut self,
        event: &PropertyNotifyEvent,
        display: &Display,
    ) -> Result<Option<String>, DisplayError> {
        let is_piece = event.window == self.window
            && event.atom == self.atoms.COPIED
            && event.state == Property::NEW_VALUE;
        if !is_piece || self.reading.as_ref().is_none_or(|it| !it.is_incremental) {
            return Ok(None);
        }
        self.take(display)
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.reading.take_if(|it| it.until <= now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.reading.as_ref().map(|it| Deadline {
            at: it.until,
            why: Wakeup::ClipboardRead,
        })
    }

    fn is_asked_for(&self, now: Instant) -> bool {
        self.gesture
            .is_some_and(|it| now.saturating_duration_since(it) <= GESTURE)
    }

    fn select(&self, events: SelectionEventMask, display: &Display) -> Result<(), DisplayError> {
        let x = display.x();
        x.xfixes_select_selection_input(self.window, self.atoms.CLIPBOARD, events)?;
        // Also the pieces of a text that nobody wants any more wake nobody.
        let mask = if events == SelectionEventMask::default() {
            EventMask::NO_EVENT
        } else {
            EventMask::PROPERTY_CHANGE
        };
        let aux = ChangeWindowAttributesAux::new().event_mask(mask);
        x.change_window_attributes(self.window, &aux)?;
        Ok(())
    }

    fn take(&mut self, display: &Display) -> Result<Option<String>, DisplayError> {
        match self.take_piece(display)? {
            Piece::NotLast => Ok(None),
            Piece::Bad(why) => {
                tracing::debug!(why, "a copied text stays in the desktop");
                self.reading = None;
                Ok(None)
            }
            Piece::Last => {
                let reading = self.reading.take();
                let text = reading.and_then(|it| String::from_utf8(it.text).ok());
                Ok(text.filter(|it| !it.is_empty()))
            }
        }
    }

    fn take_piece(&mut self, display: &Display) -> Result<Piece, DisplayError> {
        let Some(reading) = &mut self.reading else {
            return Ok(Piece::NotLast);
        };
        let room = COPY_BYTES_MAX - reading.text.len();
        // In units of four bytes; one more tells that there was too much.
        let units = u32::try_from(room / 4 + 1).unwrap_or(u32::MAX);
        let reply = display
            .x()
            .get_property(
                true,
                self.window,
                self.atoms.COPIED,
                AtomEnum::ANY,
                0,
                units,
            )?
            .reply()?;
        if reply.type_ == self.atoms.INCR && !reading.is_incremental {
            reading.is_incremental = true;
            return Ok(Piece::NotLast);
        }
        if reply.type_ != self.atoms.UTF8_STRING || reply.format != 8 {
            return Ok(Piece::Bad("no text"));
        }
        if reply.bytes_after > 0 || reply.value.len() > room {
            return Ok(Piece::Bad("too long"));
        }
        let is_end = reply.value.is_empty() || !reading.is_incremental;
        reading.text.extend(reply.value);
        Ok(if is_end { Piece::Last } else { Piece::NotLast })
    }
}
