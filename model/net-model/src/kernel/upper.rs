//! What the kernel makes of steps on addresses, routes and clients.

use core::net::IpAddr;

use super::{Applied, Effects, Kernel};
use crate::{
    Address, Cidr, DhcpClient, Expiry, Family, IfName, Route, RouteKind, addresses,
    network::MIN_MTU_V6,
};

impl Kernel {
    pub(super) fn add_address(&mut self, name: &IfName, cidr: Cidr) -> Applied {
        let mut effects = Effects::default();
        let link = self.need_mut(name)?;
        let old = link.addresses.clone();
        if let Some(found) = link.addresses.iter_mut().find(|it| it.cidr == cidr) {
            if found.dynamic {
                found.dynamic = false;
                found.expiry = None;
                effects.changed = true;
                effects.addresses.push((name.clone(), old));
            }
            return Ok(effects);
        }
        let six = cidr.family() == Family::V6;
        if six && (link.mtu < MIN_MTU_V6 || link.ipv6.is_none_or(|it| it.disabled)) {
            return Err(format!("{name} does no IPv6"));
        }
        let lists: Vec<Cidr> = old.iter().map(|it| it.cidr).collect();
        let at = addresses::place_of(&lists, cidr);
        link.addresses.insert(at, Address::lasting(cidr));
        effects.changed = true;
        effects.addresses.push((name.clone(), old));
        Ok(effects)
    }

    /// As [`Self::add_address`], but it stays one for a time. The model has no clock: it is never over.
    pub(super) fn return_address(&mut self, name: &IfName, cidr: Cidr, expiry: Expiry) -> Applied {
        let there = |it: &&Address| it.cidr == cidr && it.dynamic;
        if self.need(name)?.addresses.iter().any(|it| there(&it)) {
            return Ok(Effects::default());
        }
        let old = self.need(name)?.addresses.clone();
        let mut effects = self.add_address(name, cidr)?;
        if !effects.changed {
            effects.changed = true;
            effects.addresses.push((name.clone(), old));
        }
        let mut addresses = self.need_mut(name)?.addresses.iter_mut();
        if let Some(address) = addresses.find(|it| it.cidr == cidr) {
            address.dynamic = true;
            address.expiry = Some(expiry);
        }
        Ok(effects)
    }

    pub(super) fn remove_address(&mut self, name: &IfName, cidr: Cidr) -> Applied {
        let mut effects = Effects::default();
        let link = self.need(name)?;
        let Some(at) = link.addresses.iter().position(|it| it.cidr == cidr) else {
            return Ok(effects);
        };
        effects.changed = true;
        let four = |it: &Address| it.cidr.family() == Family::V4;
        let beside = |it: &Address| four(it) && it.cidr.network() == cidr.network();
        let is_first = link.addresses.iter().position(beside) == Some(at);
        let gone: Vec<Cidr> = link
            .addresses
            .iter()
            .filter(|it| it.cidr == cidr || (is_first && beside(it)))
            .map(|it| it.cidr)
            .collect();
        self.lose(name, |it| gone.contains(&it.cidr), &mut effects);
        let last = !self.need(name)?.addresses.iter().any(four);
        let flush = last && cidr.family() == Family::V4;
        self.drop_routes(
            name,
            |it| {
                let orphan = it
                    .source
                    .is_some_and(|ip| gone.iter().any(|it| it.ip() == ip));
                orphan || (flush && it.family() == Family::V4)
            },
            &mut effects,
        );
        Ok(effects)
    }

    pub(super) fn add_route(&mut self, route: &Route) -> Applied {
        let mut effects = Effects::default();
        if self.state.routes.contains(route) {
            return Ok(effects);
        }
        if route.kind == RouteKind::Unicast {
            let device = route.device.as_ref().ok_or("it has no interface")?;
            let link = self.need(device)?;
            if !link.up {
                return Err(format!("{device} is down"));
            }
            if route
                .via
                .is_some_and(|via| !self.reaches(device, via, route))
            {
                return Err("its next hop is not on the link".to_owned());
            }
        }
        effects.changed = self.state.routes.insert(route.clone());
        Ok(effects)
    }

    pub(super) fn reaches(&self, device: &IfName, via: IpAddr, route: &Route) -> bool {
        let near = matches!(via, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let link = self.link(device.as_str());
        let addresses = link.map_or(&[][..], |it| &it.addresses);
        route.onlink
            || near
            || addresses.iter().any(|it| it.cidr.contains(via))
            || self
                .state
                .routes_of(device)
                .any(|it| it.via.is_none() && it.destination.contains(via))
    }

    pub(super) fn start_dhcp(&mut self, name: &IfName, client: &DhcpClient) -> Applied {
        let mut effects = Effects::default();
        self.need(name)?;
        let clients = self.state.dhcp.entry(name.clone()).or_default();
        if !clients.contains(client) {
            clients.retain(|it| it.family != client.family);
            clients.push(client.clone());
            clients.sort_by_key(|it| it.family);
            effects.changed = true;
        }
        Ok(effects)
    }

    pub(super) fn stop_dhcp(&mut self, name: &IfName, family: Family) -> Effects {
        let mut effects = Effects::default();
        let Some(clients) = self.state.dhcp.get_mut(name) else {
            return effects;
        };
        if clients.iter().all(|it| it.family != family) {
            return effects;
        }
        effects.changed = true;
        effects.dhcp.push((name.clone(), clients.clone()));
        clients.retain(|it| it.family != family);
        if clients.is_empty() {
            self.state.dhcp.remove(name);
        }
        let leased = self.state.leased.remove(name).unwrap_or_default();
        let (gone, kept): (Vec<Cidr>, Vec<Cidr>) =
            leased.into_iter().partition(|it| it.family() == family);
        if !kept.is_empty() {
            self.state.leased.insert(name.clone(), kept);
        }
        // The kernel hears routers for the client.
        let mine = |it: &Address| gone.contains(&it.cidr) || it.advertised;
        self.lose(
            name,
            |it| it.dynamic && it.cidr.family() == family && mine(it),
            &mut Effects::default(),
        );
        effects
    }
}
