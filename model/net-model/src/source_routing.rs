//! Source routing, IPv4 and IPv6: what came in by a network goes out by it (TODO 31, 32, 33).
//!
//! A network with a gateway has a table of its own with its networks (scope link) and a default route, and rules
//! `from NET lookup TABLE`, `to NET lookup TABLE` at priority [`RULE_PRIORITY`], upstream's. All carry
//! [`OUR_PROTOCOL`]: what does not is not ours, but for what upstream made ([`upstream_table`]), which is taken
//! over: removed when its network is touched.

use core::net::IpAddr;
use std::collections::BTreeSet;

use crate::{Cidr, Family, IfName, MAIN_TABLE, Network, OUR_PROTOCOL, Route, Rule};

/// Priority of all our rules; also upstream's.
pub const RULE_PRIORITY: u32 = 3200;

/// Routes and rules of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// Routes, in the order in which they can be added.
    pub routes: Vec<Route>,
    /// Rules.
    pub rules: BTreeSet<Rule>,
}

/// What a network with given addresses routes: default routes of the host, source routing, its own routes.
pub fn of_network(network: &Network, top: &IfName, table: Option<u32>) -> Routing {
    let mut routing = Routing::default();
    for family in Family::ALL {
        let ip = network.ip(family);
        let gateway = ip.gateway;
        let inside = |it: IpAddr| ip.addresses.iter().any(|own| own.contains(it));
        let default = |table, gateway| Route {
            onlink: !inside(gateway) && !is_near(gateway),
            ..default_route(top, table, gateway)
        };
        if let (Some(gateway), true) = (gateway, network.default_route) {
            routing.routes.push(default(MAIN_TABLE, gateway));
        }
        if let (Some(gateway), Some(table)) = (gateway, table) {
            for address in &ip.addresses {
                routing.add_source(*address, top, table);
            }
            routing.routes.push(default(table, gateway));
        }
    }
    let own = network.routes.iter().map(|it| {
        let plain = Route::ours(None, it.table.unwrap_or(MAIN_TABLE), it.destination, it.via);
        let device = (it.kind == crate::RouteKind::Unicast).then(|| top.clone());
        Route {
            device,
            metric: it.metric.unwrap_or(plain.metric),
            kind: it.kind,
            source: it.source,
            mtu: it.mtu,
            onlink: it.onlink,
            ..plain
        }
    });
    routing.routes.extend(own);
    routing.in_order();
    routing
}

/// What an address got by DHCP or a router brings: for whoever hears of leases and advertisements.
pub fn of_lease(address: Cidr, gateway: Option<IpAddr>, top: &IfName, table: u32) -> Routing {
    let mut routing = Routing::default();
    routing.add_source(address, top, table);
    if let Some(gateway) = gateway {
        routing.routes.push(default_route(top, table, gateway));
    }
    routing
}

impl Routing {
    fn add_source(&mut self, address: Cidr, top: &IfName, table: u32) {
        let network = address.network();
        let route = Route::ours(Some(top.clone()), table, network, None);
        if !self.routes.contains(&route) {
            self.routes.push(route);
        }
        for (from, to) in [(Some(network), None), (None, Some(network))] {
            self.rules.insert(Rule {
                table,
                priority: RULE_PRIORITY,
                family: network.family(),
                from,
                to,
                protocol: OUR_PROTOCOL,
                more: false,
            });
        }
    }

    /// On the link first: the next hops of the others may need them.
    fn in_order(&mut self) {
        self.routes.sort_by_key(|it| it.via.is_some());
        let mut seen = BTreeSet::new();
        self.routes.retain(|it| seen.insert(it.clone()));
    }
}

fn is_near(gateway: IpAddr) -> bool {
    matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn default_route(top: &IfName, table: u32, gateway: IpAddr) -> Route {
    let any = Family::of(gateway).any();
    Route::ours(Some(top.clone()), table, any, Some(gateway))
}

/// The table that upstream hashes an interface's name to (`zlib.adler32`).
pub fn upstream_table(top: &IfName) -> u32 {
    const MODULUS: u32 = 65_521;
    let (a, b) = top.as_str().bytes().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(byte)) % MODULUS;
        (a, (a + b) % MODULUS)
    });
    b << 16 | a
}

/// Did upstream make this rule for this interface?
pub fn is_upstream_rule(rule: &Rule, top: &IfName) -> bool {
    rule.priority == RULE_PRIORITY
        && !rule.more
        && rule.from.is_some() != rule.to.is_some()
        && rule.protocol != OUR_PROTOCOL
        && rule.table == upstream_table(top)
}

/// Did upstream make this route for this interface's table?
pub fn is_upstream_route(route: &Route, top: &IfName) -> bool {
    route.protocol != OUR_PROTOCOL
        && route.device.as_ref() == Some(top)
        && route.table == upstream_table(top)
}
