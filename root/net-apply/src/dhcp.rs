//! DHCP clients: what the executor needs of whoever runs them, and who does.
//!
//! Each client is a process of its own, `vdsm-dhcp`, one for an interface and a family; it outlives the helper. It
//! speaks DHCP or hears routers, and puts into the kernel what comes of that: addresses with their lifetimes, routes
//! into its table, rules, name servers. A client of IPv6 does both: DHCPv6 tells no routers.
//!
//! Look next: `dhcp/clients.rs` (the helper's side), `dhcp/session.rs` (the client's), `dhcp/folder.rs` (what lies
//! between them), `dhcp/lease.rs` (what a lease brings), `dhcp/routers.rs` (advertisements), `dhcp/kernel.rs`.

mod clients;
mod folder;
mod kernel;
mod lease;
pub mod refusals;
pub mod routers;
mod session;

use std::{collections::BTreeMap, error::Error, time::Instant};

pub use clients::{ClientSettings, ClientWatch, Clients};
pub(crate) use kernel::put_back;
pub use lease::{Advertised, Lease};
use net_model::{Cidr, DhcpClient, Family, IfName};
pub use session::{Interface, Session};

use crate::ApplyError;

/// The DHCP clients of the host's interfaces.
pub trait DhcpClients: Send + Sync {
    /// Those that run.
    fn running(&self) -> BTreeMap<IfName, Vec<DhcpClient>>;

    /// The addresses that they have brought: what goes with them.
    fn leased(&self) -> BTreeMap<IfName, Vec<Cidr>> {
        BTreeMap::new()
    }

    /// Starts one, or puts it in the place of the one of its family; does not wait for a lease.
    fn start(&self, link: &IfName, client: &DhcpClient, until: Instant) -> Result<(), ApplyError>;

    /// Ends one and takes away what it brought: addresses, routes, rules. None there is success.
    fn stop(&self, link: &IfName, family: Family, until: Instant) -> Result<(), ApplyError>;
}

/// With every reason beneath it.
fn dhcp_error(link: &IfName, error: &dyn Error) -> ApplyError {
    let mut why = error.to_string();
    let mut beneath = error.source();
    while let Some(error) = beneath {
        why.push_str(": ");
        why.push_str(&error.to_string());
        beneath = error.source();
    }
    ApplyError::Dhcp {
        link: link.to_string(),
        why,
    }
}
