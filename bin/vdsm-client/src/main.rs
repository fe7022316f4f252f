//! The API from a shell.
#![forbid(unsafe_code)]

fn main() {}
