//! libvirt: how guests' files are owned and saved, where displays listen, with whose certificates guests migrate.
//!
//! Both forms of the daemon are known: libvirtd, and the modular virtqemud. Who may use libvirt's socket is decided by
//! the package's polkit rule or by a group (`accounts.rs`): there is no password, unlike with the Python VDSM, whose
//! block is replaced.

use anyhow::Result;

use super::{
    lines,
    plan::{self, Change, World},
};

const QEMU: &str = "/etc/libvirt/qemu.conf";
const SANLOCK: &str = "/etc/libvirt/qemu-sanlock.conf";
/// Configuration of the daemons, each with the program that reads it.
const DAEMONS: [(&str, &str); 3] = [
    ("libvirtd", "/etc/libvirt/libvirtd.conf"),
    ("virtqemud", "/etc/libvirt/virtqemud.conf"),
    ("virtproxyd", "/etc/libvirt/virtproxyd.conf"),
];
const STORE: &str = "/etc/pki/vdsm";

/// Why there is nothing to configure; `None` if there is.
pub(crate) fn absent(world: &World) -> Option<String> {
    let there = world.has_program("libvirtd") || world.has_program("virtqemud");
    (!there).then(|| "libvirt is not installed".to_owned())
}

/// Units that read these files when they start.
pub(crate) const UNITS: [&str; 3] = [
    "libvirtd.service",
    "virtqemud.service",
    "virtproxyd.service",
];

/// Files that differ from what they must be.
pub(crate) fn plan(world: &World) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut edit = |path, values: Vec<(&str, String)>| -> Result<()> {
        let text = world.read(path)?.unwrap_or_default();
        let new = lines::with_block(&text, &values);
        changes.extend(plan::file(world, path, Some(new))?);
        Ok(())
    };
    edit(QEMU, qemu(world))?;
    if has_lease_driver(world) {
        let off = |key| (key, "0".to_owned());
        let values = vec![off("auto_disk_leases"), off("require_lease_for_disks")];
        edit(SANLOCK, values)?;
    }
    for (program, path) in DAEMONS {
        if world.has_program(program) {
            edit(path, daemon(world, program))?;
        }
    }
    Ok(changes)
}

/// The way back.
pub(crate) fn undo(world: &World) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for path in [QEMU, SANLOCK]
        .into_iter()
        .chain(DAEMONS.map(|(_, path)| path))
    {
        changes.extend(undo_lines(world, path)?);
    }
    Ok(changes)
}

/// Takes our block out of a file; a file that held nothing else goes, if it was not there before.
pub(crate) fn undo_lines(world: &World, path: &'static str) -> Result<Option<Change>> {
    let Some(text) = world.read(path)? else {
        return Ok(None);
    };
    let without = lines::without_block(&text);
    let ours_alone = without.trim().is_empty() && world.original(path)?.is_none();
    if without == text {
        return Ok(None);
    }
    plan::file(world, path, (!ours_alone).then_some(without))
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn qemu(world: &World) -> Vec<(&'static str, String)> {
    let mut values = vec![
        ("dynamic_ownership", "1".to_owned()),
        // A memory image on block storage is padded: a decompressor would stumble over it.
        ("save_image_format", quoted("raw")),
        // The range that oVirt's firewall rules open.
        ("remote_display_port_min", "5900".to_owned()),
        ("remote_display_port_max", "6923".to_owned()),
    ];
    let migrate = format!("{STORE}/libvirt-migrate");
    if world.has(&migrate) {
        values.push(("migrate_tls_x509_cert_dir", quoted(&migrate)));
    }
    let spice = format!("{STORE}/libvirt-spice");
    if world.has(&spice) {
        values.push(("spice_tls", "1".to_owned()));
        values.push(("spice_tls_x509_cert_dir", quoted(&spice)));
    }
    if has_lease_driver(world) {
        values.push(("lock_manager", quoted("sanlock")));
    }
    values
}

/// libvirt's part that takes leases from sanlock; a package of its own, without which guests would not start.
fn has_lease_driver(world: &World) -> bool {
    let folders = [
        "/usr/lib64",
        "/usr/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ];
    folders
        .iter()
        .any(|folder| world.has(&format!("{folder}/libvirt/lock-driver/sanlock.so")))
}

fn daemon(world: &World, program: &str) -> Vec<(&'static str, String)> {
    // Between hosts the agents watch connections themselves.
    let mut values = vec![("keepalive_interval", "-1".to_owned())];
    // Two hosts of one id cannot migrate to each other; where the firmware has none, systemd's is taken.
    let bogus = !world.has("/sys/class/dmi/id/product_uuid");
    if bogus && program != "virtproxyd" {
        values.push(("host_uuid_source", quoted("machine-id")));
    }
    let remote = program != "virtqemud";
    if remote && world.has(&format!("{STORE}/certs/cacert.pem")) {
        let pki = |file: &str| quoted(&format!("{STORE}/{file}"));
        values.push(("ca_file", pki("certs/cacert.pem")));
        values.push(("cert_file", pki("certs/vdsmcert.pem")));
        values.push(("key_file", pki("keys/vdsmkey.pem")));
    }
    values
}
