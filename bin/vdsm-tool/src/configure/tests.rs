//! Whole modules on folders that look like hosts.

use std::{fs, path::Path};

use super::*;
use crate::cli::Target;

struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new(files: &[(&str, &str)]) -> Self {
        let host = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for (path, text) in files {
            host.write(path, text);
        }
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default()
    }

    fn target(&self, modules: &[Module], dry_run: bool) -> Target {
        Target {
            module: modules.to_vec(),
            dry_run,
            quiet: false,
            root: self.dir.path().to_owned(),
        }
    }

    fn configure(&self, modules: &[Module], dry_run: bool) -> Result<()> {
        configure(&ConfigureArgs {
            target: self.target(modules, dry_run),
            force: false,
        })
    }

    fn remove(&self, modules: &[Module]) {
        let target = self.target(modules, false);
        remove(&RemoveArgs { target }).unwrap();
    }

    fn is_configured(&self, modules: &[Module]) -> Result<()> {
        is_configured(&StateArgs {
            module: modules.to_vec(),
            root: self.dir.path().to_owned(),
        })
    }

    /// Every file with its content.
    fn snapshot(&self) -> std::collections::BTreeMap<String, Vec<u8>> {
        let mut files = std::collections::BTreeMap::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = fs::read(&path).unwrap();
                    files.insert(path.display().to_string(), content);
                }
            }
        }
        files
    }
}

const QEMU: &str = "/etc/libvirt/qemu.conf";
const MULTIPATH: &str = "/etc/multipath.conf";
const LVM: &str = "/etc/lvm/lvmlocal.conf";
const FILES: [Module; 4] = [
    Module::Libvirt,
    Module::Sanlock,
    Module::Multipath,
    Module::Lvm,
];

fn full_host() -> Host {
    Host::new(&[
        ("/usr/sbin/libvirtd", ""),
        ("/usr/sbin/sanlock", ""),
        ("/sbin/multipathd", ""),
        ("/usr/sbin/lvm", ""),
        (
            QEMU,
            "# of the distribution\nsave_image_format = \"gzip\"\nuser = \"qemu\"\n",
        ),
        ("/etc/libvirt/libvirtd.conf", "#keepalive_interval = 5\n"),
        ("/etc/sanlock/sanlock.conf", "use_watchdog = 0\n"),
        (MULTIPATH, "defaults {\n user_friendly_names yes\n}\n"),
        (
            "/etc/vdsm/vdsm.id",
            "4C4C4544-0032-3010-8039-B3C04F4D3132\n",
        ),
    ])
}

#[test]
fn a_host_without_these_programs_is_left_alone() {
    let host = Host::new(&[]);
    host.configure(&[], true).unwrap();
    let before = host.snapshot();
    host.is_configured(&FILES).unwrap();
    let error = host.configure(&[Module::Multipath], false).unwrap_err();
    assert!(
        error.to_string().contains("multipathd is not installed"),
        "{error}"
    );
    assert_eq!(host.snapshot(), before);
}

#[test]
fn configured_once_shown_before_and_taken_back() {
    let host = full_host();
    let before = host.snapshot();
    host.configure(&FILES, true).unwrap();
    assert_eq!(host.snapshot(), before, "a dry run changes nothing");
    let error = host.is_configured(&FILES).unwrap_err().to_string();
    assert!(
        error.contains("libvirt, sanlock, multipath, lvm"),
        "{error}"
    );

    host.configure(&FILES, false).unwrap();
    host.is_configured(&FILES).unwrap();
    let qemu = host.text(QEMU);
    assert!(
        qemu.contains("\nsave_image_format = \"raw\"\n") && qemu.contains("\nuser = \"qemu\"\n")
    );
    assert!(
        !qemu.contains("lock_manager"),
        "no driver for leases is installed"
    );
    let sanlock = host.text("/etc/sanlock/sanlock.conf");
    assert!(sanlock.contains("our_host_name = 4c4c4544-"), "{sanlock}");
    assert!(
        host.text(MULTIPATH)
            .contains("no_path_retry               16")
    );
    assert!(host.text(LVM).contains("scan_lvs = 0"));

    let once = host.snapshot();
    host.configure(&FILES, false).unwrap();
    assert_eq!(host.snapshot(), once, "idempotent");

    host.remove(&FILES);
    assert_eq!(host.snapshot(), before);
    host.remove(&FILES);
    assert_eq!(host.snapshot(), before);
}

