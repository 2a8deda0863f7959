//! The daemon: HTTP, WebSocket, WebRTC, SQLite. No decisions.

pub mod auth;
pub mod changes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
mod http;
pub mod identity;
pub mod logs;
pub mod media;
mod private_file;
pub mod redacted;
pub mod sessions;
pub mod state;
pub mod tasks;
pub mod tls;
pub mod warden;
