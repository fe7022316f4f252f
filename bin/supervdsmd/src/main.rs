//! The root helper: a closed list of privileged requests.
#![forbid(unsafe_code)]

fn main() {}
