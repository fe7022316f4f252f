//! DHCPv6 (RFC 8415) by `mozim`: one address. Routers speak for themselves, see `routers.rs`.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use mozim::{DhcpV6Client, DhcpV6Config, DhcpV6Lease, DhcpV6Mode, DhcpV6State};
use net_apply::dhcp::{Lease, Session};
use net_model::{Cidr, Nameserver};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// After a failure, or a lease that nobody may have.
const PAUSE: Duration = Duration::from_secs(5);
/// How long an offer may wait for its reply.
const REPLY: Duration = Duration::from_secs(20);
/// How often it is looked for the link's own address, which the kernel makes and checks first.
const LOOK: Duration = Duration::from_millis(200);
/// The C library uses three.
const MOST_SERVERS: usize = 6;

/// Runs until the process ends.
pub(crate) async fn run(session: &Arc<Session>) -> Result<()> {
    loop {
        let result = tokio::select! {
            result = serve(session) => result,
            () = over(session) => session.lost().map_err(Into::into),
        };
        if let Err(error) = result {
            warn!("{error:#}");
        }
        sleep(PAUSE).await;
    }
}

/// Waits until what is held is over, be it an earlier client's: a lease that comes meanwhile has another end.
async fn over(session: &Session) {
    const OFTEN: Duration = Duration::from_secs(10);
    loop {
        match session.left() {
            Some(Duration::ZERO) => return,
            Some(left) => sleep(left.min(OFTEN)).await,
            None => sleep(OFTEN).await,
        }
    }
}

/// Until something goes wrong.
async fn serve(session: &Session) -> Result<()> {
    let interface = session.interface();
    let source = loop {
        match interface.link_local() {
            Some(address) => break address,
            None => sleep(LOOK).await,
        }
    };
    let name = interface.name.as_str();
    let mut config = DhcpV6Config::new(name, DhcpV6Mode::NonTemporaryAddresses);
    config
        .set_iface_index(interface.index)
        .set_link_local_ip(source)
        .set_duid_by_iface_mac(&interface.mac);
    let mut client = DhcpV6Client::init(config, None)
        .await
        .context("the client cannot start")?;
    let mut patience = FOR_EVER;
    loop {
        let state = timeout(patience, client.run())
            .await
            .context("a server made an offer and does not reply")?;
        patience = FOR_EVER;
        match state? {
            DhcpV6State::Done(lease) => {
                info!(address = %lease.address, seconds = lease.valid_time_sec, "a lease");
                session.bound(read(&lease)?)?;
            }
            DhcpV6State::Solicit => {
                info!("the lease is over");
                session.lost()?;
            }
            DhcpV6State::Request => patience = REPLY,
            // Renewing and rebinding: the library goes on.
            _ => {}
        }
    }
}

/// A year: the library's own deadlines are what counts.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

fn read(lease: &DhcpV6Lease) -> Result<Lease> {
    Ok(Lease {
        address: Cidr::new(lease.address.into(), 128)?,
        preferred: lease.preferred_time_sec,
        valid: lease.valid_time_sec,
        gateway: None,
        routes: Vec::new(),
        nameservers: lease
            .dns_srvs
            .iter()
            .filter(|it| !it.is_unspecified() && !it.is_multicast() && !it.is_unicast_link_local())
            .filter_map(|it| it.to_string().parse::<Nameserver>().ok())
            .take(MOST_SERVERS)
            .collect(),
    })
}
