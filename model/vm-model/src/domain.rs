//! A domain's XML: what the agent reads in it and the few things that it changes.
//!
//! Everything else stays as it came. Preparing XML from Engine is in [`crate::preprocess`].

use std::fmt;

use crate::{
    drive::Drive,
    error::{ModelError, ModelResult},
    metadata::{VM_URI, VmMetadata},
    ports::VmId,
    stats::DisplayInfo,
    xml::{Document, Element, Node},
};

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainXml {
    document: Document,
    id: VmId,
}

/// A NIC, as far as statistics need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Name of the interface on the host; libvirt chooses it at the start.
    pub name: Option<String>,
    /// `mac_address`.
    pub mac: String,
    /// `virtio`, `e1000`, ...
    pub model: String,
}

impl DomainXml {
    /// Reads it. It must be a `<domain>` with a UUID.
    pub fn parse(xml: &str) -> ModelResult<Self> {
        let document = Document::parse(xml)?;
        if document.root.name != "domain" {
            let why = format!("expected <domain>, found <{}>", document.root.name);
            return Err(ModelError::domain("/", why));
        }
        let text = document
            .root
            .child("uuid")
            .map(Element::text)
            .unwrap_or_default();
        let id = VmId::parse_str(text.trim())
            .map_err(|error| ModelError::domain("domain/uuid", format!("{text:?}: {error}")))?;
        Ok(Self { document, id })
    }

