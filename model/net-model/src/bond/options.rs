//! Options of bonds: which mode takes which (the kernel's `bond_options.c`), their values by name and number.
//!
//! Options are asked for as text, `mode=4 miimon=100 xmit_hash_policy=layer2+3`; kept by number, as the kernel reports them last
//! in sysfs. Upstream only asks whether a name exists; here an option that the mode refuses, or a value that the
//! kernel refuses, is `ERR_BAD_BONDING` before anything changes.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{IfName, Mac, NetError};

/// Mode of a bond.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u8", into = "u8")]
pub enum BondMode {
    /// 0, `balance-rr`.
    #[default]
    BalanceRr,
    /// 1, `active-backup`.
    ActiveBackup,
    /// 2, `balance-xor`.
    BalanceXor,
    /// 3, `broadcast`.
    Broadcast,
    /// 4, `802.3ad`: LACP.
    Lacp,
    /// 5, `balance-tlb`.
    BalanceTlb,
    /// 6, `balance-alb`.
    BalanceAlb,
}

const MODES: [(BondMode, &str); 7] = [
    (BondMode::BalanceRr, "balance-rr"),
    (BondMode::ActiveBackup, "active-backup"),
    (BondMode::BalanceXor, "balance-xor"),
    (BondMode::Broadcast, "broadcast"),
    (BondMode::Lacp, "802.3ad"),
    (BondMode::BalanceTlb, "balance-tlb"),
    (BondMode::BalanceAlb, "balance-alb"),
];

impl BondMode {
    /// The kernel's number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        let found = MODES.iter().find(|(mode, _)| *mode == self);
        found.map_or("", |(_, name)| name)
    }

    fn bit(self) -> u8 {
        1 << self.number()
    }
}

impl FromStr for BondMode {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        let found = MODES
            .iter()
            .find(|(mode, name)| *name == text || mode.number().to_string() == text);
        found
            .map(|(mode, _)| *mode)
            .ok_or_else(|| NetError::BadBonding(format!("{text:?} is no mode of a bond")))
    }
}

impl TryFrom<u8> for BondMode {
    type Error = NetError;
    fn try_from(number: u8) -> Result<Self, NetError> {
        number.to_string().parse()
    }
}

impl From<BondMode> for u8 {
    fn from(mode: BondMode) -> Self {
        mode.number()
    }
}

/// What the kernel wants of an option.
#[derive(Debug, Clone, Copy)]
pub struct OptionRule {
    /// Name in sysfs.
    pub name: &'static str,
    /// Modes that take it, a bit each.
    modes: u8,
    /// Names of its values, if it has names.
    names: &'static [(&'static str, &'static str)],
    /// What else it may be.
    values: Values,
    /// Its value in a new bond.
    default: &'static str,
    /// When it can be set.
    when: When,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// Only the names.
    Named,
    /// A number from 0 to this.
    UpTo(u32),
    /// A number of this range.
    Between(u32, u32),
    /// Addresses of IPv4 with commas between, at most 16.
    Addresses,
    /// An interface.
    Interface,
    /// A hardware address.
    Mac,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// The bond is down.
    Down,
    /// The bond has no ports.
    NoPorts,
}

const ALL: u8 = 0b111_1111;
const LACP: u8 = 1 << 4;
const PRIMARY: u8 = 1 << 1 | 1 << 5 | 1 << 6;
const ARP: u8 = 1 | 1 << 1 | 1 << 2 | 1 << 3;
const LB: u8 = 1 << 5 | 1 << 6;

const fn rule(
    name: &'static str,
    modes: u8,
    names: &'static [(&'static str, &'static str)],
    values: Values,
    default: &'static str,
    when: When,
) -> OptionRule {
    OptionRule {
        name,
        modes,
        names,
        values,
        default,
        when,
    }
}

const NO_NAMES: &[(&str, &str)] = &[];
const SWITCHED: Values = Values::UpTo(1);
const MILLISECONDS: Values = Values::UpTo(i32::MAX as u32);

/// What waits for several looks of the monitor: the kernel keeps each as so many times miimon, rounded down
/// (`_bond_option_delay_set` of drivers/net/bonding/bond_options.c), and takes none without miimon.
pub(crate) const DELAYS: [&str; 3] = ["updelay", "downdelay", "peer_notif_delay"];

