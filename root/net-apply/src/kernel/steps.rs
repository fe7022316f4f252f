//! From a step to the act that does it, and from the kernel's refusal to what it means for the step.
//!
//! One act a step, where a step is an act. What takes several (shaping), a file (settings of IPv6) or no act at all
//! is done in [`begin`] itself. A refusal is the step's failure unless it says that all is so already.

use std::fs;

use net_model::{
    Address, Cidr, Expiry, Family, IfName, Ipv6Setting, Mac, Route, RouteKind, Rule, Step,
};
use netlink::{
    Act, Refusal,
    packet::{
        RouteNetlinkMessage as Message,
        link::{
            BondMode, InfoBond, InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkMessage,
        },
    },
};
use rustix::io::Errno;

use super::{
    options, qos, routes,
    talk::{Seen, Talk, Trouble},
    there,
};

/// How a step begins.
#[derive(Debug)]
pub(super) enum Begun {
    /// It is done.
    Done,
    /// It is done when the kernel has done this.
    Act(Act),
}

/// What a refusal means.
#[derive(Debug)]
pub(super) enum Meaning {
    /// So already.
    Done,
    /// It needs another act.
    Act(Act),
    /// It may be done in a moment.
    Later,
    /// What it says.
    Refused(Refusal),
}

type Beginning = Result<Begun, Trouble>;

/// Does a step, up to the act that is still to be sent. Not for clients and name servers.
pub(super) fn begin(talk: &mut Talk, step: &Step) -> Beginning {
    match step {
        Step::CreateBridge { .. } | Step::CreateVlan { .. } | Step::CreateBond { .. } => {
            create(talk, step)
        }
        Step::DeleteLink { name } => delete(talk, name),
        Step::SetMaster { link, master } => set_master(talk, link, master),
        Step::SetBridgeOption { .. } | Step::SetBondOption { .. } => set_option(talk, step),
        Step::SetIpv6 {
            link,
            setting,
            value,
        } => set_ipv6(link, *setting, *value),
        Step::SetQos { device, class, qos } => {
            qos::set(talk, device, *class, *qos).map(|()| Begun::Done)
        }
        Step::RemoveQos { device, class } => {
            qos::remove(talk, device, *class).map(|()| Begun::Done)
        }
        _ => begin_upper(talk, step).unwrap_or_else(|| Ok(begin_setting(step))),
    }
}

fn create(talk: &Talk, step: &Step) -> Beginning {
    let (name, kind, data, more) = match step {
        Step::CreateBridge { name, mac } => (name, InfoKind::Bridge, None, mac.map(address)),
        Step::CreateVlan { name, parent, id } => {
            let data = InfoData::Vlan(vec![InfoVlan::Id(id.get())]);
            let parent = LinkAttribute::Link(talk.index(parent)?);
            (name, InfoKind::Vlan, Some(data), Some(parent))
        }
        Step::CreateBond { name, mode, mac } => {
            let data = InfoData::Bond(vec![InfoBond::Mode(BondMode::from(*mode))]);
            (name, InfoKind::Bond, Some(data), mac.map(address))
        }
        _ => return Ok(Begun::Done),
    };
    let mut link = named(name);
    link.attributes.extend(more);
    link.attributes.push(options::info(kind, data));
    Ok(Begun::Act(Act::create(Message::NewLink(link))))
}

fn address(mac: Mac) -> LinkAttribute {
    LinkAttribute::Address(mac.bytes().to_vec())
}

/// Attributes of a link that are one act.
fn begin_setting(step: &Step) -> Begun {
    let (name, attribute) = match step {
        Step::ClearMaster { link } => (link, LinkAttribute::Controller(0)),
        Step::SetMtu { link, mtu } => (link, LinkAttribute::Mtu(*mtu)),
        Step::SetMac { link, mac } => (link, address(*mac)),
        Step::SetUp { link } => return switched(link, LinkFlags::Up),
        Step::SetDown { link } => return switched(link, LinkFlags::empty()),
        _ => return Begun::Done,
    };
    let mut link = named(name);
    link.attributes.push(attribute);
    Begun::Act(Act::change(Message::SetLink(link)))
}

fn switched(name: &IfName, flags: LinkFlags) -> Begun {
    let mut link = named(name);
    link.header.flags = flags;
    link.header.change_mask = LinkFlags::Up;
    Begun::Act(Act::change(Message::SetLink(link)))
}

