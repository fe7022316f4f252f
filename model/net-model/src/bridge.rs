//! Attributes of bridges that may be asked for with the custom property `bridge_opts`.
//!
//! Names and units are sysfs's (`/sys/class/net/NAME/bridge/`; times in hundredths of a second), limits the kernel's.
//! Upstream writes whatever it is given and fails in the middle; here a name or value that the kernel would
//! refuse is `ERR_BAD_PARAMS` before anything changes.

use std::collections::BTreeMap;

use serde::{Deserialize as _, Deserializer, de::Error as _};

use crate::NetError;

struct Attribute {
    name: &'static str,
    most: u64,
    least: u64,
    default: &'static str,
}

const fn attribute(name: &'static str, least: u64, most: u64, default: &'static str) -> Attribute {
    Attribute {
        name,
        most,
        least,
        default,
    }
}

const TIME: u64 = u32::MAX as u64;

#[rustfmt::skip]
const ATTRIBUTES: &[Attribute] = &[
    attribute(AGEING_TIME, 0, TIME, "30000"),
    attribute("default_pvid", 0, 4094, "1"),
    attribute("forward_delay", 0, 3000, "1500"),
    attribute("group_fwd_mask", 0, 65_535, "0x0"),
    attribute("hash_max", 1, 1 << 31, "4096"),
    attribute("hello_time", 100, 1000, "200"),
    attribute("max_age", 600, 4000, "2000"),
    attribute("mcast_stats_enabled", 0, 1, "0"),
    attribute("multicast_igmp_version", 2, 3, "2"),
    attribute("multicast_last_member_count", 0, TIME, "2"),
    attribute("multicast_last_member_interval", 0, TIME, "100"),
    attribute("multicast_membership_interval", 0, TIME, "26000"),
    attribute("multicast_mld_version", 1, 2, "1"),
    attribute("multicast_querier", 0, 1, "0"),
    attribute("multicast_querier_interval", 0, TIME, "25500"),
    attribute("multicast_query_interval", 0, TIME, "12500"),
    attribute("multicast_query_response_interval", 0, TIME, "1000"),
    attribute("multicast_query_use_ifaddr", 0, 1, "0"),
    attribute("multicast_router", 0, 2, "1"),
    attribute("multicast_snooping", 0, 1, "1"),
    attribute("multicast_startup_query_count", 0, TIME, "2"),
    attribute("multicast_startup_query_interval", 0, TIME, "3125"),
    attribute("nf_call_arptables", 0, 1, "0"),
    attribute("nf_call_ip6tables", 0, 1, "0"),
    attribute("nf_call_iptables", 0, 1, "0"),
    attribute("no_linklocal_learn", 0, 1, "0"),
    attribute("priority", 0, 65_535, "32768"),
    attribute("vlan_filtering", 0, 1, "0"),
    attribute("vlan_stats_enabled", 0, 1, "0"),
    attribute("vlan_stats_per_port", 0, 1, "0"),
];

/// The attribute that the kernel shortens for as long as the spanning tree changes.
pub const AGEING_TIME: &str = "ageing_time";

fn find(name: &str) -> Option<&'static Attribute> {
    ATTRIBUTES.iter().find(|it| it.name == name)
}

/// The value of an attribute in a new bridge.
pub fn default_value(name: &str) -> Option<&'static str> {
    find(name).map(|it| it.default)
}

/// Of all attributes of a bridge those that can be set and are not as in a new one.
pub fn settable(options: &BTreeMap<String, String>) -> impl Iterator<Item = (&'static str, &str)> {
    options.iter().filter_map(|(name, value)| {
        let known = find(name)?;
        (known.default != value).then_some((known.name, value.as_str()))
    })
}

/// `name=value name=value`: parsed and checked. Numbers may be hexadecimal (`0x8`).
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, NetError> {
    let mut options = BTreeMap::new();
    for word in text.split_whitespace() {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| NetError::BadParams(format!("bridge_opts: {word:?} has no '='")))?;
        check(name, value)?;
        options.insert(name.to_owned(), value.to_owned());
    }
    Ok(options)
}

/// The same as text, sorted.
pub fn to_text(options: &BTreeMap<String, String>) -> String {
    let words = options
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    words.collect::<Vec<_>>().join(" ")
}

/// Do two texts mean the same number?
pub fn same_value(a: &str, b: &str) -> bool {
    a == b || (number(a).is_some() && number(a) == number(b))
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn check(name: &str, value: &str) -> Result<(), NetError> {
    let known = find(name).ok_or_else(|| {
        NetError::BadParams(format!("bridge_opts: a bridge has no option {name:?}"))
    })?;
    let fits = number(value).is_some_and(|it| (known.least..=known.most).contains(&it));
    fits.then_some(())
        .ok_or_else(|| NetError::BadParams(format!("bridge_opts: {name} cannot be {value:?}")))
}

/// Options that another process sends: names become names of files, so they are checked again.
pub(crate) fn checked<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let options = BTreeMap::<String, String>::deserialize(from)?;
    for (name, value) in &options {
        check(name, value).map_err(D::Error::custom)?;
    }
    Ok(options)
}

/// The name of an attribute, or `stp_state`.
pub(crate) fn checked_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if name != "stp_state" && find(&name).is_none() {
        return Err(D::Error::custom("a bridge has no such option"));
    }
    Ok(name)
}
