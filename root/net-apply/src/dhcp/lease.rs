//! What a lease, or the routers of a link, bring: addresses, routes, rules, name servers. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use net_model::{Cidr, DhcpClient, IfName, MAIN_TABLE, Nameserver, Route, Rule, source_routing};
use serde::{Deserialize, Serialize};

/// An address for a time, as a server gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address and its network; of DHCPv6, which tells no network, with all bits.
    pub address: Cidr,
    /// Seconds that it may be used for new connections.
    pub preferred: u32,
    /// Seconds that it may be used; [`u32::MAX`]: for ever.
    pub valid: u32,
    /// The default router.
    pub gateway: Option<IpAddr>,
    /// Other routes (option 121): where to, and by whom if not on the link.
    pub routes: Vec<(Cidr, Option<IpAddr>)>,
    /// Name servers.
    pub nameservers: Vec<Nameserver>,
}

/// What routers of a link advertise, and nothing of it is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Networks on the link.
    pub prefixes: BTreeSet<Cidr>,
    /// The router that a default route leads to.
    pub gateway: Option<IpAddr>,
    /// Name servers.
    pub nameservers: Vec<Nameserver>,
}

/// What a client put into the kernel and into resolv.conf: remembered before it is done, so that whoever comes later
/// can take it away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Brought {
    /// The address of the lease.
    pub(super) addresses: Vec<Cidr>,
    /// Routes, in the order in which they can be added.
    pub(super) routes: Vec<Route>,
    /// Rules.
    pub(super) rules: BTreeSet<Rule>,
    /// Name servers; empty if the client brings none.
    pub(super) nameservers: Vec<Nameserver>,
}

/// Addresses that a server gives and no interface may have: a server that lies takes nobody's place.
///
/// # Errors
/// Why not.
pub(super) fn check(lease: &Lease) -> Result<(), &'static str> {
    if let Some(why) = lease.address.why_not_assignable() {
        return Err(why);
    }
    if lease.valid == 0 {
        return Err("it is over already");
    }
    Ok(())
}

impl Brought {
    /// What a client of this interface brings.
    pub(super) fn by(
        lease: Option<&Lease>,
        advertised: &Advertised,
        client: &DhcpClient,
        link: &IfName,
    ) -> Self {
        let mut all = Self::default();
        if let Some(lease) = lease {
            all.add_lease(lease, client, link);
        }
        if client.table != MAIN_TABLE {
            all.add_advertised(advertised, client.table, link);
        }
        if client.dns {
            let servers = lease.map(|it| it.nameservers.as_slice());
            let both = servers.unwrap_or_default().iter();
            for server in both.chain(&advertised.nameservers) {
                if !all.nameservers.contains(server) {
                    all.nameservers.push(server.clone());
                }
            }
        }
        all.in_order();
        all
    }

    fn add_lease(&mut self, lease: &Lease, client: &DhcpClient, link: &IfName) {
        self.addresses.push(lease.address);
        let mut routing =
            source_routing::of_lease(lease.address, lease.gateway, link, client.table);
        if client.table == MAIN_TABLE {
            // The kernel itself has the network in the main table, and every host looks there.
            routing.routes.retain(|it| it.via.is_some());
            routing.rules.clear();
        }
        let others = lease.routes.iter().map(|(destination, via)| {
            Route::ours(
                Some(link.clone()),
                client.table,
                destination.network(),
                *via,
            )
        });
        self.routes.extend(routing.routes.into_iter().chain(others));
        self.rules.extend(routing.rules);
        let near = |via: IpAddr| match via {
            IpAddr::V4(_) => lease.address.contains(via),
            // No server of IPv6 tells of routers: a router speaks for itself, from a link-local address.
            IpAddr::V6(_) => true,
        };
        for route in &mut self.routes {
            route.onlink = route.via.is_some_and(|via| !near(via));
        }
    }

    fn add_advertised(&mut self, advertised: &Advertised, table: u32, link: &IfName) {
        for prefix in &advertised.prefixes {
            let routing = source_routing::of_lease(*prefix, None, link, table);
            self.routes.extend(routing.routes);
            self.rules.extend(routing.rules);
        }
        if let Some(gateway) = advertised.gateway {
            let any = net_model::Family::of(gateway).any();
            let link = Some(link.clone());
            self.routes
                .push(Route::ours(link, table, any, Some(gateway)));
        }
    }

    /// On the link first: next hops of others may need them. Each once.
    fn in_order(&mut self) {
        self.routes.sort_by_key(|it| it.via.is_some());
        let mut seen = BTreeSet::new();
        self.routes.retain(|it| seen.insert(it.clone()));
    }

    /// What is here and not there.
    #[must_use]
    pub(super) fn without(&self, other: &Self) -> Self {
        fn minus<T: Clone + PartialEq>(all: &[T], others: &[T]) -> Vec<T> {
            let left = all.iter().filter(|it| !others.contains(it));
            left.cloned().collect()
        }
        Self {
            addresses: minus(&self.addresses, &other.addresses),
            routes: minus(&self.routes, &other.routes),
            rules: self.rules.difference(&other.rules).cloned().collect(),
            nameservers: minus(&self.nameservers, &other.nameservers),
        }
    }

