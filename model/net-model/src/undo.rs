//! From what a step changed to the steps that change it back.
//!
//! Order: links come back (those beneath first), ports go back in, MTUs, up and down, addresses, routes, shaping,
//! clients. Every step is idempotent, so that what the kernel kept against the model's fears does no harm.

use core::net::IpAddr;

use crate::{
    Address, Cidr, Current, Family, IfName, Ipv6Setting, Ipv6Settings, Kernel, Link, LinkKind,
    NetError, Route, Step, VlanId, addresses, bond, bridge, kernel::Effects,
};

impl Kernel {
    /// Runs a step and answers what undoes it; nothing if it changed nothing.
    pub fn apply_undoable(&mut self, step: &Step) -> Result<Option<Vec<Step>>, NetError> {
        let old = match old_value(self.state(), step) {
            Some(old) => vec![old],
            None => old_bridge(self.state(), step),
        };
        let effects = self.apply(step)?;
        Ok(effects.changed.then(|| {
            let mut undo = inverse(step, old);
            undo.extend(mend(self.state(), &effects, step));
            undo
        }))
    }
}

/// The step that puts an old value back, read before the step runs.
fn old_value(before: &Current, step: &Step) -> Option<Step> {
    match step {
        Step::SetBridgeOption { bridge, option, .. } => {
            let LinkKind::Bridge(state) = &before.links.get(bridge)?.kind else {
                return None;
            };
            let value = if option == "stp_state" {
                u8::from(state.stp).to_string()
            } else {
                let known = state.options.get(option).map(String::as_str);
                known.or_else(|| bridge::default_value(option))?.to_owned()
            };
            Some(Step::SetBridgeOption {
                bridge: bridge.clone(),
                option: option.clone(),
                value,
            })
        }
        Step::SetIpv6 { link, setting, .. } => {
            let settings = before.links.get(link)?.ipv6?;
            Some(Step::SetIpv6 {
                link: link.clone(),
                setting: *setting,
                value: settings.get(*setting),
            })
        }
        Step::SetQos { device, class, .. } | Step::RemoveQos { device, class } => {
            let (device, class) = (device.clone(), *class);
            let old = before.qos.get(&device).and_then(|it| it.get(&class));
            Some(match old {
                Some(qos) => Step::SetQos {
                    device,
                    class,
                    qos: *qos,
                },
                None => Step::RemoveQos { device, class },
            })
        }
        Step::StartDhcp { link, client } => {
            let mut clients = before.dhcp.get(link).into_iter().flatten();
            let old = clients.find(|it| it.family == client.family).cloned();
            let link = link.clone();
            Some(match old {
                Some(client) => Step::StartDhcp { link, client },
                None => Step::StopDhcp {
                    link,
                    family: client.family,
                },
            })
        }
        Step::SetNameservers { .. } => Some(Step::SetNameservers {
            servers: before.nameservers.clone(),
        }),
        _ => None,
    }
    .or_else(|| old_bond_values(before, step))
}

/// A bridge may follow its ports: it gets its MTU again when the new one has gone, and its hardware address (the
/// last port to go leaves it zeroes).
fn old_bridge(before: &Current, step: &Step) -> Vec<Step> {
    let Step::SetMaster { master, .. } = step else {
        return Vec::new();
    };
    let above = before.links.get(master);
    let Some(above) = above.filter(|it| matches!(it.kind, LinkKind::Bridge(_))) else {
        return Vec::new();
    };
    let mut old = vec![Step::SetMtu {
        link: master.clone(),
        mtu: above.mtu,
    }];
    if above.mac.is_usable() {
        old.push(Step::SetMac {
            link: master.clone(),
            mac: above.mac,
        });
    }
    old
}

fn old_bond_values(before: &Current, step: &Step) -> Option<Step> {
    let Step::SetBondOption { bond, option, .. } = step else {
        return None;
    };
    let LinkKind::Bond(state) = &before.links.get(bond)?.kind else {
        return None;
    };
    let known = state.options.get(option).map(String::as_str);
    let value = known.or_else(|| bond::default_value(option))?;
    Some(set_option(bond, option, value))
}

fn set_option(bond: &IfName, option: &str, value: &str) -> Step {
    Step::SetBondOption {
        bond: bond.clone(),
        option: option.to_owned(),
        value: value.to_owned(),
    }
}

