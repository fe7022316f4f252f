//! DHCP (RFC 2131) by `mozim`: asked, renewed, rebound; what comes is checked and handed on.
//!
//! `mozim` retries by itself, but three things it does not: it waits for ever for the acknowledgement of a server that
//! made an offer and died, it goes on after a failure only if told to, and it hears no refusal (`refusals.rs`).

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use mozim::{DhcpV4Client, DhcpV4Config, DhcpV4Lease, DhcpV4State};
use net_apply::dhcp::{Lease, Session};
use net_model::{Cidr, Nameserver};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use crate::refusals;

/// `ARPHRD_ETHER`: how a client is known to servers, by its hardware address, as NetworkManager's and dhclient's are.
/// So a host that changes hands keeps its address.
const ETHERNET: u8 = 1;
/// How long an offer may wait for its acknowledgement: two retries.
const ACKNOWLEDGEMENT: Duration = Duration::from_secs(20);
/// After a failure, or a lease that nobody may have.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs until the process ends.
pub(crate) async fn run(session: &Arc<Session>) -> Result<()> {
    let interface = session.interface();
    let mut config = DhcpV4Config::new(interface.name.as_str());
    config
        .set_iface_index(interface.index)
        .set_iface_mac_raw(&interface.mac)?
        .set_client_id(ETHERNET, &interface.mac);
    let mut refusals = refusals::listen(interface)?;
    let mut client = DhcpV4Client::init(config, None)
        .await
        .context("the client cannot start")?;
    let mut held = Held::inherited(session);
    loop {
        match held.step(&mut client, &mut refusals, session).await {
            Ok(()) => {}
            Err(error) => {
                warn!("{error:#}");
                client.clean_up();
                held.asks = Asks::Nothing;
                held.rest(session, PAUSE).await;
            }
        }
    }
}

/// What a server may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    /// For what was offered.
    First,
    /// For more time.
    Again,
}

/// Until when an earlier client's lease holds, if this one has not yet got one; and what this one asks for.
struct Held {
    until: Option<Instant>,
    asks: Asks,
}

impl Held {
    fn inherited(session: &Session) -> Self {
        Self {
            until: session.left().map(|left| Instant::now() + left),
            asks: Asks::Nothing,
        }
    }

    async fn step(
        &mut self,
        client: &mut DhcpV4Client,
        refusals: &mut Receiver<Ipv4Addr>,
        session: &Session,
    ) -> Result<()> {
        let far = Duration::from_hours(24 * 365);
        let first = self.asks == Asks::First;
        let patience = if first { ACKNOWLEDGEMENT } else { far };
        let state = tokio::select! {
            Some(server) = refusals.recv() => {
                return self.refused(client, server, session);
            }
            state = timeout(patience, client.run()) => {
                state.context("a server made an offer and does not acknowledge")
            }
            () = expiry(self.until) => {
                self.end(session);
                return Ok(());
            }
        };
        self.asks = Asks::Nothing;
        match state?? {
            DhcpV4State::Done(lease) => {
                info!(address = %lease.yiaddr, server = %lease.srv_id, seconds = lease.lease_time_sec, "a lease");
                session.bound(read(&lease)?)?;
                self.until = None;
            }
            DhcpV4State::InitReboot => {
                info!("the lease is over");
                session.lost()?;
            }
            DhcpV4State::Selecting => self.asks = Asks::First,
            DhcpV4State::Renewing | DhcpV4State::Rebinding => self.asks = Asks::Again,
        }
        Ok(())
    }

    /// RFC 2131, 4.4.5: the address is not to be used any more, at once, and the client begins anew.
    fn refused(
        &mut self,
        client: &mut DhcpV4Client,
        server: Ipv4Addr,
        session: &Session,
    ) -> Result<()> {
        match self.asks {
            Asks::Nothing => {}
            Asks::First => bail!("{server} refuses what was offered"),
            Asks::Again => {
                warn!(%server, "the lease is not renewed: refused");
                self.asks = Asks::Nothing;
                self.until = None;
                client.clean_up();
                session.lost()?;
            }
        }
        Ok(())
    }

