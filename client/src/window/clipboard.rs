//! Texts between the window system's clipboard and the desktop's.

use arboard::Error;

/// The clipboard, once it was used.
#[derive(Default)]
pub(super) struct Clipboard {
    system: Option<arboard::Clipboard>,
    /// What the desktop's clipboard holds by itself, as far as we know.
    desktops: Option<String>,
}

impl Clipboard {
    /// A program on the desktop copied a text, which is put here.
    ///
    /// # Errors
    ///
    /// Returns words for the user where the window system has no clipboard that we reach.
    pub(super) fn put(&mut self, text: String) -> Result<(), String> {
        self.desktops = Some(text.clone());
        self.with(|it| it.set_text(text)).map_err(|error| {
            format!("What was copied on the desktop cannot be put into the clipboard: {error}")
        })
    }

    /// The text that the user pastes, where it is another than the desktop has by itself. A text
    /// that was pasted is given again: the desktop forgets it with the first program.
    ///
    /// # Errors
    ///
    /// Returns words for the user where the window system has no clipboard that we reach.
    pub(super) fn take(&mut self) -> Result<Option<String>, String> {
        let text = match self.with(arboard::Clipboard::get_text) {
            Ok(text) => text,
            // A picture, or nothing at all.
            Err(Error::ContentNotAvailable) => return Ok(None),
            Err(error) => return Err(format!("The clipboard cannot be read: {error}")),
        };
        if text.is_empty() || self.desktops.as_ref() == Some(&text) {
            return Ok(None);
        }
        self.desktops = None;
        Ok(Some(text))
    }

    /// The desktop may be another one.
    pub(super) fn forget(&mut self) {
        self.desktops = None;
    }

    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut arboard::Clipboard) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let system = match self.system.take() {
            Some(system) => system,
            None => arboard::Clipboard::new()?,
        };
        let system = self.system.insert(system);
        let outcome = act(system);
        if !matches!(outcome, Ok(_) | Err(Error::ContentNotAvailable)) {
            self.system = None;
        }
        outcome
    }
}
