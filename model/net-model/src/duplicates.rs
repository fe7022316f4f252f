//! IPv6 addresses that somebody else on the link has, as the kernel finds out when it gets them (duplicate address detection, RFC 4862).
//!
//! The kernel keeps a lasting address that is a duplicate, marks it (`IFA_F_DADFAILED`) and never uses it nor asks again. So a plan
//! takes it away and adds it anew: then the kernel asks again. IPv4 has nothing of the kind: the kernel takes any address.

use std::fmt;

use crate::{Base, Cidr, Current, Desired, Family, IfName, Link, NetName, Network};

/// An address that a network was to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The network.
    pub network: NetName,
    /// The interface that the address is on.
    pub link: IfName,
    /// The address.
    pub address: Cidr,
}

impl fmt::Display for Duplicate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            network,
            link,
            address,
        } = self;
        write!(
            out,
            "{network}: {address} on {link} is a duplicate: another host of that link has the address, one of the two needs another"
        )
    }
}

/// What the kernel knows of the fixed IPv6 addresses of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uniqueness {
    /// Others have these.
    pub duplicates: Vec<Duplicate>,
    /// It is asking still, for some at least, on links where somebody could answer.
    pub undecided: bool,
}

/// Has a change fixed IPv6 addresses at all?
pub fn has_any(desired: &Desired) -> bool {
    touched(desired).any(|(_, network)| !fixed(network).is_empty())
}

/// What is known of the addresses that the networks of a change shall have.
pub fn uniqueness(current: &Current, desired: &Desired) -> Uniqueness {
    let mut all = Uniqueness::default();
    for (name, network) in touched(desired) {
        let Ok(top) = network.top(name) else { continue };
        let Some(link) = current.links.get(&top) else {
            continue;
        };
        let wanted = |it: &Cidr| fixed(network).contains(it);
        for address in link.addresses.iter().filter(|it| wanted(&it.cidr)) {
            if address.dad_failed {
                all.duplicates.push(Duplicate {
                    network: name.clone(),
                    link: top.clone(),
                    address: address.cidr,
                });
            } else if address.tentative {
                all.undecided |= link.up && is_connected(current, link, network);
            }
        }
    }
    all
}

fn touched(desired: &Desired) -> impl Iterator<Item = (&NetName, &Network)> {
    let all = desired.after.networks.iter();
    all.filter(|(name, _)| desired.scope.network(name))
}

fn fixed(network: &Network) -> &[Cidr] {
    &network.ip(Family::V6).addresses
}

/// Is there a carrier, or about to be: where something beneath has one? Without one nobody hears the kernel ask.
fn is_connected(current: &Current, top: &Link, network: &Network) -> bool {
    let has_carrier = |name: &IfName| current.links.get(name).is_some_and(|it| it.carrier);
    let beneath = || match &network.base {
        Some(Base::Bond(bond)) => has_carrier(bond) || current.ports_of(bond).any(has_carrier),
        Some(Base::Nic(nic)) => has_carrier(nic),
        None => false,
    };
    top.carrier || beneath()
}
