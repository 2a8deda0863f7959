//! Pixels and silicon: conversion, encoders, decoders, probes.

mod decoder;
mod encoder;
mod i420;
mod openh264;
mod probe;
mod sps;
mod x264;

pub use decoder::{DecodeError, H264Decoder, Target, is_keyframe};
pub use encoder::{
    AccessUnit, Capabilities, Config, EncodeError, Encoder, Invalidation, Kind, Quality, Request,
};
pub use i420::I420;
pub use probe::{Choice, Found, Opened, choose, open, probe};
