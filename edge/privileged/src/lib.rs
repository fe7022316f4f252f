//! The requests that need root: their types, validation and client.
#![forbid(unsafe_code)]
