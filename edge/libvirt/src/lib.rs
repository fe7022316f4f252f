//! The only crate that links libvirt: a safe layer with deadlines.
#![forbid(unsafe_code)]