/// Addresses, routes, rules.
fn begin_upper(talk: &Talk, step: &Step) -> Option<Beginning> {
    Some(match step {
        Step::AddAddress { link, address } => talk.index(link).map(|index| {
            let message = routes::address_of(index, *address);
            Begun::Act(Act::replace(Message::NewAddress(message)))
        }),
        Step::ReturnAddress {
            link,
            address,
            expiry,
        } => return_address(talk, link, *address, *expiry, Act::create),
        Step::RemoveAddress { link, address } => Ok(remove_address(talk, link, *address)),
        Step::AddRoute { route } => add_route(talk, route),
        Step::RemoveRoute { route } => Ok(remove_route(talk, route)),
        Step::AddRule { rule } => add_rule(rule),
        Step::RemoveRule { rule } => {
            let act = Act::change(Message::DelRule(routes::rule(rule)));
            Ok(Begun::Act(act))
        }
        _ => return None,
    })
}

fn named(name: &IfName) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes
        .push(LinkAttribute::IfName(name.to_string()));
    link
}

/// What was not made for a plan is not removed: the kernel would take a tap or a tunnel of that name, too.
fn delete(talk: &mut Talk, name: &IfName) -> Beginning {
    let Some(seen) = talk.look(name)? else {
        return Ok(Begun::Done);
    };
    if !matches!(seen.kind.as_str(), "bridge" | "vlan" | "bond") {
        return Err(in_the_way(name, &seen));
    }
    let mut link = LinkMessage::default();
    link.header.index = seen.index;
    Ok(Begun::Act(Act::change(Message::DelLink(link))))
}

fn in_the_way(name: &IfName, seen: &Seen) -> Trouble {
    let kind = match (seen.kind.as_str(), seen.vlan) {
        ("", _) => "network card".to_owned(),
        (_, Some((parent, id))) => format!("vlan {id} on interface {parent}"),
        (kind, None) => kind.to_owned(),
    };
    Trouble::InTheWay(format!("{name} is another one, a {kind}"))
}

/// The kernel would take an interface out of whatever bridge it is in.
fn set_master(talk: &mut Talk, name: &IfName, master: &IfName) -> Beginning {
    let above = talk.index(master)?;
    let seen = talk.look(name)?.ok_or_else(|| Trouble::no_link(name))?;
    match seen.master {
        Some(now) if now == above => Ok(Begun::Done),
        Some(now) => Err(Trouble::InTheWay(format!(
            "{name} belongs to interface {now}"
        ))),
        None => {
            let mut link = LinkMessage::default();
            link.header.index = seen.index;
            link.attributes.push(LinkAttribute::Controller(above));
            Ok(Begun::Act(Act::change(Message::SetLink(link))))
        }
    }
}

fn set_option(talk: &Talk, step: &Step) -> Beginning {
    let mut index_of = |name: &str| {
        let name = IfName::new(name).ok()?;
        talk.index(&name).ok()
    };
    let (name, option, value, attribute) = match step {
        Step::SetBridgeOption {
            bridge,
            option,
            value,
        } => (bridge, option, value, options::of_bridge(option, value)),
        Step::SetBondOption {
            bond,
            option,
            value,
        } => {
            let attribute = options::of_bond(option, value, &mut index_of);
            (bond, option, value, attribute)
        }
        _ => return Ok(Begun::Done),
    };
    let Some(attribute) = attribute else {
        return Err(Trouble::InTheWay(format!(
            "the kernel has no {option} of {value:?}"
        )));
    };
    let mut link = named(name);
    link.attributes.push(attribute);
    Ok(Begun::Act(Act::change(Message::NewLink(link))))
}

/// `/proc/sys/net` is the namespace of the thread that opens the file. Netlink cannot set these.
fn set_ipv6(name: &IfName, setting: Ipv6Setting, value: u8) -> Beginning {
    if matches!(name.as_str(), "all" | "default") {
        return Err(Trouble::InTheWay(format!(
            "\"{name}\" means every interface there"
        )));
    }
    let path = format!("/proc/sys/net/ipv6/conf/{name}/{}", setting.sysctl());
    match fs::write(&path, value.to_string()) {
        Ok(()) => Ok(Begun::Done),
        Err(error) => Err(Trouble::File(path, error)),
    }
}

/// For what is left of its time.
fn return_address(
    talk: &Talk,
    link: &IfName,
    address: Cidr,
    expiry: Expiry,
    how: fn(Message) -> Act,
) -> Beginning {
    let index = talk.index(link)?;
    let now = observe::clock::monotonic().as_secs();
    Ok(
        match routes::address_for_a_time(index, address, expiry, now) {
            Some(message) => Begun::Act(how(Message::NewAddress(message))),
            None => Begun::Done,
        },
    )
}

fn remove_address(talk: &Talk, link: &IfName, address: Cidr) -> Begun {
    match talk.index(link) {
        Ok(index) => {
            let message = routes::address_of(index, address);
            Begun::Act(Act::change(Message::DelAddress(message)))
        }
        Err(_) => Begun::Done,
    }
}

