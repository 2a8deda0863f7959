//! The lossless screen layer: one picture that server and viewer keep the same.
//!
//! The server's [`Composer`] turns changed pixels into updates, the viewer's [`Shadow`] applies
//! them. Both hold the same picture after each update, but for what video has painted.

mod cache;
pub mod coding;
mod composer;
mod grid;
#[cfg(test)]
mod pair;
mod picture;
#[cfg(test)]
mod sample;
mod shadow;
mod shift;
mod stale;
mod text;
mod view;

pub use cache::SLOT_BYTES;
pub use composer::{Composed, Composer, Frame};
pub use grid::Grid;
pub use picture::Picture;
pub use shadow::{ApplyError, Shadow, VideoSource};
pub use text::BadText;
pub use view::View;
