//! A bond's attributes, by the names and numbers of sysfs (`drivers/net/bonding/bond_netlink.c` and
//! `bond_sysfs.c` tell which is which).
//!
//! Over netlink the kernel tells everyone the partner's hardware address; sysfs tells it root alone.

use std::collections::BTreeMap;

use net_model::{BondState, Mac};
use netlink::packet::link::{BondAdInfo, InfoBond};

use super::Indexes;

/// The state of a bond.
pub(super) fn state(attributes: &[InfoBond], indexes: &Indexes) -> BondState {
    let mut state = BondState::default();
    for attribute in attributes {
        match attribute {
            InfoBond::ActivePort(index) => state.active_slave = indexes.get(index).cloned(),
            InfoBond::AdInfo(info) => add_lacp(&mut state, info),
            other => add_option(&mut state.options, other, indexes),
        }
    }
    // Absent where there is none.
    for name in ["arp_ip_target", "primary"] {
        state.options.entry(name.to_owned()).or_default();
    }
    state
}

fn add_lacp(state: &mut BondState, info: &[BondAdInfo]) {
    for fact in info {
        match fact {
            BondAdInfo::Aggregator(id) => state.aggregator = Some(*id),
            BondAdInfo::PartnerMac(mac) => state.partner_mac = Some(Mac::new(*mac)),
            _ => {}
        }
    }
}

fn add_option(options: &mut BTreeMap<String, String>, attribute: &InfoBond, indexes: &Indexes) {
    let mut add = |name: &str, value: String| {
        options.insert(name.to_owned(), value);
    };
    let number = |it: &dyn ToString| it.to_string();
    let flag = |it: &bool| u8::from(*it).to_string();
    match attribute {
        InfoBond::Mode(it) => add("mode", u8::from(*it).to_string()),
        InfoBond::MiiMon(it) => add("miimon", number(it)),
        InfoBond::UpDelay(it) => add("updelay", number(it)),
        InfoBond::DownDelay(it) => add("downdelay", number(it)),
        InfoBond::UseCarrier(it) => add("use_carrier", flag(it)),
        InfoBond::ArpInterval(it) => add("arp_interval", number(it)),
        InfoBond::ArpIpTarget(it) => add("arp_ip_target", list(it)),
        InfoBond::ArpValidate(it) => add("arp_validate", u32::from(*it).to_string()),
        InfoBond::ArpAllTargets(it) => add("arp_all_targets", u32::from(*it).to_string()),
        InfoBond::Primary(it) => {
            let name = indexes.get(it).map(ToString::to_string);
            add("primary", name.unwrap_or_default());
        }
        InfoBond::PrimaryReselect(it) => add("primary_reselect", u8::from(*it).to_string()),
        InfoBond::FailOverMac(it) => add("fail_over_mac", u8::from(*it).to_string()),
        InfoBond::XmitHashPolicy(it) => add("xmit_hash_policy", u8::from(*it).to_string()),
        InfoBond::ResendIgmp(it) => add("resend_igmp", number(it)),
        InfoBond::NumPeerNotif(it) => {
            // One attribute with two names.
            add("num_grat_arp", number(it));
            add("num_unsol_na", number(it));
        }
        InfoBond::AllPortsActive(it) => add("all_slaves_active", u8::from(*it).to_string()),
        InfoBond::MinLinks(it) => add("min_links", number(it)),
        InfoBond::LpInterval(it) => add("lp_interval", number(it)),
        InfoBond::PacketsPerPort(it) => add("packets_per_slave", number(it)),
        InfoBond::AdLacpRate(it) => add("lacp_rate", u8::from(*it).to_string()),
        InfoBond::AdSelect(it) => add("ad_select", u8::from(*it).to_string()),
        InfoBond::AdActorSysPrio(it) => add("ad_actor_sys_prio", number(it)),
        InfoBond::AdUserPortKey(it) => add("ad_user_port_key", number(it)),
        InfoBond::AdActorSystem(it) => add("ad_actor_system", actor_system(*it)),
        InfoBond::TlbDynamicLb(it) => add("tlb_dynamic_lb", flag(it)),
        InfoBond::PeerNotifDelay(it) => add("peer_notif_delay", number(it)),
        InfoBond::AdLacpActive(it) => add("lacp_active", flag(it)),
        // Of newer kernels, or said elsewhere.
        _ => {}
    }
}

/// Zeros stand for "the bond's own".
fn actor_system(bytes: [u8; 6]) -> String {
    let mac = Mac::new(bytes);
    if mac.is_zero() {
        String::new()
    } else {
        mac.to_string()
    }
}

fn list(addresses: &[std::net::Ipv4Addr]) -> String {
    let words: Vec<_> = addresses
        .iter()
        .filter(|it| !it.is_unspecified())
        .map(ToString::to_string)
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use net_model::IfName;
    use netlink::packet::link::{BondMode, BondXmitHashPolicy};

    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_sysfs() {
        let indexes = Indexes::from([(7, IfName::new("eth7").expect("a name"))]);
        let state = state(
            &[
                InfoBond::Mode(BondMode::Ieee8023Ad),
                InfoBond::XmitHashPolicy(BondXmitHashPolicy::Layer23),
                InfoBond::Primary(7),
                InfoBond::ArpIpTarget(vec![[192, 0, 2, 1].into(), Ipv4Addr::UNSPECIFIED]),
                InfoBond::AdInfo(vec![
                    BondAdInfo::Aggregator(3),
                    BondAdInfo::PartnerMac([2, 0, 0, 0, 0, 9]),
                ]),
            ],
            &indexes,
        );
        assert_eq!(state.options["mode"], "4");
        assert_eq!(state.options["xmit_hash_policy"], "2");
        assert_eq!(state.options["primary"], "eth7");
        assert_eq!(state.options["arp_ip_target"], "192.0.2.1");
        assert_eq!(state.aggregator, Some(3));
        assert_eq!(
            state.partner_mac.map(|it| it.to_string()).as_deref(),
            Some("02:00:00:00:00:09")
        );
    }
}
