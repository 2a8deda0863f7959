//! Pixels and silicon: conversion, encoders, probes.

mod encoder;
mod i420;

pub use encoder::{
    AccessUnit, Capabilities, Config, EncodeError, Encoder, Invalidation, Kind, Quality, Request,
};
pub use i420::{I420, Rect};