#[rustfmt::skip]
const RULES: &[OptionRule] = &[
    rule("ad_actor_sys_prio", LACP, NO_NAMES, Values::Between(1, 65_535), "65535", When::Down),
    rule("ad_actor_system", LACP, NO_NAMES, Values::Mac, "", When::Down),
    rule("ad_select", ALL, &[("stable", "0"), ("bandwidth", "1"), ("count", "2")], Values::Named, "0", When::Down),
    rule("ad_user_port_key", LACP, NO_NAMES, Values::UpTo(1023), "0", When::Down),
    rule("all_slaves_active", ALL, NO_NAMES, SWITCHED, "0", When::Always),
    rule("arp_all_targets", ALL, &[("any", "0"), ("all", "1")], Values::Named, "0", When::Always),
    rule("arp_interval", ARP, NO_NAMES, MILLISECONDS, "0", When::Always),
    rule("arp_ip_target", ARP, NO_NAMES, Values::Addresses, "", When::Always),
    rule("arp_validate", ARP, &[("none", "0"), ("active", "1"), ("backup", "2"), ("all", "3"), ("filter", "4"), ("filter_active", "5"), ("filter_backup", "6")], Values::Named, "0", When::Always),
    rule("downdelay", ALL, NO_NAMES, MILLISECONDS, "0", When::Always),
    rule("fail_over_mac", ALL, &[("none", "0"), ("active", "1"), ("follow", "2")], Values::Named, "0", When::NoPorts),
    rule("lacp_active", LACP, &[("off", "0"), ("on", "1")], Values::Named, "1", When::Down),
    rule("lacp_rate", LACP, &[("slow", "0"), ("fast", "1")], Values::Named, "0", When::Down),
    rule("lp_interval", ALL, NO_NAMES, Values::Between(1, i32::MAX as u32), "1", When::Always),
    rule("miimon", ALL, NO_NAMES, MILLISECONDS, "0", When::Always),
    rule("min_links", ALL, NO_NAMES, MILLISECONDS, "0", When::Always),
    rule("num_grat_arp", ALL, NO_NAMES, Values::UpTo(255), "1", When::Always),
    rule("num_unsol_na", ALL, NO_NAMES, Values::UpTo(255), "1", When::Always),
    rule("packets_per_slave", 1, NO_NAMES, Values::UpTo(65_535), "1", When::Always),
    rule("peer_notif_delay", ALL, NO_NAMES, Values::UpTo(300_000), "0", When::Always),
    rule("primary", PRIMARY, NO_NAMES, Values::Interface, "", When::Always),
    rule("primary_reselect", ALL, &[("always", "0"), ("better", "1"), ("failure", "2")], Values::Named, "0", When::Always),
    rule("resend_igmp", ALL, NO_NAMES, Values::UpTo(255), "1", When::Always),
    rule("tlb_dynamic_lb", LB, NO_NAMES, SWITCHED, "1", When::Down),
    rule("updelay", ALL, NO_NAMES, MILLISECONDS, "0", When::Always),
    rule("use_carrier", ALL, NO_NAMES, SWITCHED, "1", When::Always),
    rule("xmit_hash_policy", ALL, &[("layer2", "0"), ("layer3+4", "1"), ("layer2+3", "2"), ("encap2+3", "3"), ("encap3+4", "4"), ("vlan+srcmac", "5")], Values::Named, "0", When::Always),
];

/// The rule of an option.
pub fn option_rule(name: &str) -> Option<&'static OptionRule> {
    RULES.iter().find(|it| it.name == name)
}

/// The value of an option in a new bond, as far as it is known.
pub fn default_value(name: &str) -> Option<&'static str> {
    option_rule(name).map(|it| it.default)
}

/// Must the bond be down while the option is set?
pub fn needs_down(name: &str) -> bool {
    option_rule(name).is_some_and(|it| it.when == When::Down)
}

/// A delay as the kernel keeps it: the multiple of miimon beneath; none, where there is no miimon.
pub(crate) fn kept_delay(delay: u32, miimon: u32) -> u32 {
    delay - delay.checked_rem(miimon).unwrap_or(delay)
}

