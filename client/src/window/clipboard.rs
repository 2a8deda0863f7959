//! What programs on the desktop copy goes to the window system's clipboard.

/// The clipboard, once something was copied.
#[derive(Default)]
pub(super) struct Clipboard(Option<arboard::Clipboard>);

impl Clipboard {
    /// Puts a text there.
    ///
    /// # Errors
    ///
    /// Returns words for the user where the window system has no clipboard that we reach.
    pub(super) fn put(&mut self, text: String) -> Result<(), String> {
        let put = |clipboard: &mut Option<arboard::Clipboard>| {
            let clipboard = match clipboard {
                Some(clipboard) => clipboard,
                None => clipboard.insert(arboard::Clipboard::new()?),
            };
            clipboard.set_text(text)
        };
        put(&mut self.0).map_err(|error| {
            self.0 = None;
            format!("What was copied on the desktop cannot be put into the clipboard: {error}")
        })
    }
}
