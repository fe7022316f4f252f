//! Options of bridges and bonds, from sysfs's names and texts to the kernel's attributes (`linux/if_link.h`,
//! `IFLA_BR_*` and `IFLA_BOND_*`). No sysfs: it shows the namespace that it was mounted in.

use net_model::Mac;
use netlink::{
    core::DefaultNla,
    packet::link::{InfoBond, InfoBridge, InfoData, InfoKind, LinkAttribute, LinkInfo},
};

/// Which bytes an attribute has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A number of so many bytes.
    Number(usize),
    /// `struct br_boolopt_multi`: one bit of several.
    Bit(u32),
    /// IPv4 addresses, nested.
    Addresses,
    /// An interface's index.
    Index,
    /// A hardware address.
    Mac,
}

type Row = (&'static str, u16, Shape);

const BYTE: Shape = Shape::Number(1);
const SHORT: Shape = Shape::Number(2);
const WORD: Shape = Shape::Number(4);
const LONG: Shape = Shape::Number(8);

#[rustfmt::skip]
const BRIDGE: &[Row] = &[
    ("forward_delay", 1, WORD), ("hello_time", 2, WORD), ("max_age", 3, WORD), ("ageing_time", 4, WORD),
    ("stp_state", 5, WORD), ("priority", 6, SHORT), ("vlan_filtering", 7, BYTE), ("group_fwd_mask", 9, SHORT),
    ("multicast_router", 22, BYTE), ("multicast_snooping", 23, BYTE),
    ("multicast_query_use_ifaddr", 24, BYTE), ("multicast_querier", 25, BYTE), ("hash_max", 27, WORD),
    ("multicast_last_member_count", 28, WORD), ("multicast_startup_query_count", 29, WORD),
    ("multicast_last_member_interval", 30, LONG), ("multicast_membership_interval", 31, LONG),
    ("multicast_querier_interval", 32, LONG), ("multicast_query_interval", 33, LONG),
    ("multicast_query_response_interval", 34, LONG), ("multicast_startup_query_interval", 35, LONG),
    ("nf_call_iptables", 36, BYTE), ("nf_call_ip6tables", 37, BYTE), ("nf_call_arptables", 38, BYTE),
    ("default_pvid", 39, SHORT), ("vlan_stats_enabled", 41, BYTE), ("mcast_stats_enabled", 42, BYTE),
    ("multicast_igmp_version", 43, BYTE), ("multicast_mld_version", 44, BYTE),
    ("vlan_stats_per_port", 45, BYTE), ("no_linklocal_learn", 46, Shape::Bit(0)),
];

#[rustfmt::skip]
const BOND: &[Row] = &[
    ("mode", 1, BYTE), ("miimon", 3, WORD), ("updelay", 4, WORD), ("downdelay", 5, WORD),
    ("use_carrier", 6, BYTE), ("arp_interval", 7, WORD), ("arp_ip_target", 8, Shape::Addresses),
    ("arp_validate", 9, WORD), ("arp_all_targets", 10, WORD), ("primary", 11, Shape::Index),
    ("primary_reselect", 12, BYTE), ("fail_over_mac", 13, BYTE), ("xmit_hash_policy", 14, BYTE),
    ("resend_igmp", 15, WORD), ("num_grat_arp", 16, BYTE), ("num_unsol_na", 16, BYTE),
    ("all_slaves_active", 17, BYTE), ("min_links", 18, WORD), ("lp_interval", 19, WORD),
    ("packets_per_slave", 20, WORD), ("lacp_rate", 21, BYTE), ("ad_select", 22, BYTE),
    ("ad_actor_sys_prio", 24, SHORT), ("ad_user_port_key", 25, SHORT), ("ad_actor_system", 26, Shape::Mac),
    ("tlb_dynamic_lb", 27, BYTE), ("peer_notif_delay", 28, WORD), ("lacp_active", 29, BYTE),
];

/// The attribute that sets an option of a bridge; nothing if there is no such option, or not this value.
pub(super) fn of_bridge(option: &str, value: &str) -> Option<LinkAttribute> {
    let attribute = attribute(BRIDGE, option, value, &mut |_| None)?;
    let data = InfoData::Bridge(vec![InfoBridge::Other(attribute)]);
    Some(info(InfoKind::Bridge, Some(data)))
}

/// The same of a bond. `index_of` knows interfaces.
pub(super) fn of_bond(
    option: &str,
    value: &str,
    index_of: &mut dyn FnMut(&str) -> Option<u32>,
) -> Option<LinkAttribute> {
    let attribute = attribute(BOND, option, value, index_of)?;
    let data = InfoData::Bond(vec![InfoBond::Other(attribute)]);
    Some(info(InfoKind::Bond, Some(data)))
}

/// `IFLA_LINKINFO`.
pub(super) fn info(kind: InfoKind, data: Option<InfoData>) -> LinkAttribute {
    let data = data.map(LinkInfo::Data);
    let all = [Some(LinkInfo::Kind(kind)), data];
    LinkAttribute::LinkInfo(all.into_iter().flatten().collect())
}

fn attribute(
    table: &[Row],
    option: &str,
    value: &str,
    index_of: &mut dyn FnMut(&str) -> Option<u32>,
) -> Option<DefaultNla> {
    let (_, kind, shape) = table.iter().find(|(name, ..)| *name == option)?;
    let bytes = match shape {
        Shape::Number(width) => number(value, *width)?,
        Shape::Bit(bit) => {
            let mask = 1_u32 << bit;
            let on = if value == "0" { 0 } else { mask };
            [on.to_ne_bytes(), mask.to_ne_bytes()].concat()
        }
        Shape::Addresses => return targets(*kind, value),
        Shape::Index if value.is_empty() => vec![0; 4],
        Shape::Index => index_of(value)?.to_ne_bytes().to_vec(),
        Shape::Mac if value.is_empty() => vec![0; 6],
        Shape::Mac => value.parse::<Mac>().ok()?.bytes().to_vec(),
    };
    Some(DefaultNla::new(*kind, bytes))
}

/// A decimal or (`0x`) hexadecimal number in so many bytes of the machine's order, if it fits.
fn number(text: &str, width: usize) -> Option<Vec<u8>> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => text.parse().ok()?,
    };
    Some(match width {
        1 => vec![u8::try_from(number).ok()?],
        2 => u16::try_from(number).ok()?.to_ne_bytes().to_vec(),
        4 => u32::try_from(number).ok()?.to_ne_bytes().to_vec(),
        _ => number.to_ne_bytes().to_vec(),
    })
}

