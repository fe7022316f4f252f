//! The machine beneath the kernel: DMI, vulnerabilities, IOMMU, Fibre Channel, KVM's parameters, kdump, FIPS.

use std::collections::BTreeMap;

use host_model::{Dmi, FcHost, Kdump};

use crate::files::Reader;

/// What the firmware tells; placeholders of makers who filled nothing in are left out.
pub(crate) fn dmi(reader: &mut Reader<'_>) -> Dmi {
    let mut get = |name: &str| {
        let value = reader.line(&format!("/sys/class/dmi/id/{name}"))?;
        let empty = ["Not Specified", "None", "To be filled by O.E.M."];
        (!empty.iter().any(|e| value.eq_ignore_ascii_case(e))).then_some(value)
    };
    Dmi {
        manufacturer: get("sys_vendor"),
        product: get("product_name"),
        version: get("product_version"),
        serial: get("product_serial"),
        uuid: get("product_uuid"),
        family: get("product_family"),
    }
}

pub(crate) fn vulnerabilities(reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    const DIR: &str = "/sys/devices/system/cpu/vulnerabilities";
    let mut out = BTreeMap::new();
    for name in reader.names(DIR) {
        if let Some(text) = reader.line(&format!("{DIR}/{name}")) {
            out.insert(name, text);
        }
    }
    out
}

pub(crate) fn iommu(reader: &mut Reader<'_>, machine: &str) -> bool {
    let groups = !reader.names("/sys/kernel/iommu_groups").is_empty();
    groups && (machine.starts_with("ppc") || !reader.names("/sys/class/iommu").is_empty())
}

pub(crate) fn nested(reader: &mut Reader<'_>) -> bool {
    ["kvm_intel", "kvm_amd", "kvm"].iter().any(|module| {
        let value = reader.line(&format!("/sys/module/{module}/parameters/nested"));
        matches!(value.as_deref(), Some("Y" | "1"))
    })
}

pub(crate) fn fips(reader: &mut Reader<'_>) -> bool {
    reader.line("/proc/sys/crypto/fips_enabled").as_deref() == Some("1")
}

/// Enabled means: a crash kernel is loaded and `fence_kdump` knows whom to tell.
pub(crate) fn kdump(reader: &mut Reader<'_>) -> Kdump {
    match reader.line("/sys/kernel/kexec_crash_loaded").as_deref() {
        Some("0") => Kdump::Disabled,
        Some("1") => match reader.text("/etc/kdump.conf") {
            None => Kdump::Unknown,
            Some(text) if text.lines().any(|l| l.starts_with("fence_kdump_nodes")) => {
                Kdump::Enabled
            }
            Some(_) => Kdump::Disabled,
        },
        _ => Kdump::Unknown,
    }
}

pub(crate) fn fc_hosts(reader: &mut Reader<'_>) -> Vec<FcHost> {
    const DIR: &str = "/sys/class/fc_host";
    let names = reader.names(DIR);
    names
        .into_iter()
        .filter_map(|name| {
            let mut wwn = |what: &str| {
                let text = reader.line(&format!("{DIR}/{name}/{what}"))?;
                Some(text.trim_start_matches("0x").to_owned())
            };
            let (wwnn, wwpn) = (wwn("node_name")?, wwn("port_name")?);
            let scsi = format!("/sys/class/scsi_host/{name}");
            let model = reader
                .line(&format!("{scsi}/model_name"))
                .or_else(|| reader.line(&format!("{scsi}/modelname")));
            let text = reader
                .line(&format!("{scsi}/model_desc"))
                .or_else(|| reader.line(&format!("{scsi}/modeldesc")));
            let model = [model, text].into_iter().flatten().collect::<Vec<_>>();
            Some(FcHost {
                wwnn,
                wwpn,
                model: model.join(" - "),
            })
        })
        .collect()
}
