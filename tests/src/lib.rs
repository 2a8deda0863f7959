//! Holds the workspace's own tests; there is nothing to link against.
