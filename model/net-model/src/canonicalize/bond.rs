//! A bond from its attributes, and back.

use crate::{Bond, IfName, NetError, canonicalize::network::switch, request::BondAttributes};

/// Parses and checks the attributes of a bond that is not to be removed.
pub fn bond(name: &IfName, attributes: &BondAttributes) -> Result<Bond, NetError> {
    let switch = switch(name.as_str(), attributes.switch.as_deref())?;
    let nics = attributes.nics.as_deref().unwrap_or_default();
    if nics.is_empty() {
        return Err(NetError::BadParams(format!(
            "{name}: Must specify nics for bonding"
        )));
    }
    let slaves = nics.iter().map(|it| IfName::new(it));
    let hwaddr = attributes.hwaddr.as_deref().map(str::parse).transpose()?;
    if hwaddr.is_some_and(|it: crate::Mac| !it.is_usable()) {
        return Err(NetError::BadParams(format!(
            "{name}: no interface can have this hardware address"
        )));
    }
    Ok(Bond {
        slaves: slaves.collect::<Result<_, _>>()?,
        options: attributes.options.as_deref().unwrap_or_default().parse()?,
        hwaddr,
        switch,
        extra: attributes.extra.clone(),
    })
}

/// A bond's attributes as they stand in its file.
pub fn bond_attributes(bond: &Bond) -> BondAttributes {
    BondAttributes {
        remove: None,
        nics: Some(bond.slaves.iter().map(ToString::to_string).collect()),
        options: Some(bond.options.to_string()),
        hwaddr: bond.hwaddr.map(|it| it.to_string()),
        switch: Some(bond.switch.to_string()),
        extra: bond.extra.clone(),
    }
}
