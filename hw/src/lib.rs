//! Pixels and silicon: conversion, encoders, probes.
