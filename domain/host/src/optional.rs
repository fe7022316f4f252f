//! What a host may lack: a table of features, each with what it needs and what to do about it (TODO 14).
//!
//! Decided anew at each question, from parts that were looked for just then: what is installed, started or unmasked
//! later is there without a restart of the agent.

use std::collections::BTreeMap;

use host_model::{Facts, Part, Parts};

use crate::Hypervisor;

/// Is a feature of the host there?
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Availability {
    /// Is all there that it needs?
    pub available: bool,
    /// Why not, and what to do; or what else is to know. May be empty.
    pub reason: String,
}

/// A feature that rests on parts of the host alone.
struct Feature {
    name: &'static str,
    /// What must be installed, each with what is said if it is not. The first that is missing is told.
    installed: &'static [Need],
    /// Units of systemd that must not be masked.
    units: &'static [&'static str],
    /// What must run, by the sockets of it.
    running: &'static [Need],
    /// Does this agent make use of it?
    used: bool,
}

type Need = (Part, &'static str);

const ISCSI: Feature = Feature {
    name: "iscsi",
    installed: &[(
        Part::Iscsiadm,
        "iscsiadm is not installed; install open-iscsi (Debian) or iscsi-initiator-utils (EL)",
    )],
    units: &["iscsid.service"],
    running: &[],
    used: false,
};

const FEATURES: [Feature; 13] = [
    ISCSI,
    Feature {
        name: "multipath",
        installed: &[(
            Part::Multipath,
            "multipath is not installed; install multipath-tools (Debian) or device-mapper-multipath (EL)",
        )],
        units: &["multipathd.service"],
        running: &[],
        used: false,
    },
    Feature {
        name: "nfs",
        installed: &[(
            Part::MountNfs,
            "mount.nfs is not installed; install nfs-common (Debian) or nfs-utils (EL)",
        )],
        units: &[],
        running: &[],
        used: false,
    },
    Feature {
        name: "gluster",
        installed: &[(
            Part::MountGluster,
            "mount.glusterfs is not installed; install glusterfs-client (Debian) or glusterfs-fuse (EL)",
        )],
        units: &[],
        running: &[],
        used: false,
    },
    Feature {
        name: "lvm",
        installed: &[(Part::Lvm, "lvm is not installed; install lvm2")],
        units: &[],
        running: &[],
        used: false,
    },
    Feature {
        name: "sanlock",
        installed: &[(
            Part::SanlockLibrary,
            "its library is not installed; install libsanlock-client1 (Debian) or sanlock-lib (EL)",
        )],
        units: &["sanlock.service"],
        running: &[(
            Part::SanlockSocket,
            "its daemon does not run; install sanlock, start sanlock.service",
        )],
        used: true,
    },
    Feature {
        name: "ovs",
        installed: &[(
            Part::Vswitchd,
            "ovs-vswitchd is not installed; install openvswitch-switch (Debian) or openvswitch (EL)",
        )],
        units: &["ovsdb-server.service", "ovs-vswitchd.service"],
        running: &[(
            Part::OvsdbSocket,
            "its daemons do not run; start openvswitch-switch.service (Debian) or openvswitch.service (EL)",
        )],
        used: false,
    },
    Feature {
        name: "nwfilter",
        installed: &[(
            Part::NwfilterDriver,
            "libvirt's driver of network filters is not installed; install libvirt-daemon-system (Debian) or libvirt-daemon-driver-nwfilter (EL)",
        )],
        units: &[],
        running: &[],
        used: true,
    },
    Feature {
        name: "lldp",
        installed: &[(Part::Lldptool, "lldptool is not installed; install lldpad")],
        units: &["lldpad.service"],
        running: &[],
        used: true,
    },
    Feature {
        name: "fence-agents",
        installed: &[(
            Part::FenceAgent,
            "no fence agent is installed; install fence-agents (Debian) or fence-agents-all (EL)",
        )],
        units: &[],
        running: &[],
        used: true,
    },
    Feature {
        name: "network-manager",
        installed: &[(Part::NetworkManager, "NetworkManager is not installed")],
        units: &["NetworkManager.service"],
        running: &[],
        used: true,
    },
    Feature {
        name: "qemu-img",
        installed: &[(
            Part::QemuImg,
            "qemu-img is not installed; install qemu-utils (Debian) or qemu-img (EL)",
        )],
        units: &[],
        running: &[],
        used: true,
    },
    Feature {
        name: "nbd",
        installed: &[(
            Part::QemuNbd,
            "qemu-nbd is not installed; install qemu-utils (Debian) or qemu-img (EL)",
        )],
        units: &[],
        running: &[],
        used: false,
    },
];

/// What is said of a feature that is there and that this version does not use.
const NOT_USED: &str = "it is there; this version of the agent makes no use of it yet";

impl Feature {
    fn judge(&self, parts: &Parts) -> Availability {
        let missing = |needs: &[Need]| {
            let first = needs.iter().find(|(part, _)| !parts.has(*part));
            first.map(|(_, why)| (*why).to_owned())
        };
        let masked = self.units.iter().find(|unit| parts.masked.contains(**unit));
        let masked = masked.map(|unit| format!("{unit} is masked; systemctl unmask {unit}"));
        // The cause before what follows from it: a daemon whose unit is masked has no socket.
        let why = missing(self.installed)
            .or(masked)
            .or_else(|| missing(self.running));
        match why {
            Some(why) => no(why),
            None => yes(if self.used { "" } else { NOT_USED }),
        }
    }
}

fn yes(note: &str) -> Availability {
    Availability {
        available: true,
        reason: note.to_owned(),
    }
}

fn no(reason: String) -> Availability {
    Availability {
        available: false,
        reason,
    }
}

/// iSCSI alone, for the verbs that need it.
pub fn iscsi(parts: &Parts) -> Availability {
    ISCSI.judge(parts)
}

/// All optional features by name. `hypervisor`: what libvirt told, if it answers.
pub fn optional(
    facts: &Facts,
    hypervisor: Option<&Hypervisor>,
) -> BTreeMap<&'static str, Availability> {
    let of_parts = FEATURES
        .iter()
        .map(|feature| (feature.name, feature.judge(&facts.parts)));
    let others = [
        ("libvirt", libvirt(hypervisor)),
        ("kvm", kvm(&facts.parts, hypervisor)),
        ("hugepages", hugepages(facts)),
    ];
    of_parts.chain(others).collect()
}

fn libvirt(hypervisor: Option<&Hypervisor>) -> Availability {
    match hypervisor {
        Some(_) => yes(""),
        None => no("libvirt does not answer; see the agent's log".to_owned()),
    }
}

/// What counts is whether guests run under it: the device alone proves nothing.
fn kvm(parts: &Parts, hypervisor: Option<&Hypervisor>) -> Availability {
    match (parts.has(Part::KvmDevice), hypervisor.map(|it| it.kvm)) {
        (_, Some(true)) => yes(""),
        (false, _) => no("there is no /dev/kvm: no virtualization by the processor, or no module kvm".to_owned()),
        (true, Some(false)) => no(
            "/dev/kvm is there, but it did not work at the agent's start, or [vars] accelerator says tcg".to_owned(),
        ),
        (true, None) => no("libvirt does not answer".to_owned()),
    }
}

fn hugepages(facts: &Facts) -> Availability {
    let kept: u64 = facts.hugepages.values().map(|pages| pages.total).sum();
    match (facts.hugepages.is_empty(), kept) {
        (true, _) => no("the kernel has none".to_owned()),
        (false, 0) => yes("none are set aside now"),
        _ => yes(""),
    }
}
