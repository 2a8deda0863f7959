//! Fingers as a pointer: one clicks and drags, held still it is the right button, two turn the
//! wheel. The desktop has no fingers: how hard they press and a third one mean nothing there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use winit::event::TouchPhase;

/// A finger that rests for so long is the right button.
const HOLD: Duration = Duration::from_millis(500);

/// A finger that moves less is still: fingers are no pens. Pixels of a screen of scale 1.
const SLOP: f64 = 10.0;

/// Fingers that are told apart; hands have ten.
const FINGERS_MAX: usize = 10;

pub(super) const LEFT: u8 = 0;
pub(super) const RIGHT: u8 = 2;

/// A place in the window, or the way between two.
pub(super) type Vector = (f64, f64);

/// What the pointer does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Act {
    Move(Vector),
    /// A button goes down or up at a place.
    Button {
        button: u8,
        is_down: bool,
        place: Vector,
    },
    /// The fingers have moved what lies under a place by so many pixels.
    Scroll {
        place: Vector,
        by: Vector,
    },
}

/// All fingers on the window.
#[derive(Debug, Default)]
pub(super) struct Touch {
    fingers: Vec<Finger>,
    gesture: Gesture,
    acts: VecDeque<Act>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Finger {
    id: u64,
    place: Vector,
}

/// What the fingers do since the first came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Gesture {
    /// Nothing any more, until all are gone.
    #[default]
    Over,
    /// One finger, and nobody knows what it wants.
    Begun { at: Instant, place: Vector },
    /// The first finger holds a button.
    Button(u8),
    /// Two fingers.
    Scroll,
}

