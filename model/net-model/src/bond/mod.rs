//! A bond as it should be, and what aggregation tells of itself.
//!
//! Look next: `options.rs` (which options a mode takes and what their values are).

mod options;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use options::{
    BondMode, BondOptions, OptionRule, default_value, needs_down, needs_no_ports, normal_value,
    option_rule,
};
pub(crate) use options::{DELAYS, checked_name, kept_delay, set_order};

use crate::{BondState, IfName, Mac, Switch};

/// A bond of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bond {
    /// Its ports.
    pub slaves: BTreeSet<IfName>,
    /// Mode and options.
    pub options: BondOptions,
    /// Its hardware address; nothing: the first port's.
    pub hwaddr: Option<Mac>,
    /// Whose bond it is.
    pub switch: Switch,
    /// Keys that nobody here knows: kept in the files, never used.
    pub extra: Map<String, Value>,
}

/// What `Host.getCapabilities` says of an 802.3ad bond (TODO 20), as strings: Engine does
/// `Integer.parseInt` on a `String`. Nothing in any other mode, or before there is an aggregator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BondAggregation {
    /// `ad_aggregator_id` of the bond.
    pub aggregator_id: String,
    /// `ad_partner_mac`: the switch, or zeroes while it does not answer.
    pub partner_mac: String,
}

/// Aggregation of a bond. A kernel that hides the partner from who is not root (sysfs does, netlink does not)
/// still lets the id be known: the partner is then zeroes, as of one who does not answer.
pub fn aggregation(state: &BondState) -> Option<BondAggregation> {
    let lacp = state.options.get("mode").map(String::as_str) == Some("4");
    let id = state.aggregator.filter(|_| lacp)?;
    Some(BondAggregation {
        aggregator_id: id.to_string(),
        partner_mac: state.partner_mac.unwrap_or_default().to_string(),
    })
}

/// Ids of the aggregators that the ports of a bond are in: more than one is a bond split over switches that do
/// not know of each other.
pub fn is_split(ids: impl IntoIterator<Item = Option<u16>>) -> bool {
    let ids: BTreeSet<u16> = ids.into_iter().flatten().collect();
    ids.len() > 1
}
