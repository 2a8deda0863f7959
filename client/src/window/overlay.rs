//! What the window says over the picture.

use std::time::Duration;

use sandbox_protocol::wire::control::Codec;

use super::App;
use super::text::{Place, Words};
use crate::figures::Second;
use crate::net::Way;

/// What the window shows beside the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Live,
    Lost(String),
    Over(String),
}

impl<F> App<F> {
    pub(super) fn words(&self, window: (u32, u32)) -> Vec<(Place, Words)> {
        let mut words = Vec::new();
        let middle = match &self.state {
            State::Connecting => Some(format!("Connecting to {} ...", self.options.title)),
            State::Live => None,
            State::Lost(text) | State::Over(text) => Some(text.clone()),
        };
        words.extend(middle.map(|it| (Place::Middle, Words::new(&it, window))));
        let mut corner = Vec::new();
        if self.shows_figures {
            corner.push(figures(&self.client.view().figures));
        }
        if !self.has_control {
            corner.push("You are watching. Ctrl+Alt+Shift+C takes control.".to_owned());
        }
        corner.extend(self.notice.as_ref().map(|(words, _)| words.clone()));
        corner.extend(self.input_method.unfinished().map(str::to_owned));
        if !corner.is_empty() {
            words.push((Place::UpperLeft, Words::new(&corner.join("\n"), window)));
        }
        words
    }
}

fn quality(second: &Second) -> String {
    match second.stages.qp {
        0 => "exact".to_owned(),
        qp => format!("{} of QP {qp}", second.codec.map_or("video", Codec::name)),
    }
}

/// Where the time goes, in lines.
fn figures(second: &Second) -> String {
    let ms = |it: Duration| it.as_secs_f64() * 1_000.0;
    let maybe = |it: Option<Duration>| it.map_or("-".to_owned(), |it| format!("{:.1} ms", ms(it)));
    let stages = &second.stages;
    format!(
        "{} updates/s, {} kB/s, lost {} of {}, {}\nby {}, round trip {}\n\
         lag {:.1} encode {:.1} network {} paint {:.1} ms\npress to picture {}",
        second.updates,
        second.bytes_in / 1_000,
        second.lost,
        second.packets,
        quality(second),
        second.way.map_or("nothing", Way::name),
        maybe(second.round_trip),
        ms(stages.lag),
        ms(stages.encode),
        maybe(stages.network),
        ms(stages.apply),
        maybe(second.press),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_say_how_good_the_picture_is() {
        let mut second = Second::default();
        assert!(figures(&second).contains("lost 0 of 0, exact\n"));
        second.stages.qp = 30;
        second.codec = Some(Codec::Av1);
        assert!(figures(&second).contains("av1 of QP 30\n"));
    }
}
