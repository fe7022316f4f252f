//! Which devices LVM may look at: those beneath the host's own mounted volumes, and nothing of the storage that guests
//! live on. Without it the host would activate volumes of storage domains, and of guests, at boot.
//!
//! LVM's devices file says it (lvmdevices(8), LVM 2.03.12 and later; `[lvm] config_method = devices` of the Python
//! VDSM). Local disks that are named so are no business of multipath either: its blacklist gets their ids.
//!
//! Order of the changes: blacklist, devices file, then the switch in lvm.conf: cut off anywhere, LVM still sees what
//! the host needs.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use exec::Command;
use serde::Deserialize;

use super::{
    lines,
    plan::{self, Change, World},
};

const LVM_CONF: &str = "/etc/lvm/lvm.conf";
const DEVICES: &str = "/etc/lvm/devices/system.devices";
const BLACKLIST: &str = "/etc/multipath/conf.d/vdsm_blacklist.conf";
/// The switch, in the form that may stand anywhere in lvm.conf.
const SWITCH: &str = "devices/use_devicesfile";
/// Marks the volume groups of storage domains (upstream `blockSD.STORAGE_DOMAIN_TAG`).
const DOMAIN_TAG: &str = "RHAT_storage_domain";
/// What udev knows a disk's id by, as multipath does (`uid_attribute`): SCSI, NVMe, DASD.
const IDS: [&str; 3] = ["ID_SERIAL", "ID_WWN", "ID_UID"];

/// Why there is nothing to configure; `None` if there is.
pub(crate) fn absent(world: &World) -> Option<String> {
    if !world.has_program("lvm") {
        return Some("lvm is not installed".to_owned());
    }
    if !world.is_live() {
        return Some("devices are looked at on the host itself only".to_owned());
    }
    // By its first name: Debian 12 ships no links for the commands about devices.
    let knows = ask("lvm", &["vgimportdevices", "--help"]).is_ok();
    (!knows).then(|| "this LVM knows no devices file (2.03.12 and later do)".to_owned())
}

/// What has to change.
pub(crate) fn plan(world: &World) -> Result<Vec<Change>> {
    let mounted = mounted(&ask(
        "lsblk",
        &["-o", "NAME,TYPE,MOUNTPOINT", "--json", "--paths"],
    )?)?;
    let groups = groups_of(
        &mounted,
        &ask("lvm", &report("lvs", "lv_dm_path,vg_name,vg_tags"))?,
    )?;
    let pvs = volumes_of(
        &groups,
        &ask("lvm", &report("pvs", "pv_name,pv_uuid,vg_name,vg_tags"))?,
    )?;
    let mut changes = Vec::new();
    if world.has_program("multipathd") {
        changes.extend(blacklist(world, &disk_ids(&pvs)?)?);
    }
    let listed = world.read(DEVICES)?;
    let missing = missing(&pvs, listed.as_deref().unwrap_or_default());
    if !missing.is_empty() {
        changes.push(Change::LvmDevices(missing));
    } else if listed.is_none() {
        // Without the file LVM looks at everything, whatever the switch says.
        changes.extend(plan::file(world, DEVICES, Some(NONE.to_owned()))?);
    }
    if !switched_on()? {
        changes.extend(switch(world)?);
    }
    Ok(changes)
}

/// A devices file of a host whose own file systems are on no logical volume.
const NONE: &str =
    "# LVM uses devices listed in this file.\n# None: this host has no volume groups of its own.\n";

/// The way back: the switch and the blacklist. The devices file stays, as LVM's own tools keep it.
pub(crate) fn undo(world: &World) -> Result<Vec<Change>> {
    let mut changes: Vec<Change> = super::libvirt::undo_lines(world, LVM_CONF)?
        .into_iter()
        .collect();
    if world
        .read(BLACKLIST)?
        .is_some_and(|text| text.starts_with(BLACKLIST_HEAD))
    {
        changes.extend(plan::file(world, BLACKLIST, world.original(BLACKLIST)?)?);
    }
    Ok(changes)
}

