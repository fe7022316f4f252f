//! What goes into the answers beside facts: configuration, the agent's own abilities, its name.

use std::collections::BTreeMap;

use host_model::Facts;

use crate::Hypervisor;

/// What the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[vars] host_mem_reserve` + `extra_mem_reserve`, MiB.
    pub reserved_mib: u32,
    /// `[vars] guest_ram_overhead`, MiB.
    pub guest_overhead_mib: u32,
    /// `[vars] report_host_threads_as_cores`.
    pub threads_as_cores: bool,
}

/// What the agent itself can do. A feature is true only where its verbs exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// Snapshots of running VMs.
    pub live_snapshot: bool,
    /// Merge of images of running VMs.
    pub live_merge: bool,
    /// Preallocation after a live copy began.
    pub deferred_preallocation: bool,
    /// Incremental backup.
    pub backup: bool,
    /// Backup of VMs that are down.
    pub cold_backup: bool,
    /// Removal of bitmaps.
    pub clear_bitmaps: bool,
    /// `VM.changeCD` takes an image's ids.
    pub cd_change_pdiv: bool,
    /// `VM.refresh_disk`.
    pub refresh_disk: bool,
    /// Extension of the target of a live copy.
    pub replicate_extend: bool,
    /// `Volume.measure` of a part of a chain.
    pub measure_subchain: bool,
    /// `Volume.measure` of an active volume.
    pub measure_active: bool,
    /// Mailbox events.
    pub mailbox_events: bool,
    /// Migration without copies.
    pub zerocopy_migrations: bool,
    /// `Volume.getQemuImageInfo` tells of bitmaps.
    pub qemu_image_info_bitmaps: bool,
    /// Names for `additionalFeatures`.
    pub additional: Vec<String>,
    /// Formats of storage domains that can be used.
    pub domain_versions: Vec<u32>,
    /// Kind of storage and its block sizes; 0 is "found out when the domain is made".
    pub block_sizes: BTreeMap<String, Vec<u32>>,
}

/// What the agent calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Name of the release.
    pub name: String,
    /// VDSM's version whose API this agent speaks; Engine compares it.
    pub version: String,
    /// Revision behind it: the version of this agent.
    pub revision: String,
}

impl Default for Version {
    fn default() -> Self {
        Self {
            name: "Snow Man".to_owned(),
            version: "4.50.7".to_owned(),
            revision: format!("rs{}", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// All that goes into [`crate::Capabilities`].
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Facts of the host, read just now.
    pub facts: &'a Facts,
    /// What libvirt tells; `None` while there is no connection.
    pub hypervisor: Option<&'a Hypervisor>,
    /// Configuration.
    pub settings: &'a Settings,
    /// What the agent can do.
    pub features: &'a Features,
    /// What it calls itself.
    pub version: &'a Version,
}
