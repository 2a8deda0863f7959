//! Offers text that the viewer pasted to the one program that asks for it, for a short time.

use std::time::{Duration, Instant};

use sandbox_protocol::limits::PASTE_BYTES_MAX;
use sandbox_protocol::{Deadline, Wakeup};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, CreateWindowAux, EventMask, PropMode,
    SELECTION_NOTIFY_EVENT, SelectionClearEvent, SelectionNotifyEvent, SelectionRequestEvent,
    Window, WindowClass,
};
use x11rb::wrapper::ConnectionExt as _;

use crate::display::{Display, DisplayError};

/// How long a program may take to ask: it asks when it sees the paste key, so this is a program
/// under load, not a person.
const OFFER: Duration = Duration::from_secs(2);

x11rb::atom_manager! {
    /// Names of what is offered.
    pub(crate) Atoms: AtomsCookie {
        CLIPBOARD,
        TARGETS,
        UTF8_STRING,
        TEXT_UTF8: b"text/plain;charset=utf-8",
    }
}

/// The viewer's clipboard as far as it came in.
#[derive(Debug)]
pub(crate) struct Paste {
    atoms: Atoms,
    /// Owns the selections.
    window: Window,
    pieces: Pieces,
    offer: Option<Offer>,
}

#[derive(Debug)]
enum Pieces {
    Joined(String),
    /// Too long: what is still coming is dropped up to the last piece.
    TooLong,
}

#[derive(Debug)]
struct Offer {
    text: String,
    until: Instant,
    /// The paste key came: the time has begun again, and does so only once.
    is_key_seen: bool,
    /// The program that has asked first.
    reader: Option<u32>,
    selections: Vec<Atom>,
}

impl Paste {
    pub(crate) fn new(display: &Display) -> Result<Self, DisplayError> {
        let x = display.x();
        let window = x.generate_id()?;
        let nothing = CreateWindowAux::new();
        let class = WindowClass::INPUT_ONLY;
        x.create_window(
            0,
            window,
            display.root(),
            -1,
            -1,
            1,
            1,
            0,
            class,
            0,
            &nothing,
        )?;
        Ok(Self {
            atoms: Atoms::new(x)?.reply()?,
            window,
            pieces: Pieces::Joined(String::new()),
            offer: None,
        })
    }

    /// Takes a piece; the last one makes the whole an offer.
    pub(crate) fn handle_piece(
        &mut self,
        text: &str,
        is_last: bool,
        display: &Display,
        now: Instant,
    ) -> Result<(), DisplayError> {
        if let Pieces::Joined(joined) = &mut self.pieces {
            if joined.len() + text.len() > PASTE_BYTES_MAX {
                tracing::warn!(
                    limit = PASTE_BYTES_MAX,
                    "a paste is too long and is dropped"
                );
                self.pieces = Pieces::TooLong;
            } else {
                joined.push_str(text);
            }
        }
        if is_last {
            let pieces = std::mem::replace(&mut self.pieces, Pieces::Joined(String::new()));
            self.withdraw(display)?;
            if let Pieces::Joined(text) = pieces {
                self.offer(text, display, now)?;
            }
        }
        Ok(())
    }

    /// A key goes down, which may be the one that pastes.
    pub(crate) fn handle_key(&mut self, now: Instant) {
        if let Some(offer) = &mut self.offer
            && !offer.is_key_seen
        {
            offer.is_key_seen = true;
            offer.until = now + OFFER;
        }
    }

