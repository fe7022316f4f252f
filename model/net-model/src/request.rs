//! A call of `Host.setupNetworks`, as a handler hands it over: typed, loosely where upstream is loose.
//!
//! Three types for three things (TODO 38): attributes of networks, of bonds, and options of the call.
//! `_inRollback` of upstream has no place here: no client can set it.
//! A key that no field knows goes to `extra`: it is kept in the files and told in
//! [`SetupRequest::strangers`]; it never reaches the kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::HostQos;

/// A value that clients send as a number, a boolean or a text: `true`, `"true"`, `1`, `"yes"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Loose {
    /// A boolean.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A text.
    Text(String),
}

impl Loose {
    /// As VDSM's `tobool`: `"true"` in any case, or a number other than 0; all else is false.
    pub fn truth(&self) -> bool {
        match self {
            Self::Bool(it) => *it,
            Self::Int(it) => *it != 0,
            Self::Text(text) => {
                let text = text.trim();
                text.eq_ignore_ascii_case("true") || text.parse::<i64>().is_ok_and(|it| it != 0)
            }
        }
    }

    /// As an integer, if it is one.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Bool(_) => None,
            Self::Int(it) => Some(*it),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }

    /// As text.
    pub fn text(&self) -> String {
        match self {
            Self::Bool(it) => it.to_string(),
            Self::Int(it) => it.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl From<bool> for Loose {
    fn from(it: bool) -> Self {
        Self::Bool(it)
    }
}

impl From<i64> for Loose {
    fn from(it: i64) -> Self {
        Self::Int(it)
    }
}

impl From<&str> for Loose {
    fn from(it: &str) -> Self {
        Self::Text(it.to_owned())
    }
}

impl From<String> for Loose {
    fn from(it: String) -> Self {
        Self::Text(it)
    }
}

/// The whole call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetupRequest {
    /// `networks`.
    pub networks: BTreeMap<String, NetworkAttributes>,
    /// `bondings`.
    pub bondings: BTreeMap<String, BondAttributes>,
    /// `options`.
    pub options: CallOptions,
}

impl SetupRequest {
    /// Keys that nobody knows, as `networks.NAME.KEY` and `bondings.NAME.KEY`: to be logged, or refused where the agent is strict.
    pub fn strangers(&self) -> Vec<String> {
        let networks = self.networks.iter().flat_map(|(name, it)| {
            let keys = it.extra.keys();
            keys.map(move |key| format!("networks.{name}.{key}"))
        });
        let bonds = self.bondings.iter().flat_map(|(name, it)| {
            let keys = it.extra.keys();
            keys.map(move |key| format!("bondings.{name}.{key}"))
        });
        networks.chain(bonds).collect()
    }
}

/// Attributes of a network. The names are the wire's and the files'.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are those of the API's reference")]
pub struct NetworkAttributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<Loose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bonding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Loose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridged: Option<Loose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Loose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stp: Option<Loose>,
    /// Older clients' name of `stp`.
    #[serde(rename = "STP", skip_serializing_if = "Option::is_none")]
    pub stp_upper: Option<Loose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootproto: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipaddr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netmask: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Loose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// All IPv4 addresses, `ip/bits`, the primary first (ours, TODO 27).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4addrs: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6autoconf: Option<Loose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcpv6: Option<Loose>,
    /// All IPv6 addresses, `ip/bits`, the primary first (ours, TODO 27).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6addrs: Option<Vec<String>>,
    #[serde(rename = "defaultRoute", skip_serializing_if = "Option::is_none")]
    pub default_route: Option<Loose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nameservers: Option<Vec<String>>,
    /// Routes of its own (ours, TODO 26).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<RouteAttributes>>,
    #[serde(rename = "hostQos", skip_serializing_if = "Option::is_none")]
    pub host_qos: Option<HostQosAttributes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<BTreeMap<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// Of upstream's restoration; means nothing here and is not kept.
    #[serde(skip_serializing)]
    pub blockingdhcp: Option<Loose>,
    /// Keys that nobody knows.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A route of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteAttributes {
    /// `10.9.0.0/16`, `default`.
    pub destination: String,
    /// Next hop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Loose>,
    /// Routing table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<Loose>,
    /// Preferred source address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// Path MTU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Loose>,
    /// The next hop is on the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onlink: Option<Loose>,
    /// `unicast`, `blackhole`, `unreachable`, `prohibit`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// `hostQos`: only outgoing traffic is shaped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostQosAttributes {
    /// `out`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<OutQosAttributes>,
}

/// The three curves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutQosAttributes {
    /// Link share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ls: Option<CurveAttributes>,
    /// Upper limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ul: Option<CurveAttributes>,
    /// Real time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rt: Option<CurveAttributes>,
}

/// A curve.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CurveAttributes {
    /// Slope of the first part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub m1: Option<Loose>,
    /// Its length in µs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub d: Option<Loose>,
    /// Slope of the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub m2: Option<Loose>,
}

impl From<HostQos> for HostQosAttributes {
    fn from(qos: HostQos) -> Self {
        let number = |it: u64| i64::try_from(it).ok().filter(|it| *it != 0).map(Loose::Int);
        let curve = |it: crate::Curve| CurveAttributes {
            m1: number(it.m1),
            d: number(it.d),
            m2: number(it.m2),
        };
        let out = OutQosAttributes {
            ls: qos.ls.map(curve),
            ul: qos.ul.map(curve),
            rt: qos.rt.map(curve),
        };
        Self { out: Some(out) }
    }
}

/// Attributes of a bond.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are those of the API's reference")]
pub struct BondAttributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<Loose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nics: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hwaddr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch: Option<String>,
    /// Keys that nobody knows.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Options of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallOptions {
    /// `connectivityCheck`: revert unless the client confirms. True if not told.
    pub connectivity_check: bool,
    /// `connectivityTimeout`, seconds; 4 if not told.
    pub connectivity_timeout: u32,
    /// `commitOnSuccess`: persist when done.
    pub commit_on_success: bool,
    /// `dryRun` (ours): answer the plan, change nothing.
    pub dry_run: bool,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            connectivity_check: true,
            connectivity_timeout: 4,
            commit_on_success: false,
            dry_run: false,
        }
    }
}