fn report(what: &'static str, columns: &'static str) -> [&'static str; 7] {
    // No devices file: what it hides must be seen, too.
    [
        what,
        "--devicesfile",
        "",
        "--reportformat",
        "json",
        "-o",
        columns,
    ]
}

fn ask(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).run()?.check()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn switched_on() -> Result<bool> {
    let full = ["--typeconfig", "full", SWITCH];
    Ok(ask("lvmconfig", &full)?.trim() == "use_devicesfile=1")
}

/// The switch goes behind everything else. LVM takes the first of two values: one that somebody else set wins.
fn switch(world: &World) -> Result<Option<Change>> {
    let text = world.read(LVM_CONF)?.unwrap_or_default();
    if let Some(line) = lines::without_block(&text)
        .lines()
        .find(|line| sets_switch(line))
    {
        bail!(
            "{LVM_CONF} says \"{}\": remove that line, and ask again",
            line.trim()
        );
    }
    let text = lines::with_block(&text, &[(SWITCH, "1".to_owned())]);
    plan::file(world, LVM_CONF, Some(text))
}

fn sets_switch(line: &str) -> bool {
    let key = line.split('=').next().unwrap_or_default().trim();
    line.contains('=') && (key == "use_devicesfile" || key == SWITCH)
}

#[derive(Debug, Deserialize)]
struct Tree {
    blockdevices: Vec<Node>,
}

/// A device, and what is stacked on it (with `--inverse`: what it is stacked on).
#[derive(Debug, Deserialize)]
struct Node {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    mountpoint: Option<String>,
    #[serde(default)]
    children: Vec<Node>,
}

impl Node {
    fn is_mounted(&self) -> bool {
        self.mountpoint.is_some() || self.children.iter().any(Self::is_mounted)
    }

    fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        see(self);
        self.children.iter().for_each(|child| child.visit(see));
    }
}

fn tree(json: &str) -> Result<Tree> {
    serde_json::from_str(json).context("what lsblk says cannot be understood")
}

/// Logical volumes that something mounted (or swapped to) lies on.
fn mounted(json: &str) -> Result<BTreeSet<String>> {
    let tree = tree(json)?;
    let mut found = BTreeSet::new();
    for node in &tree.blockdevices {
        node.visit(&mut |it| {
            if it.kind == "lvm" && it.is_mounted() {
                found.insert(it.name.clone());
            }
        });
    }
    Ok(found)
}

#[derive(Debug, Deserialize)]
struct Reports {
    report: Vec<Report>,
}

#[derive(Debug, Deserialize)]
struct Report {
    #[serde(default)]
    lv: Vec<Lv>,
    #[serde(default)]
    pv: Vec<Pv>,
}

#[derive(Debug, Deserialize)]
struct Lv {
    #[serde(rename = "lv_dm_path")]
    path: String,
    vg_name: String,
    vg_tags: String,
}

#[derive(Debug, Deserialize)]
struct Pv {
    #[serde(rename = "pv_name")]
    name: String,
    #[serde(rename = "pv_uuid")]
    uuid: String,
    vg_name: String,
    vg_tags: String,
}

fn reports(json: &str) -> Result<Vec<Report>> {
    let all: Reports = serde_json::from_str(json).context("what LVM says cannot be understood")?;
    Ok(all.report)
}

fn is_domain(tags: &str) -> bool {
    tags.split(',').any(|tag| tag == DOMAIN_TAG)
}

/// The host's own volume groups. A mounted volume of a storage domain (a master file system) makes none.
fn groups_of(mounted: &BTreeSet<String>, json: &str) -> Result<BTreeSet<String>> {
    let all = reports(json)?.into_iter().flat_map(|report| report.lv);
    let own = all.filter(|lv| mounted.contains(&lv.path) && !is_domain(&lv.vg_tags));
    Ok(own.map(|lv| lv.vg_name).collect())
}

/// Their physical volumes.
fn volumes_of(groups: &BTreeSet<String>, json: &str) -> Result<Vec<Pv>> {
    let all = reports(json)?.into_iter().flat_map(|report| report.pv);
    Ok(all
        .filter(|pv| groups.contains(&pv.vg_name) && !is_domain(&pv.vg_tags))
        .collect())
}

