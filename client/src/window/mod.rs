//! The window: shows the desktop, and turns what the window system tells into input.

mod acts;
mod capture;
#[cfg(test)]
#[path = "../../../tests/sim/chance.rs"]
#[allow(
    dead_code,
    clippy::indexing_slicing,
    reason = "shared with the simulated worlds"
)]
mod chance;
mod clipboard;
#[cfg(test)]
mod hostile;
mod ime;
mod input;
mod layout;
mod monitors;
mod overlay;
mod paint;
mod pane;
mod panes;
mod pasting;
mod text;
mod touch;
mod visibility;

use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use sandbox_protocol::Size;
use sandbox_protocol::wire::control::Features;
use sandbox_protocol::wire::input::Event as Input;
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalPosition;
use winit::event::{DeviceEvent, DeviceId, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop};
use winit::window::{CustomCursor, WindowId};

use self::capture::Capture;
use self::clipboard::{Clipboard, Told};
use self::ime::InputMethod;
use self::input::{Keyboard, Pointer};
pub use self::monitors::{BadMonitors, Monitors};
use self::overlay::State;
use self::panes::Panes;
use self::pasting::Pasting;
use self::touch::Touch;
use self::visibility::Visibility;
use crate::clock;
use crate::connection::{End, Shape};
use crate::net::{Arrival, Client, Command, Ended, News};

/// The desktop follows the window when it has had its size for so long: a border that is dragged
/// would begin a new picture with each step.
const RESIZE_AFTER: Duration = Duration::from_millis(150);

/// How long a sentence is shown.
const NOTICE: Duration = Duration::from_secs(6);

/// How a window begins.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it is called.
    pub title: String,
    /// Its size.
    pub size: Size,
    /// Whether it fills the screen.
    pub is_fullscreen: bool,
    /// Which monitors it fills, where it is one window on each.
    pub monitors: Option<Monitors>,
}

/// There can be no window.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoWindow {
    /// The window system does not give one.
    #[error(
        "there can be no window ({0}): DISPLAY or WAYLAND_DISPLAY must lead to a screen, and \
         libX11 with libxkbcommon-x11 or libwayland-client be installed; --headless needs none"
    )]
    System(String),
    /// The monitors are not what was asked for.
    #[error("{0}")]
    Monitors(String),
}

/// What comes from other threads.
#[derive(Clone, Debug)]
enum Wake {
    /// There is something to look at.
    News,
    Clipboard(Told),
}

/// Shows a client's desktop until its end, and the reason of that until the user has read it.
/// `on_live` is told what is to be remembered of the server that took the password.
///
/// # Errors
///
/// Returns [`NoWindow`] where there is no screen.
pub fn run(
    client: Client,
    options: Options,
    on_live: impl FnMut(&Arrival),
) -> Result<Ended, NoWindow> {
    let failed = |error: &dyn std::fmt::Display| NoWindow::System(error.to_string());
    let event_loop = EventLoop::<Wake>::with_user_event()
        .build()
        .map_err(|it| failed(&it))?;
    // With the loop gone there is nobody to wake.
    let proxy = event_loop.create_proxy();
    client.on_wake(move || {
        let _gone = proxy.send_event(Wake::News);
    });
    let proxy = event_loop.create_proxy();
    let clipboard = Clipboard::start(move |told| {
        let _gone = proxy.send_event(Wake::Clipboard(told));
    });
    let mut app = App {
        client,
        on_live,
        panes: Panes::default(),
        visibility: Visibility::default(),
        state: State::Connecting,
        keyboard: Keyboard::default(),
        pointer: Pointer::default(),
        touch: Touch::default(),
        capture: Capture::default(),
        can_capture: false,
        is_pointer_shown: true,
        clipboard: clipboard.map_err(|it| failed(&it))?,
        pasting: Pasting::default(),
        input_method: InputMethod::default(),
        place: PhysicalPosition::default(),
        asked: options.size,
        resize_due: None,
        notice: None,
        has_control: true,
        shows_figures: false,
        failure: None,
        options,
    };
    event_loop.run_app(&mut app).map_err(|it| failed(&it))?;
    if let Some(failure) = app.failure {
        return Err(failure);
    }
    app.client.command(Command::Leave);
    Ok(app.client.join())
}

