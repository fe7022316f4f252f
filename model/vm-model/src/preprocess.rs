//! From the XML that Engine sends to the XML that this host can start.
//!
//! Pure: what the host is and where things are comes in as data.

use std::path::PathBuf;

/// What runs guests' code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// Hardware: the XML's domain type and CPU stay as they are.
    Kvm,
    /// Emulation: domain type `qemu`, and a CPU that TCG can do.
    Tcg,
}

/// What replaces the placeholders in `sysinfo`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// For `OS-NAME:`, e.g. `Debian`.
    pub os_name: String,
    /// For `OS-VERSION:`, upstream's form is `<version>-<release>`, e.g. `12.11-`.
    pub os_version: String,
    /// For `HOST-SERIAL:`: the host's UUID.
    pub serial: String,
}

/// What to do about `seclabel` on disk sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceLabels {
    /// Each file and block source gets `<seclabel model='dac' relabel='no'/>` unless it has one: the
    /// agent owns the images, libvirt must not change their owner. For the system daemon.
    Ensure,
    /// They are taken off: a session daemon has no DAC driver and refuses them.
    Strip,
}

/// The host, as far as domain XML depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOptions {
    /// For placeholders.
    pub facts: HostFacts,
    /// What runs guests' code.
    pub accelerator: Accelerator,
    /// Replaces `devices/emulator`; `None` leaves it.
    pub emulator: Option<PathBuf>,
    /// Unix sockets of channels go here, names kept; `None` leaves the paths.
    pub channel_dir: Option<PathBuf>,
    /// Unix sockets of consoles go here, names kept; `None` leaves the paths.
    pub console_dir: Option<PathBuf>,
    /// Replaces `<listen type='network'>` of displays, for hosts without such libvirt networks;
    /// `None` leaves them.
    pub display_address: Option<String>,
    /// `seclabel` on disk sources.
    pub source_labels: SourceLabels,
}