    /// The viewer is gone, and its unfinished paste with it.
    pub(crate) fn handle_detached(&mut self, display: &Display) -> Result<(), DisplayError> {
        self.pieces = Pieces::Joined(String::new());
        self.withdraw(display)
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(
        &mut self,
        display: &Display,
        now: Instant,
    ) -> Result<(), DisplayError> {
        if self.offer.as_ref().is_some_and(|it| it.until <= now) {
            self.withdraw(display)?;
        }
        Ok(())
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.offer.as_ref().map(|it| Deadline {
            at: it.until,
            why: Wakeup::PasteOffer,
        })
    }

    /// Answers a program that asks for a selection.
    pub(crate) fn handle_request(
        &mut self,
        request: &SelectionRequestEvent,
        display: &Display,
    ) -> Result<(), DisplayError> {
        let is_answered = self.answer(request, display)?;
        let notify = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: request.requestor,
            selection: request.selection,
            target: request.target,
            property: if is_answered {
                property(request)
            } else {
                x11rb::NONE
            },
        };
        let x = display.x();
        x.send_event(false, request.requestor, EventMask::NO_EVENT, notify)?;
        Ok(())
    }

    /// Some program owns a selection now.
    pub(crate) fn handle_lost(
        &mut self,
        event: &SelectionClearEvent,
        display: &Display,
    ) -> Result<(), DisplayError> {
        let Some(offer) = &mut self.offer else {
            return Ok(());
        };
        let owner = display.x().get_selection_owner(event.selection)?;
        // It may be about the offer before, which made room for this one.
        if owner.reply()?.owner == self.window {
            return Ok(());
        }
        offer.selections.retain(|it| *it != event.selection);
        if offer.selections.is_empty() {
            self.offer = None;
        }
        Ok(())
    }

    fn offer(&mut self, text: String, display: &Display, now: Instant) -> Result<(), DisplayError> {
        let x = display.x();
        let primary = Atom::from(AtomEnum::PRIMARY);
        let mut selections = vec![self.atoms.CLIPBOARD];
        // Terminals paste the primary selection. Where a program holds it, something is selected
        // there, perhaps to be replaced by this paste: it stays.
        if x.get_selection_owner(primary)?.reply()?.owner == x11rb::NONE {
            selections.push(primary);
        }
        for selection in &selections {
            x.set_selection_owner(self.window, *selection, x11rb::CURRENT_TIME)?;
        }
        self.offer = Some(Offer {
            text,
            until: now + OFFER,
            is_key_seen: false,
            reader: None,
            selections,
        });
        Ok(())
    }

    fn withdraw(&mut self, display: &Display) -> Result<(), DisplayError> {
        let Some(offer) = self.offer.take() else {
            return Ok(());
        };
        for selection in offer.selections {
            let x = display.x();
            // In between a program may have become the owner: its selection is not ours to clear.
            if x.get_selection_owner(selection)?.reply()?.owner == self.window {
                x.set_selection_owner(x11rb::NONE, selection, x11rb::CURRENT_TIME)?;
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        request: &SelectionRequestEvent,
        display: &Display,
    ) -> Result<bool, DisplayError> {
        let x = display.x();
        let reader = request.requestor & !x.setup().resource_id_mask;
        let Some(offer) = &mut self.offer else {
            return Ok(false);
        };
        if !offer.selections.contains(&request.selection) {
            return Ok(false);
        }
        let (to, under) = (request.requestor, property(request));
        let atoms = &self.atoms;
        if request.target == atoms.TARGETS {
            let targets = [atoms.TARGETS, atoms.UTF8_STRING, atoms.TEXT_UTF8];
            x.change_property32(PropMode::REPLACE, to, under, AtomEnum::ATOM, &targets)?;
            return Ok(true);
        }
        let is_text = request.target == atoms.UTF8_STRING || request.target == atoms.TEXT_UTF8;
        if !is_text || offer.reader.is_some_and(|it| it != reader) {
            return Ok(false);
        }
        offer.reader = Some(reader);
        let text = offer.text.as_bytes();
        x.change_property8(PropMode::REPLACE, to, under, request.target, text)?;
        Ok(true)
    }
}

/// Old programs name no property and mean the target (ICCCM §2.2).
const fn property(request: &SelectionRequestEvent) -> Atom {
    if request.property == x11rb::NONE {
        request.target
    } else {
        request.property
    }
}
