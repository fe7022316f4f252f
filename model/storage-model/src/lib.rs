//! Formats of storage domains, volumes and leases; the ports of storage.
#![forbid(unsafe_code)]