fn inverse(step: &Step, old: Vec<Step>) -> Vec<Step> {
    match step {
        Step::CreateBridge { name, .. }
        | Step::CreateVlan { name, .. }
        | Step::CreateBond { name, .. } => vec![Step::DeleteLink { name: name.clone() }],
        Step::SetMaster { link, .. } => {
            let mut undo = vec![Step::ClearMaster { link: link.clone() }];
            undo.extend(old);
            undo
        }
        Step::AddRoute { route } => vec![Step::RemoveRoute {
            route: route.clone(),
        }],
        Step::RemoveRoute { route } => vec![Step::AddRoute {
            route: route.clone(),
        }],
        Step::AddRule { rule } => vec![Step::RemoveRule { rule: rule.clone() }],
        Step::RemoveRule { rule } => vec![Step::AddRule { rule: rule.clone() }],
        _ => old,
    }
}

/// What else the step changed, back.
fn mend(after: &Current, effects: &Effects, step: &Step) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, link) in &effects.links {
        make_again(name, link, after.ipv6_defaults, &mut steps);
    }
    for (link, master) in &effects.ports {
        go_back(after, effects, link, master, &mut steps);
    }
    for (name, link) in &effects.links {
        if let Some(master) = &link.master {
            steps.push(Step::SetMaster {
                link: name.clone(),
                master: master.clone(),
            });
        }
    }
    mend_links(after, effects, &mut steps);
    mend_addresses(after, effects, &mut steps);
    let mut lost: Vec<&Route> = effects.routes.iter().collect();
    lost.sort_by_key(|it| it.via.is_some());
    steps.extend(
        lost.into_iter()
            .map(|it| Step::AddRoute { route: it.clone() }),
    );
    for (device, classes) in &effects.qos {
        steps.extend(classes.iter().map(|(class, qos)| Step::SetQos {
            device: device.clone(),
            class: *class,
            qos: *qos,
        }));
    }
    if !matches!(step, Step::StartDhcp { .. }) {
        restart_clients(after, effects, &mut steps);
    }
    steps
}

fn make_again(name: &IfName, link: &Link, defaults: Ipv6Settings, steps: &mut Vec<Step>) {
    let mac = Some(link.mac).filter(|it| !it.is_zero());
    let name = name.clone();
    match &link.kind {
        LinkKind::Bridge(state) => {
            steps.push(Step::CreateBridge {
                name: name.clone(),
                mac,
            });
            let stp = ("stp_state", u8::from(state.stp).to_string());
            let others = bridge::settable(&state.options);
            let options = others.map(|(option, value)| (option, value.to_owned()));
            for (option, value) in options.chain(state.stp.then_some(stp)) {
                steps.push(Step::SetBridgeOption {
                    bridge: name.clone(),
                    option: option.to_owned(),
                    value,
                });
            }
        }
        LinkKind::Bond(state) => {
            let options = crate::BondOptions::of_kernel(&state.options);
            steps.push(Step::CreateBond {
                name: name.clone(),
                mode: options.mode().number(),
                mac,
            });
            let mut others: Vec<_> = options.others().collect();
            others.sort_by_key(|(option, value)| bond::set_order(option, value));
            let others = others.into_iter();
            steps.extend(others.map(|(option, value)| set_option(&name, option, value)));
        }
        LinkKind::Vlan { parent, id } => {
            if let Ok(id) = VlanId::new((*id).into()) {
                steps.push(Step::CreateVlan {
                    name: name.clone(),
                    parent: parent.clone(),
                    id,
                });
            }
            steps.extend(mac.map(|mac| Step::SetMac {
                link: name.clone(),
                mac,
            }));
        }
        _ => {}
    }
    settings_again(&name, link, defaults, steps);
}

fn settings_again(name: &IfName, link: &Link, defaults: Ipv6Settings, steps: &mut Vec<Step>) {
    let Some(settings) = link.ipv6 else {
        return;
    };
    for setting in Ipv6Setting::ALL {
        let value = settings.get(setting);
        if value != defaults.get(setting) {
            steps.push(Step::SetIpv6 {
                link: name.clone(),
                setting,
                value,
            });
        }
    }
}

fn go_back(
    after: &Current,
    effects: &Effects,
    link: &IfName,
    master: &IfName,
    steps: &mut Vec<Step>,
) {
    let made = effects.links.iter().find(|(name, _)| name == master);
    let above = made.map(|(_, it)| it).or_else(|| after.links.get(master));
    if above.is_some_and(|it| matches!(it.kind, LinkKind::Bond(_))) {
        steps.push(Step::SetDown { link: link.clone() });
    }
    steps.push(Step::SetMaster {
        link: link.clone(),
        master: master.clone(),
    });
}

