//! Versions of installed packages.
//!
//! On Debian from dpkg's status file, read again only when it changed. The RPM database has no format for
//! others to read and nothing is spawned here, so on RPM systems the versions are unknown.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    time::SystemTime,
};

use host_model::{PackageVersion, Packages};

use crate::{Host, files::Reader};

const STATUS: &str = "/var/lib/dpkg/status";
/// Most that is read of the status file, bytes.
const MOST: u64 = 256 << 20;

/// VDSM's names and Debian's packages, the first that is installed counts.
const NAMES: &[(&str, &[&str])] = &[
    ("glusterfs-cli", &["glusterfs-cli"]),
    ("librbd1", &["librbd1"]),
    ("libvirt", &["libvirt0", "libvirt-daemon"]),
    ("lvm2", &["lvm2"]),
    ("mom", &["mom"]),
    ("nmstate", &["nmstate"]),
    ("openvswitch", &["openvswitch-switch"]),
    ("qemu-img", &["qemu-utils"]),
    (
        "qemu-kvm",
        &["qemu-system-x86", "qemu-system-arm", "qemu-kvm"],
    ),
    ("spice-server", &["libspice-server1"]),
];

/// What was read last, and of which file.
pub(crate) type Cache = Option<((SystemTime, u64), Packages)>;

pub(crate) fn packages(host: &Host, reader: &Reader<'_>) -> Packages {
    let path = reader.full(STATUS);
    let Ok(found) = std::fs::metadata(&path) else {
        let rpm = reader.exists("/var/lib/rpm") || reader.exists("/usr/lib/sysimage/rpm");
        let why = if rpm {
            "the RPM database can only be read by rpm itself"
        } else {
            "neither dpkg nor RPM is here"
        };
        return Packages::Unknown(why.to_owned());
    };
    let stamp = (
        found.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        found.len(),
    );
    let mut cache = host
        .packages
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    match &*cache {
        Some((of, packages)) if *of == stamp => packages.clone(),
        _ => {
            let packages = read(&path);
            *cache = Some((stamp, packages.clone()));
            packages
        }
    }
}

fn read(path: &Path) -> Packages {
    match File::open(path) {
        Ok(file) => named(&installed(file.take(MOST))),
        Err(error) => Packages::Unknown(format!("{}: {error}", path.display())),
    }
}

fn named(installed: &BTreeMap<String, String>) -> Packages {
    let version = |names: &[&str]| names.iter().find_map(|name| installed.get(*name));
    let known = NAMES
        .iter()
        .filter_map(|(name, debian)| Some(((*name).to_owned(), split(version(debian)?))))
        .collect();
    Packages::Known(known)
}

/// Names and versions of the wanted packages that are installed.
fn installed(status: impl std::io::Read) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut reader = BufReader::new(status);
    let (mut name, mut is_installed, mut version) = (String::new(), false, String::new());
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).unwrap_or(0);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            let wanted = NAMES.iter().any(|(_, n)| n.contains(&name.as_str()));
            if is_installed && wanted && !version.is_empty() {
                out.insert(std::mem::take(&mut name), std::mem::take(&mut version));
            }
            (name, is_installed, version) = (String::new(), false, String::new());
        }
        if read == 0 {
            return out;
        }
        match text.split_once(": ") {
            Some(("Package", value)) => value.clone_into(&mut name),
            Some(("Status", value)) => is_installed = value.ends_with(" installed"),
            Some(("Version", value)) => value.clone_into(&mut version),
            _ => {}
        }
    }
}

/// Debian's `[epoch:]upstream[+dfsg][-revision]`: Engine wants the upstream version and calls the rest release.
fn split(version: &str) -> PackageVersion {
    let (_, plain) = version.split_once(':').unwrap_or(("", version));
    let (upstream, release) = plain.rsplit_once('-').unwrap_or((plain, ""));
    let upstream = upstream.split(['+', '~']).next().unwrap_or(upstream);
    PackageVersion {
        version: upstream.to_owned(),
        release: release.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "Package: libvirt0\nStatus: install ok installed\nVersion: 9.0.0-4+deb12u2\nDescription: x\n Version: 3\n\nPackage: lvm2\nStatus: deinstall ok config-files\nVersion: 2.03.16-2\n\nPackage: qemu-utils\nStatus: install ok installed\nVersion: 1:7.2+dfsg-7+deb12u18+b3\n";

    #[test]
    fn status_is_read_by_stanza() {
        let Packages::Known(known) = named(&installed(SAMPLE.as_bytes())) else {
            panic!("known");
        };
        let of = |name: &str| {
            known
                .get(name)
                .map(|v| (v.version.as_str(), v.release.as_str()))
        };
        assert_eq!(of("libvirt"), Some(("9.0.0", "4+deb12u2")));
        assert_eq!(of("qemu-img"), Some(("7.2", "7+deb12u18+b3")));
        assert_eq!(of("lvm2"), None, "only its configuration is left");
        assert_eq!(known.len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn any_status_is_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = named(&installed(bytes.as_slice()));
        }
    }
}