struct App<F> {
    client: Client,
    on_live: F,
    options: Options,
    panes: Panes,
    visibility: Visibility,
    state: State,
    keyboard: Keyboard,
    pointer: Pointer,
    touch: Touch,
    capture: Capture,
    /// The server takes steps of the pointer.
    can_capture: bool,
    /// The desktop shows its pointer.
    is_pointer_shown: bool,
    clipboard: Clipboard,
    pasting: Pasting,
    input_method: InputMethod,
    /// Where the pointer is in the window.
    place: PhysicalPosition<f64>,
    /// The desktop's size that was asked for.
    asked: Size,
    resize_due: Option<Instant>,
    notice: Option<(String, Instant)>,
    has_control: bool,
    shows_figures: bool,
    failure: Option<NoWindow>,
}

impl<F: FnMut(&Arrival)> App<F> {
    /// Takes what the thread has to tell.
    fn take_news(&mut self, event_loop: &ActiveEventLoop) {
        self.client.take_wake();
        loop {
            match self.client.news.try_recv() {
                Ok(news) => self.handle_news(news),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.handle_end(event_loop);
                    break;
                }
            }
        }
        let shape = self.client.view().shape.take();
        if let Some(shape) = shape {
            self.show_pointer(event_loop, shape);
        }
        self.redraw(event_loop);
    }

    fn handle_news(&mut self, news: News) {
        match news {
            // Answered before there is a window; a key that changes later is refused.
            News::FirstUse(_) => self.client.command(Command::Distrust),
            News::Live {
                arrival,
                features,
                notices,
            } => {
                (self.on_live)(&arrival);
                self.can_capture = features.contains(Features::RELATIVE_POINTER);
                self.clipboard.forget();
                let before = std::mem::replace(&mut self.state, State::Live);
                if let (State::Connecting, Some(words)) = (before, notices.first()) {
                    self.show_notice(words.clone());
                }
            }
            News::Lost { words, wait } => {
                self.release();
                let seconds = wait.as_secs_f64();
                self.state = State::Lost(format!("{words}\n\nConnecting again in {seconds:.1} s."));
            }
            News::Notice(words) => self.show_notice(words),
            News::Copied(text) => self.clipboard.put(text),
            News::Control(has_control) => {
                self.has_control = has_control;
                if !has_control {
                    self.release();
                }
            }
        }
    }

    fn handle_end(&mut self, event_loop: &ActiveEventLoop) {
        match self.client.end() {
            None | Some(End::Left) => event_loop.exit(),
            Some(end) => self.state = State::Over(format!("{end}\n\nPress a key to close.")),
        }
    }

    fn show_notice(&mut self, words: String) {
        self.notice = Some((words, clock::now() + NOTICE));
    }

    /// The desktop's pointer is the window's own.
    fn show_pointer(&mut self, event_loop: &ActiveEventLoop, shape: Shape) {
        let Size { width, height } = shape.size;
        self.is_pointer_shown = width > 0 && height > 0;
        let is_shown = self.is_pointer_shown && !self.capture.is_on();
        let source = CustomCursor::from_rgba(shape.rgba, width, height, shape.hot_x, shape.hot_y);
        // A picture that the window system cannot show leaves the pointer as it is.
        let cursor = source.map(|it| event_loop.create_custom_cursor(it));
        for window in self.panes.windows() {
            window.set_cursor_visible(is_shown);
            if let Ok(cursor) = &cursor {
                window.set_cursor(cursor.clone());
            }
        }
    }

    fn redraw(&mut self, event_loop: &ActiveEventLoop) {
        // The words are not theirs.
        let mut panes = std::mem::take(&mut self.panes);
        let drawn = panes.redraw(&self.client, |size| self.words(size));
        self.panes = panes;
        if let Err(error) = drawn {
            self.failure = Some(NoWindow::System(error.to_string()));
            event_loop.exit();
        }
    }

    /// The window may be seen again.
    fn hope(&mut self) {
        if self.visibility.handle_hope(|| self.panes.are_hidden()) {
            self.client.command(Command::Shown(true));
        }
    }

    /// The window has had its size for a while: the desktop follows.
    fn follow(&mut self) {
        self.resize_due = None;
        let Some(pane) = self
            .panes
            .current()
            .filter(|_| self.options.monitors.is_none())
        else {
            return;
        };
        let size = pane.window.inner_size();
        let side = |it: u32| u16::try_from(it).unwrap_or(u16::MAX);
        let size = Size {
            width: side(size.width),
            height: side(size.height),
        };
        if size != self.asked && size.width > 0 && size.height > 0 {
            self.asked = size;
            self.client.command(Command::Size(size));
        }
    }
}

