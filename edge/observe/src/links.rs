//! Interfaces of /sys/class/net.

use host_model::{Bond, Bridge, Link, LinkCounters, LinkKind, VlanLink};

use crate::{files::Reader, netlink};

const NET: &str = "/sys/class/net";
/// Options of bonds that are told.
const BOND_OPTIONS: &[&str] = &["mode", "miimon", "xmit_hash_policy", "lacp_rate", "primary"];

/// All interfaces, without addresses. `dump` tells kinds that files do not.
pub(crate) fn links(reader: &mut Reader<'_>, dump: Option<&netlink::Dump>) -> Vec<Link> {
    let vlans = reader.text("/proc/net/vlan/config").unwrap_or_default();
    let names = reader.names(NET);
    let is_link = |reader: &Reader<'_>, name: &str| reader.exists(&format!("{NET}/{name}/mtu"));
    names
        .into_iter()
        .filter(|name| is_link(reader, name))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|name| link(reader, name, &vlans, dump))
        .collect()
}

fn link(reader: &mut Reader<'_>, name: String, vlans: &str, dump: Option<&netlink::Dump>) -> Link {
    let dir = format!("{NET}/{name}");
    let operstate = reader
        .line(&format!("{dir}/operstate"))
        .unwrap_or_else(|| "unknown".to_owned());
    let carrier = carrier(reader, &dir, &operstate);
    let told = dump.and_then(|dump| dump.links.values().find(|link| link.name == name));
    let conf = format!("/proc/sys/net/ipv6/conf/{name}");
    let on = |value: Option<String>| value.is_some_and(|v| v != "0");
    Link {
        kind: kind(reader, &name, vlans, told, dump.is_some()),
        hwaddr: reader.line(&format!("{dir}/address")).unwrap_or_default(),
        mtu: reader.number(&format!("{dir}/mtu")).unwrap_or(0),
        operstate,
        carrier,
        speed: speed(reader, &dir),
        duplex: reader
            .line(&format!("{dir}/duplex"))
            .filter(|word| matches!(word.as_str(), "full" | "half"))
            .unwrap_or_else(|| "unknown".to_owned()),
        master: reader.link_name(&format!("{dir}/master")),
        aggregator: known(reader.line(&format!("{dir}/bonding_slave/ad_aggregator_id"))),
        permanent_hwaddr: known(reader.line(&format!("{dir}/bonding_slave/perm_hwaddr"))),
        ipv6_autoconf: on(reader.line(&format!("{conf}/autoconf")))
            && on(reader.line(&format!("{conf}/accept_ra"))),
        addresses: Vec::new(),
        counters: counters(reader, &dir),
        name,
    }
}

fn known(value: Option<String>) -> Option<String> {
    value.filter(|v| v != "N/A")
}

/// Interfaces that have no operational state (`lo`) are up when they are set up and have a carrier.
fn carrier(reader: &mut Reader<'_>, dir: &str, operstate: &str) -> bool {
    const IFF_UP: u32 = 1;
    let flags = reader.line(&format!("{dir}/flags")).unwrap_or_default();
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
    match operstate {
        "up" => true,
        "unknown" => {
            flags & IFF_UP != 0 && reader.line(&format!("{dir}/carrier")).as_deref() == Some("1")
        }
        _ => false,
    }
}

/// Mbit/s; the kernel says -1 (or its unsigned twin) where it does not know.
fn speed(reader: &mut Reader<'_>, dir: &str) -> u32 {
    const MOST: u32 = 10_000_000;
    let speed: Option<u32> = reader.number(&format!("{dir}/speed"));
    speed.filter(|speed| *speed <= MOST).unwrap_or(0)
}

fn counters(reader: &mut Reader<'_>, dir: &str) -> LinkCounters {
    let mut count = |name: &str| {
        reader
            .number(&format!("{dir}/statistics/{name}"))
            .unwrap_or(0)
    };
    LinkCounters {
        rx_bytes: count("rx_bytes"),
        tx_bytes: count("tx_bytes"),
        rx_dropped: count("rx_dropped"),
        tx_dropped: count("tx_dropped"),
        rx_errors: count("rx_errors"),
        tx_errors: count("tx_errors"),
    }
}

fn kind(
    reader: &mut Reader<'_>,
    name: &str,
    vlans: &str,
    told: Option<&netlink::LinkInfo>,
    asked: bool,
) -> LinkKind {
    const LOOPBACK: u32 = 772;
    const ETHER: u16 = 1;
    const INFINIBAND: u16 = 32;
    let dir = format!("{NET}/{name}");
    if reader.number(&format!("{dir}/type")) == Some(LOOPBACK) {
        return LinkKind::Loopback;
    }
    if let Some(vlan) = vlan(vlans, name) {
        return LinkKind::Vlan(vlan);
    }
    if reader.exists(&format!("{dir}/bridge")) {
        return LinkKind::Bridge(bridge(reader, &dir));
    }
    if reader.exists(&format!("{dir}/bonding")) {
        return LinkKind::Bond(bond(reader, &dir));
    }
    if reader.exists(&format!("{dir}/device/physfn")) {
        return LinkKind::Vf;
    }
    let kind = told.and_then(|link| link.kind.as_deref());
    let is_card = told.is_some_and(|link| matches!(link.hardware, ETHER | INFINIBAND));
    match kind {
        Some("veth" | "dummy" | "macvlan") => LinkKind::Fake,
        None if reader.exists(&format!("{dir}/device")) || (asked && is_card) => LinkKind::Nic,
        _ => LinkKind::Other,
    }
}

fn bridge(reader: &mut Reader<'_>, dir: &str) -> Bridge {
    let stp = reader.line(&format!("{dir}/bridge/stp_state"));
    Bridge {
        ports: reader.names(&format!("{dir}/brif")),
        stp: stp.is_some_and(|state| state != "0"),
    }
}

fn bond(reader: &mut Reader<'_>, dir: &str) -> Bond {
    let mut get = |name: &str| known(reader.line(&format!("{dir}/bonding/{name}")));
    let slaves = get("slaves").unwrap_or_default();
    // `balance-rr 0`: the last word is the one that setting the option takes.
    let option = |value: String| value.split_whitespace().last().map(str::to_owned);
    Bond {
        slaves: slaves.split_whitespace().map(str::to_owned).collect(),
        active_slave: get("active_slave").unwrap_or_default(),
        options: BOND_OPTIONS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), get(name).and_then(option)?)))
            .collect(),
        aggregator: get("ad_aggregator"),
        partner_mac: get("ad_partner_mac"),
    }
}

/// A line `eth0.5  | 5  | eth0` of /proc/net/vlan/config.
fn vlan(config: &str, name: &str) -> Option<VlanLink> {
    config.lines().find_map(|line| {
        let mut parts = line.split('|').map(str::trim);
        if parts.next() != Some(name) {
            return None;
        }
        let id = parts.next()?.parse().ok()?;
        let device = parts.next()?.to_owned();
        Some(VlanLink { device, id })
    })
}