    fn end(&mut self, session: &Session) {
        self.until = None;
        info!("the lease of an earlier client is over");
        if let Err(error) = session.lost() {
            warn!("{error}");
        }
    }

    async fn rest(&mut self, session: &Session, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = expiry(self.until) => self.end(session),
        }
    }
}

/// Waits for it; for ever, if there is none.
async fn expiry(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// What of a lease matters.
fn read(lease: &DhcpV4Lease) -> Result<Lease> {
    let prefix = prefix(lease.subnet_mask, lease.yiaddr);
    let address = Cidr::new(lease.yiaddr.into(), prefix)?;
    let classless = lease.classless_routes.iter().flatten();
    let mut routes: Vec<_> = classless
        .filter_map(|it| {
            let destination = Cidr::new(it.destination.into(), it.prefix_length).ok()?;
            let via = (!it.router.is_unspecified()).then(|| it.router.into());
            Some((destination, via))
        })
        .take(MOST_ROUTES)
        .collect();
    // RFC 3442: with these the option Router plays no part, and one of them may be the default route.
    let gateway = if lease.classless_routes.is_some() {
        let default = routes.iter().position(|(to, _)| to.is_any());
        default.and_then(|at| routes.remove(at).1)
    } else {
        let routers = lease.gateways.iter().flatten();
        routers.copied().find(|it| is_host(*it)).map(Into::into)
    };
    routes.retain(|(to, _)| !to.is_any());
    let servers = lease.dns_srvs.iter().flatten();
    Ok(Lease {
        address,
        preferred: lease.lease_time_sec,
        valid: lease.lease_time_sec,
        gateway,
        routes,
        nameservers: servers
            .filter(|it| is_host(**it))
            .filter_map(|it| it.to_string().parse::<Nameserver>().ok())
            .take(MOST_SERVERS)
            .collect(),
    })
}

/// A server may send what fits into its packet; nobody needs that many.
const MOST_ROUTES: usize = 64;
/// The C library uses three.
const MOST_SERVERS: usize = 6;

fn is_host(ip: Ipv4Addr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast()
}

/// Of the mask; of the address's class, if there is none or no mask at all.
fn prefix(mask: Ipv4Addr, address: Ipv4Addr) -> u8 {
    let ones = mask.to_bits().leading_ones();
    let whole = mask.to_bits().count_ones() == ones;
    let [first, ..] = address.octets();
    match ones as u8 {
        ones @ 1..=32 if whole => ones,
        _ => match first {
            0..128 => 8,
            128..192 => 16,
            _ => 24,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().expect("an address")
    }

    fn lease() -> DhcpV4Lease {
        let mut lease = DhcpV4Lease::default();
        lease.yiaddr = ip("192.0.2.7");
        lease.subnet_mask = ip("255.255.255.0");
        lease.lease_time_sec = 120;
        lease
    }

    #[test]
    fn a_lease_is_read() {
        let mut lease = lease();
        lease.gateways = Some(vec![ip("0.0.0.0"), ip("192.0.2.1")]);
        lease.dns_srvs = Some(vec![ip("192.0.2.53"), ip("255.255.255.255")]);
        let read = read(&lease).expect("a lease");
        assert_eq!(read.address.to_string(), "192.0.2.7/24");
        assert_eq!(read.gateway, Some(ip("192.0.2.1").into()));
        assert_eq!(read.nameservers.len(), 1);
        assert!(read.routes.is_empty());
    }

    #[test]
    fn masks_that_are_none_are_guessed() {
        for (mask, address, expected) in [
            ("255.255.252.0", "192.0.2.7", 22),
            ("255.255.255.255", "192.0.2.7", 32),
            ("0.0.0.0", "10.0.0.1", 8),
            ("255.0.255.0", "172.16.0.1", 16),
            ("0.0.0.1", "192.0.2.7", 24),
        ] {
            assert_eq!(prefix(ip(mask), ip(address)), expected, "{mask}");
        }
    }
}
