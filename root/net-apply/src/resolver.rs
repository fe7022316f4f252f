//! Name servers of the host: what the executor needs of whoever writes them.

use std::time::Instant;

use net_model::Nameserver;

use crate::ApplyError;

/// Who writes the host's name servers where programs look for them.
pub trait Resolver: Send + Sync {
    /// These and no others, in this order; so already is success.
    fn set(&self, servers: &[Nameserver], until: Instant) -> Result<(), ApplyError>;

    /// Those that were set and are in force, as [`Resolver::set`] knows them: none while a service of the host names its own.
    /// Nothing: it is not known here, and what programs find counts.
    fn now(&self) -> Option<Vec<Nameserver>> {
        None
    }
}
