//! The client's windows: one, or one on each monitor.

use std::rc::Rc;

use sandbox_protocol::Size;
use softbuffer::SoftBufferError;
use winit::dpi::PhysicalSize;
use winit::event_loop::ActiveEventLoop;
use winit::monitor::MonitorHandle;
use winit::window::{Fullscreen, Window, WindowAttributes, WindowId};

use super::monitors::{Monitor, Monitors, Part, arrange};
use super::pane::Pane;
use super::text::{Place, Words};
use super::{NoWindow, Options, has_input_method};
use crate::net::Client;

/// The windows, once they are open.
#[derive(Default)]
pub(super) struct Panes {
    all: Vec<Pane>,
    /// The one that the newest event is about.
    current: usize,
}

impl Panes {
    /// Opens what the options say. Returns the desktop's size where the monitors decide it.
    ///
    /// # Errors
    ///
    /// Returns [`NoWindow`] where that cannot be.
    pub(super) fn open(
        &mut self,
        event_loop: &ActiveEventLoop,
        options: &Options,
    ) -> Result<Option<Size>, NoWindow> {
        let attributes = Window::default_attributes().with_title(options.title.clone());
        let Some(wanted) = &options.monitors else {
            let Size { width, height } = options.size;
            let fullscreen = Fullscreen::Borderless(None);
            let attributes = attributes
                .with_inner_size(PhysicalSize::new(width, height))
                .with_fullscreen(options.is_fullscreen.then_some(fullscreen));
            self.add(event_loop, attributes, Part::WHOLE)?;
            return Ok(None);
        };
        self.open_on(event_loop, &attributes, wanted).map(Some)
    }

    fn open_on(
        &mut self,
        event_loop: &ActiveEventLoop,
        attributes: &WindowAttributes,
        wanted: &Monitors,
    ) -> Result<Size, NoWindow> {
        let handles: Vec<MonitorHandle> = event_loop.available_monitors().collect();
        let monitors: Vec<Monitor> = handles.iter().map(monitor).collect();
        let arrangement = arrange(&monitors, wanted).map_err(NoWindow::Monitors)?;
        for (number, part) in arrangement.parts {
            let handle = handles.get(number).cloned();
            let mut attributes = attributes.clone().with_decorations(false);
            if let Some(handle) = &handle {
                // Without a window manager these are all that counts.
                attributes = attributes
                    .with_position(handle.position())
                    .with_inner_size(handle.size());
            }
            let attributes = attributes.with_fullscreen(Some(Fullscreen::Borderless(handle)));
            self.add(event_loop, attributes, part)?;
        }
        Ok(arrangement.size)
    }

    fn add(
        &mut self,
        event_loop: &ActiveEventLoop,
        attributes: WindowAttributes,
        part: Part,
    ) -> Result<(), NoWindow> {
        let window = event_loop.create_window(attributes);
        let window = window.map_err(|it| NoWindow::System(it.to_string()))?;
        let window = Rc::new(window);
        window.set_ime_allowed(has_input_method());
        let pane = Pane::new(window, event_loop.owned_display_handle(), part);
        let pane = pane.map_err(NoWindow::System)?;
        self.all.push(pane);
        Ok(())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn windows(&self) -> impl Iterator<Item = &Window> {
        self.all.iter().map(|it| &*it.window)
    }

    /// An event is about this window.
    pub(super) fn turn_to(&mut self, window: WindowId) {
        let at = self.all.iter().position(|it| it.window.id() == window);
        self.current = at.unwrap_or(self.current);
    }

    /// The one that the newest event is about.
    pub(super) fn current(&self) -> Option<&Pane> {
        self.all.get(self.current)
    }

    /// The window is covered by others, or no longer.
    pub(super) fn handle_covered(&mut self, is_covered: bool) {
        if let Some(pane) = self.all.get_mut(self.current) {
            pane.is_covered = is_covered;
        }
    }

    /// Whether nobody can see any of them.
    pub(super) fn are_hidden(&self) -> bool {
        let is_hidden = |it: &Pane| it.is_covered || it.window.is_minimized() == Some(true);
        self.all.iter().all(is_hidden)
    }

    /// It presents all of it with the next redraw.
    pub(super) fn want_whole(&mut self) {
        if let Some(pane) = self.all.get_mut(self.current) {
            pane.want_whole();
        }
    }

    /// Presents what changed since the last time, whatever came in between; words in the first
    /// one alone.
    pub(super) fn redraw(
        &mut self,
        client: &Client,
        words: impl Fn((u32, u32)) -> Vec<(Place, Words)>,
    ) -> Result<(), SoftBufferError> {
        let mut view = client.view();
        for pane in &mut self.all {
            pane.handle_damage(view.screen.damage());
        }
        view.screen.clear_damage();
        drop(view);
        for (number, pane) in self.all.iter_mut().enumerate() {
            let size = pane.window.inner_size();
            let words = if number == 0 {
                words((size.width, size.height))
            } else {
                Vec::new()
            };
            pane.redraw(client, words)?;
        }
        Ok(())
    }
}

fn monitor(handle: &MonitorHandle) -> Monitor {
    let (place, size) = (handle.position(), handle.size());
    Monitor {
        x: place.x,
        y: place.y,
        width: size.width,
        height: size.height,
    }
}
