//! The pointer held in the window, and its movements sent as steps: for programs that hold it on
//! the desktop.

use sandbox_protocol::wire::input::Event as Input;
use winit::dpi::PhysicalPosition;
use winit::window::{CursorGrabMode, Window};

/// The longest step that one event tells.
const STEP_MAX: f64 = i16::MAX as f64;

/// The pointer is brought back when it is so far from the middle, in shares of the window's side.
const STRAY: f64 = 0.25;

/// A place, or the way between two.
type Vector = (f64, f64);

/// Whether the pointer is held.
#[derive(Debug, Default)]
pub(super) struct Capture {
    hold: Hold,
    /// What is left of steps that were no whole pixels.
    rest: Vector,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Hold {
    #[default]
    Free,
    /// It does not move, and its steps are told.
    Locked,
    /// It moves in the window, and is brought back to the middle. X knows nothing else, and tells
    /// of the device's own steps twice while the pointer is held.
    Confined(Leash),
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Leash {
    /// Where the pointer was last.
    at: Option<Vector>,
    /// Where it is brought, and has not come yet.
    brought: Option<Vector>,
}

impl Capture {
    pub(super) fn is_on(&self) -> bool {
        self.hold != Hold::Free
    }

    /// Holds the pointer.
    ///
    /// # Errors
    ///
    /// Returns words for the user where the window system does not let us.
    pub(super) fn begin(&mut self, window: &Window) -> Result<(), String> {
        self.hold = match window.set_cursor_grab(CursorGrabMode::Locked) {
            Ok(()) => Hold::Locked,
            Err(_) => {
                let confined = window.set_cursor_grab(CursorGrabMode::Confined);
                confined.map_err(|error| format!("The pointer cannot be held here: {error}"))?;
                Hold::Confined(Leash::default())
            }
        };
        self.rest = (0.0, 0.0);
        window.set_cursor_visible(false);
        if let Hold::Confined(leash) = &mut self.hold {
            leash.bring(window, middle(window));
        }
        Ok(())
    }

    /// Lets it go. Returns whether one of the windows held it.
    pub(super) fn end<'a>(&mut self, windows: impl Iterator<Item = &'a Window>) -> bool {
        let was_on = self.is_on();
        self.hold = Hold::Free;
        for window in windows.take_while(|_| was_on) {
            // A window that is gone holds nothing.
            let _gone = window.set_cursor_grab(CursorGrabMode::None);
        }
        was_on
    }

    /// The pointing device moved.
    pub(super) fn handle_motion(&mut self, by: Vector) -> Option<Input> {
        match self.hold {
            Hold::Locked => self.step(by),
            Hold::Free | Hold::Confined(_) => None,
        }
    }

    /// The pointer is at another place of the window.
    pub(super) fn handle_place(&mut self, window: &Window, place: Vector) -> Option<Input> {
        let Hold::Confined(leash) = &mut self.hold else {
            return None;
        };
        let by = leash.handle_place(place);
        let middle = middle(window);
        if leash.strays(place, middle) {
            leash.bring(window, middle);
        }
        self.step(by?)
    }

    fn step(&mut self, (dx, dy): Vector) -> Option<Input> {
        let bounded = |it: f64| it.clamp(-STEP_MAX, STEP_MAX);
        let (x, y) = (bounded(self.rest.0 + dx), bounded(self.rest.1 + dy));
        self.rest = (x.fract(), y.fract());
        let (dx, dy) = (x.trunc() as i16, y.trunc() as i16);
        (dx != 0 || dy != 0).then_some(Input::MoveBy { dx, dy })
    }
}

impl Leash {
    /// How far the user has moved the pointer.
    fn handle_place(&mut self, place: Vector) -> Option<Vector> {
        let before = self.at.replace(place);
        if self.brought.take_if(|it| *it == place).is_some() {
            return None;
        }
        before.map(|it| (place.0 - it.0, place.1 - it.1))
    }

    fn strays(&self, place: Vector, middle: Vector) -> bool {
        let is_far = |at: f64, middle: f64| (at - middle).abs() > 2.0 * STRAY * middle;
        self.brought.is_none() && (is_far(place.0, middle.0) || is_far(place.1, middle.1))
    }

    fn bring(&mut self, window: &Window, place: Vector) {
        let told = window.set_cursor_position(PhysicalPosition::new(place.0, place.1));
        self.brought = told.is_ok().then_some(place);
    }
}

fn middle(window: &Window) -> Vector {
    let size = window.inner_size();
    (f64::from(size.width / 2), f64::from(size.height / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_pixels_add_up() {
        let mut held = Capture {
            hold: Hold::Locked,
            rest: (0.0, 0.0),
        };
        let by = |dx, dy| Some(Input::MoveBy { dx, dy });
        assert_eq!(held.handle_motion((0.6, -0.6)), None);
        assert_eq!(held.handle_motion((0.6, -0.6)), by(1, -1));
        assert_eq!(held.handle_motion((0.8, 0.2)), by(1, 0));
        assert_eq!(held.handle_motion((1e9, -1e9)), by(i16::MAX, -i16::MAX));
        held.hold = Hold::Free;
        assert_eq!(held.handle_motion((5.0, 5.0)), None);
    }

    #[test]
    fn a_pointer_that_is_brought_back_has_not_moved() {
        let mut leash = Leash::default();
        let middle = (320.0, 200.0);
        leash.brought = Some(middle);
        assert_eq!(leash.handle_place((600.0, 45.0)), None, "the first place");
        assert_eq!(leash.handle_place((610.0, 45.0)), Some((10.0, 0.0)));
        assert!(!leash.strays((610.0, 45.0), middle), "it is on its way");
        assert_eq!(leash.handle_place(middle), None);
        assert_eq!(leash.handle_place((330.0, 199.0)), Some((10.0, -1.0)));
        assert!(!leash.strays((330.0, 199.0), middle));
        assert!(leash.strays((481.0, 199.0), middle));
        assert!(leash.strays((330.0, 99.0), middle));
    }
}
