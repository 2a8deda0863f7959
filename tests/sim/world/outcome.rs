//! What has come of a world.

use std::time::Duration;

use super::{Content, Delivered, Made, World};
use crate::ms;

impl World {
    /// How long the updates made from `from` on took to come out.
    pub(crate) fn took(&self, from: Duration) -> Vec<Duration> {
        let from = self.start + from;
        let fresh = self.delivered.iter().filter(|it| it.made >= from);
        fresh.map(Delivered::took).collect()
    }

    /// Updates that have not come out within `patience`.
    pub(crate) fn missing(&self, patience: Duration) -> usize {
        let is_late = |it: &&Made| self.now - it.at > patience;
        self.made.values().filter(is_late).count()
    }

    /// Everything that was made came out.
    #[track_caller]
    pub(crate) fn assert_complete(&mut self) {
        self.run(ms(3_000), Content::Still);
        let missing: Vec<_> = self.made.keys().collect();
        assert!(
            missing.is_empty(),
            "seed {}: missing {missing:?}",
            self.seed
        );
    }
}
