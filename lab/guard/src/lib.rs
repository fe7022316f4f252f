//! Fails a test that leaves descriptors, threads, children, mounts or files.
#![forbid(unsafe_code)]