    /// Its UUID.
    pub fn id(&self) -> VmId {
        self.id
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> String {
        self.text("name").unwrap_or_default()
    }

    /// `kvm`, `qemu`; empty if not told.
    pub fn vm_type(&self) -> &str {
        self.root().attribute("type").unwrap_or_default()
    }

    /// Has it ACPI?
    pub fn acpi(&self) -> bool {
        self.root().find("features/acpi").is_some()
    }

    /// Memory at boot, KiB.
    pub fn memory_kib(&self) -> Option<u64> {
        memory(self.root().child("memory")?)
    }

    /// Memory now, KiB.
    pub fn current_memory_kib(&self) -> Option<u64> {
        memory(self.root().child("currentMemory")?)
    }

    /// Has it exactly one balloon that works?
    pub fn has_balloon(&self) -> bool {
        let devices = self.root().child("devices");
        let balloons: Vec<_> = devices
            .into_iter()
            .flat_map(|d| d.all("memballoon"))
            .collect();
        matches!(balloons.as_slice(), [one] if one.attribute("model") != Some("none"))
    }

    /// `cputune/quota` and `cputune/period`, microseconds.
    pub fn cpu_bandwidth(&self) -> (Option<i64>, Option<u64>) {
        let number = |path: &str| self.root().find(path).map(|e| e.text().trim().to_owned());
        (
            number("cputune/quota").and_then(|text| text.parse().ok()),
            number("cputune/period").and_then(|text| text.parse().ok()),
        )
    }

    /// Offset of the guest's clock in seconds, where the XML has one (`clock/@adjustment`).
    pub fn clock_adjustment(&self) -> Option<i64> {
        self.root()
            .child("clock")?
            .attribute("adjustment")?
            .trim()
            .parse()
            .ok()
    }

    /// Text of an element right within the domain.
    pub fn text(&self, name: &str) -> Option<String> {
        self.root()
            .child(name)
            .map(|element| element.text().trim().to_owned())
    }

    /// The root.
    pub fn root(&self) -> &Element {
        &self.document.root
    }

    /// The root, to change.
    pub fn root_mut(&mut self) -> &mut Element {
        &mut self.document.root
    }

    /// The element `devices`, to change; added if it is not there.
    pub fn devices_mut(&mut self) -> &mut Element {
        self.document.root.child_or_add("devices")
    }

    /// Is there `ovirt-vm` metadata, that is: is it a VM of ours?
    pub fn has_metadata(&self) -> bool {
        self.metadata_place().is_some()
    }

    /// The `ovirt-vm` metadata; empty if there is none.
    pub fn metadata(&self) -> VmMetadata {
        let root = self.root();
        let Some(metadata) = root.child("metadata") else {
            return VmMetadata::default();
        };
        match self
            .metadata_place()
            .and_then(|place| metadata.children.get(place))
        {
            Some(Node::Element(vm)) => VmMetadata::from_element(vm, &[root, metadata]),
            _ => VmMetadata::default(),
        }
    }

    /// Replaces the `ovirt-vm` metadata; other metadata stays.
    pub fn set_metadata(&mut self, new: &VmMetadata) {
        let place = self.metadata_place();
        let metadata = self.document.root.child_or_add("metadata");
        match place.and_then(|place| metadata.children.get_mut(place)) {
            Some(node) => *node = Node::Element(new.to_element()),
            None => metadata.push(new.to_element()),
        }
    }

    /// The drives, in order.
    pub fn drives(&self) -> ModelResult<Vec<Drive>> {
        let metadata = self.metadata();
        let mut drives: Vec<Drive> = Vec::new();
        for (place, disk) in self.device_elements("disk").enumerate() {
            let drive = Drive::read(disk, place, &metadata)?;
            if drives.iter().any(|other| other.name == drive.name) {
                return Err(ModelError::drive(drive.name, "two drives have this name"));
            }
            drives.push(drive);
        }
        Ok(drives)
    }

    /// The NICs that libvirt knows statistics of.
    pub fn nics(&self) -> Vec<Nic> {
        let attribute = |nic: &Element, child: &str, key: &str| {
            nic.child(child)
                .and_then(|e| e.attribute(key))
                .map(str::to_owned)
        };
        self.device_elements("interface")
            .filter(|nic| nic.attribute("type") != Some("hostdev"))
            .map(|nic| Nic {
                name: attribute(nic, "target", "dev"),
                mac: attribute(nic, "mac", "address").unwrap_or_default(),
                model: attribute(nic, "model", "type").unwrap_or_default(),
            })
            .collect()
    }

    /// `displayInfo`: one entry per display.
    pub fn displays(&self) -> Vec<DisplayInfo> {
        let text = |e: &Element, key: &str| e.attribute(key).unwrap_or_default().to_owned();
        self.device_elements("graphics")
            .map(|graphics| DisplayInfo {
                kind: text(graphics, "type"),
                port: text(graphics, "port"),
                tls_port: text(graphics, "tlsPort"),
                ip_address: graphics
                    .child("listen")
                    .and_then(|listen| listen.attribute("address"))
                    .unwrap_or("0")
                    .to_owned(),
            })
            .collect()
    }

    /// `hash` of the wire: changes when the devices do, and is the same in every process. Whether
    /// something listens on a channel does not count.
    pub fn devices_hash(&self) -> Option<String> {
        let mut devices = self.root().child("devices")?.clone();
        for channel in devices.elements_mut().filter(|e| e.name == "channel") {
            if let Some(target) = channel.child_mut("target") {
                target.remove_attribute("state");
            }
        }
        // FNV-1a; one bit less, so that it is a positive number in every language.
        let hash = devices
            .to_string()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Some((hash >> 1).to_string())
    }

    /// The elements of that name within `devices`.
    pub fn device_elements<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.root()
            .child("devices")
            .into_iter()
            .flat_map(move |devices| devices.all(name))
    }

    fn metadata_place(&self) -> Option<usize> {
        let root = self.root();
        let metadata = root.child("metadata")?;
        metadata.children.iter().position(|node| match node {
            Node::Element(element) => {
                element.local_name() == "vm" && element.uri(&[root, metadata]) == Some(VM_URI)
            }
            _ => false,
        })
    }
}

impl fmt::Display for DomainXml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.document.fmt(f)
    }
}

/// Memory with its unit, in KiB. Units are libvirt's; KiB if none is told.
fn memory(element: &Element) -> Option<u64> {
    let number: u64 = element.text().trim().parse().ok()?;
    let bytes_per_unit: u64 = match element.attribute("unit").unwrap_or("KiB") {
        "b" | "bytes" => 1,
        "KB" => 1_000,
        "k" | "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "M" | "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "G" | "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "T" | "TiB" => 1 << 40,
        _ => return None,
    };
    Some(number.checked_mul(bytes_per_unit)? / 1024)
}
