//! From the XML that Engine sends to the XML that this host can start.
//!
//! Pure: what the host is and where things are comes in as data.

use std::path::{Path, PathBuf};

use crate::{
    domain::DomainXml,
    drive::{Drive, DriveSource},
    error::{ModelError, ModelResult},
    metadata::Scalar,
    ports::{ChainLink, PreparedVolume, VolumeLease},
    xml::Element,
};

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

/// Longest path of a Unix socket (`sun_path` without its final zero).
const SOCKET_PATH_MAX: usize = 107;

/// Makes what Engine sent fit this host, but for the paths of its volumes (see [`place_volume`],
/// [`place_leases`]). Gives the drives.
///
/// Errors: XML that no VM can be made of; [`ModelError::NotBuilt`] for drives that the agent cannot
/// prepare yet.
pub fn prepare(domain: &mut DomainXml, host: &HostOptions) -> ModelResult<Vec<Drive>> {
    if domain.name().is_empty() {
        return Err(ModelError::domain("domain/name", "there is none"));
    }
    if domain.root().child("devices").is_none() {
        return Err(ModelError::domain("domain/devices", "there are none"));
    }
    let drives = domain.drives()?;
    drives.iter().try_for_each(check_source)?;
    keep_on_reboot(domain);
    fill_placeholders(domain, &host.facts);
    if host.accelerator == Accelerator::Tcg {
        emulate(domain);
    }
    if let Some(emulator) = &host.emulator {
        let path = utf8(emulator, "devices/emulator")?.to_owned();
        domain.devices_mut().child_or_add("emulator").set_text(path);
    }
    move_sockets(domain, "channel", host.channel_dir.as_deref())?;
    // Engine sends the console and its serial port with the same path.
    move_sockets(domain, "console", host.console_dir.as_deref())?;
    move_sockets(domain, "serial", host.console_dir.as_deref())?;
    if let Some(address) = &host.display_address {
        listen_on(domain, address);
    }
    label_sources(domain, &drives, host.source_labels);
    Ok(drives)
}

/// The domain that is defined before anything is prepared: it can carry metadata, so that a crash
/// leaves a trace, and is defined anew with all its devices later.
pub fn placeholder(domain: &DomainXml) -> String {
    let old = domain.root();
    let mut root = Element::new("domain");
    if let Some(kind) = old.attribute("type") {
        root.set_attribute("type", kind);
    }
    for name in ["name", "uuid", "memory"] {
        if let Some(element) = old.child(name) {
            root.push(element.clone());
        }
    }
    if let Some(kind) = old.find("os/type") {
        root.push(Element::new("os").with_child(kind.clone()));
    }
    if let Some(emulator) = old.find("devices/emulator") {
        root.push(Element::new("devices").with_child(emulator.clone()));
    }
    root.push(Element::new("metadata").with_child(domain.metadata().to_element()));
    root.to_string()
}

/// Writes the path of a prepared volume into its disk.
///
/// The format that the XML names must be the volume's: a raw volume read as qcow2 would let its
/// guest name any file of the host as backing file.
pub fn place_volume(
    domain: &mut DomainXml,
    drive: &Drive,
    volume: &PreparedVolume,
) -> ModelResult<()> {
    let format = if volume.format == "cow" {
        "qcow2"
    } else {
        volume.format.as_str()
    };
    if let Some(told) = drive.format.as_deref().filter(|told| *told != format) {
        let why = format!("the XML says {told}, but the volume is {format}");
        return Err(ModelError::drive(&drive.name, why));
    }
    let path = utf8(&volume.path, &drive.name)?.to_owned();
    let (kind, attribute) = if volume.block {
        ("block", "dev")
    } else {
        ("file", "file")
    };
    let disk = domain
        .devices_mut()
        .elements_mut()
        .filter(|element| element.name == "disk")
        .find(|disk| disk.find("target").and_then(|t| t.attribute("dev")) == Some(&drive.name))
        .ok_or_else(|| ModelError::drive(&drive.name, "it is not in the XML"))?;
    disk.set_attribute("type", kind);
    let source = disk.child_or_add("source");
    for old in ["file", "dev", "name", "protocol", "pool", "volume"] {
        source.remove_attribute(old);
    }
    source.set_attribute(attribute, path);
    Ok(())
}

/// Fills `LEASE-PATH:` and `LEASE-OFFSET:` of leases on volumes; leases on VMs stay as they are.
pub fn place_leases(domain: &mut DomainXml, chain: &[ChainLink]) -> ModelResult<()> {
    let leases = domain
        .devices_mut()
        .elements_mut()
        .filter(|element| element.name == "lease");
    for lease in leases {
        let key = lease.child("key").map(Element::text).unwrap_or_default();
        let space = lease
            .child("lockspace")
            .map(Element::text)
            .unwrap_or_default();
        let link = chain.iter().find(|link| {
            link.volume.volume.to_string() == key.trim()
                && link.volume.domain.to_string() == space.trim()
        });
        let (Some(link), Some(target)) = (link, lease.child_mut("target")) else {
            continue;
        };
        if target
            .attribute("path")
            .is_some_and(|path| path.starts_with("LEASE-PATH:"))
        {
            let path = utf8(&place(link)?.path, "lease/target")?.to_owned();
            target.set_attribute("path", path);
        }
        if target
            .attribute("offset")
            .is_some_and(|o| o.starts_with("LEASE-OFFSET:"))
        {
            target.set_attribute("offset", place(link)?.offset.to_string());
        }
    }
    Ok(())
}

/// The lease that the XML asks for; a placeholder left in would be taken for a path.
fn place(link: &ChainLink) -> ModelResult<&VolumeLease> {
    link.lease.as_ref().ok_or_else(|| {
        let why = format!("the storage of volume {} has no leases", link.volume.volume);
        ModelError::domain("devices/lease", why)
    })
}

