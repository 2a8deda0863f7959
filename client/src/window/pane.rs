//! The window's surface: presents what changed of the picture, and boxes with words over it.

use std::num::NonZeroU32;
use std::rc::Rc;

use sandbox_protocol::{Rect, Size};
use softbuffer::{Context, Rect as Damage, SoftBufferError, Surface};
use winit::event_loop::OwnedDisplayHandle;
use winit::window::Window;

use super::layout::{Area, Layout};
use super::monitors::Part;
use super::paint::{Canvas, paint, paint_border};
use super::text::{Place, Words};
use crate::net::Client;

/// Places that wait for a redraw, at most: a window that shows nothing must not collect them.
const AREAS_MAX: usize = 1_024;

/// A window and its pixels.
pub(super) struct Pane {
    pub(super) window: Rc<Window>,
    /// Other windows lie over all of it.
    pub(super) is_covered: bool,
    surface: Surface<OwnedDisplayHandle, Rc<Window>>,
    part: Part,
    layout: Layout,
    /// What is presented next, and what was last, for surfaces that have two buffers.
    areas: Vec<Area>,
    before: Vec<Area>,
    damage: Vec<Damage>,
    boxes: Vec<(Area, Words)>,
    is_whole_due: bool,
}

impl Pane {
    pub(super) fn new(
        window: Rc<Window>,
        handle: OwnedDisplayHandle,
        part: Part,
    ) -> Result<Self, String> {
        let failed = |error: SoftBufferError| error.to_string();
        let context = Context::new(handle).map_err(failed)?;
        let surface = Surface::new(&context, Rc::clone(&window)).map_err(failed)?;
        let nothing = Size {
            width: 0,
            height: 0,
        };
        Ok(Self {
            window,
            is_covered: false,
            surface,
            part,
            layout: Layout::new(nothing, part, (0, 0)),
            areas: Vec::new(),
            before: Vec::new(),
            damage: Vec::new(),
            boxes: Vec::new(),
            is_whole_due: true,
        })
    }

    pub(super) const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Presents all of it with the next redraw.
    pub(super) const fn want_whole(&mut self) {
        self.is_whole_due = true;
    }

    /// The desktop changed in these places.
    pub(super) fn handle_damage(&mut self, damage: &[Rect]) {
        if self.areas.len() + damage.len() > AREAS_MAX {
            self.is_whole_due = true;
        }
        if !self.is_whole_due {
            let areas = damage.iter().map(|it| self.layout.area_of(*it));
            self.areas.extend(areas.filter(|it| !it.is_empty()));
        }
    }

    /// Presents what changed since the last time, whatever came in between.
    pub(super) fn redraw(
        &mut self,
        client: &Client,
        words: Vec<(Place, Words)>,
    ) -> Result<(), SoftBufferError> {
        let size = self.window.inner_size();
        let window = (size.width, size.height);
        let (Some(width), Some(height)) =
            (NonZeroU32::new(size.width), NonZeroU32::new(size.height))
        else {
            return Ok(());
        };
        self.surface.resize(width, height)?;
        let mut buffer = self.surface.buffer_mut()?;
        let age = buffer.age();
        let boxes = words
            .into_iter()
            .map(|(place, it)| (it.area(window, place), it));
        let boxes: Vec<(Area, Words)> = boxes.collect();
        let mut canvas = Canvas {
            pixels: &mut buffer,
            width: size.width,
        };

        let view = client.view();
        let layout = Layout::new(view.screen.picture().size(), self.part, window);
        // A surface has two buffers at most.
        let is_stale = age == 0 || age > 2;
        let is_whole = self.is_whole_due || layout != self.layout || is_stale;
        let has_other_boxes = boxes != self.boxes;
        let areas = &mut self.areas;
        if is_whole {
            areas.clear();
            areas.push(layout.whole_window());
        }
        if has_other_boxes {
            // Where a box was there is picture again.
            let both = self.boxes.iter().chain(&boxes);
            areas.extend(both.map(|(area, _)| *area));
        }
        let fresh = areas.len();
        if fresh == 0 {
            return Ok(());
        }
        if age > 1 {
            areas.append(&mut self.before);
        }
        if is_whole || age > 1 || has_other_boxes {
            paint_border(&layout, &mut canvas);
        }
        for area in areas.iter() {
            paint(view.screen.picture(), &layout, *area, &mut canvas);
        }
        drop(view);
        for (area, words) in &boxes {
            words.draw(*area, &mut canvas);
        }
        self.before.clear();
        self.before.extend(areas.iter().take(fresh));
        // Boxes lie over whatever was painted.
        let all = areas.iter().chain(boxes.iter().map(|(area, _)| area));
        self.damage.clear();
        self.damage.extend(all.filter_map(damage_of));
        areas.clear();
        self.boxes = boxes;
        self.layout = layout;
        self.is_whole_due = false;
        if self.damage.is_empty() {
            return Ok(());
        }
        self.window.pre_present_notify();
        buffer.present_with_damage(&self.damage)
    }
}

fn damage_of(area: &Area) -> Option<Damage> {
    Some(Damage {
        x: area.left,
        y: area.top,
        width: NonZeroU32::new(area.right.saturating_sub(area.left))?,
        height: NonZeroU32::new(area.bottom.saturating_sub(area.top))?,
    })
}
