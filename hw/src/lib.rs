//! Pixels and silicon: conversion, encoders, decoders, probes.

mod decoder;
mod encoder;
mod i420;
mod openh264;
mod planes;
mod probe;
#[cfg(feature = "av1")]
mod rav1d;
mod sps;
mod x264;

pub use decoder::{DecodeError, H264Decoder, is_keyframe};
pub use encoder::{
    AccessUnit, Capabilities, Config, EncodeError, Encoder, Invalidation, Kind, Quality, Request,
};
pub use i420::I420;
pub use planes::{PaintError, Planes, Target};
pub use probe::{Choice, Found, Opened, choose, open, probe};
#[cfg(feature = "av1")]
pub use rav1d::{Av1Decoder, Av1Error, Av1Picture, Code as Av1Code};
