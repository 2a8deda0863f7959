//! What the server's desktop looks like.

use sandbox_protocol::screen::Picture;
use sandbox_protocol::{Pixel, Rect};

use super::Server;

impl Server {
    /// Gives the whole desktop another look.
    pub fn paint(&mut self, seed: u32) {
        let width = usize::from(self.size.width);
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        for (at, pixel) in self.desktop.iter_mut().enumerate() {
            let (x, y) = (at % width, at / width);
            if (x / 32 + y / 32).is_multiple_of(3) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *pixel = state >> 8;
            } else {
                *pixel = (x as u32 / 8 * 0x0003_0201 + seed * 0x0010_0907) & 0x00FF_FFFF;
            }
        }
        self.damage(Rect::whole(self.size));
    }

    pub fn fill(&mut self, rect: Rect, colour: Pixel) {
        let width = usize::from(self.size.width);
        for y in usize::from(rect.y)..usize::from(rect.bottom()) {
            self.desktop[y * width..][usize::from(rect.x)..usize::from(rect.right())].fill(colour);
        }
        self.damage(rect);
    }

    pub fn damage(&mut self, rect: Rect) {
        if let Some(peer) = &mut self.peer {
            peer.damage.push(rect);
        }
    }

    pub fn hash(&self) -> u128 {
        let mut picture = Picture::new(self.size);
        picture.write(Rect::whole(self.size), &self.desktop);
        picture.hash()
    }
}