/// MTUs, hardware addresses, up and down.
fn mend_links(after: &Current, effects: &Effects, steps: &mut Vec<Step>) {
    let made = effects.links.iter().map(|(name, link)| (name, link.mtu));
    let old = effects.mtus.iter().map(|(name, mtu)| (name, *mtu));
    let mut mtus: Vec<(&IfName, u32)> = made.collect();
    for (name, mtu) in old {
        if mtus.iter().all(|(it, _)| *it != name) {
            mtus.push((name, mtu));
        }
    }
    for (name, _) in &effects.mtus {
        let master = after.links.get(name).and_then(|it| it.master.as_ref());
        let Some((master, above)) = master.and_then(|it| after.links.get_key_value(it)) else {
            continue;
        };
        let bridge = matches!(above.kind, LinkKind::Bridge(_));
        if bridge && mtus.iter().all(|(it, _)| *it != master) {
            mtus.push((master, above.mtu));
        }
    }
    steps.extend(mtus.into_iter().map(|(link, mtu)| Step::SetMtu {
        link: link.clone(),
        mtu,
    }));
    for (link, mac) in effects.macs.iter().filter(|(_, mac)| !mac.is_zero()) {
        steps.push(Step::SetMac {
            link: link.clone(),
            mac: *mac,
        });
    }
    let made = effects.links.iter().map(|(name, link)| (name, link.up));
    let released = |name: &IfName| effects.ports.iter().any(|(port, _)| port == name);
    let old = effects.ups.iter().map(|(name, up)| (name, *up));
    for (link, up) in made.chain(old).filter(|(name, _)| !released(name)) {
        let link = link.clone();
        steps.push(if up {
            Step::SetUp { link }
        } else {
            Step::SetDown { link }
        });
    }
}

fn mend_addresses(after: &Current, effects: &Effects, steps: &mut Vec<Step>) {
    for (name, link) in &effects.links {
        steps.extend(link.addresses.iter().map(|it| again(name, it)));
    }
    let list = |it: &[Address]| -> Vec<Cidr> {
        let lasting = it.iter().filter(|it| !it.is_link_local());
        lasting.map(|it| it.cidr).collect()
    };
    let mut seen: Vec<&IfName> = Vec::new();
    for (name, old) in &effects.addresses {
        let Some(link) = after.links.get(name).filter(|_| !seen.contains(&name)) else {
            continue;
        };
        seen.push(name);
        let change = addresses::change(&list(&link.addresses), &list(old));
        let drops = change.remove.iter().any(|it| it.family() == Family::V4);
        steps.extend(
            change
                .remove
                .into_iter()
                .map(|address| Step::RemoveAddress {
                    link: name.clone(),
                    address,
                }),
        );
        let back = old.iter().filter(|it| change.add.contains(&it.cidr));
        let mut back: Vec<&Address> = back.collect();
        back.sort_by_key(|it| change.add.iter().position(|cidr| *cidr == it.cidr));
        // What was there for a time is not to stay for ever.
        let lasts = |it: &&Address| link.addresses.contains(&Address::lasting(it.cidr));
        back.extend(old.iter().filter(|it| it.dynamic).filter(lasts));
        steps.extend(back.into_iter().map(|it| again(name, it)));
        if drops {
            routes_again(after, effects, name, steps);
        }
    }
}

/// Removing the last address flushes the interface's routes: those that were there come again.
fn routes_again(after: &Current, effects: &Effects, name: &IfName, steps: &mut Vec<Step>) {
    let lost = effects.routes.iter();
    let lost = lost.filter(|it| it.device.as_ref() == Some(name));
    let mut all: Vec<&Route> = after.routes_of(name).chain(lost).collect();
    all.retain(|it| it.family() == Family::V4);
    all.sort_by_key(|it| it.via.is_some_and(|via| matches!(via, IpAddr::V4(_))));
    steps.extend(
        all.into_iter()
            .map(|it| Step::AddRoute { route: it.clone() }),
    );
}

/// As it was: for ever, or for what is left of its time.
fn again(link: &IfName, address: &Address) -> Step {
    let (link, cidr) = (link.clone(), address.cidr);
    match address.expiry.filter(|_| address.dynamic) {
        Some(expiry) => Step::ReturnAddress {
            link,
            address: cidr,
            expiry,
        },
        None => Step::AddAddress {
            link,
            address: cidr,
        },
    }
}

fn restart_clients(after: &Current, effects: &Effects, steps: &mut Vec<Step>) {
    for (link, clients) in &effects.dhcp {
        let running = after.dhcp.get(link);
        for client in clients {
            if running.is_none_or(|it| !it.contains(client)) {
                steps.push(Step::StartDhcp {
                    link: link.clone(),
                    client: client.clone(),
                });
            }
        }
    }
}