    /// Both.
    #[must_use]
    pub(super) fn and(&self, other: &Self) -> Self {
        let more = other.without(self);
        let mut all = self.clone();
        all.addresses.extend(more.addresses);
        all.routes.extend(more.routes);
        all.rules.extend(more.rules);
        all.nameservers.extend(more.nameservers);
        all.in_order();
        all
    }
}

#[cfg(test)]
mod tests {
    use net_model::Family;
    use proptest::prelude::*;

    use super::*;

    fn lease(address: &str, gateway: Option<&str>) -> Lease {
        Lease {
            address: address.parse().expect("an address"),
            preferred: 60,
            valid: 120,
            gateway: gateway.map(|it| it.parse().expect("an address")),
            routes: Vec::new(),
            nameservers: vec!["192.0.2.53".parse().expect("a server")],
        }
    }

    fn client(family: Family, table: u32, dns: bool) -> DhcpClient {
        DhcpClient {
            family,
            table,
            dns,
            stateless: false,
        }
    }

    fn link() -> IfName {
        IfName::new("eth1").expect("a name")
    }

    fn lines(brought: &Brought) -> Vec<String> {
        let routes = brought.routes.iter().map(ToString::to_string);
        routes
            .chain(brought.rules.iter().map(ToString::to_string))
            .collect()
    }

    #[test]
    fn a_network_of_its_own_table_gets_routes_and_rules_there() {
        let mut lease = lease("192.0.2.7/24", Some("192.0.2.1"));
        let far = "198.51.100.0/24".parse().expect("a network");
        lease.routes = vec![(far, Some("203.0.113.1".parse().expect("an address")))];
        let client = client(Family::V4, 100_001, false);
        let brought = Brought::by(Some(&lease), &Advertised::default(), &client, &link());
        assert_eq!(
            lines(&brought),
            [
                "192.0.2.0/24 dev eth1 table 100001",
                "default (IPv4) via 192.0.2.1 dev eth1 table 100001",
                "198.51.100.0/24 via 203.0.113.1 dev eth1 table 100001 onlink",
                "3200: to 192.0.2.0/24 lookup 100001",
                "3200: from 192.0.2.0/24 lookup 100001",
            ]
        );
        assert!(brought.nameservers.is_empty(), "not asked for");
    }

    #[test]
    fn the_default_route_of_the_host_needs_no_rule() {
        let lease = lease("192.0.2.7/24", Some("192.0.2.1"));
        let client = client(Family::V4, MAIN_TABLE, true);
        let brought = Brought::by(Some(&lease), &Advertised::default(), &client, &link());
        assert_eq!(lines(&brought), ["default (IPv4) via 192.0.2.1 dev eth1"]);
        assert_eq!(brought.nameservers.len(), 1);
    }

    #[test]
    fn what_routers_say_goes_with_the_lease_and_alone() {
        let lease = Lease {
            nameservers: Vec::new(),
            ..lease("2001:db8::7/128", None)
        };
        let advertised = Advertised {
            prefixes: ["2001:db8::/64".parse().expect("a network")].into(),
            gateway: Some("fe80::1".parse().expect("an address")),
            nameservers: vec!["2001:db8::53".parse().expect("a server")],
        };
        let client = client(Family::V6, 100_001, true);
        let both = Brought::by(Some(&lease), &advertised, &client, &link());
        let alone = Brought::by(None, &advertised, &client, &link());
        assert_eq!(both.rules.len(), 4);
        assert_eq!(alone.rules.len(), 2);
        assert_eq!(
            lines(&alone)[..2],
            [
                "2001:db8::/64 dev eth1 table 100001",
                "default (IPv6) via fe80::1 dev eth1 table 100001"
            ]
        );
        assert_eq!(both.nameservers, advertised.nameservers);
        // What went is told apart from what stays, and both together are remembered.
        let gone = both.without(&alone);
        assert_eq!(gone.addresses, [lease.address]);
        assert_eq!(gone.rules.len(), 2);
        assert!(gone.nameservers.is_empty());
        assert_eq!(alone.and(&both).without(&both), Brought::default());
    }

    #[test]
    fn a_server_that_lies_is_not_believed() {
        for bad in [
            "0.0.0.0/24",
            "127.0.0.1/8",
            "224.0.0.1/24",
            "192.0.2.0/24",
            "::1/128",
        ] {
            assert!(check(&lease(bad, None)).is_err(), "{bad}");
        }
        let over = Lease {
            valid: 0,
            ..lease("192.0.2.7/24", None)
        };
        assert!(check(&over).is_err());
        check(&lease("192.0.2.7/24", None)).expect("a good one");
    }

    proptest! {
        #[test]
        fn union_and_difference_agree(a in 0u8..4, b in 0u8..4) {
            let some = |n: u8| {
                let lease = lease(&format!("192.0.{n}.7/24"), Some("192.0.2.1"));
                Brought::by(Some(&lease), &Advertised::default(), &client(Family::V4, 100_001 + u32::from(n % 2), true), &link())
            };
            let (a, b) = (some(a), some(b));
            let all = a.and(&b);
            prop_assert_eq!(a.without(&all), Brought::default());
            prop_assert_eq!(b.without(&all), Brought::default());
            prop_assert_eq!(all.without(&a), b.without(&a));
        }
    }
}
