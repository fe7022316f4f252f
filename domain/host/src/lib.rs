//! What the host is and does: capabilities, hardware, statistics.
#![forbid(unsafe_code)]
