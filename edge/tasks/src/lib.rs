//! The task framework: persisted before it starts, undone after a crash.
#![forbid(unsafe_code)]
