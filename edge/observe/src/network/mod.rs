//! The host's network as the kernel has it now, in the words of `net-model`: four dumps over one socket, and resolv.conf.
//!
//! What the kernel does not know stays empty: the DHCP clients that run (who started them knows), and shaping
//! (its reader is `net-apply`, which makes it).
//!
//! Look next: `counters.rs` (what interfaces moved), `watch.rs` (news of interfaces), `links.rs` (interfaces; `bond.rs` and `bridge.rs` for their attributes), `routes.rs` (routes and rules).

mod bond;
mod bridge;
pub mod counters;
pub(crate) mod links;
mod routes;
pub mod watch;

use std::{collections::BTreeMap, fs, io::Read as _, path::Path, time::Duration};

use net_model::{Current, IfName, Nameserver};
use netlink::{
    Channel, NetlinkError,
    packet::{
        RouteNetlinkMessage,
        address::AddressMessage,
        link::{LinkAttribute, LinkExtentMask, LinkMessage},
        route::RouteMessage,
        rule::RuleMessage,
    },
};

/// Names of interfaces by their index.
pub type Indexes = BTreeMap<u32, IfName>;

/// Most of resolv.conf that is read.
const MOST_OF_RESOLV_CONF: u64 = 64 << 10;

/// The network of this thread's namespace, and which index has which name.
///
/// `nics`: kinds of interfaces that count as network cards although the kernel makes them by software
/// (upstream's `fake_nics`; `veth` and `dummy` in tests).
///
/// # Errors
/// The kernel did not tell within `deadline` for one of the dumps.
pub fn network(deadline: Duration, nics: &[&str]) -> Result<(Current, Indexes), NetlinkError> {
    let mut channel = Channel::open(deadline)?;
    let links = channel.dump(&all_links())?;
    let indexes = links::indexes(&links);
    let addresses = channel.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let routes = channel.dump(&RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
    let rules = channel.dump(&RouteNetlinkMessage::GetRule(RuleMessage::default()))?;
    let mut all = links::links(&links, &indexes, nics);
    links::add_addresses(&mut all, &addresses, &indexes);
    let current = Current {
        links: all,
        routes: routes::routes(&routes, &indexes),
        rules: routes::rules(&rules),
        nameservers: nameservers(Path::new("/etc/resolv.conf")),
        ipv6: Path::new("/proc/sys/net/ipv6").exists(),
        ..Current::default()
    };
    Ok((current, indexes))
}

/// All interfaces, without their counters.
pub(crate) fn all_links() -> RouteNetlinkMessage {
    let mut request = LinkMessage::default();
    let mask = vec![LinkExtentMask::SkipStats];
    request.attributes.push(LinkAttribute::ExtMask(mask));
    RouteNetlinkMessage::GetLink(request)
}

/// The name servers of a resolv.conf, none if there is no such file.
pub fn nameservers(path: &Path) -> Vec<Nameserver> {
    let mut text = String::new();
    let Ok(file) = fs::File::open(path) else {
        return Vec::new();
    };
    if file
        .take(MOST_OF_RESOLV_CONF)
        .read_to_string(&mut text)
        .is_err()
    {
        return Vec::new();
    }
    parse_nameservers(&text)
}

/// resolv.conf(5): `nameserver ADDRESS`, the keyword at the line's start.
fn parse_nameservers(text: &str) -> Vec<Nameserver> {
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_are_addresses() {
        let text = "# nameserver 1.1.1.1\nnameserver 192.0.2.1\nnameserver\tfe80::1%eth0 # ours\n\
                    nameserver no.such\nnameserverx 192.0.2.9\noptions edns0\nnameserver 192.0.2.2";
        let servers = parse_nameservers(text);
        let servers: Vec<_> = servers.iter().map(Nameserver::as_str).collect();
        assert_eq!(servers, ["192.0.2.1", "fe80::1%eth0", "192.0.2.2"]);
    }

    #[test]
    fn the_machine_beneath_has_a_loopback() {
        let (current, indexes) = network(Duration::from_secs(20), &[]).expect("a network");
        let lo = IfName::new("lo").expect("a name");
        assert_eq!(current.links[&lo].kind, net_model::LinkKind::Loopback);
        assert_eq!(indexes[&1], lo);
        assert!(current.routes.iter().all(|it| it.table != 255));
    }
}
