//! Native viewers on the media thread.

use super::Hub;
use crate::media::AttachError;
use crate::media::native::NativeCommand;

impl Hub {
    pub(super) fn handle_native_command(&self, command: NativeCommand) {
        match command {
            NativeCommand::Attach(attach, reply) => {
                let _unwanted = reply.try_send(Err(AttachError::NoPeer(attach.peer)));
            }
            NativeCommand::Welcome(..)
            | NativeCommand::Refuse { .. }
            | NativeCommand::Tell(..)
            | NativeCommand::Dismiss { .. } => {}
        }
    }
}
