//! Our connections to the X server: what it shows, how large, and what changed.

mod connections;
mod error;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use sandbox_protocol::local::worker::Begin;
use sandbox_protocol::{Rect, Size};
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::ConnectionError;
use x11rb::protocol::Event;
use x11rb::protocol::damage::{self, ConnectionExt as _, Damage, ReportLevel};
use x11rb::protocol::randr::{self, ConnectionExt as _, NotifyMask};
use x11rb::protocol::xfixes::{self, ConnectionExt as _, CursorNotifyMask, GetCursorImageReply};
use x11rb::protocol::xkb::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{
    BUTTON_RELEASE_EVENT, ClientMessageEvent, ConnectionExt as _, CreateWindowAux, EventMask,
    KEY_RELEASE_EVENT, ModMask, PropertyNotifyEvent, SelectionClearEvent, SelectionNotifyEvent,
    SelectionRequestEvent, Window, WindowClass,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use self::connections::{connect, get_through_grabs, succeed};
pub(crate) use self::error::DisplayError;
use crate::x_stream::XStream;

/// A connection to the X server.
pub(crate) type X = RustConnection<XStream>;

/// How long Xvfb may take to start; the connection waits in its backlog meanwhile. Longer than
/// the warden's own patience, which is the one that counts.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long X may take to answer: it works for milliseconds, so a program holds it.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Damage of more rectangles than this is taken as their bounding box: a hostile program can
/// make thousands of them.
const RECTS_MAX: usize = 32;

/// Pixels per inch that the screen claims: what programs take as "not scaled".
const DPI: u32 = 96;

/// What the X server reported.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// There is damage that has not been taken.
    Damaged,
    /// The pointer has another picture.
    CursorChanged,
    /// The screen may have another size.
    Resized,
    /// Keycodes mean something else.
    KeymapChanged { first: u8, count: u8 },
    /// Caps Lock is on, or off again.
    LockChanged { is_on: bool },
    /// A program wants what we offer.
    SelectionRequested(SelectionRequestEvent),
    /// Somebody else owns a selection that was ours.
    SelectionLost(SelectionClearEvent),
    /// The clipboard has another owner.
    SelectionOwned(xfixes::SelectionNotifyEvent),
    /// A program says that it has answered us.
    SelectionAnswered(SelectionNotifyEvent),
    /// A property of a window of ours has changed.
    PropertyChanged(PropertyNotifyEvent),
    /// Something that nothing follows from.
    Nothing,
}

/// One desktop's X server.
#[derive(Debug)]
pub(crate) struct Display {
    x: X,
    /// Owns nothing, so no program can have it killed; gets through grabs. The warden keeps its
    /// descriptor for the worker after us.
    spare: X,
    root: Window,
    region: xfixes::Region,
    /// A window of our own, never shown.
    window: Window,
    damage: Option<Damage>,
    size: Size,
    /// The mode we made for the present size.
    mode: Option<randr::Mode>,
}

impl Display {
    /// Speaks to the X server over two connected sockets, the second one spare. The first worker
    /// waits until the server is up.
    pub(crate) fn open(
        [main, spare]: [OwnedFd; 2],
        cookie: [u8; 16],
        begin: Begin,
    ) -> Result<Self, DisplayError> {
        let patience = match begin {
            Begin::First => START_PATIENCE,
            Begin::Succeed | Begin::Again => ANSWER_PATIENCE,
        };
        let spare = connect(spare, cookie, patience)?;
        // At once: from here on no program can shut the next worker out.
        get_through_grabs(&spare)?;
        let x = match begin {
            Begin::First | Begin::Again => connect(main, cookie, patience)?,
            Begin::Succeed => succeed(XStream::new(main, patience), &spare)?,
        };
        get_through_grabs(&x)?;
        for (name, is_needed_for) in [
            (damage::X11_EXTENSION_NAME, "DAMAGE"),
            (xfixes::X11_EXTENSION_NAME, "XFIXES"),
            (randr::X11_EXTENSION_NAME, "RANDR"),
            (xkb::X11_EXTENSION_NAME, "XKEYBOARD"),
        ] {
            if x.extension_information(name)?.is_none() {
                return Err(DisplayError::Extension(is_needed_for));
            }
        }
        x.damage_query_version(1, 1)?.reply()?;
        x.xfixes_query_version(5, 0)?.reply()?;
        x.randr_query_version(1, 3)?.reply()?;
        let root = x.setup().roots.first().map_or(x11rb::NONE, |it| it.root);
        let region = x.generate_id()?;
        x.xfixes_create_region(region, &[])?;
        let window = x.generate_id()?;
        let (class, nothing) = (WindowClass::INPUT_ONLY, CreateWindowAux::new());
        x.create_window(0, window, root, -1, -1, 1, 1, 0, class, 0, &nothing)?;
        // The viewer draws the pointer; in the framebuffer it would be a second one, and damage.
        x.xfixes_hide_cursor(root)?;
        x.randr_select_input(root, NotifyMask::SCREEN_CHANGE)?;
        let mut display = Self {
            x,
            spare,
            root,
            region,
            window,
            damage: None,
            size: Size {
                width: 0,
                height: 0,
            },
            mode: None,
        };
        display.size = display.root_size()?;
        display.watch_keyboard()?;
        display.release_all()?;
        Ok(display)
    }

