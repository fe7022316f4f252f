//! Addresses, routes, rules and DHCP of one network: steps on one interface and one table, independent of every
//! other network's.

use std::collections::BTreeSet;

use super::{
    Planner,
    facts::{Facts, Known},
};
use crate::{
    Address, Cidr, DhcpClient, Family, IfName, Ipv6Setting, MAIN_TABLE, NetError, NetName, Network,
    OUR_PROTOCOL, Route, RouteKind, Rule, Step, addresses,
    kernel::is_ours,
    source_routing::{self, Routing},
};

impl Planner<'_> {
    pub(super) fn addresses_of(
        &mut self,
        facts: &Facts<'_>,
        name: &NetName,
        (network, devices): &Known<'_>,
    ) -> Result<(), NetError> {
        let top = &devices.top;
        let table = facts.tables.get(name);
        let gateways: Vec<_> = gateways(facts, name).collect();
        let mut routing = source_routing::of_network(network, top, table);
        self.keep_apart(&mut routing, table, |it| {
            is_taken_over(it, top, network, &gateways)
        });
        self.drop_rules(network, top, table, &routing)?;
        self.drop_routes(facts, name, network, top, &routing)?;
        let routes = self.routes_now(top);
        self.set_families(network, top)?;
        self.set_clients(network, top, table)?;
        self.set_addresses(network, top)?;
        self.add_routing(top, routing)?;
        self.mend_routes(top, &routes, |it| {
            !is_ours(it) && !is_taken_over(it, top, network, &gateways)
        })
    }

    /// Of IPv6 routes to one place with one metric the kernel makes one of several ways, whoever made them, and tells one
    /// maker for all of it: ours would take half of what goes by the foreign one, and could not be told from it. So ours
    /// gets the next lower metric, and goes before the foreign one, as it does in IPv4.
    fn keep_apart(&self, routing: &mut Routing, own: Option<u32>, goes: impl Fn(&Route) -> bool) {
        let routes = &self.kernel.state().routes;
        // In a network's own table nobody else is.
        let shared = |it: &&mut Route| {
            let six = it.family() == Family::V6 && it.kind == RouteKind::Unicast;
            six && it.via.is_some() && Some(it.table) != own
        };
        for route in routing.routes.iter_mut().filter(shared) {
            let rival = |metric: u32| {
                let wanted = Route {
                    metric,
                    ..route.clone()
                };
                routes.iter().any(|it| {
                    let same = (it.table, it.destination, it.metric);
                    let beside = same == (wanted.table, wanted.destination, metric);
                    beside && !is_ours(it) && !wanted.leads_like(it) && !goes(it)
                })
            };
            let free = (1..=route.metric).rev().find(|it| !rival(*it));
            route.metric = free.unwrap_or(route.metric);
        }
    }

    /// Rules of the network's table that nobody wants; upstream's. What a lease or a router brought stays while the
    /// network still takes such.
    fn drop_rules(
        &mut self,
        network: &Network,
        top: &IfName,
        table: Option<u32>,
        routing: &Routing,
    ) -> Result<(), NetError> {
        let dynamic = |family| {
            let ip = network.ip(family);
            ip.dhcp || ip.autoconf
        };
        let ours = table.into_iter().flat_map(|it| self.rules_of(it));
        let ours = ours
            .filter(|it| it.protocol == OUR_PROTOCOL && !routing.rules.contains(*it))
            .filter(|it| !dynamic(it.family));
        let theirs = self.rules_of(source_routing::upstream_table(top));
        let theirs = theirs.filter(|it| source_routing::is_upstream_rule(it, top));
        let all: Vec<Rule> = ours.chain(theirs).cloned().collect();
        for rule in all {
            self.push(Step::RemoveRule { rule })?;
        }
        Ok(())
    }

    fn drop_routes(
        &mut self,
        facts: &Facts<'_>,
        name: &NetName,
        network: &Network,
        top: &IfName,
        routing: &Routing,
    ) -> Result<(), NetError> {
        let gateways: Vec<_> = gateways(facts, name).collect();
        let had = facts.before.get(name);
        let unbound: Vec<Route> = had
            .map(|(old, _)| source_routing::of_network(old, top, None).routes)
            .unwrap_or_default()
            .into_iter()
            .filter(|it| it.device.is_none())
            .collect();
        let unbound = unbound.iter().filter(|it| !routing.routes.contains(it));
        let had = had.map(|(old, devices)| {
            source_routing::of_network(old, &devices.top, facts.tables.get(name)).routes
        });
        let had = had.unwrap_or_default();
        // Somebody else's way beside ours: the kernel tells one maker for all ways of a route.
        let merged = |it: &Route| {
            let same = |a: &Route, b: &Route| {
                let what = |it: &Route| (it.table, it.destination, it.metric);
                what(a) == what(b) && b.via.is_some()
            };
            let there = |wanted: &Route| self.kernel.state().routes.contains(wanted);
            let beside = |wanted: &&Route| same(it, wanted) && there(wanted);
            let six = it.family() == Family::V6 && it.via.is_some();
            let was = || had.iter().any(|old| old.via == it.via && same(it, old));
            six && routing.routes.iter().any(|wanted| beside(&wanted)) && !was()
        };
        let dynamic = |family| {
            let ip = network.ip(family);
            ip.dhcp || ip.autoconf
        };
        let brought = |it: &Route| {
            let main = it.table == MAIN_TABLE && it.destination.is_any() && network.default_route;
            (main || facts.tables.get(name) == Some(it.table)) && dynamic(it.family())
        };
        let unwanted = self.kernel.state().routes_of(top).filter(|it| {
            let wanted = routing.routes.iter().any(|wanted| it.leads_like(wanted));
            let ours = is_ours(it) && !brought(it) && !merged(it);
            !wanted && (ours || is_taken_over(it, top, network, &gateways))
        });
        let all: Vec<Route> = unwanted.chain(unbound).cloned().collect();
        for route in all {
            self.push(Step::RemoveRoute { route })?;
        }
        Ok(())
    }

    fn set_families(&mut self, network: &Network, top: &IfName) -> Result<(), NetError> {
        let ip = network.ip(Family::V6);
        let off = ip.is_off();
        if !off {
            let routers = ip.autoconf || ip.dhcp;
            let accept_ra = if routers { 2 } else { 0 };
            let default = u8::from(routers && network.default_route);
            self.set_ipv6(top, Ipv6Setting::AcceptRaDefrtr, default)?;
            self.set_ipv6(top, Ipv6Setting::AcceptRa, accept_ra)?;
            self.set_ipv6(top, Ipv6Setting::Autoconf, ip.autoconf.into())?;
        }
        self.set_ipv6(top, Ipv6Setting::Disable, off.into())
    }

    fn set_clients(
        &mut self,
        network: &Network,
        top: &IfName,
        table: Option<u32>,
    ) -> Result<(), NetError> {
        for family in Family::ALL {
            let link = top.clone();
            let ip = network.ip(family);
            if !ip.dhcp && !ip.autoconf {
                self.push(Step::StopDhcp { link, family })?;
                continue;
            }
            let own = table.unwrap_or(MAIN_TABLE);
            let client = DhcpClient {
                family,
                table: if network.default_route {
                    MAIN_TABLE
                } else {
                    own
                },
                dns: network.default_route && network.nameservers.is_empty(),
                stateless: !ip.dhcp,
            };
            self.push(Step::StartDhcp { link, client })?;
        }
        Ok(())
    }

    fn set_addresses(&mut self, network: &Network, top: &IfName) -> Result<(), NetError> {
        let addresses = self.link(top).map(|it| it.addresses.clone());
        let stays = |it: &Address| {
            let ip = network.ip(it.cidr.family());
            it.is_link_local() || (it.dynamic && (ip.dhcp || ip.autoconf))
        };
        let addresses = addresses.unwrap_or_default();
        let now: Vec<Cidr> = addresses
            .iter()
            .filter(|it| !stays(it) || network.ip(it.cidr.family()).addresses.contains(&it.cidr))
            .map(|it| it.cidr)
            .collect();
        let wanted: Vec<Cidr> = Family::ALL
            .into_iter()
            .flat_map(|family| network.ip(family).addresses.iter().copied())
            .collect();
        let mut change = addresses::change(&now, &wanted);
        // A duplicate is taken away and added, so that the kernel asks again whether it still is one.
        let again = addresses
            .iter()
            .filter(|it| it.dad_failed)
            .map(|it| it.cidr);
        let again = again.filter(|it| wanted.contains(it) && !change.remove.contains(it));
        let again: Vec<Cidr> = again.collect();
        change.remove.extend(again);
        let stay = now.iter().filter(|it| !change.remove.contains(it));
        let stay: Vec<Cidr> = stay.copied().collect();
        self.remove_routes(top, |it| hangs_on(it, &change.remove, &stay))?;
        for address in change.remove {
            self.push(Step::RemoveAddress {
                link: top.clone(),
                address,
            })?;
        }
        for address in wanted {
            self.push(Step::AddAddress {
                link: top.clone(),
                address,
            })?;
        }
        Ok(())
    }

    fn add_routing(&mut self, top: &IfName, routing: Routing) -> Result<(), NetError> {
        for route in routing.routes {
            let state = self.kernel.state();
            let there = state.routes_of(top).any(|it| it.leads_like(&route));
            if !there {
                self.push(Step::AddRoute { route })?;
            }
        }
        for rule in routing.rules {
            self.push(Step::AddRule { rule })?;
        }
        Ok(())
    }
}

