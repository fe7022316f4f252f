//! Is a network's other end there? From samples to a verdict that does not flap (TODO 23).
//!
//! ```text
//!            first success                fail_after failures in a row
//! Unknown ───────────────────▶ Up ◀──────────────────────────────────────▶ Down(cause)
//!    └── fail_after failures in a row ──▶ Down          recover_after successes in a row ──▶ Up
//! ```
//!
//! A sample is what one interval brought: [`ATTEMPTS`] probes to each target, good if any target answered any of
//! them. So 30 % of loss is 2.7 % of bad samples for one target, and five bad ones in a row are one in 70 million.
//! Sending and hearing is an edge's; this machine has no clock.

use core::net::IpAddr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{IfName, NetError, NetName, Network};

/// Probes that one sample is made of.
pub const ATTEMPTS: u32 = 3;

const MAX_TARGETS: usize = 8;

/// What a network wants probed: custom properties `ping_target`, `ping_interval`, `ping_fail_count`, `ping_recover_count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Whom to ask. One that answers is enough.
    pub targets: Vec<IpAddr>,
    /// Seconds between samples.
    pub interval: u32,
    /// Bad samples in a row that make it down.
    pub fail_after: u32,
    /// Good samples in a row that make it up again.
    pub recover_after: u32,
}

impl ProbeConfig {
    /// What a network's custom properties say; nothing without a `ping_target`. The target `gateway` is the network's.
    pub fn of(name: &NetName, network: &Network) -> Result<Option<Self>, NetError> {
        let custom = &network.custom;
        let Some(text) = custom.get("ping_target").filter(|it| !it.trim().is_empty()) else {
            return Ok(None);
        };
        let mut targets = Vec::new();
        for word in text.split(',').map(str::trim) {
            targets.extend(targets_of(name, network, word)?);
        }
        targets.dedup();
        if targets.is_empty() || targets.len() > MAX_TARGETS {
            return Err(NetError::BadParams(format!(
                "{name}: ping_target names {} targets, must be 1..{MAX_TARGETS}",
                targets.len()
            )));
        }
        Ok(Some(Self {
            targets,
            interval: number(name, custom, "ping_interval", 5, 3600)?,
            fail_after: number(name, custom, "ping_fail_count", 5, 1000)?,
            recover_after: number(name, custom, "ping_recover_count", 3, 1000)?,
        }))
    }
}

fn targets_of(name: &NetName, network: &Network, word: &str) -> Result<Vec<IpAddr>, NetError> {
    let bad = |why: &str| NetError::BadAddress(format!("{name}: ping_target {word:?}: {why}"));
    if word == "gateway" {
        let gateways = [network.ipv4.gateway, network.ipv6.gateway];
        return Ok(gateways.into_iter().flatten().collect());
    }
    let ip: IpAddr = word.parse().map_err(|_| bad("it is no address"))?;
    let own = [&network.ipv4, &network.ipv6];
    let own: Vec<_> = own.into_iter().flat_map(|it| &it.addresses).collect();
    if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
        return Err(bad("nobody answers by this address"));
    }
    if own.iter().any(|it| it.ip() == ip) {
        return Err(bad("it is our own address"));
    }
    let inside = own.iter().find(|it| it.contains(ip));
    if let Some(network) = inside {
        let there = crate::Cidr::new(ip, network.prefix())?;
        if there.why_not_assignable().is_some() {
            return Err(bad("no host has this address"));
        }
    }
    let ours = network.ip(crate::Family::of(ip));
    let beyond = ours.gateway.is_none() && !ours.dhcp && !ours.autoconf;
    if inside.is_none() && !ours.addresses.is_empty() && beyond {
        return Err(bad("it is in no network of this one, which has no gateway"));
    }
    Ok(vec![ip])
}

fn number(
    name: &NetName,
    custom: &BTreeMap<String, String>,
    key: &str,
    default: u32,
    most: u32,
) -> Result<u32, NetError> {
    let Some(text) = custom.get(key) else {
        return Ok(default);
    };
    let number = text.trim().parse().ok();
    number
        .filter(|it| (1..=most).contains(it))
        .ok_or_else(|| NetError::BadParams(format!("{name}: {key} is {text:?}, must be 1..{most}")))
}

/// Why a sample was bad.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing came back.
    #[default]
    NoReply,
    /// Nobody on the link has the address (ARP, neighbour discovery).
    NoNeighbour,
    /// A router answered "unreachable".
    Unreachable,
    /// A firewall answered "prohibited".
    Prohibited,
    /// The interface has no carrier or is gone.
    NoLink,
    /// Nothing could be sent.
    CannotSend,
}

/// What one interval brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// A target answered.
    Good,
    /// None did.
    Bad(Cause),
}

/// What is thought of a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Not known yet: reported as the kernel says.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down(Cause),
}

/// The machine. Kept over a restart of the agent ([`Serialize`]), so that the verdict does not jump.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    verdict: Verdict,
    run: u32,
    good: bool,
}

/// A verdict that changed: for one event `|net|host_conn|no_id` and one line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Before.
    pub from: Verdict,
    /// Now.
    pub to: Verdict,
}

impl Probe {
    /// What is thought now.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Takes a sample.
    pub fn observe(&mut self, config: &ProbeConfig, sample: Sample) -> Option<Changed> {
        let good = sample == Sample::Good;
        self.run = if self.run > 0 && self.good == good {
            self.run.saturating_add(1)
        } else {
            1
        };
        self.good = good;
        let next = match (self.verdict, sample) {
            (Verdict::Unknown, Sample::Good) => Verdict::Up,
            (Verdict::Down(_), Sample::Good) if self.run >= config.recover_after => Verdict::Up,
            (Verdict::Unknown | Verdict::Up, Sample::Bad(cause))
                if self.run >= config.fail_after =>
            {
                Verdict::Down(cause)
            }
            _ => return None,
        };
        let from = std::mem::replace(&mut self.verdict, next);
        Some(Changed { from, to: next })
    }
}

/// The interface whose `state` of `Host.getStats` shows the verdict: the VLAN, else the base. A VLAN's verdict says
/// nothing of its siblings, so it is never shown on the base.
pub fn reported_device(network: &Network) -> Option<IfName> {
    network.port().ok().flatten()
}
