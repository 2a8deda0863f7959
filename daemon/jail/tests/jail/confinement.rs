//! What a session is confined by, read from outside.

use crate::Test;

pub(crate) const TESTS: &[Test] = &[];
