//! The API declared once: wire types, verbs, events, error codes.
#![forbid(unsafe_code)]
