//! Native viewers: who they are, which desktop they see, and what they are told about it. Their
//! pictures and input are the media thread's.

mod attaching;
mod conversation;
mod farewell;
mod holders;
mod sign_in;
mod words;

use std::sync::Arc;

pub(crate) use self::holders::TicketHolders;
use crate::http::App;

/// Speaks with every native viewer that comes, each in a task of its own.
pub(crate) async fn serve(app: Arc<App>) {
    let newcomers = app.media.newcomers();
    while let Ok(peer) = newcomers.recv().await {
        let tasks = app.tasks.clone();
        tasks.spawn("native viewer", conversation::run(Arc::clone(&app), peer));
    }
}