fn add_route(talk: &Talk, route: &Route) -> Beginning {
    let device = route.device.as_ref().map(|it| talk.index(it)).transpose()?;
    if device.is_none() && route.kind == RouteKind::Unicast {
        return Err(Trouble::InTheWay("it has no interface".to_owned()));
    }
    let message = routes::route(route, device);
    Ok(Begun::Act(Act::prepend(Message::NewRoute(message))))
}

fn remove_route(talk: &Talk, route: &Route) -> Begun {
    match route.device.as_ref().map(|it| talk.index(it)).transpose() {
        Ok(device) => {
            let message = routes::route(route, device);
            Begun::Act(Act::change(Message::DelRoute(message)))
        }
        // Its routes went with it.
        Err(_) => Begun::Done,
    }
}

fn add_rule(rule: &Rule) -> Beginning {
    if rule.more {
        return Err(Trouble::InTheWay(
            "it has selectors that nobody knows".to_owned(),
        ));
    }
    Ok(Begun::Act(Act::create(Message::NewRule(routes::rule(
        rule,
    )))))
}

/// What a refusal means for its step.
pub(super) fn meaning(talk: &mut Talk, step: &Step, refusal: Refusal) -> Result<Meaning, Trouble> {
    let is = |errno| refusal.is(errno);
    match step {
        Step::CreateBridge { name, .. }
        | Step::CreateVlan { name, .. }
        | Step::CreateBond { name, .. }
            if is(Errno::EXIST) =>
        {
            let Some(seen) = talk.look(name)? else {
                return Ok(Meaning::Refused(refusal));
            };
            if is_made(talk, step, &seen) {
                Ok(Meaning::Done)
            } else {
                Err(in_the_way(name, &seen))
            }
        }
        Step::DeleteLink { .. } | Step::ClearMaster { .. } if is(Errno::NODEV) => Ok(Meaning::Done),
        Step::ReturnAddress {
            link,
            address,
            expiry,
        } if is(Errno::EXIST) => {
            // Its owner's, given anew meanwhile; or made to last by what is being undone.
            let (current, _) = there(talk)?;
            let now = current.links.get(link).map(|it| &it.addresses);
            let lasting = now.is_some_and(|it| it.contains(&Address::lasting(*address)));
            if !lasting {
                return Ok(Meaning::Done);
            }
            let again = return_address(talk, link, *address, *expiry, Act::replace)?;
            Ok(match again {
                Begun::Act(act) => Meaning::Act(act),
                Begun::Done => Meaning::Done,
            })
        }
        Step::RemoveAddress { .. } if is(Errno::ADDRNOTAVAIL) || is(Errno::NODEV) => {
            Ok(Meaning::Done)
        }
        Step::RemoveRoute { .. } if is(Errno::SRCH) || is(Errno::NODEV) => Ok(Meaning::Done),
        Step::RemoveRule { .. } if is(Errno::NOENT) => Ok(Meaning::Done),
        Step::AddRoute { route } => meaning_of_route(talk, route, refusal),
        Step::AddRule { rule } if is(Errno::EXIST) => {
            // The kernel does not ask whose it is: ours stands beside a foreign one, which may go.
            let (current, _) = there(talk)?;
            Ok(if current.rules.contains(rule) {
                Meaning::Done
            } else {
                Meaning::Act(Act::prepend(Message::NewRule(routes::rule(rule))))
            })
        }
        _ => Ok(Meaning::Refused(refusal)),
    }
}

fn is_made(talk: &Talk, step: &Step, seen: &Seen) -> bool {
    match step {
        Step::CreateBridge { .. } => seen.kind == "bridge",
        Step::CreateVlan { parent, id, .. } => {
            let parent = talk.index(parent).ok();
            seen.kind == "vlan" && seen.vlan == parent.map(|it| (it, id.get()))
        }
        Step::CreateBond { mode, .. } => seen.kind == "bond" && seen.mode == Some(*mode),
        _ => false,
    }
}

fn meaning_of_route(talk: &mut Talk, route: &Route, refusal: Refusal) -> Result<Meaning, Trouble> {
    let six = route.family() == Family::V6;
    if refusal.is(Errno::EXIST) {
        // IPv4 compares all of it; IPv6 only where it leads.
        let same = !six || there(talk)?.0.routes.iter().any(|it| route.leads_like(it));
        return Ok(if same {
            Meaning::Done
        } else {
            Meaning::Refused(refusal)
        });
    }
    // An address of IPv6 is no source until the kernel knows that nobody else has it.
    let early = six && route.source.is_some() && refusal.is(Errno::INVAL);
    Ok(if early {
        Meaning::Later
    } else {
        Meaning::Refused(refusal)
    })
}
