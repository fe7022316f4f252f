//! What libvirt tells of the hypervisor: machines, CPU models and features, its clock.
//!
//! The caller reads `virConnectGetCapabilities` and `virConnectGetDomainCapabilities` and hands over the text;
//! nothing of it changes while libvirtd runs, so parse once and keep.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

use crate::HostError;

/// A version as libvirt counts: major, minor.
pub type LibvirtVersion = (u32, u32);

/// The hypervisor, as far as capabilities tell of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hypervisor {
    /// Do guests run under KVM? (the accelerator's verdict, not the presence of a device)
    pub kvm: bool,
    /// Version of libvirt.
    pub libvirt: Option<LibvirtVersion>,
    /// Version of QEMU.
    pub qemu: Option<LibvirtVersion>,
    /// Machine types, aliases and canonical names, sorted.
    pub machines: Vec<String>,
    /// CPU models that guests can have, sorted.
    pub models: Vec<String>,
    /// CPU features of the host model.
    pub features: Vec<String>,
    /// Frequency of the time stamp counter, Hz, as text.
    pub tsc_frequency: String,
    /// Can it be scaled?
    pub tsc_scaling: bool,
}

impl Hypervisor {
    /// Reads libvirt's XML. `machine` is the kernel's name of the architecture (`x86_64`), the versions are
    /// libvirt's numbers (major * 1,000,000 + minor * 1,000 + release).
    ///
    /// Errors: a text that is no XML. What the XML lacks stays empty.
    pub fn parse(
        kvm: bool,
        machine: &str,
        capabilities: &str,
        domain_capabilities: &str,
        versions: (Option<u64>, Option<u64>),
    ) -> Result<Self, HostError> {
        let caps = document("capabilities", capabilities)?;
        let domcaps = document("domain capabilities", domain_capabilities)?;
        let tsc = descend(caps.root_element(), &["host", "cpu"])
            .and_then(|cpu| cpu.children().find(|n| is_tsc(*n)));
        Ok(Self {
            kvm,
            libvirt: versions.0.map(version),
            qemu: versions.1.map(version),
            machines: machines(&caps, machine, kvm),
            models: models(&domcaps, machine),
            features: features(&domcaps),
            tsc_frequency: tsc
                .and_then(|n| n.attribute("frequency"))
                .unwrap_or_default()
                .to_owned(),
            tsc_scaling: tsc.and_then(|n| n.attribute("scaling")) == Some("yes"),
        })
    }
}

fn document<'a>(what: &'static str, text: &'a str) -> Result<Document<'a>, HostError> {
    Document::parse(text).map_err(|error| HostError::Xml {
        what,
        why: error.to_string(),
    })
}

fn version(number: u64) -> LibvirtVersion {
    let part = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    (part(number / 1_000_000), part(number / 1_000 % 1_000))
}

fn is_tsc(node: Node<'_, '_>) -> bool {
    node.has_tag_name("counter") && node.attribute("name") == Some("tsc")
}

fn descend<'a, 'i>(from: Node<'a, 'i>, names: &[&str]) -> Option<Node<'a, 'i>> {
    names.iter().try_fold(from, |node, name| {
        node.children().find(|child| child.has_tag_name(*name))
    })
}

/// Machines of the accelerator's domain type; where libvirt lists none there, those of the architecture.
fn machines(caps: &Document<'_>, machine: &str, kvm: bool) -> Vec<String> {
    let domain_type = if kvm { "kvm" } else { "qemu" };
    let arch = caps
        .descendants()
        .filter(|n| n.has_tag_name("guest"))
        .filter_map(|guest| descend(guest, &["arch"]))
        .find(|arch| arch.attribute("name") == Some(machine));
    let Some(arch) = arch else {
        return Vec::new();
    };
    let of_domain = arch
        .children()
        .filter(|n| n.has_tag_name("domain") && n.attribute("type") == Some(domain_type))
        .map(machine_names)
        .find(|names| !names.is_empty());
    of_domain.unwrap_or_else(|| machine_names(arch))
}

fn machine_names(node: Node<'_, '_>) -> Vec<String> {
    let mut names = BTreeSet::new();
    for machine in node.children().filter(|n| n.has_tag_name("machine")) {
        let canonical = machine.attribute("canonical");
        let both = [machine.text(), canonical];
        names.extend(both.into_iter().flatten().map(|t| t.trim().to_owned()));
    }
    names.remove("");
    names.into_iter().collect()
}

fn modes<'a, 'i>(domcaps: &'a Document<'i>, name: &str) -> Vec<Node<'a, 'i>> {
    let Some(cpu) = descend(domcaps.root_element(), &["cpu"]) else {
        return Vec::new();
    };
    cpu.children()
        .filter(|n| n.has_tag_name("mode") && n.attribute("name") == Some(name))
        .filter(|n| n.attribute("supported") != Some("no"))
        .collect()
}

/// Models of mode `custom` that are usable; on POWER the model of the host.
fn models(domcaps: &Document<'_>, machine: &str) -> Vec<String> {
    let power = machine.starts_with("ppc");
    let mode = if power { "host-model" } else { "custom" };
    let mut names = BTreeSet::new();
    for mode in modes(domcaps, mode) {
        for model in mode.children().filter(|n| n.has_tag_name("model")) {
            if power || model.attribute("usable") == Some("yes") {
                names.extend(model.text().map(|text| text.trim().to_owned()));
            }
        }
    }
    names.remove("");
    if power && names.contains("POWER9") {
        names.insert("POWER8".to_owned());
    }
    names.into_iter().collect()
}

/// Features that the host model requires.
fn features(domcaps: &Document<'_>) -> Vec<String> {
    modes(domcaps, "host-model")
        .into_iter()
        .flat_map(|mode| mode.children().collect::<Vec<_>>())
        .filter(|n| n.has_tag_name("feature") && n.attribute("policy") == Some("require"))
        .filter_map(|n| n.attribute("name").map(str::to_owned))
        .collect()
}
