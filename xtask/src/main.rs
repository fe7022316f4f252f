//! Checks of the architecture and generated pages.
#![forbid(unsafe_code)]

fn main() {}