/// Groups with a physical volume that the devices file does not list. Its lines are
/// `IDTYPE=... IDNAME=... DEVNAME=... PVID=...`, the id without dashes.
fn missing(pvs: &[Pv], listed: &str) -> Vec<String> {
    let ids: BTreeSet<&str> = listed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.strip_prefix("PVID="))
        .collect();
    let lacks = pvs
        .iter()
        .filter(|pv| !ids.contains(pv.uuid.replace('-', "").as_str()));
    let groups: BTreeSet<String> = lacks.map(|pv| pv.vg_name.clone()).collect();
    groups.into_iter().collect()
}

/// Ids of the disks beneath, as multipath reckons them; a disk without one is no candidate of multipath's.
fn disk_ids(pvs: &[Pv]) -> Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for pv in pvs {
        let arguments = [
            "--inverse",
            "-o",
            "NAME,TYPE",
            "--json",
            "--paths",
            &pv.name,
        ];
        for disk in disks(&ask("lsblk", &arguments)?)? {
            let properties = ask("udevadm", &["info", "--query=property", "--name", &disk])?;
            ids.extend(id_of(&properties));
        }
    }
    Ok(ids)
}

fn disks(json: &str) -> Result<BTreeSet<String>> {
    let tree = tree(json)?;
    let mut found = BTreeSet::new();
    for node in &tree.blockdevices {
        node.visit(&mut |it| {
            if it.kind == "disk" {
                found.insert(it.name.clone());
            }
        });
    }
    Ok(found)
}

fn id_of(properties: &str) -> Option<String> {
    let value = |key: &str| {
        let mut lines = properties.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.to_owned())
    };
    // Quotes would end the word in multipath's file.
    IDS.into_iter()
        .find_map(value)
        .filter(|id| !id.is_empty() && !id.contains(['"', '\n']))
}

const BLACKLIST_HEAD: &str = "# Written by \"vdsm-tool configure\"";

