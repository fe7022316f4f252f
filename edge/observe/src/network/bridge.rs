//! A bridge's attributes, by the names and units of sysfs (`net/bridge/br_netlink.c` and `br_sysfs_br.c`).

use net_model::{BridgeState, bridge::AGEING_TIME};
use netlink::packet::link::{BridgeBooleanOptionFlags, BridgeStpState, InfoBridge};

/// The state of a bridge.
pub(super) fn state(attributes: &[InfoBridge]) -> BridgeState {
    let mut state = BridgeState::default();
    for attribute in attributes {
        if let InfoBridge::StpState(it) = attribute {
            state.stp = *it != BridgeStpState::Disabled;
        }
        if let Some((name, value)) = option(attribute) {
            state.options.insert(name.to_owned(), value);
        }
        if let InfoBridge::TopologyChange(it) = attribute {
            state.tree_changes = *it != 0;
        }
    }
    if state.tree_changes && is_shortened(attributes) {
        state.options.remove(AGEING_TIME);
    } else {
        state.tree_changes = false;
    }
    state
}

/// While the tree changes addresses age within twice the forward delay, and the kernel tells that instead of what is
/// set (`__br_set_topology_change`). Times are rounded to the kernel's ticks.
fn is_shortened(attributes: &[InfoBridge]) -> bool {
    let (mut ageing, mut delay) = (None, None);
    for attribute in attributes {
        match attribute {
            InfoBridge::AgeingTime(it) => ageing = Some(u64::from(*it)),
            InfoBridge::ForwardDelay(it) => delay = Some(u64::from(*it)),
            _ => {}
        }
    }
    matches!((ageing, delay), (Some(ageing), Some(delay)) if ageing.abs_diff(2 * delay) <= 2)
}

fn option(attribute: &InfoBridge) -> Option<(&'static str, String)> {
    counters(attribute).or_else(|| flags(attribute))
}

/// Numbers; times in hundredths of a second.
fn counters(attribute: &InfoBridge) -> Option<(&'static str, String)> {
    let (name, value): (_, u64) = match attribute {
        InfoBridge::AgeingTime(it) => ("ageing_time", (*it).into()),
        InfoBridge::ForwardDelay(it) => ("forward_delay", (*it).into()),
        InfoBridge::HelloTime(it) => ("hello_time", (*it).into()),
        InfoBridge::MaxAge(it) => ("max_age", (*it).into()),
        InfoBridge::Priority(it) => ("priority", (*it).into()),
        InfoBridge::VlanDefaultPvid(it) => ("default_pvid", (*it).into()),
        InfoBridge::GroupFwdMask(it) => {
            return Some(("group_fwd_mask", format!("{it:#x}")));
        }
        InfoBridge::MulticastHashMax(it) => ("hash_max", (*it).into()),
        InfoBridge::MulticastIgmpVersion(it) => ("multicast_igmp_version", (*it).into()),
        InfoBridge::MulticastMldVersion(it) => ("multicast_mld_version", (*it).into()),
        InfoBridge::MulticastLastMemberCount(it) => ("multicast_last_member_count", (*it).into()),
        InfoBridge::MulticastLastMemberInterval(it) => ("multicast_last_member_interval", *it),
        InfoBridge::MulticastMembershipInterval(it) => ("multicast_membership_interval", *it),
        InfoBridge::MulticastQuerierInterval(it) => ("multicast_querier_interval", *it),
        InfoBridge::MulticastQueryInterval(it) => ("multicast_query_interval", *it),
        InfoBridge::MulticastQueryResponseInterval(it) => {
            ("multicast_query_response_interval", *it)
        }
        InfoBridge::MulticastStartupQueryCount(it) => {
            ("multicast_startup_query_count", (*it).into())
        }
        InfoBridge::MulticastStartupQueryInterval(it) => ("multicast_startup_query_interval", *it),
        InfoBridge::MulticastRouter(it) => ("multicast_router", u8::from(*it).into()),
        _ => return None,
    };
    Some((name, value.to_string()))
}

fn flags(attribute: &InfoBridge) -> Option<(&'static str, String)> {
    let (name, value) = match attribute {
        InfoBridge::MulticastSnooping(it) => ("multicast_snooping", *it),
        InfoBridge::MulticastQuerier(it) => ("multicast_querier", *it),
        InfoBridge::MulticastQueryUseIfaddr(it) => ("multicast_query_use_ifaddr", *it),
        InfoBridge::MulticastStatsEnabled(it) => ("mcast_stats_enabled", *it),
        InfoBridge::NfCallIpTables(it) => ("nf_call_iptables", *it),
        InfoBridge::NfCallIp6Tables(it) => ("nf_call_ip6tables", *it),
        InfoBridge::NfCallArpTables(it) => ("nf_call_arptables", *it),
        InfoBridge::VlanFiltering(it) => ("vlan_filtering", *it),
        InfoBridge::VlanStatsEnabled(it) => ("vlan_stats_enabled", *it),
        InfoBridge::VlanStatsPerPort(it) => ("vlan_stats_per_port", *it),
        InfoBridge::MultiBoolOpt(it) => (
            "no_linklocal_learn",
            it.value
                .contains(BridgeBooleanOptionFlags::NoLinkLocalLearn),
        ),
        _ => return None,
    };
    Some((name, u8::from(value).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(ageing: u32, changes: u8) -> BridgeState {
        state(&[
            InfoBridge::ForwardDelay(200),
            InfoBridge::AgeingTime(ageing),
            InfoBridge::StpState(BridgeStpState::KernelStp),
            InfoBridge::TopologyChange(changes),
        ])
    }

    #[test]
    fn a_shortened_ageing_time_is_not_what_was_set() {
        let hidden = told(400, 1);
        assert!(hidden.tree_changes && !hidden.options.contains_key(AGEING_TIME));
        for (ageing, changes) in [(400, 0), (30_000, 1), (30_000, 0)] {
            let plain = told(ageing, changes);
            assert_eq!(plain.options[AGEING_TIME], ageing.to_string());
            assert!(!plain.tree_changes, "{ageing} {changes}");
        }
    }
}
