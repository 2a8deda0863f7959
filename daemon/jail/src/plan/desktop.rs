//! The generated files of the desktop: window manager, panel, terminal, and what they say.

use super::{Entry, text};

/// Commands and settings that every desktop has, below `/opt/desktop` and `/etc`.
pub(super) fn files() -> Vec<Entry> {
    let mut entries = vec![
        text("etc/xdg/openbox/rc.xml", include_str!("desktop/rc.xml")),
        text("etc/xdg/openbox/menu.xml", include_str!("desktop/menu.xml")),
        text("etc/motd", include_str!("desktop/motd.txt")),
        text("etc/bash.bashrc", include_str!("desktop/bashrc.sh")),
        text("etc/gtk-2.0/gtkrc", GTK2),
        text("etc/gtk-3.0/settings.ini", GTK3),
        text("opt/desktop/panel", include_str!("desktop/panel.conf")),
    ];
    for (name, script) in [
        ("session", include_str!("desktop/session.sh")),
        ("startup", include_str!("desktop/startup.sh")),
        ("terminal", include_str!("desktop/terminal.sh")),
        ("files", include_str!("desktop/files.sh")),
        ("editor", include_str!("desktop/editor.sh")),
    ] {
        entries.push(Entry::Text {
            at: format!("opt/desktop/{name}"),
            mode: 0o755,
            bytes: script.into(),
        });
    }
    for (name, label, icon) in [
        ("terminal", "Terminal", "utilities-terminal"),
        ("files", "Files", "system-file-manager"),
        ("editor", "Text editor", "accessories-text-editor"),
    ] {
        entries.push(text(
            &format!("opt/desktop/{name}.desktop"),
            format!(
                "[Desktop Entry]\nType=Application\nName={label}\nIcon={icon}\n\
                 Exec=/opt/desktop/{name}\n"
            ),
        ));
    }
    entries
}

/// A cursor that blinks would be damage twice a second.
const GTK2: &str = "gtk-cursor-blink = 0\ngtk-font-name = \"DejaVu Sans 9\"\n\
    gtk-icon-theme-name = \"Adwaita\"\n";
const GTK3: &str = "[Settings]\ngtk-cursor-blink=false\ngtk-font-name=DejaVu Sans 9\n\
    gtk-icon-theme-name=Adwaita\ngtk-enable-animations=false\n";
