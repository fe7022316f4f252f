//! Atomic, versioned records on disk.
#![forbid(unsafe_code)]
