//! Read-only views of /proc, /sys and the clock.
#![forbid(unsafe_code)]