/// `IFLA_BOND_ARP_IP_TARGET`: an attribute for each address, numbered from 0.
fn targets(kind: u16, list: &str) -> Option<DefaultNla> {
    let mut bytes = Vec::new();
    let addresses = list.split(',').filter(|it| !it.is_empty());
    for (number, address) in (0_u16..).zip(addresses) {
        let address: std::net::Ipv4Addr = address.parse().ok()?;
        bytes.extend(super::raw::attribute(number, &address.octets()));
    }
    Some(DefaultNla::new(kind | super::raw::NESTED, bytes))
}

#[cfg(test)]
mod tests {
    use net_model::{bond, bridge};

    use super::*;

    fn bytes(table: &[Row], option: &str, value: &str) -> Option<Vec<u8>> {
        use netlink::core::Nla as _;
        let it = attribute(table, option, value, &mut |_| Some(7))?;
        let mut bytes = vec![0; it.value_len()];
        it.emit_value(&mut bytes);
        Some(bytes)
    }

    #[test]
    fn every_option_that_the_model_lets_pass_is_known() {
        for (name, ..) in BRIDGE {
            assert!(
                *name == "stp_state" || bridge::default_value(name).is_some(),
                "{name}"
            );
        }
        for option in [
            "ageing_time",
            "default_pvid",
            "group_fwd_mask",
            "hash_max",
            "multicast_router",
            "priority",
        ] {
            let value = bridge::default_value(option).expect("an option of bridges");
            assert!(bytes(BRIDGE, option, value).is_some(), "{option}={value}");
        }
        for (name, ..) in BOND.iter().filter(|(name, ..)| *name != "mode") {
            let value = bond::default_value(name).expect("an option of bonds");
            assert!(bytes(BOND, name, value).is_some(), "{name}={value}");
        }
    }

    #[test]
    fn values_have_the_width_of_their_attribute() {
        assert_eq!(
            bytes(BRIDGE, "priority", "0x1"),
            Some(1_u16.to_ne_bytes().to_vec())
        );
        assert_eq!(bytes(BRIDGE, "priority", "65536"), None);
        assert_eq!(
            bytes(BRIDGE, "stp_state", "1"),
            Some(1_u32.to_ne_bytes().to_vec())
        );
        let bit = [1_u32.to_ne_bytes(), 1_u32.to_ne_bytes()].concat();
        assert_eq!(bytes(BRIDGE, "no_linklocal_learn", "1"), Some(bit));
        assert_eq!(
            bytes(BOND, "primary", "eth0"),
            Some(7_u32.to_ne_bytes().to_vec())
        );
        assert_eq!(bytes(BOND, "primary", ""), Some(vec![0; 4]));
        let one = [8_u16.to_ne_bytes(), 0_u16.to_ne_bytes()].concat();
        assert_eq!(
            bytes(BOND, "arp_ip_target", "1.2.3.4"),
            Some([one, vec![1, 2, 3, 4]].concat())
        );
        assert_eq!(bytes(BOND, "no_such", "1"), None);
    }
}
