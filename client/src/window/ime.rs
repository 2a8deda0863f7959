//! What an input method says: text that is typed, and text that is not finished.

use winit::event::Ime;

/// Characters of an unfinished text that are shown: nobody composes more at once.
const UNFINISHED_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct InputMethod {
    unfinished: String,
}

impl InputMethod {
    /// Returns what is to be typed.
    pub(super) fn handle(&mut self, ime: Ime) -> Option<String> {
        self.unfinished.clear();
        match ime {
            Ime::Commit(text) => Some(text),
            Ime::Preedit(text, _) => {
                self.unfinished.extend(text.chars().take(UNFINISHED_MAX));
                None
            }
            Ime::Enabled | Ime::Disabled => None,
        }
    }

    /// What is not finished, where there is something.
    pub(super) fn unfinished(&self) -> Option<&str> {
        Some(self.unfinished.as_str()).filter(|it| !it.is_empty())
    }
}
