//! The warden: makes, limits and destroys jails.