    pub(crate) const fn x(&self) -> &X {
        &self.x
    }

    pub(crate) const fn root(&self) -> Window {
        self.root
    }

    pub(crate) const fn size(&self) -> Size {
        self.size
    }

    /// Sends what is still in our buffer.
    pub(crate) fn flush(&self) -> Result<(), DisplayError> {
        Ok(self.x.flush()?)
    }

    /// Has the X server say something, which comes as a report.
    pub(crate) fn ask(&self) -> Result<(), DisplayError> {
        let word = ClientMessageEvent::new(8, self.window, x11rb::NONE, [0; 20]);
        // An event for nobody in particular goes to whoever made the window.
        self.x
            .send_event(false, self.window, EventMask::NO_EVENT, word)?;
        Ok(())
    }

    /// From now on damage and cursor changes are reported. All that was there before counts as
    /// damage.
    pub(crate) fn watch(&mut self) -> Result<(), DisplayError> {
        self.unwatch()?;
        let damage = self.x.generate_id()?;
        self.x
            .damage_create(damage, self.root, ReportLevel::NON_EMPTY)?;
        self.x
            .xfixes_select_cursor_input(self.root, CursorNotifyMask::DISPLAY_CURSOR)?;
        self.damage = Some(damage);
        Ok(())
    }

    /// Nothing of it is reported any more: what programs draw wakes nobody.
    pub(crate) fn unwatch(&mut self) -> Result<(), DisplayError> {
        if let Some(damage) = self.damage.take() {
            self.x.damage_destroy(damage)?;
            self.x
                .xfixes_select_cursor_input(self.root, CursorNotifyMask::default())?;
        }
        Ok(())
    }

    /// Moves the damage so far into `rects`, cut to the screen. To be called before the pixels
    /// are read: what is drawn afterwards is damage again.
    pub(crate) fn take_damage(&self, rects: &mut Vec<Rect>) -> Result<(), DisplayError> {
        rects.clear();
        let Some(damage) = self.damage else {
            return Ok(());
        };
        self.x.damage_subtract(damage, x11rb::NONE, self.region)?;
        let region = self.x.xfixes_fetch_region(self.region)?.reply()?;
        let whole = if region.rectangles.len() > RECTS_MAX {
            std::slice::from_ref(&region.extents)
        } else {
            region.rectangles.as_slice()
        };
        rects.extend(whole.iter().filter_map(|it| {
            let (left, right) = cut(it.x, it.width, self.size.width)?;
            let (top, bottom) = cut(it.y, it.height, self.size.height)?;
            Some(Rect {
                x: left,
                y: top,
                width: right - left,
                height: bottom - top,
            })
        }));
        Ok(())
    }

    pub(crate) fn cursor_image(&self) -> Result<GetCursorImageReply, DisplayError> {
        Ok(self.x.xfixes_get_cursor_image()?.reply()?)
    }

