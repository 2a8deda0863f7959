//! Video of the server's desktop: units that were encoded before, shown in one rectangle.

use sandbox_protocol::Rect;
use sandbox_protocol::wire::update::Draft;

use super::Server;

pub struct Video {
    pub units: Vec<Vec<u8>>,
    /// Which of them need none before them.
    pub keys: Vec<usize>,
    pub rect: Rect,
    /// The newest that was sent.
    pub at: Option<usize>,
    /// How many more are to be sent.
    pub due: usize,
    /// Sent once instead of the next one.
    pub instead: Option<Vec<u8>>,
    /// Sent instead of each key frame.
    pub never: Option<Vec<u8>>,
}

impl Video {
    pub fn new(units: Vec<Vec<u8>>, keys: &[usize], rect: Rect) -> Self {
        Self {
            units,
            keys: keys.to_vec(),
            rect,
            at: None,
            due: 0,
            instead: None,
            never: None,
        }
    }

    /// Adds the next unit; to a whole update the next key frame.
    pub(super) fn add_to(&mut self, draft: &mut Draft, is_whole: bool) {
        let next = self.at.map_or(0, |it| it + 1);
        if is_whole {
            let key = self.keys.iter().find(|it| **it >= next);
            self.at = Some(*key.unwrap_or(&self.keys[0]));
        } else if self.due > 0 {
            self.due -= 1;
            self.at = Some(next);
        } else {
            return;
        }
        let unit = &self.units[self.at.unwrap()];
        let never = self.never.as_ref().filter(|_| is_whole);
        let instead = self.instead.take();
        draft.video(&[self.rect], instead.as_ref().or(never).unwrap_or(unit));
    }
}

impl Server {
    pub fn video(&mut self) -> &mut Video {
        self.video.as_mut().unwrap()
    }
}