/// Does a route go with these addresses? It is removed before them, so that it can come back after them: on the way
/// forth, and on the way back.
fn hangs_on(route: &Route, gone: &[Cidr], stay: &[Cidr]) -> bool {
    let family = route.family();
    let goes = gone.iter().any(|it| it.family() == family);
    let last = !stay.iter().any(|it| it.family() == family);
    let from = |it| gone.iter().any(|gone| gone.ip() == it);
    let by = |it| {
        gone.iter().any(|gone| gone.contains(it)) && !stay.iter().any(|stay| stay.contains(it))
    };
    (goes && last && family == Family::V4)
        || route.source.is_some_and(from)
        || route.via.is_some_and(by)
}

/// Gateways that the network has or had.
fn gateways<'a>(
    facts: &'a Facts<'_>,
    name: &'a NetName,
) -> impl Iterator<Item = core::net::IpAddr> + use<'a> {
    let before = facts.before.get(name).map(|(network, _)| *network);
    let after = facts.after.get(name).map(|(network, _)| *network);
    let networks = before.into_iter().chain(after);
    let all: BTreeSet<_> = networks
        .flat_map(|it| Family::ALL.map(|family| it.ip(family).gateway))
        .flatten()
        .collect();
    all.into_iter()
}

/// Routes on an interface of ours that another agent (upstream, NetworkManager for it) made for this network: its
/// hashed table, and the default route by a gateway of the network that has not to be the default any more.
fn is_taken_over(
    route: &Route,
    top: &IfName,
    network: &Network,
    gateways: &[core::net::IpAddr],
) -> bool {
    let default = route.table == MAIN_TABLE && route.destination.is_any();
    let by_gateway = route.via.is_some_and(|via| gateways.contains(&via));
    let still = network.default_route && network.ip(route.family()).gateway == route.via;
    source_routing::is_upstream_route(route, top) || (default && by_gateway && !still)
}