/// In which order the kernel takes options that are set together: the mode first; no delays before miimon changes; the monitor that
/// is switched off before the one that is switched on; targets before the interval that needs them; the rest, delays among them; the
/// primary port last.
pub(crate) fn set_order(option: &str, value: &str) -> u8 {
    match (option, value) {
        ("mode", _) => 0,
        (delay, "0") if DELAYS.contains(&delay) => 1,
        ("miimon" | "arp_interval", "0") => 2,
        ("arp_ip_target", _) => 3,
        ("miimon" | "arp_interval", _) => 4,
        ("primary", _) => 9,
        _ => 5,
    }
}

/// Must the bond be without ports (and down) while the option is set?
pub fn needs_no_ports(name: &str) -> bool {
    name == "mode" || option_rule(name).is_some_and(|it| it.when == When::NoPorts)
}

/// A value as it is kept: its number, where it has one. Sysfs's `802.3ad 4` is `4`; its several
/// `arp_ip_target`s get commas.
pub fn normal_value(name: &str, text: &str) -> String {
    let text = text.trim();
    match name {
        "arp_ip_target" => text
            .split([' ', ','])
            .filter(|it| !it.is_empty())
            .collect::<Vec<_>>()
            .join(","),
        "mode" => {
            let word = text.rsplit(' ').next().unwrap_or(text);
            word.parse::<BondMode>()
                .map_or_else(|_| word.to_owned(), |it| it.number().to_string())
        }
        _ => {
            let word = text.rsplit(' ').next().unwrap_or(text);
            let names = option_rule(name).map_or(NO_NAMES, |it| it.names);
            let found = names.iter().find(|(name, _)| *name == word);
            found.map_or(word, |(_, number)| number).to_owned()
        }
    }
}

impl OptionRule {
    /// Does a mode take it?
    pub fn fits(&self, mode: BondMode) -> bool {
        self.modes & mode.bit() != 0
    }

    fn is_in_range(&self, number: u32) -> bool {
        match self.values {
            Values::UpTo(most) => number <= most,
            Values::Between(least, most) => (least..=most).contains(&number),
            _ => false,
        }
    }

    fn check(&self, mode: BondMode, value: &str) -> Result<String, NetError> {
        let name = self.name;
        if !self.fits(mode) {
            return Err(NetError::BadBonding(format!(
                "the bond's mode {} has no option {name}",
                mode.name()
            )));
        }
        let normal = normal_value(name, value);
        let number = normal.parse::<u32>().ok();
        let good = match self.values {
            Values::Named => self.names.iter().any(|(_, number)| *number == normal),
            Values::UpTo(_) | Values::Between(..) => number.is_some_and(|it| self.is_in_range(it)),
            Values::Addresses => are_targets(&normal),
            Values::Interface => IfName::new(&normal).is_ok(),
            Values::Mac => normal.parse::<Mac>().is_ok_and(Mac::is_usable),
        };
        good.then_some(normal)
            .ok_or_else(|| NetError::BadBonding(format!("{name} of a bond cannot be {value:?}")))
    }
}

fn are_targets(list: &str) -> bool {
    const MOST: usize = 16;
    let good = |it: &str| it.parse::<core::net::Ipv4Addr>().is_ok();
    list.split(',').all(good) && list.split(',').count() <= MOST
}

/// Mode and options of a bond, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BondOptions {
    mode: BondMode,
    others: BTreeMap<String, String>,
}

impl BondOptions {
    /// The mode.
    pub fn mode(&self) -> BondMode {
        self.mode
    }

    /// The options beside the mode, values as [`normal_value`] has them.
    pub fn others(&self) -> impl Iterator<Item = (&str, &str)> {
        self.others.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.others.get(name).map(String::as_str)
    }

    /// What a bond of the kernel has that is not the default: how a foreign one is taken over. What is no option, or
    /// not settable in its mode, is left out.
    pub fn of_kernel(options: &BTreeMap<String, String>) -> Self {
        let mode = options.get("mode").and_then(|it| it.parse().ok());
        let mode: BondMode = mode.unwrap_or_default();
        let mut others = BTreeMap::new();
        for (name, value) in options {
            let Some(rule) = option_rule(name) else {
                continue;
            };
            let normal = normal_value(name, value);
            if normal != rule.default && rule.check(mode, &normal).is_ok() {
                others.insert(name.clone(), normal);
            }
        }
        Self { mode, others }
    }