fn blacklist(world: &World, ids: &BTreeSet<String>) -> Result<Option<Change>> {
    if ids.is_empty() {
        return Ok(None);
    }
    let words = ids
        .iter()
        .fold(String::new(), |all, id| all + "    wwid \"" + id + "\"\n");
    let text = format!(
        "{BLACKLIST_HEAD}: disks beneath the host's own volume groups.\n\nblacklist {{\n{words}}}\n"
    );
    plan::file(world, BLACKLIST, Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LSBLK: &str = r#"{"blockdevices":[
        {"name":"/dev/sda","type":"disk","mountpoint":null,"children":[
            {"name":"/dev/sda1","type":"part","mountpoint":"/boot"},
            {"name":"/dev/sda2","type":"part","mountpoint":null,"children":[
                {"name":"/dev/mapper/host-root","type":"lvm","mountpoint":"/"},
                {"name":"/dev/mapper/host-swap","type":"lvm","mountpoint":"[SWAP]"},
                {"name":"/dev/mapper/host-data","type":"lvm","mountpoint":null,"children":[
                    {"name":"/dev/mapper/luks","type":"crypt","mountpoint":"/data"}]},
                {"name":"/dev/mapper/host-spare","type":"lvm","mountpoint":null}]}]},
        {"name":"/dev/mapper/mpa","type":"mpath","mountpoint":null,"children":[
            {"name":"/dev/mapper/dom-master","type":"lvm","mountpoint":"/rhev/data-center/mnt/blockSD/x/master"},
            {"name":"/dev/mapper/dom-disk","type":"lvm","mountpoint":null}]}]}"#;
    const LVS: &str = r#"{"report":[{"lv":[
        {"lv_dm_path":"/dev/mapper/host-root","vg_name":"host","vg_tags":""},
        {"lv_dm_path":"/dev/mapper/host-data","vg_name":"host","vg_tags":""},
        {"lv_dm_path":"/dev/mapper/dom-master","vg_name":"dom","vg_tags":"MDT_CLASS=Data,RHAT_storage_domain"},
        {"lv_dm_path":"/dev/mapper/guest-root","vg_name":"guest","vg_tags":""}]}]}"#;
    const PVS: &str = r#"{"report":[{"pv":[
        {"pv_name":"/dev/sda2","pv_uuid":"AAAAAA-BBBB-CCCC","vg_name":"host","vg_tags":""},
        {"pv_name":"/dev/mapper/mpa","pv_uuid":"DDDDDD-EEEE-FFFF","vg_name":"dom","vg_tags":"RHAT_storage_domain"}]}]}"#;

    #[test]
    fn what_the_host_has_mounted_is_its_own_and_a_storage_domain_is_not() {
        let mounted = mounted(LSBLK).unwrap();
        let names: Vec<_> = mounted.iter().map(String::as_str).collect();
        let host = ["data", "root", "swap"].map(|it| format!("/dev/mapper/host-{it}"));
        assert_eq!(
            names,
            ["/dev/mapper/dom-master", &host[0], &host[1], &host[2]]
        );
        let groups = groups_of(&mounted, LVS).unwrap();
        assert_eq!(groups, BTreeSet::from(["host".to_owned()]));
        let pvs = volumes_of(&groups, PVS).unwrap();
        assert_eq!(pvs.len(), 1);
        assert_eq!(missing(&pvs, ""), ["host"]);
        assert_eq!(missing(&pvs, "# PVID=AAAAAABBBBCCCC\n"), ["host"]);
        let listed = "VERSION=1.1.2\nIDTYPE=sys_wwid IDNAME=x DEVNAME=/dev/sda2 PVID=AAAAAABBBBCCCC PART=2\n";
        assert!(missing(&pvs, listed).is_empty());
    }

    #[test]
    fn a_disk_has_the_id_that_multipath_gives_it() {
        let json = r#"{"blockdevices":[{"name":"/dev/sda2","type":"part","children":[{"name":"/dev/sda","type":"disk"}]}]}"#;
        assert_eq!(
            disks(json).unwrap(),
            BTreeSet::from(["/dev/sda".to_owned()])
        );
        assert_eq!(
            id_of("DEVNAME=/dev/sda\nID_SERIAL=36001\nID_WWN=0x5\n"),
            Some("36001".to_owned())
        );
        assert_eq!(id_of("ID_WWN=eui.1\n"), Some("eui.1".to_owned()));
        assert_eq!(id_of("ID_SERIAL=\"x\n"), None);
        assert_eq!(id_of("DEVNAME=/dev/vda\n"), None);
    }

    #[test]
    fn the_switch_goes_behind_and_comes_off_again() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        let conf = "devices {\n\t# use_devicesfile = 0\n\tscan_lvs = 0\n}\n";
        std::fs::create_dir_all(world.at("/etc/lvm")).unwrap();
        std::fs::write(world.at(LVM_CONF), conf).unwrap();
        switch(&world).unwrap().unwrap().apply(&world).unwrap();
        let now = world.read(LVM_CONF).unwrap().unwrap();
        assert!(
            now.starts_with(conf) && now.contains("\ndevices/use_devicesfile = 1\n"),
            "{now}"
        );
        assert_eq!(switch(&world).unwrap(), None, "twice is once");
        for change in undo(&world).unwrap() {
            change.apply(&world).unwrap();
        }
        assert_eq!(world.read(LVM_CONF).unwrap().unwrap(), conf);
        std::fs::write(world.at(LVM_CONF), "devices {\n use_devicesfile=0\n}\n").unwrap();
        let error = switch(&world).unwrap_err().to_string();
        assert!(error.contains("use_devicesfile=0"), "{error}");
    }

    #[test]
    fn strange_words_are_errors() {
        assert!(mounted("").is_err() && groups_of(&BTreeSet::new(), "{}").is_err());
        assert!(volumes_of(&BTreeSet::new(), r#"{"report":[{"pv":[{}]}]}"#).is_err());
    }
}
