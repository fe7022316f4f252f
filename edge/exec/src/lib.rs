//! The one door to external programs.
#![forbid(unsafe_code)]
