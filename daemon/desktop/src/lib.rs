//! The desktop worker: captures, encodes, injects; one per session, in a jail of its own.