impl<F: FnMut(&Arrival)> ApplicationHandler<Wake> for App<F> {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        if !self.panes.is_empty() {
            return;
        }
        match self.panes.open(event_loop, &self.options) {
            Ok(None) => (),
            Ok(Some(size)) => {
                self.asked = size;
                self.client.command(Command::Size(size));
            }
            Err(failure) => {
                self.failure = Some(failure);
                return event_loop.exit();
            }
        }
        self.take_news(event_loop);
    }

    fn user_event(&mut self, event_loop: &ActiveEventLoop, wake: Wake) {
        match wake {
            Wake::News => self.take_news(event_loop),
            Wake::Clipboard(told) => {
                self.handle_clipboard(told);
                self.redraw(event_loop);
            }
        }
    }

    fn window_event(&mut self, event_loop: &ActiveEventLoop, id: WindowId, event: WindowEvent) {
        self.panes.turn_to(id);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the enum is open: the rest is of no use to a desktop"
        )]
        match event {
            WindowEvent::CloseRequested => event_loop.exit(),
            // What changed is presented when it is told of; this is about what the window system
            // has lost, without saying where.
            WindowEvent::RedrawRequested => {
                self.hope();
                self.panes.want_whole();
                self.redraw(event_loop);
            }
            WindowEvent::Resized(_) => {
                self.resize_due = Some(clock::now() + RESIZE_AFTER);
                self.redraw(event_loop);
            }
            WindowEvent::KeyboardInput {
                event,
                is_synthetic: false,
                ..
            } => self.handle_key(event_loop, &event),
            WindowEvent::ModifiersChanged(modifiers) => {
                self.keyboard.handle_modifiers(modifiers.state());
            }
            WindowEvent::Focused(false) => {
                self.keyboard.handle_focus_lost();
                self.touch.cancel();
                self.act_by_touch();
                self.release();
                self.send(Input::ReleaseAll);
                // It may have been minimized, which nothing tells.
                self.visibility.handle_doubt(clock::now());
            }
            WindowEvent::Focused(true) => self.hope(),
            WindowEvent::Occluded(is_covered) => {
                self.panes.handle_covered(is_covered);
                self.visibility.handle_doubt(clock::now());
                self.hope();
            }
            WindowEvent::CursorMoved { position, .. } if self.capture.is_on() => {
                let step = self.panes.current().and_then(|pane| {
                    let place = (position.x, position.y);
                    self.capture.handle_place(&pane.window, place)
                });
                if let Some(step) = step {
                    self.send(step);
                }
            }
            WindowEvent::Ime(ime) => {
                self.handle_ime(ime);
                self.redraw(event_loop);
            }
            WindowEvent::CursorMoved { position, .. } => {
                self.place = position;
                self.handle_pointer(&event);
            }
            WindowEvent::Touch(touch) => self.handle_touch(&touch),
            WindowEvent::MouseInput { .. } | WindowEvent::MouseWheel { .. } => {
                self.handle_pointer(&event)
            }
            _ => (),
        }
    }

    fn device_event(&mut self, _: &ActiveEventLoop, _: DeviceId, event: DeviceEvent) {
        if let DeviceEvent::MouseMotion { delta } = event
            && let Some(step) = self.capture.handle_motion(delta)
        {
            self.send(step);
        }
    }

    fn about_to_wait(&mut self, event_loop: &ActiveEventLoop) {
        let now = clock::now();
        if self.resize_due.is_some_and(|it| it <= now) {
            self.follow();
        }
        if self
            .visibility
            .handle_timeout(now, || self.panes.are_hidden())
        {
            self.client.command(Command::Shown(false));
        }
        self.touch.handle_timeout(now);
        self.act_by_touch();
        if self.pasting.handle_timeout(now) {
            let words = "Nothing was pasted: the program that copied the text does not give it.";
            self.show_notice(words.to_owned());
            self.send_due();
            self.redraw(event_loop);
        }
        if self.notice.take_if(|(_, until)| *until <= now).is_some() {
            self.redraw(event_loop);
        }
        let notice = self.notice.as_ref().map(|(_, until)| *until);
        let due = [
            self.resize_due,
            notice,
            self.pasting.poll_timeout(),
            self.touch.poll_timeout(),
            self.visibility.poll_timeout(),
        ];
        let due = due.into_iter().flatten().min();
        event_loop.set_control_flow(due.map_or(ControlFlow::Wait, ControlFlow::WaitUntil));
    }
}

/// Each key goes through an input method, where one is allowed. X has one that only composes, as
/// our own library does without a detour: so there is none where the user has set none up.
fn has_input_method() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|it| !it.is_empty());
    is_set("WAYLAND_DISPLAY") || is_set("XMODIFIERS")
}
