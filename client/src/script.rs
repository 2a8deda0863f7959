//! A script: timed input, one step a line.
//!
//! `at MS` counts from the first picture; a step whose time has passed is taken at once.

use std::str::{FromStr, SplitWhitespace};
use std::time::{Duration, Instant};

use sandbox_protocol::Size;
use sandbox_protocol::wire::input::Event;

use crate::keys::text_keysyms;
use crate::net::Command;

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A key, button or wheel.
    Input(Event),
    /// Characters that are typed.
    Text(String),
    /// The pointer moves.
    Move {
        /// Pixels from the left.
        x: u16,
        /// Pixels from the top.
        y: u16,
    },
    /// A text is pasted.
    Paste(String),
    /// The window has another size.
    Resize(Size),
    /// Nothing more until the picture has this hash.
    UntilHash(u128),
    /// Leaves.
    End,
}

/// Steps, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// When each is due after the first picture, the next one last.
    steps: Vec<(Duration, Action)>,
    began: Option<Instant>,
}

/// A line is no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the script is no step: {text:?}; `man sandbox-client` lists them")]
pub struct BadScript {
    line: usize,
    text: String,
}

impl FromStr for Script {
    type Err = BadScript;

    fn from_str(text: &str) -> Result<Self, BadScript> {
        let mut steps = Vec::new();
        let mut due = Duration::ZERO;
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let bad = || BadScript {
                line,
                text: text.to_owned(),
            };
            let step = match text.strip_prefix("at ") {
                Some(rest) => {
                    let rest = rest.trim_start();
                    let (ms, step) = rest.split_once(' ').ok_or_else(bad)?;
                    due = Duration::from_millis(ms.parse().map_err(|_| bad())?);
                    step.trim_start()
                }
                None => text,
            };
            steps.push((due, self::step(step).ok_or_else(bad)?));
        }
        steps.reverse();
        Ok(Self { steps, began: None })
    }
}

impl Script {
    /// The first picture is there. Later ones change nothing.
    pub fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// The next step that is due; `hash` is the picture's.
    pub fn poll_action(&mut self, now: Instant, hash: impl Fn() -> u128) -> Option<Action> {
        let began = self.began?;
        loop {
            let (due, action) = self.steps.pop()?;
            let is_due = began + due <= now;
            match action {
                Action::UntilHash(wanted) if is_due && hash() == wanted => (),
                Action::UntilHash(_) => {
                    self.steps.push((due, action));
                    return None;
                }
                Action::Input(_)
                | Action::Text(_)
                | Action::Move { .. }
                | Action::Paste(_)
                | Action::Resize(_)
                | Action::End => {
                    if is_due {
                        return Some(action);
                    }
                    self.steps.push((due, action));
                    return None;
                }
            }
        }
    }

    /// When the next step is due.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let (due, action) = self.steps.last()?;
        let due = self.began? + *due;
        // What waits for a picture is woken by it.
        let waits_for_picture = matches!(action, Action::UntilHash(_)) && due <= now;
        (!waits_for_picture).then_some(due)
    }
}

/// The events that type a text: characters have no place on the keyboard.
pub fn typed(text: &str) -> impl Iterator<Item = Event> {
    text_keysyms(text).flat_map(|keysym| {
        [true, false].map(|is_down| Event::Key {
            code: 0,
            keysym,
            is_down,
        })
    })
}

/// What the thread is told for a step; `None` for one that the script itself keeps.
pub fn commands(action: Action) -> Option<Vec<Command>> {
    Some(match action {
        Action::Input(event) => vec![Command::Input(event)],
        Action::Text(text) => typed(&text).map(Command::Input).collect(),
        Action::Move { x, y } => vec![Command::Move { x, y }],
        Action::Paste(text) => vec![Command::Paste(text)],
        Action::Resize(size) => vec![Command::Size(size)],
        Action::End => vec![Command::Leave],
        Action::UntilHash(_) => return None,
    })
}

