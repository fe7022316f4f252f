//! DHCP clients: what the executor needs of whoever runs them.

use std::{collections::BTreeMap, time::Instant};

use net_model::{DhcpClient, Family, IfName};

use crate::ApplyError;

/// The DHCP clients of the host's interfaces.
pub trait DhcpClients: Send + Sync {
    /// Those that run.
    fn running(&self) -> BTreeMap<IfName, Vec<DhcpClient>>;

    /// Starts one, or puts it in the place of the one of its family; does not wait for a lease.
    fn start(&self, link: &IfName, client: &DhcpClient, until: Instant) -> Result<(), ApplyError>;

    /// Ends one and takes away what it brought: addresses, routes, rules. None there is success.
    fn stop(&self, link: &IfName, family: Family, until: Instant) -> Result<(), ApplyError>;
}
