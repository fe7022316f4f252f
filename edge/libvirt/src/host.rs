//! Owns: what the connection tells of the host, as plain data. The calls are in `calls`.

/// Which domain capabilities to read (`virConnectGetDomainCapabilities`); `None` leaves the choice to libvirt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainCapabilitiesQuery {
    /// Path of the emulator.
    pub emulator: Option<String>,
    /// Architecture, e.g. `x86_64`.
    pub arch: Option<String>,
    /// Machine type, e.g. `q35`.
    pub machine: Option<String>,
    /// `kvm` or `qemu`.
    pub virt_type: Option<String>,
}

/// A version as libvirt counts it: `major * 1_000_000 + minor * 1_000 + release`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64);

impl Version {
    /// Major number.
    pub fn major(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Minor number.
    pub fn minor(self) -> u64 {
        self.0 / 1_000 % 1_000
    }

    /// Release (micro) number.
    pub fn release(self) -> u64 {
        self.0 % 1_000
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major(), self.minor(), self.release())
    }
}

/// Versions of what is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The client library in this process (`virGetVersion`).
    pub client: Version,
    /// The daemon (`virConnectGetLibVersion`).
    pub daemon: Version,
    /// The hypervisor, e.g. QEMU (`virConnectGetVersion`).
    pub hypervisor: Version,
}

/// `virNodeInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// CPU model (for x86 the architecture).
    pub model: String,
    /// Memory, KiB.
    pub memory_kib: u64,
    /// Active CPUs.
    pub cpus: u32,
    /// Frequency in MHz, 0 where not known.
    pub mhz: u32,
    /// NUMA cells, 1 where the topology is unusual.
    pub numa_nodes: u32,
    /// Sockets per cell.
    pub sockets: u32,
    /// Cores per socket.
    pub cores: u32,
    /// Threads per core.
    pub threads: u32,
}
