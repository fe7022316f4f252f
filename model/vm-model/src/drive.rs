//! The drives of a domain, and where the bytes of each are: [`DriveSource`].
//!
//! Engine tells it in two places: the `<disk>` element, and the device's metadata (found by
//! `devtype="disk"` and the target's name). Which keys mean what is upstream's
//! (`clientIF.prepareVolumePath`, `vmdevices/storage.py`).

use std::path::PathBuf;

use uuid::Uuid;

use crate::{
    error::{ModelError, ModelResult},
    metadata::{DeviceMetadata, VmMetadata},
    ports::Pdiv,
    xml::Element,
};

/// Where the bytes of a drive are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriveSource {
    /// A volume of oVirt storage: `poolID`, `domainID`, `imageID`, `volumeID`.
    Image(Pdiv),
    /// A whole LUN: its `GUID`.
    Lun(String),
    /// A Ceph image: its `RBD` name.
    Rbd(String),
    /// Attached by a storage driver outside of oVirt storage (`managed`).
    Managed,
    /// Files that Engine sent along, to be made into an image (`payload`).
    Payload,
    /// A path that Engine knows.
    Path(PathBuf),
    /// Nothing inserted.
    Empty,
}

/// `device` of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DriveKind {
    /// `disk`, also where not told.
    Disk,
    /// `cdrom`.
    Cdrom,
    /// `floppy`.
    Floppy,
    /// `lun`.
    Lun,
}

/// One drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// Target name in the guest: `vda`, `sdc`.
    pub name: String,
    /// What it is to the guest.
    pub kind: DriveKind,
    /// Where its bytes are.
    pub source: DriveSource,
    /// Path in the XML, as it stands there.
    pub path: Option<String>,
    /// libvirt's alias.
    pub alias: Option<String>,
    /// `raw` or `qcow2`, as the XML says.
    pub format: Option<String>,
    /// `serial`.
    pub serial: Option<String>,
    /// Must the guest not write?
    pub readonly: bool,
}

impl Drive {
    /// Its ids, if it is a volume of oVirt storage.
    pub fn pdiv(&self) -> Option<Pdiv> {
        match self.source {
            DriveSource::Image(pdiv) => Some(pdiv),
            _ => None,
        }
    }

    /// From a `<disk>` and the VM's metadata. `place` names it in errors if it has no name.
    pub(crate) fn read(disk: &Element, place: usize, metadata: &VmMetadata) -> ModelResult<Self> {
        let name = disk
            .find("target")
            .and_then(|target| target.attribute("dev"))
            .filter(|name| good_name(name))
            .ok_or_else(|| ModelError::drive(format!("#{place}"), "it has no target name"))?
            .to_owned();
        let kind = kind(disk.attribute("device"))
            .ok_or_else(|| ModelError::drive(&name, "an unknown kind of device"))?;
        let path = source_path(disk);
        let device = metadata.device(&[("devtype", "disk"), ("name", &name)]);
        let source = source(&name, device, path.as_deref())?;
        let driver = disk.child("driver");
        Ok(Self {
            kind,
            source,
            path,
            alias: disk
                .find("alias")
                .and_then(|a| a.attribute("name"))
                .map(str::to_owned),
            format: driver.and_then(|d| d.attribute("type")).map(str::to_owned),
            serial: disk.child("serial").map(Element::text),
            readonly: disk.child("readonly").is_some(),
            name,
        })
    }
}

/// Names as libvirt has them: they become keys and parts of log lines.
fn good_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn kind(device: Option<&str>) -> Option<DriveKind> {
    match device {
        None | Some("disk") => Some(DriveKind::Disk),
        Some("cdrom") => Some(DriveKind::Cdrom),
        Some("floppy") => Some(DriveKind::Floppy),
        Some("lun") => Some(DriveKind::Lun),
        Some(_) => None,
    }
}

/// The path in `<source>`: of a file, a block device, or the name of a network disk.
fn source_path(disk: &Element) -> Option<String> {
    let source = disk.child("source")?;
    ["file", "dev", "name"]
        .into_iter()
        .find_map(|key| source.attribute(key))
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
}

fn source(
    name: &str,
    device: Option<DeviceMetadata<'_>>,
    path: Option<&str>,
) -> ModelResult<DriveSource> {
    if path.is_some_and(|path| path.starts_with("PAYLOAD:")) {
        return Ok(DriveSource::Payload);
    }
    let told = device
        .map(|device| told_by_metadata(name, device))
        .transpose()?;
    if let Some(source) = told.flatten() {
        return Ok(source);
    }
    Ok(path.map_or(DriveSource::Empty, |path| {
        DriveSource::Path(PathBuf::from(path))
    }))
}

/// Upstream's order: managed before ids, ids before GUID, GUID before RBD, payload last.
fn told_by_metadata(name: &str, device: DeviceMetadata<'_>) -> ModelResult<Option<DriveSource>> {
    if device.bool("managed") {
        return Ok(Some(DriveSource::Managed));
    }
    if let Some(pdiv) = pdiv(name, device)? {
        return Ok(Some(DriveSource::Image(pdiv)));
    }
    if let Some(guid) = device.text("GUID") {
        return Ok(Some(DriveSource::Lun(guid)));
    }
    if let Some(rbd) = device.text("RBD") {
        return Ok(Some(DriveSource::Rbd(rbd)));
    }
    if device.has("payload") {
        return Ok(Some(DriveSource::Payload));
    }
    Ok(None)
}

/// All four ids, or none; a volume without the others is a mistake that must not become a path.
fn pdiv(name: &str, device: DeviceMetadata<'_>) -> ModelResult<Option<Pdiv>> {
    let ids = ["poolID", "domainID", "imageID", "volumeID"].map(|key| device.text(key));
    let [Some(pool), Some(domain), Some(image), Some(volume)] = &ids else {
        if ids.iter().flatten().count() > 0 && device.text("volumeID").is_some() {
            return Err(ModelError::drive(name, "some of its four ids are missing"));
        }
        return Ok(None);
    };
    let id = |key: &str, text: &str| {
        Uuid::parse_str(text.trim())
            .map_err(|error| ModelError::drive(name, format!("{key} {text:?}: {error}")))
    };
    Ok(Some(Pdiv {
        pool: id("poolID", pool)?,
        domain: id("domainID", domain)?,
        image: id("imageID", image)?,
        volume: id("volumeID", volume)?,
    }))
}
