//! What can be asked about the host's networks, and what is answered.
//!
//! All but [`Request::NetworkChange`](crate::Request::NetworkChange) and
//! [`Request::NetworkRollback`](crate::Request::NetworkRollback) are one request and one answer. These two go on: after
//! [`Reply::NetworkApplied`](crate::Reply::NetworkApplied) the change is pending as long as the connection is open, until a
//! [`Word`] says what becomes of it. The end of the connection, or of the time for confirming, says "undo".
//!
//! What is in [`Desired`] is validated by `net-model` as it is decoded; how long anything may take is bounded by [`Millis`].

use core::net::IpAddr;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use net_model::{Desired, DhcpClient, HostQos, IfName, Mac, NetName, QosClass, Tables};
use serde::{Deserialize, Serialize};

/// For undoing what was done of a change, beyond its own deadline; an asker waits as long.
pub const UNDO_WITHIN: Duration = Duration::from_mins(2);

/// Most targets of one [`ArpProbe`], most cards of one [`Lldp`].
pub const MOST_TARGETS: usize = 256;

/// A bounded time: 1 ms to ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Millis(u64);

impl Millis {
    /// The longest, ms.
    pub const MOST: u64 = 600_000;

    /// A time, brought into the bounds.
    pub fn of(time: Duration) -> Self {
        let ms = u64::try_from(time.as_millis()).unwrap_or(Self::MOST);
        Self(ms.clamp(1, Self::MOST))
    }

    /// The time.
    pub fn get(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl TryFrom<u64> for Millis {
    type Error = String;

    fn try_from(ms: u64) -> Result<Self, String> {
        if (1..=Self::MOST).contains(&ms) {
            Ok(Self(ms))
        } else {
            Err(format!("{ms} ms: from 1 to {} are allowed", Self::MOST))
        }
    }
}

impl From<Millis> for u64 {
    fn from(time: Millis) -> Self {
        time.0
    }
}

/// A change of networks: validated, planned, run, verified; then pending until it is confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkChange {
    /// The change. `before` is what the files of the running set say; if they have changed since, the change is refused.
    pub desired: Desired,
    /// Store it as the persistent set, too, when it is confirmed (`commitOnSuccess`).
    pub persist: bool,
    /// For reading, planning, running and verifying.
    pub deadline_ms: Millis,
    /// For confirming, from the answer on; nothing: as long as the connection is open.
    pub confirm_within_ms: Option<Millis>,
}

/// A change back to an older generation of a set of files. Pending as any change; when confirmed, stored as the newest
/// generation of the running set, and of the persistent one if it was that one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRollback {
    /// Whose generations are counted.
    pub set: NetworkSet,
    /// How many generations back: 1 is the one before that in force; 0 is the one in force.
    pub back: u16,
    /// As of [`NetworkChange`].
    pub deadline_ms: Millis,
    /// As of [`NetworkChange`].
    pub confirm_within_ms: Option<Millis>,
}

/// One of the two sets of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkSet {
    /// What was set up last.
    Running,
    /// What is safe, and restored at boot.
    Persistent,
}

impl fmt::Display for NetworkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Persistent => "persistent",
        })
    }
}

/// What would a change do? Nothing changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPlan {
    /// The change.
    pub desired: Desired,
    /// For reading and planning.
    pub deadline_ms: Millis,
}

/// Bring the host from what is there to the persistent set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRestore {
    /// Also if it was done since the host started.
    pub force: bool,
    /// For all of it.
    pub deadline_ms: Millis,
}

/// Who on this interface has these addresses? By ARP, and by neighbour solicitation in IPv6.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArpProbe {
    /// The interface.
    pub device: IfName,
    /// Whom to ask, at most [`MOST_TARGETS`].
    pub targets: Vec<IpAddr>,
    /// For all answers.
    pub wait_ms: Millis,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArpAnswer {
    /// Which address was asked for.
    pub target: IpAddr,
    /// Whose it is.
    pub mac: Mac,
    /// After how many microseconds.
    pub micros: u64,
}

/// What do the neighbours of these cards tell by LLDP?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lldp {
    /// The cards, at most [`MOST_TARGETS`]; none: all.
    pub nics: BTreeSet<IfName>,
    /// For all of them.
    pub deadline_ms: Millis,
}

/// What the neighbour of a card tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LldpState {
    /// Does somebody listen on this card?
    pub enabled: bool,
    /// What was heard.
    pub tlvs: Vec<LldpTlv>,
}

