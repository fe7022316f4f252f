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

use net_model::{Current, IfName, Ipv6Setting, Ipv6Settings, Link, Nameserver};
use netlink::{
    Channel, NetlinkError,
    packet::{
        RouteNetlinkMessage,
        address::AddressMessage,
        link::{LinkAttribute, LinkExtentMask, LinkMessage},
        rule::RuleMessage,
    },
};

/// Names of interfaces by their index.
pub type Indexes = BTreeMap<u32, IfName>;

/// Most of resolv.conf that is read.
const MOST_OF_RESOLV_CONF: u64 = 64 << 10;

/// Where settings of IPv6 are.
const IPV6: &str = "/proc/sys/net/ipv6";

/// Where systemd-resolved listens, in two ways.
const STUBS: [&str; 2] = ["127.0.0.53", "127.0.0.54"];

/// The servers that systemd-resolved asks.
const UPLINKS: &str = "/run/systemd/resolve/resolv.conf";

/// The network of this thread's namespace, and which index has which name.
///
/// `nics`: kinds of interfaces that count as network cards although the kernel makes them by software
/// (upstream's `fake_nics`; `veth` and `dummy` in tests).
///
/// # Errors
/// The kernel did not tell within `deadline` for one of the dumps.
pub fn network(deadline: Duration, nics: &[&str]) -> Result<(Current, Indexes), NetlinkError> {
    let mut channel = Channel::open(deadline)?;
    let (all, indexes) = read_links(&mut channel, nics)?;
    let routes = routes::read(&mut channel, &indexes)?;
    let rules = channel.dump(&RouteNetlinkMessage::GetRule(RuleMessage::default()))?;
    let current = Current {
        links: all,
        routes,
        rules: routes::rules(&rules),
        nameservers: hosts_nameservers(Path::new("/etc/resolv.conf"), Path::new(UPLINKS)),
        ipv6: Path::new(IPV6).exists(),
        ipv6_defaults: ipv6_defaults(),
        ..Current::default()
    };
    Ok((current, indexes))
}

/// Interfaces and addresses alone, of this thread's namespace: what is asked for after each of the kernel's news, when routes
/// may be many.
///
/// # Errors
/// As of [`network`].
pub fn interfaces(deadline: Duration) -> Result<BTreeMap<IfName, Link>, NetlinkError> {
    Ok(read_links(&mut Channel::open(deadline)?, &[])?.0)
}

fn read_links(
    channel: &mut Channel,
    nics: &[&str],
) -> Result<(BTreeMap<IfName, Link>, Indexes), NetlinkError> {
    let links = channel.dump(&all_links())?;
    let indexes = links::indexes(&links);
    let addresses = channel.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let mut all = links::links(&links, &indexes, nics);
    links::add_addresses(&mut all, &addresses, &indexes);
    Ok((all, indexes))
}

/// All interfaces, without their counters.
pub(crate) fn all_links() -> RouteNetlinkMessage {
    let mut request = LinkMessage::default();
    let mask = vec![LinkExtentMask::SkipStats];
    request.attributes.push(LinkAttribute::ExtMask(mask));
    RouteNetlinkMessage::GetLink(request)
}

/// What new interfaces of this thread's namespace have; what cannot be read is the kernel's own.
fn ipv6_defaults() -> Ipv6Settings {
    let mut settings = Ipv6Settings::default();
    for setting in Ipv6Setting::ALL {
        let path = format!("{IPV6}/conf/default/{}", setting.sysctl());
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Ok(value) = text.trim().parse() {
            settings.set(setting, value);
        }
    }
    settings
}

/// The host's name servers: those of resolv.conf; where these are systemd-resolved's own stub, which no file but its own
/// may name, those that it asks (`uplinks`; systemd-resolved.service(8)).
fn hosts_nameservers(resolv: &Path, uplinks: &Path) -> Vec<Nameserver> {
    let is_stub = |it: &Nameserver| STUBS.contains(&it.as_str());
    let named = nameservers(resolv);
    if named.is_empty() || !named.iter().all(is_stub) {
        return named;
    }
    let mut asked = nameservers(uplinks);
    asked.retain(|it| !is_stub(it));
    asked
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
    fn a_stub_is_no_server_of_the_host() {
        let folder = tempfile::tempdir().expect("a folder");
        let (resolv, uplinks) = (folder.path().join("a"), folder.path().join("b"));
        let of_host = |text: &str| {
            fs::write(&resolv, text).expect("written");
            let servers = hosts_nameservers(&resolv, &uplinks);
            let servers = servers.iter().map(|it| it.as_str().to_owned());
            servers.collect::<Vec<_>>()
        };
        let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n";
        assert!(of_host(stub).is_empty(), "nobody knows whom it asks");
        fs::write(&uplinks, "nameserver 192.0.2.53\nnameserver 127.0.0.54\n").expect("written");
        assert_eq!(of_host(stub), ["192.0.2.53"]);
        // An administrator's own resolver is the host's.
        assert_eq!(of_host("nameserver 127.0.0.1\n"), ["127.0.0.1"]);
        let both = "nameserver 192.0.2.1\nnameserver 127.0.0.53\n";
        assert_eq!(of_host(both), ["192.0.2.1", "127.0.0.53"]);
        assert!(of_host("").is_empty(), "said to be none");
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