    /// Hands out what came from the X server; `None` when nothing more has come.
    pub(crate) fn poll_report(&mut self) -> Result<Option<Report>, DisplayError> {
        let event = self.x.poll_for_event()?;
        Ok(event.map(|it| {
            // What a program sent did not happen, but for its answer about a selection: that is
            // never anything but sent.
            if it.sent_event() && !matches!(it, Event::SelectionNotify(_)) {
                Report::Nothing
            } else {
                self.read(it)
            }
        }))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "X has more events than we asked for"
    )]
    fn read(&mut self, event: Event) -> Report {
        match event {
            Event::DamageNotify(_) => Report::Damaged,
            Event::XfixesCursorNotify(_) => Report::CursorChanged,
            Event::MappingNotify(event) => Report::KeymapChanged {
                first: event.first_keycode,
                count: event.count,
            },
            Event::XkbNewKeyboardNotify(_) => Report::KeymapChanged {
                first: u8::MIN,
                count: u8::MAX,
            },
            Event::XkbStateNotify(event) => Report::LockChanged {
                is_on: event.locked_mods.contains(ModMask::LOCK),
            },
            Event::SelectionRequest(event) => Report::SelectionRequested(event),
            Event::SelectionClear(event) => Report::SelectionLost(event),
            Event::SelectionNotify(event) => Report::SelectionAnswered(event),
            Event::XfixesSelectionNotify(event) => Report::SelectionOwned(event),
            Event::PropertyNotify(event) => Report::PropertyChanged(event),
            Event::RandrScreenChangeNotify(event) => {
                self.size = Size {
                    width: event.width,
                    height: event.height,
                };
                Report::Resized
            }
            Event::Error(error) => {
                // A requestor that is gone, a mode in use: nothing that the desktop suffers from.
                tracing::debug!(?error, "the X server refused a request");
                Report::Nothing
            }
            _ => Report::Nothing,
        }
    }

    /// Gives the screen another size.
    ///
    /// # Errors
    ///
    /// [`DisplayError::Refused`] or [`DisplayError::Size`] when the X server does not do it.
    pub(crate) fn resize(&mut self, wanted: Size) -> Result<(), DisplayError> {
        let resources = self
            .x
            .randr_get_screen_resources_current(self.root)?
            .reply()?;
        let (Some(&crtc), Some(&output)) = (resources.crtcs.first(), resources.outputs.first())
        else {
            return Err(DisplayError::Extension("RANDR with an output"));
        };
        let mode = self.make_mode(wanted)?;
        self.x.randr_add_output_mode(output, mode)?.check()?;
        // A CRTC larger than the screen is refused, so it is off while the screen shrinks.
        self.set_crtc(crtc, None)?;
        let mm = |pixels: u16| u32::from(pixels) * 254 / (DPI * 10);
        let (width, height) = (wanted.width, wanted.height);
        self.x
            .randr_set_screen_size(self.root, width, height, mm(width), mm(height))?
            .check()?;
        self.set_crtc(crtc, Some((mode, output)))?;
        if let Some(former) = self.mode.replace(mode) {
            self.x.randr_delete_output_mode(output, former)?;
            self.x.randr_destroy_mode(former)?;
        }
        let is = self.root_size()?;
        self.size = is;
        if is == wanted {
            Ok(())
        } else {
            Err(DisplayError::Size { is, wanted })
        }
    }

    fn make_mode(&self, size: Size) -> Result<randr::Mode, DisplayError> {
        // Names are unique for life, also of modes that other programs made.
        let name = format!("desktop-{size}-{:x}", self.x.generate_id()?);
        let mode = randr::ModeInfo {
            width: size.width,
            height: size.height,
            dot_clock: u32::from(size.width) * u32::from(size.height) * 60,
            hsync_start: size.width,
            hsync_end: size.width,
            htotal: size.width,
            vsync_start: size.height,
            vsync_end: size.height,
            vtotal: size.height,
            name_len: u16::try_from(name.len()).unwrap_or_default(),
            ..randr::ModeInfo::default()
        };
        let reply = self
            .x
            .randr_create_mode(self.root, mode, name.as_bytes())?
            .reply()?;
        Ok(reply.mode)
    }

    fn set_crtc(
        &self,
        crtc: randr::Crtc,
        shows: Option<(randr::Mode, randr::Output)>,
    ) -> Result<(), DisplayError> {
        let (mode, outputs) =
            shows.map_or((x11rb::NONE, vec![]), |(mode, output)| (mode, vec![output]));
        let now = x11rb::CURRENT_TIME;
        let rotation = randr::Rotation::ROTATE0;
        self.x
            .randr_set_crtc_config(crtc, now, now, 0, 0, mode, rotation, &outputs)?
            .reply()?;
        Ok(())
    }

    fn root_size(&self) -> Result<Size, DisplayError> {
        let geometry = self.x.get_geometry(self.root)?.reply()?;
        Ok(Size {
            width: geometry.width,
            height: geometry.height,
        })
    }

    /// Whether Caps Lock is on.
    pub(crate) fn is_caps_locked(&self) -> Result<bool, DisplayError> {
        let keyboard = xkb::ID::USE_CORE_KBD.into();
        let state = self.x.xkb_get_state(keyboard)?.reply()?;
        Ok(state.locked_mods.contains(ModMask::LOCK))
    }

    /// Asks for a report when Caps Lock or the layout changes. Whoever speaks XKEYBOARD hears of
    /// the latter only when asked for by its parts.
    fn watch_keyboard(&self) -> Result<(), DisplayError> {
        self.x.xkb_use_extension(1, 0)?.reply()?;
        let locks = xkb::SelectEventsAuxStateNotify {
            affect_state: xkb::StatePart::MODIFIER_LOCK,
            state_details: xkb::StatePart::MODIFIER_LOCK,
        };
        let layouts = xkb::SelectEventsAuxNewKeyboardNotify {
            affect_new_keyboard: xkb::NKNDetail::KEYCODES,
            new_keyboard_details: xkb::NKNDetail::KEYCODES,
        };
        let details = xkb::SelectEventsAux::new()
            .new_keyboard_notify(layouts)
            .state_notify(locks);
        let parts = xkb::MapPart::KEY_TYPES
            | xkb::MapPart::KEY_SYMS
            | xkb::MapPart::MODIFIER_MAP
            | xkb::MapPart::VIRTUAL_MOD_MAP;
        let (keyboard, none) = (xkb::ID::USE_CORE_KBD.into(), xkb::EventType::default());
        let of_parts = xkb::EventType::MAP_NOTIFY;
        self.x
            .xkb_select_events(keyboard, none, of_parts, parts, parts, &details)?;
        Ok(())
    }

    /// A worker before us may have left keys and buttons down.
    fn release_all(&self) -> Result<(), DisplayError> {
        // The server lets go what is down and ignores the rest.
        for button in 1..=9_u8 {
            self.x
                .xtest_fake_input(BUTTON_RELEASE_EVENT, button, 0, x11rb::NONE, 0, 0, 0)?;
        }
        let keys = self.x.query_keymap()?.reply()?.keys;
        for keycode in 8..=255_u8 {
            let byte = keys.get(usize::from(keycode / 8)).copied().unwrap_or(0);
            if byte >> (keycode % 8) & 1 == 1 {
                self.x
                    .xtest_fake_input(KEY_RELEASE_EVENT, keycode, 0, self.root, 0, 0, 0)?;
            }
        }
        Ok(())
    }

    /// The spare connection, to wait for what the server tells every connection.
    pub(crate) fn spare(&self) -> BorrowedFd<'_> {
        self.spare.stream().as_fd()
    }

    /// Throws away what came on it: unread it would grow in the server.
    pub(crate) fn empty_spare(&self) -> Result<(), DisplayError> {
        Ok(self
            .spare
            .stream()
            .skip_events()
            .map_err(ConnectionError::IoError)?)
    }
}

impl AsFd for Display {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.x.stream().as_fd()
    }
}

/// The part of `start .. start + len` that lies within `0 .. limit`.
fn cut(start: i16, len: u16, limit: u16) -> Option<(u16, u16)> {
    let from = i32::from(start).max(0);
    let to = (i32::from(start) + i32::from(len)).min(i32::from(limit));
    let from_to = (u16::try_from(from).ok()?, u16::try_from(to).ok()?);
    (from < to).then_some(from_to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_are_cut_to_the_screen() {
        assert_eq!(cut(-5, 10, 100), Some((0, 5)));
        assert_eq!(cut(90, 20, 100), Some((90, 100)));
        assert_eq!(cut(100, 1, 100), None);
        assert_eq!(cut(-5, 5, 100), None);
        assert_eq!(cut(3, 0, 100), None);
        assert_eq!(cut(i16::MAX, u16::MAX, 100), None);
        assert_eq!(cut(i16::MIN, u16::MAX, u16::MAX), Some((0, 32_767)));
    }
}
