//! What a host may have and the agent does without if need be: programs, libraries, devices, sockets.
//!
//! [`Part::places`] says where each would be; who looks is `edge/observe`, what follows from it is decided in
//! `domain/host`.

use std::collections::BTreeSet;

/// Something of a host that is optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The administration program of open-iscsi.
    Iscsiadm,
    /// Mounts NFS.
    MountNfs,
    /// Mounts Gluster volumes.
    MountGluster,
    /// Lists paths to LUNs and makes maps of them.
    Multipath,
    /// The volume manager.
    Lvm,
    /// sanlock's library for clients.
    SanlockLibrary,
    /// The socket of sanlock's daemon.
    SanlockSocket,
    /// The daemon of Open vSwitch.
    Vswitchd,
    /// The socket of Open vSwitch's database.
    OvsdbSocket,
    /// libvirt's driver of network filters.
    NwfilterDriver,
    /// Asks the daemon of LLDP.
    Lldptool,
    /// Any program that fences hosts.
    FenceAgent,
    /// The device of KVM.
    KvmDevice,
    /// `NetworkManager`.
    NetworkManager,
    /// Makes and converts disk images.
    QemuImg,
    /// Exports disk images.
    QemuNbd,
}

/// Where a part would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A program of this name, in one of the folders for programs. A `*` at the end stands for anything.
    Program(&'static str),
    /// A file beneath one of the folders for libraries.
    Library(&'static str),
    /// This path.
    Path(&'static str),
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Iscsiadm,
        Self::MountNfs,
        Self::MountGluster,
        Self::Multipath,
        Self::Lvm,
        Self::SanlockLibrary,
        Self::SanlockSocket,
        Self::Vswitchd,
        Self::OvsdbSocket,
        Self::NwfilterDriver,
        Self::Lldptool,
        Self::FenceAgent,
        Self::KvmDevice,
        Self::NetworkManager,
        Self::QemuImg,
        Self::QemuNbd,
    ];

    /// Where it would be; one of the places is enough.
    pub fn places(self) -> &'static [Place] {
        use Place::{Library, Path, Program};
        match self {
            Self::Iscsiadm => &[Program("iscsiadm")],
            Self::MountNfs => &[Program("mount.nfs")],
            Self::MountGluster => &[Program("mount.glusterfs")],
            Self::Multipath => &[Program("multipath")],
            Self::Lvm => &[Program("lvm")],
            Self::SanlockLibrary => &[
                Library("libsanlock_client.so.1"),
                Library("libsanlock_client.so"),
            ],
            Self::SanlockSocket => &[
                Path("/run/sanlock/sanlock.sock"),
                Path("/var/run/sanlock/sanlock.sock"),
            ],
            Self::Vswitchd => &[Program("ovs-vswitchd")],
            Self::OvsdbSocket => &[
                Path("/run/openvswitch/db.sock"),
                Path("/var/run/openvswitch/db.sock"),
            ],
            Self::NwfilterDriver => &[Library(
                "libvirt/connection-driver/libvirt_driver_nwfilter.so",
            )],
            Self::Lldptool => &[Program("lldptool")],
            Self::FenceAgent => &[Program("fence_*")],
            Self::KvmDevice => &[Path("/dev/kvm")],
            Self::NetworkManager => &[Program("NetworkManager")],
            Self::QemuImg => &[Program("qemu-img")],
            Self::QemuNbd => &[Program("qemu-nbd")],
        }
    }
}

/// Which parts a host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// Those that are there.
    pub present: BTreeSet<Part>,
    /// Units of systemd that the administrator has masked: they cannot start.
    pub masked: BTreeSet<String>,
}

impl Parts {
    /// Is it there?
    pub fn has(&self, part: Part) -> bool {
        self.present.contains(&part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_all() {
        let all: BTreeSet<_> = Part::ALL.into_iter().collect();
        assert_eq!(all.len(), Part::ALL.len());
        assert!(all.iter().all(|part| !part.places().is_empty()));
    }
}