    fn check_together(&self) -> Result<(), NetError> {
        let set = |name: &str| self.get(name).is_some_and(|it| !matches!(it, "0" | ""));
        let wrong = |why: &str| Err(NetError::BadBonding(why.to_owned()));
        if set("miimon") && set("arp_interval") {
            return wrong("a bond has either miimon or arp_interval");
        }
        if set("arp_interval") && !set("arp_ip_target") {
            return wrong("a bond with arp_interval needs arp_ip_target");
        }
        if set("arp_validate") && !set("arp_interval") {
            return wrong("a bond with arp_validate needs arp_interval");
        }
        if DELAYS.iter().any(|it| set(it)) && !set("miimon") {
            return wrong("updelay, downdelay and peer_notif_delay of a bond need miimon");
        }
        Ok(())
    }

    fn number(&self, name: &str) -> u32 {
        let number = self.get(name).and_then(|it| it.parse().ok());
        number.unwrap_or(0)
    }

    /// Delays that are not as the kernel keeps them, with what it makes of them.
    fn uneven(&self) -> impl Iterator<Item = (&'static str, u32, u32)> {
        let miimon = self.number("miimon");
        let all = DELAYS.into_iter().map(move |name| {
            let asked = self.number(name);
            (name, asked, kept_delay(asked, miimon))
        });
        all.filter(|(_, asked, kept)| asked != kept)
    }

    /// Why the kernel would make something else of them, if it would: delays are multiples of miimon.
    pub fn why_not_kept(&self) -> Option<String> {
        let (name, asked, beneath) = self.uneven().next()?;
        let miimon = self.number("miimon");
        let rule = option_rule(name);
        let above = beneath.checked_add(miimon);
        let above = above.filter(|it| rule.is_none_or(|rule| rule.is_in_range(*it)));
        let or_above = above.map_or_else(String::new, |it| format!(" or {it}"));
        Some(format!(
            "{name} of a bond is a multiple of its miimon ({miimon} ms): {beneath}{or_above}, not {asked}"
        ))
    }

    /// As the kernel keeps them: how records of files are read, of which agents of old let any delay pass.
    #[must_use]
    pub fn as_kept(&self) -> Self {
        let mut kept = self.clone();
        let uneven = self.uneven();
        let uneven = uneven.map(|(name, _, it)| (name.to_owned(), it.to_string()));
        kept.others.extend(uneven);
        kept
    }
}

impl FromStr for BondOptions {
    type Err = NetError;

    /// `mode=4 miimon=100`: in any order, by name or number; the mode is 0 if not told. The last of a name counts.
    fn from_str(text: &str) -> Result<Self, NetError> {
        let mut pairs = BTreeMap::new();
        for word in text.split_whitespace() {
            let Some((name, value)) = word.split_once('=') else {
                return Err(NetError::BadBonding(format!(
                    "Error parsing bonding options: {text:?}"
                )));
            };
            pairs.insert(name, value);
        }
        let mode = pairs
            .remove("mode")
            .map_or(Ok(BondMode::default()), str::parse)?;
        let mut others = BTreeMap::new();
        for (name, value) in pairs {
            let rule = option_rule(name).ok_or_else(|| {
                NetError::BadBonding(format!("{name:?} is not a valid bonding option"))
            })?;
            others.insert(name.to_owned(), rule.check(mode, value)?);
        }
        let options = Self { mode, others };
        options.check_together()?;
        Ok(options)
    }
}

impl TryFrom<String> for BondOptions {
    type Error = NetError;
    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<BondOptions> for String {
    fn from(options: BondOptions) -> Self {
        options.to_string()
    }
}

impl fmt::Display for BondOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "mode={}", self.mode.number())?;
        self.others
            .iter()
            .try_for_each(|(name, value)| write!(out, " {name}={value}"))
    }
}

/// The name of an option, or `mode`: names become names of files, so what another process sends is checked.
pub(crate) fn checked_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if name != "mode" && option_rule(&name).is_none() {
        return Err(D::Error::custom("a bond has no such option"));
    }
    Ok(name)
}