impl Touch {
    /// A finger came, moved or went. `scale` is the screen's.
    pub(super) fn handle_touch(
        &mut self,
        now: Instant,
        (id, place): (u64, Vector),
        phase: TouchPhase,
        scale: f64,
    ) {
        match phase {
            TouchPhase::Started => self.begin(now, Finger { id, place }),
            TouchPhase::Moved => self.follow(id, place, SLOP * scale),
            TouchPhase::Ended => self.end(id),
            TouchPhase::Cancelled => self.cancel(),
        }
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Gesture::Begun { place, .. } = self.gesture
            && self.poll_timeout().is_some_and(|it| it <= now)
        {
            self.press(RIGHT, place);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.gesture {
            Gesture::Begun { at, .. } => Some(at + HOLD),
            Gesture::Over | Gesture::Button(_) | Gesture::Scroll => None,
        }
    }

    pub(super) fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    fn begin(&mut self, now: Instant, finger: Finger) {
        if self.fingers.iter().any(|it| it.id == finger.id) {
            // It has gone without a word, and so may others.
            self.cancel();
        }
        if self.fingers.len() == FINGERS_MAX {
            return;
        }
        self.fingers.push(finger);
        self.gesture = match (self.fingers.len(), self.gesture) {
            (1, _) => {
                let place = finger.place;
                self.acts.push_back(Act::Move(place));
                Gesture::Begun { at: now, place }
            }
            (2, Gesture::Begun { .. }) => Gesture::Scroll,
            (_, held @ Gesture::Button(_)) => held,
            (_, Gesture::Begun { .. } | Gesture::Scroll | Gesture::Over) => Gesture::Over,
        };
    }

    fn follow(&mut self, id: u64, place: Vector, slop: f64) {
        let middle = self.middle();
        let Some(at) = self.fingers.iter().position(|it| it.id == id) else {
            return;
        };
        if let Some(finger) = self.fingers.get_mut(at) {
            finger.place = place;
        }
        match self.gesture {
            Gesture::Begun { place: start, .. } => {
                let is_far = (place.0 - start.0).hypot(place.1 - start.1) > slop;
                if is_far {
                    self.press(LEFT, start);
                    self.acts.push_back(Act::Move(place));
                }
            }
            Gesture::Button(_) if at == 0 => self.acts.push_back(Act::Move(place)),
            Gesture::Scroll => {
                let now = self.middle();
                let by = (now.0 - middle.0, now.1 - middle.1);
                self.acts.push_back(Act::Scroll { place: now, by });
            }
            Gesture::Button(_) | Gesture::Over => (),
        }
    }

    fn end(&mut self, id: u64) {
        let Some(at) = self.fingers.iter().position(|it| it.id == id) else {
            return;
        };
        let finger = self.fingers.remove(at);
        match self.gesture {
            Gesture::Begun { place, .. } => {
                self.press(LEFT, place);
                self.release(place);
            }
            Gesture::Button(_) if at == 0 => self.release(finger.place),
            Gesture::Scroll => self.gesture = Gesture::Over,
            Gesture::Button(_) | Gesture::Over => (),
        }
    }

    /// The window system takes the fingers for something of its own.
    pub(super) fn cancel(&mut self) {
        let place = self.fingers.first().map(|it| it.place);
        self.release(place.unwrap_or_default());
        self.fingers.clear();
    }

    fn press(&mut self, button: u8, place: Vector) {
        self.gesture = Gesture::Button(button);
        self.acts.push_back(Act::Button {
            button,
            is_down: true,
            place,
        });
    }

    fn release(&mut self, place: Vector) {
        if let Gesture::Button(button) = std::mem::take(&mut self.gesture) {
            self.acts.push_back(Act::Button {
                button,
                is_down: false,
                place,
            });
        }
    }

    fn middle(&self) -> Vector {
        let count = self.fingers.len().max(1) as f64;
        let sum = self.fingers.iter().fold((0.0, 0.0), |sum, it| {
            (sum.0 + it.place.0, sum.1 + it.place.1)
        });
        (sum.0 / count, sum.1 / count)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    struct Hand {
        touch: Touch,
        now: Instant,
    }

    impl Hand {
        fn new() -> Self {
            Self {
                touch: Touch::default(),
                now: Instant::now(),
            }
        }

        fn does(&mut self, phase: TouchPhase, id: u64, place: Vector) -> Vec<Act> {
            self.touch.handle_touch(self.now, (id, place), phase, 1.0);
            self.acts()
        }

        fn waits(&mut self, ms: u64) -> Vec<Act> {
            self.now += Duration::from_millis(ms);
            self.touch.handle_timeout(self.now);
            self.acts()
        }

        fn acts(&mut self) -> Vec<Act> {
            std::iter::from_fn(|| self.touch.poll_act()).collect()
        }
    }

    fn button(button: u8, is_down: bool, place: Vector) -> Act {
        Act::Button {
            button,
            is_down,
            place,
        }
    }

    use TouchPhase::{Cancelled, Ended, Moved, Started};

    #[test]
    fn a_tap_is_a_click_where_the_finger_came_down() {
        let mut hand = Hand::new();
        assert_eq!(
            hand.does(Started, 5, (10.0, 20.0)),
            [Act::Move((10.0, 20.0))]
        );
        assert_eq!(hand.does(Moved, 5, (14.0, 20.0)), [], "fingers tremble");
        let click = [true, false].map(|it| button(LEFT, it, (10.0, 20.0)));
        assert_eq!(hand.does(Ended, 5, (14.0, 20.0)), click);
        assert_eq!(hand.touch.poll_timeout(), None);
    }

    #[test]
    fn a_finger_that_moves_drags_from_where_it_came_down() {
        let mut hand = Hand::new();
        hand.does(Started, 5, (10.0, 20.0));
        let begun = [button(LEFT, true, (10.0, 20.0)), Act::Move((30.0, 20.0))];
        assert_eq!(hand.does(Moved, 5, (30.0, 20.0)), begun);
        assert_eq!(hand.waits(1_000), [], "no longer a finger that rests");
        assert_eq!(hand.does(Started, 6, (0.0, 0.0)), [], "another finger");
        assert_eq!(hand.does(Moved, 6, (1.0, 50.0)), []);
        assert_eq!(hand.does(Ended, 6, (1.0, 50.0)), []);
        assert_eq!(hand.does(Moved, 5, (40.0, 25.0)), [Act::Move((40.0, 25.0))]);
        let end = [button(LEFT, false, (40.0, 25.0))];
        assert_eq!(hand.does(Ended, 5, (40.0, 25.0)), end);
    }

    #[test]
    fn a_finger_that_rests_is_the_right_button() {
        let mut hand = Hand::new();
        hand.does(Started, 5, (10.0, 20.0));
        assert_eq!(hand.waits(499), []);
        assert_eq!(hand.waits(1), [button(RIGHT, true, (10.0, 20.0))]);
        let end = [button(RIGHT, false, (10.0, 20.0))];
        assert_eq!(hand.does(Ended, 5, (10.0, 20.0)), end);
    }

    #[test]
    fn two_fingers_turn_the_wheel_by_the_way_of_their_middle() {
        let mut hand = Hand::new();
        hand.does(Started, 5, (10.0, 20.0));
        assert_eq!(hand.does(Started, 6, (30.0, 20.0)), []);
        let scroll = Act::Scroll {
            place: (20.0, 25.0),
            by: (0.0, 5.0),
        };
        assert_eq!(hand.does(Moved, 5, (10.0, 30.0)), [scroll]);
        assert_eq!(hand.waits(1_000), []);
        assert_eq!(hand.does(Ended, 6, (30.0, 20.0)), []);
        assert_eq!(
            hand.does(Moved, 5, (90.0, 90.0)),
            [],
            "the other one is left"
        );
        assert_eq!(hand.does(Ended, 5, (90.0, 90.0)), []);
        assert_eq!(hand.does(Started, 7, (1.0, 1.0)), [Act::Move((1.0, 1.0))]);
    }

    #[test]
    fn a_third_finger_ends_it_all_until_the_hand_is_gone() {
        let mut hand = Hand::new();
        for id in 0..20 {
            hand.does(Started, id, (id as f64, 0.0));
        }
        assert_eq!(hand.touch.fingers.len(), FINGERS_MAX);
        assert_eq!(hand.does(Moved, 1, (50.0, 50.0)), []);
        for id in 0..20 {
            assert_eq!(hand.does(Ended, id, (50.0, 50.0)), []);
        }
        assert_eq!(hand.touch.fingers, []);
    }

    #[test]
    fn a_finger_that_comes_twice_has_let_go_in_between() {
        let mut hand = Hand::new();
        hand.does(Started, 5, (10.0, 20.0));
        hand.does(Moved, 5, (50.0, 20.0));
        let again = [button(LEFT, false, (50.0, 20.0)), Act::Move((90.0, 20.0))];
        assert_eq!(hand.does(Started, 5, (90.0, 20.0)), again);
        let click = [true, false].map(|it| button(LEFT, it, (90.0, 20.0)));
        assert_eq!(hand.does(Ended, 5, (90.0, 20.0)), click);
    }

    #[test]
    fn what_is_cancelled_presses_nothing_and_holds_nothing() {
        let mut hand = Hand::new();
        hand.does(Started, 5, (10.0, 20.0));
        assert_eq!(hand.does(Cancelled, 5, (10.0, 20.0)), []);
        assert_eq!(hand.waits(1_000), []);
        hand.does(Started, 5, (10.0, 20.0));
        hand.does(Moved, 5, (50.0, 20.0));
        let end = [button(LEFT, false, (50.0, 20.0))];
        assert_eq!(hand.does(Cancelled, 5, (0.0, 0.0)), end);
        assert_eq!(
            hand.does(Ended, 5, (0.0, 0.0)),
            [],
            "a finger that is unknown"
        );
    }
}
