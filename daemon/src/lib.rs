//! The daemon: HTTP, WebSocket, WebRTC, SQLite. No decisions.

mod attachment;
pub mod auth;
mod caller;
pub mod changes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
mod http;
pub mod identity;
pub mod logs;
pub mod media;
mod native;
mod private_file;
pub mod redacted;
pub mod sessions;
mod sign_in;
pub mod state;
pub mod tasks;
pub mod tls;
pub mod warden;
