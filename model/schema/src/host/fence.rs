//! Fencing: this host asks the power management of another one, in Engine's name (`Host.fenceNode`).

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::secret::Secret;

wire_enum! {
    /// What to do with the other host's power.
    pub enum FenceAction {
        /// Ask for its state.
        Status = "status",
        /// Switch it on.
        On = "on",
        /// Switch it off.
        Off = "off",
        /// Off and on again.
        Reboot = "reboot",
    }

    /// Was the power touched?
    pub enum FenceOutcome {
        /// Yes: the fence agent runs.
        Initiated = "initiated",
        /// No: the policy holds it back, since the other host is alive.
        Skipped = "skipped",
    }

    /// Power of the other host.
    pub enum PowerState {
        /// It has power.
        On = "on",
        /// It has none.
        Off = "off",
        /// The agent does not know.
        Unknown = "unknown",
    }
}

wire! {
    /// What fencing answers. A key `status` must not be here: Engine would take it for the call's.
    pub struct FenceReport: Default {
        /// Was the power touched? For actions other than `status`.
        operation_status "operationStatus": Option<FenceOutcome>,
        /// Power of the other host, for the action `status`.
        power: Option<PowerState>,
    }
}

sealed! {
    /// When not to fence.
    pub struct FencingPolicy {
        /// Not while the other host renews its lease: its host id in each domain.
        host_ids "storageDomainHostIdMap": Option<BTreeMap<Uuid, i32>>,
        /// Not while bricks of Gluster on the other host are up.
        skip_if_bricks_up "skipFencingIfGlusterBricksUp": Option<bool>,
        /// Not if that would break Gluster's quorum.
        skip_if_quorum_breaks "skipFencingIfGlusterQuorumNotMet": Option<bool>,
        /// The other host as Gluster knows it.
        gluster_server "glusterServerUuid": Option<Uuid>,
    }
}

namespace! {
    /// Fencing of other hosts.
    pub trait FenceApi = "Host";

    /// Asks or switches the power of another host, by a program of the package fence-agents.
    Host fn fence_node "fenceNode" (FenceNode {
        /// Address of its power management.
        address "addr": String,
        /// Port of its power management, or the number of a plug; the agents differ. Engine sends an empty text for
        /// none.
        port: Option<i32> = null,
        /// The fence agent without `fence_`: `ipmilan`, `drac5`, ...
        agent: String,
        /// User at the power management.
        username: String,
        /// Password at the power management.
        password: Secret,
        /// What to do.
        action: FenceAction,
        /// Over an encrypted connection, where the agent knows one.
        secure: bool = false,
        /// More parameters of the agent, `key=value` a line. Engine lets its users mark some as secret, and sends
        /// them in the clear.
        options: Secret = "",
        /// When not to do it.
        policy: Option<FencingPolicy> = null,
    }) -> FenceReport;
}
