//! Counts a viewer's messages of one sort and says when they are a flood.

use std::time::{Duration, Instant};

use sandbox_protocol::limits::INPUT_MESSAGES_PER_SECOND_MAX;

const WINDOW: Duration = Duration::from_secs(1);

/// The viewer sent more than anybody can type, move or scroll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flooded;

/// Messages since the beginning of the present second.
#[derive(Debug)]
pub(super) struct FloodMeter {
    most: u32,
    since: Option<Instant>,
    count: u32,
}

impl Default for FloodMeter {
    /// One for input.
    fn default() -> Self {
        Self::new(INPUT_MESSAGES_PER_SECOND_MAX)
    }
}

impl FloodMeter {
    /// One that lets so many pass within a second.
    pub(super) const fn new(most: u32) -> Self {
        Self {
            most,
            since: None,
            count: 0,
        }
    }

    /// One more message.
    ///
    /// # Errors
    ///
    /// Returns [`Flooded`] when it is one too many within its second.
    pub(super) fn handle_message(&mut self, now: Instant) -> Result<(), Flooded> {
        match self.since {
            Some(since) if now.duration_since(since) < WINDOW => self.count += 1,
            Some(_) | None => {
                self.since = Some(now);
                self.count = 1;
            }
        }
        if self.count > self.most {
            Err(Flooded)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_refused(interval: Duration, messages: u32) -> Option<u32> {
        let start = crate::clock::now();
        let mut meter = FloodMeter::default();
        (1..=messages).find(|count| meter.handle_message(start + interval * *count).is_err())
    }

    #[test]
    fn the_limit_passes_for_ever_and_one_more_in_a_second_does_not() {
        assert_eq!(first_refused(Duration::from_micros(500), 20_000), None);
        assert_eq!(
            first_refused(Duration::ZERO, 20_000),
            Some(INPUT_MESSAGES_PER_SECOND_MAX + 1)
        );
        assert!(first_refused(Duration::from_micros(400), 20_000).is_some());
    }
}
