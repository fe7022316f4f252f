//! The distribution, the kernel, and settings in /etc.

use host_model::{Kernel, Os};

use crate::files::Reader;

/// Longest kernel command line that is told.
const LONGEST_LINE: usize = 16 << 10;

pub(crate) fn os(reader: &mut Reader<'_>) -> Os {
    let release = reader.text("/etc/os-release").unwrap_or_default();
    let name = name(reader);
    let version = match name {
        "Debian" => reader.line("/etc/debian_version"),
        _ => None,
    };
    Os {
        name: name.to_owned(),
        version: version
            .or_else(|| value_of(&release, "VERSION_ID"))
            .unwrap_or_default(),
        release: String::new(),
        pretty_name: value_of(&release, "PRETTY_NAME").unwrap_or_default(),
    }
}

/// VDSM's names, by the files that distributions ship.
fn name(reader: &mut Reader<'_>) -> &'static str {
    let is_node = |name: &String| name.starts_with("ovirt-node-") && name.ends_with("-release");
    if reader.exists("/etc/rhev-hypervisor-release") {
        "RHEV Hypervisor"
    } else if reader.names("/etc").iter().any(is_node) {
        "oVirt Node"
    } else if reader.exists("/etc/fedora-release") {
        "Fedora"
    } else if reader.exists("/etc/redhat-release") {
        "RHEL"
    } else if reader.exists("/etc/debian_version") {
        "Debian"
    } else {
        "unknown"
    }
}

/// A value of a file of `NAME="value"` lines.
pub(crate) fn value_of(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.trim().split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        (key.trim() == name).then(|| value.to_owned())
    })
}

pub(crate) fn kernel(reader: &mut Reader<'_>) -> Kernel {
    let uname = rustix::system::uname();
    let running = |path: &str, reader: &mut Reader<'_>, live: &std::ffi::CStr| {
        reader
            .line(path)
            .unwrap_or_else(|| live.to_string_lossy().into_owned())
    };
    let mut command_line = reader.line("/proc/cmdline").unwrap_or_default();
    command_line.truncate(command_line.floor_char_boundary(LONGEST_LINE));
    Kernel {
        release: running("/proc/sys/kernel/osrelease", reader, uname.release()),
        version: running("/proc/sys/kernel/version", reader, uname.version()),
        machine: running("/proc/sys/kernel/arch", reader, uname.machine()),
        command_line,
    }
}

/// `InitiatorName=iqn...`; the file may hold comments.
pub(crate) fn initiator(text: &str) -> Option<String> {
    let name = value_of(text, "InitiatorName")?;
    (!name.is_empty()).then_some(name)
}

/// Is `vnc_tls = 1` set in qemu.conf?
pub(crate) fn vnc_tls(text: &str) -> bool {
    value_of(text, "vnc_tls").as_deref() == Some("1")
}
