//! Host set-up and private agents for development.
#![forbid(unsafe_code)]

fn main() {}
