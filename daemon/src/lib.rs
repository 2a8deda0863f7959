//! The daemon: HTTP, WebSocket, WebRTC, SQLite. No decisions.