#[test]
fn what_an_administrator_claims_or_changes_stays() {
    let host = full_host();
    let own = "# VDSM REVISION 1.3\n# VDSM PRIVATE\ndefaults {\n}\n";
    host.write(MULTIPATH, own);
    host.configure(&FILES, false).unwrap();
    assert_eq!(host.text(MULTIPATH), own);
    host.write(LVM, &format!("{}# mine\n", host.text(LVM)));
    host.write(QEMU, &format!("{}later = 1\n", host.text(QEMU)));
    host.remove(&FILES);
    assert!(host.text(LVM).contains("# mine"));
    let qemu = host.text(QEMU);
    assert!(qemu.ends_with("user = \"qemu\"\nlater = 1\n"), "{qemu}");
    assert!(qemu.contains("\nsave_image_format = \"gzip\"\n"));
}

#[test]
fn a_later_revision_replaces_and_keeps_the_first_original() {
    let host = full_host();
    let original = host.text(MULTIPATH);
    host.configure(&[Module::Multipath], false).unwrap();
    let older = host.text(MULTIPATH).replace("REVISION 2.2", "REVISION 2.1");
    host.write(MULTIPATH, &older);
    assert!(host.is_configured(&[Module::Multipath]).is_err());
    host.configure(&[Module::Multipath], false).unwrap();
    host.remove(&[Module::Multipath]);
    assert_eq!(host.text(MULTIPATH), original);
}

#[test]
fn the_block_of_python_vdsm_goes() {
    let host = full_host();
    let libvirtd = "/etc/libvirt/libvirtd.conf";
    host.write(
        libvirtd,
        "## beginning of configuration section by vdsm-4.40.0\nauth_unix_rw=\"sasl\"\n\
         ## end of configuration section by vdsm-4.40.0\n",
    );
    host.configure(&[Module::Libvirt], false).unwrap();
    assert!(!host.text(libvirtd).contains("sasl"));
}

#[test]
fn leases_are_asked_for_where_the_driver_is() {
    let host = full_host();
    host.write("/usr/lib64/libvirt/lock-driver/sanlock.so", "");
    host.configure(&[Module::Libvirt], false).unwrap();
    assert!(host.text(QEMU).contains("lock_manager = \"sanlock\""));
    let path = "/etc/libvirt/qemu-sanlock.conf";
    assert!(host.text(path).contains("auto_disk_leases = 0"));
    host.remove(&[Module::Libvirt]);
    assert!(!host.at(path).exists(), "it was not there before");
}

#[test]
fn booleans_that_are_off_are_named() {
    let host = Host::new(&[
        ("/sys/fs/selinux/booleans/virt_use_nfs", "0 0"),
        ("/sys/fs/selinux/booleans/virt_use_sanlock", "1 1"),
    ]);
    let world = World::new(host.dir.path());
    assert_eq!(
        selinux::plan(&world),
        [Change::Sebools(vec!["virt_use_nfs"])]
    );
}

#[test]
fn validation_names_what_is_wrong() {
    let validate_host = |host: &Host| {
        validate(&StateArgs {
            module: Vec::new(),
            root: host.dir.path().to_owned(),
        })
    };
    let host = Host::new(&[("/etc/vdsm/vdsm.conf", "[vars]\nssl = perhaps\n")]);
    assert!(
        validate_host(&host)
            .unwrap_err()
            .to_string()
            .contains("vdsm.conf:2")
    );
    host.write("/etc/vdsm/vdsm.conf", "");
    let error = validate_host(&host).unwrap_err().to_string();
    assert!(error.contains("vdsmcert.pem is not there"), "{error}");
    host.write("/etc/vdsm/vdsm.conf.d/50-x.conf", "[vars]\nssl = false\n");
    validate_host(&host).unwrap();
    assert!(Path::new("/").is_absolute());
}

#[test]
fn half_a_set_of_certificates_is_told() {
    let host = Host::new(&[("/etc/pki/vdsm/certs/cacert.pem", "x")]);
    let error = host.configure(&[Module::Certificates], false).unwrap_err();
    assert!(error.to_string().contains("half a set"), "{error}");
}
