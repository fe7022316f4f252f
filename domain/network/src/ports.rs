//! What the policy needs of the world: somebody who looks, and somebody who may.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use net_model::{
    Config, Current, Desired, DhcpClient, HostQos, IfName, NetError, Plan, QosClass, Tables,
    rates::Counters,
};

use crate::{NetworkError, RootError};

/// Sees the host's networks, without privilege.
pub trait Observer: Send + Sync {
    /// What the kernel has. Interfaces that the configuration lets stand in for cards are cards here.
    fn current(&self) -> Result<Current, NetworkError>;

    /// As [`Self::current`], interfaces with their addresses alone: asked for after each of the kernel's news, when routes may be
    /// many.
    fn interfaces(&self) -> Result<Current, NetworkError> {
        self.current()
    }

    /// What was set up last, by its files; and what of these makes no sense.
    fn running(&self) -> Result<(Config, Vec<NetError>), NetworkError>;

    /// What will come back after the next start of the host; and what of its files makes no sense.
    fn persistent(&self) -> Result<(Config, Vec<NetError>), NetworkError>;

    /// Speed and counters of all interfaces.
    fn figures(&self) -> Result<BTreeMap<IfName, LinkFigures>, NetworkError>;
}

/// What an interface does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkFigures {
    /// Mbit/s; 0 where the kernel does not tell.
    pub speed: u32,
    /// `full`, `half`, `unknown`.
    pub duplex: String,
    /// Is it up, and is there somebody at its other end?
    pub up: bool,
    /// Counters since it was made.
    pub counters: Counters,
}

/// Changes networks, as root.
pub trait Root: Send + Sync {
    /// Makes a change; answers when it is made and verified. It does not last before it is confirmed.
    fn change(&self, change: Change) -> Result<Box<dyn Pending>, RootError>;

    /// What would a change do? Nothing changes.
    fn plan(&self, desired: Desired) -> Result<Plan, RootError>;

    /// Makes the running configuration the persistent one.
    fn persist(&self) -> Result<(), RootError>;

    /// What nobody else knows.
    fn state(&self) -> Result<RootState, RootError>;

    /// What the neighbours of these cards tell by LLDP.
    fn lldp(&self, nics: BTreeSet<IfName>) -> Result<BTreeMap<IfName, LldpState>, RootError>;
}

/// A change to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// From what to what.
    pub desired: Desired,
    /// Shall it be the persistent configuration, too, when it is confirmed?
    pub persist: bool,
    /// Root undoes it by itself if it is not confirmed in this time.
    pub confirm_within: Duration,
}

/// A change that was made and does not last yet. Dropping it has root undo it.
pub trait Pending: Send {
    /// The steps that were run, for people.
    fn steps(&self) -> &[String];

    /// Does root still wait for a word? Not after its death: its next start undoes the change.
    fn is_held(&self) -> bool;

    /// Makes it last.
    fn confirm(self: Box<Self>) -> Result<(), RootError>;

    /// Undoes it, and waits until it is undone; by root's next start, if it died.
    fn undo(self: Box<Self>) -> Result<(), RootError>;
}

/// What root knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootState {
    /// DHCP clients that run.
    pub clients: BTreeMap<IfName, Vec<DhcpClient>>,
    /// Shaping, by the device beneath.
    pub qos: BTreeMap<IfName, BTreeMap<QosClass, HostQos>>,
    /// Routing tables of the networks.
    pub tables: Tables,
}

/// What the neighbour of a card tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LldpState {
    /// Does anybody listen?
    pub enabled: bool,
    /// What was heard.
    pub tlvs: Vec<Tlv>,
}

/// A statement of a neighbour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tlv {
    /// Its type, 0 to 127.
    pub kind: u32,
    /// Organisation, of type 127.
    pub oui: Option<u32>,
    /// The organisation's own type.
    pub subtype: Option<u32>,
    /// Its name.
    pub name: String,
    /// What it says.
    pub properties: BTreeMap<String, String>,
}