/// One element of an LLDP frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LldpTlv {
    /// Its type, 0 to 127.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Of type 127: the organisation.
    pub oui: Option<u32>,
    /// Of type 127: the organisation's own type.
    pub subtype: Option<u8>,
    /// Its name.
    pub name: String,
    /// Its content.
    pub properties: BTreeMap<String, String>,
}

/// What an asker says about a change that is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Word {
    /// It lasts.
    Confirm {},
    /// It goes.
    Undo {},
}

/// A change was made and verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// The steps that were run, each on a line as people read it. Empty: all was as desired.
    pub steps: Vec<String>,
    /// How long validating, planning, running and verifying took, ms.
    pub took_ms: u64,
}

/// A set of files is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Generation of the running set that is in force.
    pub running: Option<u64>,
    /// Generation of the persistent set that is in force.
    pub persistent: Option<u64>,
}

/// What the root helper knows about networks that nobody else knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkState {
    /// DHCP clients that run.
    pub clients: BTreeMap<IfName, Vec<DhcpClient>>,
    /// Shaping by base device.
    pub qos: BTreeMap<IfName, BTreeMap<QosClass, HostQos>>,
    /// Routing tables of the networks.
    pub tables: Tables,
    /// The change that is being made, or waits to be confirmed.
    pub pending: Option<Pending>,
    /// The last restoration since the helper started.
    pub restored: Option<Restored>,
    /// What became of the change that was cut off by the death of the helper before, if one was.
    pub recovered: Option<Recovered>,
    /// Which generations there are, the one in force first.
    pub running: Vec<u64>,
    /// Which generations there are, the one in force first.
    pub persistent: Vec<u64>,
}

/// A change in the making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// How far it is.
    pub stage: PendingStage,
    /// How long ago it began, ms.
    pub since_ms: u64,
    /// Process that asked.
    pub pid: Option<u32>,
    /// Steps of its plan.
    pub steps: u64,
}

/// How far a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PendingStage {
    /// Validated and planned; nothing has changed.
    Planning,
    /// Steps run, or are verified.
    Running,
    /// Waits for the asker's word.
    Unconfirmed,
    /// Confirmed; files are written.
    Storing,
    /// It is being undone.
    Undoing,
}

/// What a start after a death in the middle of a change made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Recovered {
    /// It was not confirmed: undone, and the state before it was found.
    Undone {
        /// Steps that undo.
        steps: u64,
    },
    /// It was confirmed: its files are stored.
    Finished {},
    /// It was undone as far as it goes: this could not be, or is not as it was.
    Left {
        /// What, each on a line.
        what: Vec<String>,
    },
}

/// What a restoration did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// It was done before, since the host started: nothing was looked at.
    pub already: bool,
    /// Networks of the persistent set, and those that are not in it any more.
    pub networks: BTreeMap<NetName, NetworkOutcome>,
    /// What else was left out, or failed: bonds, cards, files; each with its reason.
    pub others: Vec<Trouble>,
    /// How long it took, ms.
    pub took_ms: u64,
}

impl Restored {
    /// Is everything as the persistent set has it?
    pub fn is_whole(&self) -> bool {
        let failed = |it: &NetworkOutcome| matches!(it, NetworkOutcome::Failed(_));
        self.others.is_empty() && !self.networks.values().any(failed)
    }
}

/// What became of a network in a restoration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NetworkOutcome {
    /// It was as it should be, and was not touched.
    Unchanged {},
    /// It is restored.
    Restored {
        /// Steps of its own.
        steps: u64,
    },
    /// It was not in the persistent set, and is gone.
    Removed {},
    /// It is not there, or not whole; what was done of it is undone.
    Failed(Trouble),
}

/// Something that failed, with upstream's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// What: a network, bond, card or file.
    pub subject: String,
    /// VDSM's number.
    pub code: u32,
    /// Why.
    pub why: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (code {})", self.subject, self.why, self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_bounded() {
        assert_eq!(Millis::of(Duration::ZERO).get(), Duration::from_millis(1));
        assert_eq!(Millis::of(Duration::MAX).get(), Duration::from_mins(10));
        assert!(Millis::try_from(0).is_err());
        assert!(Millis::try_from(600_001).is_err());
        assert_eq!(Millis::try_from(600_000).map(u64::from), Ok(600_000));
    }
}
