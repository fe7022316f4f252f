//! Index of external leases.