/// One step, without a time.
pub fn step(step: &str) -> Option<Action> {
    let (name, rest) = step.split_once(' ').unwrap_or((step, ""));
    let mut words = rest.split_whitespace();
    let action = match name {
        "text" => return (!rest.is_empty()).then(|| Action::Text(rest.to_owned())),
        "paste" => return (!rest.is_empty()).then(|| Action::Paste(rest.to_owned())),
        "key" => Action::Input(Event::Key {
            code: number(&mut words)?,
            keysym: keysym(words.next()?)?,
            is_down: is_down(&mut words)?,
        }),
        "button" => Action::Input(Event::Button {
            button: number(&mut words)?,
            is_down: is_down(&mut words)?,
            x: number(&mut words)?,
            y: number(&mut words)?,
        }),
        "wheel" => Action::Input(Event::Wheel {
            dx: number(&mut words)?,
            dy: number(&mut words)?,
            x: number(&mut words)?,
            y: number(&mut words)?,
        }),
        "move-by" => Action::Input(Event::MoveBy {
            dx: number(&mut words)?,
            dy: number(&mut words)?,
        }),
        "move" => Action::Move {
            x: number(&mut words)?,
            y: number(&mut words)?,
        },
        "resize" => Action::Resize(Size {
            width: number(&mut words)?,
            height: number(&mut words)?,
        }),
        "until-hash" => Action::UntilHash(u128::from_str_radix(words.next()?, 16).ok()?),
        "end" => Action::End,
        _ => return None,
    };
    words.next().is_none().then_some(action)
}

fn number<T: FromStr>(words: &mut SplitWhitespace<'_>) -> Option<T> {
    words.next()?.parse().ok()
}

fn keysym(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

fn is_down(words: &mut SplitWhitespace<'_>) -> Option<bool> {
    match words.next()? {
        "down" => Some(true),
        "up" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "simulated time starts somewhere")]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn every_step_is_read() {
        let script: Script = "
            # comment
            at 100 key 30 0x61 down
            key 30 97 up
            at 200 text hällo  world
            move 1 2
            button 0 down 3 4
            at 300 wheel 0 -120 5 6
            move-by -3 4
            paste a text
            resize 800 600
            until-hash ff
            end"
        .parse()
        .unwrap();
        let key = |is_down| {
            Action::Input(Event::Key {
                code: 30,
                keysym: 0x61,
                is_down,
            })
        };
        let mut expected = vec![
            (ms(100), key(true)),
            (ms(100), key(false)),
            (ms(200), Action::Text("hällo  world".to_owned())),
            (ms(200), Action::Move { x: 1, y: 2 }),
            (
                ms(200),
                Action::Input(Event::Button {
                    button: 0,
                    is_down: true,
                    x: 3,
                    y: 4,
                }),
            ),
            (
                ms(300),
                Action::Input(Event::Wheel {
                    dx: 0,
                    dy: -120,
                    x: 5,
                    y: 6,
                }),
            ),
            (ms(300), Action::Input(Event::MoveBy { dx: -3, dy: 4 })),
            (ms(300), Action::Paste("a text".to_owned())),
            (
                ms(300),
                Action::Resize(Size {
                    width: 800,
                    height: 600,
                }),
            ),
            (ms(300), Action::UntilHash(255)),
            (ms(300), Action::End),
        ];
        expected.reverse();
        assert_eq!(script.steps, expected);
    }

    #[test]
    fn what_is_no_step_is_refused_with_its_line() {
        for text in [
            "dance",
            "key 30 down",
            "key 30 0x61 sideways",
            "at soon end",
            "at 5",
            "move 1",
            "move-by 1 40000",
            "move 1 2 3",
            "text",
            "until-hash xyz",
            "resize -1 5",
        ] {
            let error = format!("\n{text}").parse::<Script>().unwrap_err();
            assert!(error.to_string().contains("line 2"), "{error}");
        }
    }

    #[test]
    fn steps_come_at_their_time_and_wait_for_a_picture() {
        let mut script: Script = "at 10 move 1 1\nuntil-hash 7\nat 5 move 2 2"
            .parse()
            .unwrap();
        let start = Instant::now();
        assert_eq!(script.poll_action(start + ms(50), || 0), None);
        script.begin(start);
        script.begin(start + ms(50));
        assert_eq!(script.poll_action(start, || 0), None);
        assert_eq!(script.poll_timeout(start), Some(start + ms(10)));
        let now = start + ms(10);
        let first = Some(Action::Move { x: 1, y: 1 });
        assert_eq!(script.poll_action(now, || 0), first);
        assert_eq!(script.poll_action(now, || 0), None);
        assert_eq!(script.poll_timeout(now), None);
        let second = Some(Action::Move { x: 2, y: 2 });
        assert_eq!(script.poll_action(now, || 7), second);
        assert_eq!(script.poll_action(now, || 7), None);
    }

    #[test]
    fn a_text_is_typed_without_places() {
        let events: Vec<Event> = typed("é").collect();
        let key = |is_down| Event::Key {
            code: 0,
            keysym: 0xe9,
            is_down,
        };
        assert_eq!(events, [key(true), key(false)]);
    }
}