fn check_source(drive: &Drive) -> ModelResult<()> {
    let what = match &drive.source {
        DriveSource::Image(_) | DriveSource::Path(_) | DriveSource::Empty => return Ok(()),
        DriveSource::Lun(_) => "LUNs",
        DriveSource::Rbd(_) => "Ceph images",
        DriveSource::Managed => "managed block storage",
        DriveSource::Payload => "payloads (files sent with the VM)",
    };
    Err(ModelError::NotBuilt(format!(
        "drive {}: {what}",
        drive.name
    )))
}

/// `on_reboot` belongs to the agent, not to libvirt: what is asked for is kept in the metadata.
fn keep_on_reboot(domain: &mut DomainXml) {
    let destroy = domain
        .text("on_reboot")
        .is_some_and(|text| text == "destroy");
    domain.root_mut().remove_all("on_reboot");
    if destroy {
        let mut metadata = domain.metadata();
        metadata.set("destroy_on_reboot", &Scalar::Bool(true));
        domain.set_metadata(&metadata);
    }
}

fn fill_placeholders(domain: &mut DomainXml, facts: &HostFacts) {
    let Some(system) = domain.root_mut().find_mut("sysinfo/system") else {
        return;
    };
    for entry in system
        .elements_mut()
        .filter(|element| element.name == "entry")
    {
        let (placeholder, fact) = match entry.attribute("name") {
            Some("product") => ("OS-NAME:", &facts.os_name),
            Some("version") => ("OS-VERSION:", &facts.os_version),
            Some("serial") => ("HOST-SERIAL:", &facts.serial),
            _ => continue,
        };
        if entry.text().starts_with(placeholder) {
            entry.set_text(fact.clone());
        }
    }
}

/// Domain type and CPU for software emulation. A host CPU becomes the best that the emulator has;
/// of a named model what the emulator lacks is left out silently, as it always is there.
fn emulate(domain: &mut DomainXml) {
    let root = domain.root_mut();
    // Other types than Engine's, as that of libvirt's test driver, stay what they are.
    if root.attribute("type") == Some("kvm") {
        root.set_attribute("type", "qemu");
    }
    if let Some(cpu) = root.child_mut("cpu") {
        match cpu.attribute("mode") {
            Some("host-passthrough" | "host-model" | "maximum") => {
                cpu.set_attribute("mode", "maximum");
                for name in ["match", "check", "migratable"] {
                    cpu.remove_attribute(name);
                }
                cpu.remove(|e| !matches!(e.name.as_str(), "topology" | "numa"));
            }
            _ if cpu.child("model").is_some() => cpu.set_attribute("check", "none"),
            _ => {}
        }
    }
    if let Some(features) = root.child_mut("features") {
        features.remove(|e| matches!(e.name.as_str(), "hyperv" | "kvm"));
    }
    if let Some(clock) = root.child_mut("clock") {
        clock.remove(|e| {
            e.attribute("name")
                .is_some_and(|n| n == "hypervclock" || n == "kvmclock")
        });
    }
}

fn move_sockets(domain: &mut DomainXml, kind: &str, to: Option<&Path>) -> ModelResult<()> {
    let Some(to) = to else { return Ok(()) };
    let sockets = domain
        .devices_mut()
        .elements_mut()
        .filter(|e| e.name == kind && e.attribute("type") == Some("unix"));
    for source in sockets.filter_map(|e| e.child_mut("source")) {
        let Some(path) = source.attribute("path") else {
            continue;
        };
        let name = Path::new(path).file_name().ok_or_else(|| {
            ModelError::domain(
                format!("devices/{kind}/source"),
                format!("{path:?} has no name"),
            )
        })?;
        let path = to.join(name);
        let path = utf8(&path, kind)?;
        if path.len() > SOCKET_PATH_MAX {
            let why = format!("{path} is longer than {SOCKET_PATH_MAX} bytes");
            return Err(ModelError::domain(format!("devices/{kind}/source"), why));
        }
        source.set_attribute("path", path);
    }
    Ok(())
}

fn listen_on(domain: &mut DomainXml, address: &str) {
    let displays = domain
        .devices_mut()
        .elements_mut()
        .filter(|e| e.name == "graphics");
    for display in displays {
        for listen in display.elements_mut().filter(|e| e.name == "listen") {
            if listen.attribute("type") == Some("network") {
                listen.attributes.clear();
                listen.set_attribute("type", "address");
                listen.set_attribute("address", address);
            }
        }
    }
}

fn label_sources(domain: &mut DomainXml, drives: &[Drive], labels: SourceLabels) {
    let disks = domain
        .devices_mut()
        .elements_mut()
        .filter(|e| e.name == "disk");
    for (disk, drive) in disks.zip(drives) {
        if drive.pdiv().is_some() {
            disk.child_or_add("source");
        }
        let local = matches!(disk.attribute("type"), None | Some("file" | "block"));
        let filled = drive.source != DriveSource::Empty;
        let Some(source) = disk.child_mut("source") else {
            continue;
        };
        match labels {
            SourceLabels::Strip => {
                source.remove_all("seclabel");
            }
            SourceLabels::Ensure if local && filled && source.child("seclabel").is_none() => source
                .push(
                    Element::new("seclabel")
                        .with_attribute("model", "dac")
                        .with_attribute("type", "none")
                        .with_attribute("relabel", "no"),
                ),
            SourceLabels::Ensure => {}
        }
    }
}

fn utf8<'a>(path: &'a Path, element: &str) -> ModelResult<&'a str> {
    path.to_str()
        .ok_or_else(|| ModelError::domain(element, format!("{} is not UTF-8", path.display())))
}
