//! Formats of storage domains, volumes and leases; the ports of storage. Pure: no I/O, no clock.
#![forbid(unsafe_code)]

pub mod ports;
