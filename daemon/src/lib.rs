//! The daemon: HTTP, WebSocket, WebRTC, SQLite. No decisions.

pub mod clock;
pub mod media;
