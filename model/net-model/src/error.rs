//! What can be wrong with a request, and the number that Engine knows it by.
//!
//! The numbers are VDSM's (`network/errors.py`, Engine's `EngineError`).

/// Why a change of networks is refused, or a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Parameters that do not fit together.
    #[error("{0}")]
    BadParams(String),
    /// An address, prefix, gateway or route that makes no sense.
    #[error("{0}")]
    BadAddress(String),
    /// A network card that is not there.
    #[error("{0}")]
    BadNic(String),
    /// A network card that something else uses.
    #[error("{0}")]
    UsedNic(String),
    /// A bond that is not there, or options that no bond has.
    #[error("{0}")]
    BadBonding(String),
    /// A VLAN id or device that cannot be.
    #[error("{0}")]
    BadVlan(String),
    /// A name that no bridge can have, or a network that is not there.
    #[error("{0}")]
    BadBridge(String),
    /// A bridge that is not ours, or whose ports are not.
    #[error("{0}")]
    UsedBridge(String),
    /// A bond that a network needs.
    #[error("{0}")]
    UsedBond(String),
    /// Open vSwitch was asked for.
    #[error("{subject}: the switch type 'ovs' is not built yet, only 'legacy' is")]
    OvsNotBuilt {
        /// The network or bond.
        subject: String,
    },
    /// The client did not confirm in time.
    #[error("connectivity check failed")]
    LostConnection,
    /// A record on disk that cannot be understood.
    #[error("{path}: {why}")]
    Record {
        /// Which file, relative to the folder of its set.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The kernel would refuse this step.
    #[error("the kernel would refuse \"{step}\": {why}")]
    Refused {
        /// The step.
        step: String,
        /// Why.
        why: String,
    },
    /// No routing table is left to allot.
    #[error("all {0} routing tables of the range are taken")]
    NoTableLeft(u32),
}

impl NetError {
    /// VDSM's number. What has no number of its own there is `ERR_BAD_PARAMS` if the caller can mend it.
    pub fn code(&self) -> u32 {
        match self {
            Self::LostConnection => 10,
            Self::BadParams(_)
            | Self::Record { .. }
            | Self::Refused { .. }
            | Self::NoTableLeft(_) => 21,
            Self::BadAddress(_) => 22,
            Self::BadNic(_) => 23,
            Self::UsedNic(_) => 24,
            Self::BadBonding(_) => 25,
            Self::BadVlan(_) => 26,
            Self::BadBridge(_) => 27,
            Self::UsedBridge(_) => 28,
            Self::UsedBond(_) => 31,
            Self::OvsNotBuilt { .. } => 32,
        }
    }

    /// VDSM's name of [`Self::code`].
    pub fn name(&self) -> &'static str {
        match self.code() {
            10 => "ERR_LOST_CONNECTION",
            22 => "ERR_BAD_ADDR",
            23 => "ERR_BAD_NIC",
            24 => "ERR_USED_NIC",
            25 => "ERR_BAD_BONDING",
            26 => "ERR_BAD_VLAN",
            27 => "ERR_BAD_BRIDGE",
            28 => "ERR_USED_BRIDGE",
            31 => "ERR_USED_BOND",
            32 => "ERR_OVS_CONNECTION",
            _ => "ERR_BAD_PARAMS",
        }
    }
}
