//! A domain as Engine sends it: read, its metadata edited, fitted to a host.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};

use uuid::Uuid;
use vm_model::{
    domain::DomainXml,
    drive::{DriveKind, DriveSource},
    error::ModelError,
    metadata::{Scalar, VmMetadata},
    ports::{ChainLink, Pdiv, PreparedVolume, VolumeLease},
    preprocess::{self, Accelerator, HostFacts, HostOptions, SourceLabels},
    xml::Element,
};

const ENGINE: &str = include_str!("data/engine.xml");

fn engine() -> DomainXml {
    DomainXml::parse(ENGINE).unwrap()
}

fn pdiv() -> Pdiv {
    let id = |kind: u128| Uuid::from_u128((kind << 64) + 1);
    Pdiv {
        pool: id(0xa),
        domain: id(0xb),
        image: id(0xc),
        volume: id(0xd),
    }
}

fn host() -> HostOptions {
    HostOptions {
        facts: HostFacts {
            os_name: "Debian".to_owned(),
            os_version: "12.11-".to_owned(),
            serial: "serial-1".to_owned(),
        },
        accelerator: Accelerator::Kvm,
        emulator: None,
        channel_dir: None,
        console_dir: None,
        display_address: None,
        source_labels: SourceLabels::Ensure,
    }
}

fn prepared(host: &HostOptions) -> DomainXml {
    let mut domain = engine();
    preprocess::prepare(&mut domain, host).unwrap();
    domain
}

fn volume(format: &str, block: bool) -> PreparedVolume {
    PreparedVolume {
        path: PathBuf::from("/run/volume"),
        format: format.to_owned(),
        block,
        chain: vec![ChainLink {
            volume: pdiv(),
            path: PathBuf::from("/run/volume"),
            lease: Some(VolumeLease {
                path: PathBuf::from("/run/volume.lease"),
                offset: 3 << 20,
            }),
        }],
    }
}

#[test]
fn engines_domain_is_read() {
    let domain = engine();
    assert_eq!(
        domain.id().to_string(),
        "11111111-aaaa-4bbb-8ccc-000000000001"
    );
    assert_eq!(domain.name(), "web & more");
    assert_eq!(domain.vm_type(), "kvm");
    assert!(domain.acpi() && domain.has_balloon() && domain.has_metadata());
    assert_eq!(domain.memory_kib(), Some(1 << 20));
    assert_eq!(domain.cpu_bandwidth(), (Some(50_000), Some(100_000)));
    assert_eq!(domain.clock_adjustment(), Some(3_600));
    let drives = domain.drives().unwrap();
    let seen: Vec<_> = drives
        .iter()
        .map(|d| (d.name.as_str(), d.kind, &d.source))
        .collect();
    assert_eq!(
        seen,
        [
            ("sdc", DriveKind::Cdrom, &DriveSource::Empty),
            ("vda", DriveKind::Disk, &DriveSource::Image(pdiv())),
        ]
    );
    assert_eq!(drives[1].alias.as_deref(), Some("ua-5a0d"));
    assert_eq!(drives[1].format.as_deref(), Some("qcow2"));
    assert!(drives[0].readonly && !drives[1].readonly);
    let nics = domain.nics();
    assert_eq!(nics.len(), 1);
    assert_eq!(
        (nics[0].name.as_deref(), nics[0].model.as_str()),
        (Some("vnet0"), "virtio")
    );
    let displays = domain.displays();
    assert_eq!(
        (displays[1].kind.as_str(), displays[1].tls_port.as_str()),
        ("spice", "-1")
    );
    assert_eq!(displays[0].ip_address, "0");
}

#[test]
fn reading_and_writing_changes_nothing() {
    assert_eq!(engine().to_string(), ENGINE.trim_end());
}

#[test]
fn memory_has_units() {
    for (element, kib) in [
        ("<memory>5</memory>", Some(5)),
        ("<memory unit='b'>2048</memory>", Some(2)),
        ("<memory unit='MiB'>3</memory>", Some(3 << 10)),
        ("<memory unit='G'>1</memory>", Some(1 << 20)),
        ("<memory unit='KB'>1024</memory>", Some(1_000)),
        ("<memory unit='parsec'>1</memory>", None),
        ("<memory>-1</memory>", None),
        ("<memory unit='TiB'>99999999999</memory>", None),
    ] {
        let xml = format!("<domain><uuid>{}</uuid>{element}</domain>", pdiv().pool);
        assert_eq!(
            DomainXml::parse(&xml).unwrap().memory_kib(),
            kib,
            "{element}"
        );
    }
}

#[test]
fn metadata_is_read_typed() {
    let metadata = engine().metadata();
    assert_eq!(
        metadata.get("minGuaranteedMemoryMb"),
        Some(Scalar::Int(512))
    );
    assert_eq!(metadata.text("clusterVersion").as_deref(), Some("4.7"));
    assert_eq!(metadata.bool("launchPaused"), Some(false));
    assert_eq!(
        metadata.custom(),
        [("hugepages".to_owned(), "2048".to_owned())]
    );
    assert_eq!(metadata.volumes(), [pdiv()]);
    assert!(
        metadata
            .device(&[("mac_address", "56:6f:00:00:00:01")])
            .is_some()
    );
    assert!(
        metadata
            .device(&[("devtype", "disk"), ("name", "vdb")])
            .is_none()
    );
    assert_eq!(metadata.get("custom"), None);
}

#[test]
fn values_are_written_as_upstream_writes_them() {
    let mut metadata = VmMetadata::default();
    metadata.set("balloonTarget", &Scalar::Int(32_768));
    metadata.set("destroy_on_reboot", &Scalar::Bool(false));
    metadata.set("startTime", &Scalar::Float(1_795_329_634.190_030_6));
    metadata.set("clusterVersion", &Scalar::Text("4.7".to_owned()));
    assert_eq!(
        metadata.to_libvirt(),
        "<vm><balloonTarget type=\"int\">32768</balloonTarget>\
         <destroy_on_reboot type=\"bool\">False</destroy_on_reboot>\
         <startTime type=\"float\">1795329634.1900306</startTime>\
         <clusterVersion>4.7</clusterVersion></vm>"
    );
    assert_eq!(VmMetadata::parse(&metadata.to_libvirt()).unwrap(), metadata);
    metadata.set("balloonTarget", &Scalar::Int(1));
    metadata.unset("startTime");
    assert_eq!(
        (metadata.int("balloonTarget"), metadata.float("startTime")),
        (Some(1), None)
    );
}

#[test]
fn values_that_lie_about_their_type_are_no_values() {
    let metadata = VmMetadata::parse(
        "<vm><a type='int'>x</a><b type='float'>nan</b><c type='bool'>maybe</c><d type='int'/>\
         <e type='float'>1e999</e><f type='odd'>text</f><g><h/></g></vm>",
    )
    .unwrap();
    assert_eq!((metadata.int("a"), metadata.float("b")), (None, None));
    assert_eq!((metadata.bool("c"), metadata.int("d")), (Some(false), None));
    assert_eq!(metadata.float("e"), None);
    assert_eq!(
        (metadata.text("f").as_deref(), metadata.get("g")),
        (Some("text"), None)
    );
}

#[test]
fn libvirts_form_and_the_domains_are_the_same_metadata() {
    let mut domain = engine();
    let metadata = domain.metadata();
    assert_eq!(VmMetadata::parse(&metadata.to_libvirt()).unwrap(), metadata);
    assert!(
        !metadata.to_libvirt().contains("ovirt-vm:"),
        "{}",
        metadata.to_libvirt()
    );
    domain.set_metadata(&metadata);
    let again = DomainXml::parse(&domain.to_string()).unwrap();
    assert_eq!(again.metadata(), metadata);
    // What others keep there stays.
    let kept = again.root().find("metadata/other:thing").unwrap();
    assert_eq!(
        (kept.attribute("a"), kept.text().as_str()),
        (Some("1"), "kept")
    );
    assert!(again.root().find("metadata/ovirt-tune:qos").is_some());
}

#[test]
fn unknown_parts_within_the_metadata_survive() {
    let xml = "<domain xmlns:o='http://ovirt.org/vm/1.0' xmlns:z='urn:z'>\
        <uuid>11111111-aaaa-4bbb-8ccc-000000000001</uuid><metadata><o:vm z:mark='1'>\
        <!-- why --><z:own><z:deep o:x='1'/></z:own><o:future><o:deep kind='new'>7</o:deep></o:future>\
        <plain xmlns='urn:plain'><child/></plain></o:vm></metadata></domain>";
    let mut domain = DomainXml::parse(xml).unwrap();
    let mut metadata = domain.metadata();
    metadata.set("phase", &Scalar::Text("x".to_owned()));
    let text = metadata.to_libvirt();
    for kept in [
        "<!-- why -->",
        "xmlns:z=\"urn:z\"",
        "<z:deep",
        "<deep kind=\"new\">7</deep>",
    ] {
        assert!(text.contains(kept), "{kept} is not in {text}");
    }
    assert_eq!(VmMetadata::parse(&text).unwrap(), metadata);
    domain.set_metadata(&metadata);
    assert_eq!(
        DomainXml::parse(&domain.to_string()).unwrap().metadata(),
        metadata
    );
    roxmltree::Document::parse(&domain.to_string()).unwrap();
    roxmltree::Document::parse(&text).unwrap();
}

#[test]
fn the_volume_chain_is_kept_in_upstreams_shape() {
    let mut metadata = engine().metadata();
    metadata.set_volume_chain("vda", &volume("qcow2", false).chain);
    metadata.set_volume_chain("vda", &volume("qcow2", false).chain);
    metadata.set_volume_chain("nodrive", &volume("qcow2", false).chain);
    let device = metadata
        .device(&[("devtype", "disk"), ("name", "vda")])
        .unwrap();
    assert_eq!(device.chain_volumes(), [pdiv().volume.to_string()]);
    let text = metadata.to_libvirt();
    assert_eq!(text.matches("<volumeChain>").count(), 1, "{text}");
    assert!(
        text.contains("<leaseOffset type=\"int\">3145728</leaseOffset>"),
        "{text}"
    );
    // Its nodes are no devices.
    assert_eq!(metadata.volumes(), [pdiv()]);
    metadata.set_volume_chain("vda", &[]);
    assert!(!metadata.to_libvirt().contains("volumeChain"));
}

#[test]
fn sources_of_drives() {
    let read = |source: &str, metadata: &str| {
        let xml = format!(
            "<domain xmlns:ovirt-vm='http://ovirt.org/vm/1.0'><uuid>{}</uuid><devices>\
             <disk><target dev='vda'/>{source}</disk></devices><metadata><ovirt-vm:vm>\
             <ovirt-vm:device devtype='disk' name='vda'>{metadata}</ovirt-vm:device>\
             </ovirt-vm:vm></metadata></domain>",
            pdiv().pool
        );
        DomainXml::parse(&xml)
            .unwrap()
            .drives()
            .map(|mut drives| drives.remove(0).source)
    };
    let value = |key: &str, text: &str| format!("<ovirt-vm:{key}>{text}</ovirt-vm:{key}>");
    let ids: String = ["poolID", "domainID", "imageID", "volumeID"]
        .map(|key| value(key, "00000000-0000-0000-0000-00000000000a"))
        .concat();
    assert!(matches!(read("", &ids), Ok(DriveSource::Image(_))));
    assert_eq!(
        read("", &value("GUID", "3600")),
        Ok(DriveSource::Lun("3600".to_owned()))
    );
    let rbd = read("<source name='pool/x'/>", &value("RBD", "pool/x"));
    assert_eq!(rbd, Ok(DriveSource::Rbd("pool/x".to_owned())));
    assert_eq!(
        read("", &format!("{ids}{}", value("managed", "true"))),
        Ok(DriveSource::Managed)
    );
    assert_eq!(read("", "<ovirt-vm:payload/>"), Ok(DriveSource::Payload));
    assert_eq!(
        read("<source file='PAYLOAD:'/>", ""),
        Ok(DriveSource::Payload)
    );
    assert_eq!(read("", ""), Ok(DriveSource::Empty));
    assert_eq!(read("<source file=''/>", ""), Ok(DriveSource::Empty));
    let path = |path: &str| Ok(DriveSource::Path(PathBuf::from(path)));
    assert_eq!(read("<source file='/iso'/>", ""), path("/iso"));
    assert_eq!(read("<source dev='/dev/sdz'/>", ""), path("/dev/sdz"));
    // A LUN also has an imageID.
    let lun = format!("{}{}", value("GUID", "3600"), value("imageID", "3600"));
    assert_eq!(read("", &lun), Ok(DriveSource::Lun("3600".to_owned())));
    for bad in [
        value("volumeID", "00000000-0000-0000-0000-00000000000a"),
        ids.replace("00000000-0000-0000-0000-00000000000a", "../../etc"),
    ] {
        assert!(
            matches!(read("", &bad), Err(ModelError::Drive { .. })),
            "{bad}"
        );
    }
}

#[test]
fn drives_that_cannot_be_told_apart_are_refused() {
    let read = |disks: &str| {
        let xml = format!(
            "<domain><uuid>{}</uuid><devices>{disks}</devices></domain>",
            pdiv().pool
        );
        DomainXml::parse(&xml).unwrap().drives()
    };
    let disk = "<disk><target dev='vda'/></disk>";
    assert!(read(disk).is_ok());
    for bad in [
        &format!("{disk}{disk}"),
        "<disk/>",
        "<disk><target dev=''/></disk>",
        "<disk><target dev='../x'/></disk>",
        "<disk device='teapot'><target dev='vda'/></disk>",
    ] {
        assert!(matches!(read(bad), Err(ModelError::Drive { .. })), "{bad}");
    }
}

#[test]
fn placeholders_become_facts() {
    let domain = prepared(&host());
    let entries: Vec<_> = domain
        .root()
        .find("sysinfo/system")
        .unwrap()
        .elements()
        .map(|e| (e.attribute("name").unwrap().to_owned(), e.text()))
        .collect();
    let entry = |name: &str| {
        entries
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, t)| t.as_str())
    };
    assert_eq!(entry("manufacturer"), Some("oVirt"));
    assert_eq!(entry("product"), Some("Debian"));
    assert_eq!(entry("version"), Some("12.11-"));
    assert_eq!(entry("serial"), Some("serial-1"));
}

#[test]
fn on_reboot_moves_to_the_metadata() {
    let domain = prepared(&host());
    assert!(domain.root().child("on_reboot").is_none());
    assert_eq!(domain.metadata().bool("destroy_on_reboot"), Some(true));
    let mut restart = DomainXml::parse(&ENGINE.replace("destroy</on", "restart</on")).unwrap();
    preprocess::prepare(&mut restart, &host()).unwrap();
    assert!(restart.root().child("on_reboot").is_none());
    assert_eq!(restart.metadata().bool("destroy_on_reboot"), None);
}

#[test]
fn with_kvm_type_and_cpu_stay() {
    let domain = prepared(&host());
    assert_eq!(domain.vm_type(), "kvm");
    assert_eq!(domain.root().child("cpu"), engine().root().child("cpu"));
    assert!(domain.root().find("features/hyperv").is_some());
}

#[test]
fn without_kvm_the_cpu_is_one_that_can_be_emulated() {
    let tcg = HostOptions {
        accelerator: Accelerator::Tcg,
        ..host()
    };
    let domain = prepared(&tcg);
    assert_eq!(domain.vm_type(), "qemu");
    let cpu = domain.root().child("cpu").unwrap();
    assert_eq!(cpu.attributes, [("mode".to_owned(), "maximum".to_owned())]);
    let kept: Vec<_> = cpu.elements().map(Element::local_name).collect();
    assert_eq!(kept, ["topology", "numa"]);
    assert!(domain.root().find("features/hyperv").is_none());
    assert!(domain.root().find("features/acpi").is_some());
    let timers: Vec<_> = domain.root().find("clock").unwrap().elements().collect();
    assert_eq!(timers.len(), 1);
    // A named model stays, but nothing that the emulator lacks may stop the start.
    let named = ENGINE.replace("mode=\"host-passthrough\" match", "match");
    let mut domain = DomainXml::parse(&named).unwrap();
    preprocess::prepare(&mut domain, &tcg).unwrap();
    let cpu = domain.root().child("cpu").unwrap();
    assert_eq!(
        (cpu.attribute("check"), cpu.attribute("match")),
        (Some("none"), Some("exact"))
    );
    assert_eq!(cpu.child("model").unwrap().text(), "Haswell");
}

#[test]
fn sockets_go_where_the_agent_may_write() {
    let moved = HostOptions {
        channel_dir: Some(PathBuf::from("/run/x/channels")),
        console_dir: Some(PathBuf::from("/run/x/consoles")),
        ..host()
    };
    let domain = prepared(&moved);
    let path = |kind: &str| {
        let device = domain.device_elements(kind).next().unwrap();
        device
            .child("source")
            .unwrap()
            .attribute("path")
            .unwrap()
            .to_owned()
    };
    let id = domain.id();
    assert_eq!(
        path("channel"),
        format!("/run/x/channels/{id}.org.qemu.guest_agent.0")
    );
    assert_eq!(path("console"), format!("/run/x/consoles/{id}.sock"));
    let with_port = ENGINE.replace(
        "</console>",
        "</console><serial type=\"unix\"><source mode=\"bind\" path=\"/var/run/c/a.sock\"/></serial>",
    );
    let mut with_port = DomainXml::parse(&with_port).unwrap();
    preprocess::prepare(&mut with_port, &moved).unwrap();
    let port = with_port.device_elements("serial").next().unwrap();
    let source = port.child("source").unwrap();
    assert_eq!(source.attribute("path"), Some("/run/x/consoles/a.sock"));
    let deep = HostOptions {
        channel_dir: Some(PathBuf::from("/d".repeat(50))),
        ..host()
    };
    let error = preprocess::prepare(&mut engine(), &deep).unwrap_err();
    assert!(
        error.to_string().contains("longer than 107 bytes"),
        "{error}"
    );
    let odd = ENGINE.replace("/var/lib/libvirt/qemu/channels/11111111", "/..\"/x\" y=\"");
    if let Ok(mut domain) = DomainXml::parse(&odd) {
        let _ = preprocess::prepare(&mut domain, &moved);
    }
}

#[test]
fn displays_listen_where_told() {
    let shown = HostOptions {
        display_address: Some("127.0.0.1".to_owned()),
        ..host()
    };
    let domain = prepared(&shown);
    assert!(
        domain
            .displays()
            .iter()
            .all(|display| display.ip_address == "127.0.0.1")
    );
    let vnc = domain.device_elements("graphics").next().unwrap();
    assert_eq!(vnc.attribute("passwd"), Some("*****"));
    assert_eq!(vnc.attribute("passwdValidTo"), Some("1970-01-01T00:00:01"));
    assert!(
        prepared(&host())
            .to_string()
            .contains("network=\"vdsm-ovirtmgmt\"")
    );
}

#[test]
fn labels_of_sources() {
    let labels = |labels| {
        let text = ENGINE.replacen(
            "<seclabel model=\"dac\" type=\"none\" relabel=\"no\"/>",
            "",
            2,
        );
        let mut domain = DomainXml::parse(&text).unwrap();
        preprocess::prepare(
            &mut domain,
            &HostOptions {
                source_labels: labels,
                ..host()
            },
        )
        .unwrap();
        domain
    };
    let count = |domain: &DomainXml| domain.to_string().matches("<seclabel").count();
    // Nothing is inserted into the drive that is empty.
    assert_eq!(count(&labels(SourceLabels::Ensure)), 1);
    assert_eq!(
        count(&prepared(&HostOptions {
            source_labels: SourceLabels::Strip,
            ..host()
        })),
        0
    );
    assert_eq!(count(&prepared(&host())), 2);
}

#[test]
fn the_emulator_can_be_named() {
    let named = HostOptions {
        emulator: Some(PathBuf::from("/usr/bin/qemu")),
        ..host()
    };
    let domain = prepared(&named);
    assert_eq!(
        domain.root().find("devices/emulator").unwrap().text(),
        "/usr/bin/qemu"
    );
}

#[test]
fn a_prepared_volume_takes_its_place() {
    for (block, kind, attribute) in [(false, "file", "file"), (true, "block", "dev")] {
        let mut domain = prepared(&host());
        let drive = domain.drives().unwrap().remove(1);
        let before = domain
            .device_elements("disk")
            .nth(1)
            .unwrap()
            .child("driver")
            .cloned();
        preprocess::place_volume(&mut domain, &drive, &volume("qcow2", block)).unwrap();
        let disk = domain.device_elements("disk").nth(1).unwrap();
        assert_eq!(disk.attribute("type"), Some(kind));
        let source = disk.child("source").unwrap();
        assert_eq!(
            source.attributes,
            [(attribute.to_owned(), "/run/volume".to_owned())]
        );
        assert!(source.child("seclabel").is_some());
        assert_eq!(disk.child("driver").cloned(), before, "the driver stays");
    }
    let mut domain = prepared(&host());
    let drive = domain.drives().unwrap().remove(1);
    let error = preprocess::place_volume(&mut domain, &drive, &volume("raw", false)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "drive vda: the XML says qcow2, but the volume is raw"
    );
    assert!(preprocess::place_volume(&mut domain, &drive, &volume("cow", false)).is_ok());
}

#[test]
fn leases_of_volumes_are_filled() {
    let mut domain = prepared(&host());
    preprocess::place_leases(&mut domain, &volume("qcow2", false).chain).unwrap();
    let targets: Vec<_> = domain
        .device_elements("lease")
        .map(|lease| lease.child("target").unwrap())
        .map(|target| {
            (
                target.attribute("path").unwrap(),
                target.attribute("offset").unwrap(),
            )
        })
        .collect();
    assert_eq!(
        targets,
        [("/run/volume.lease", "3145728"), ("/leases", "1048576")]
    );
}

#[test]
fn the_placeholder_carries_all_metadata_and_no_device() {
    let domain = prepared(&host());
    let placeholder = DomainXml::parse(&preprocess::placeholder(&domain)).unwrap();
    assert_eq!(placeholder.id(), domain.id());
    assert_eq!(placeholder.name(), domain.name());
    assert_eq!(placeholder.metadata(), domain.metadata());
    assert_eq!(placeholder.metadata().volumes(), [pdiv()]);
    assert_eq!(placeholder.drives().unwrap(), []);
    assert_eq!(placeholder.root().find("os/type").unwrap().text(), "hvm");
}

#[test]
fn what_cannot_be_prepared_yet_is_said_so() {
    let lun = ENGINE
        .replace("poolID", "GUID")
        .replace("ovirt-vm:volumeID", "ovirt-vm:other");
    let mut domain = DomainXml::parse(&lun).unwrap();
    let error = preprocess::prepare(&mut domain, &host()).unwrap_err();
    assert_eq!(error, ModelError::NotBuilt("drive vda: LUNs".to_owned()));
    let cut = |from: &str| ENGINE.replace(from, "gone>");
    for bad in [cut("devices>"), cut("name>")] {
        let mut domain = DomainXml::parse(&bad).unwrap();
        assert!(preprocess::prepare(&mut domain, &host()).is_err());
    }
}

#[test]
fn the_hash_is_of_the_devices() {
    let hash = |text: &str| DomainXml::parse(text).unwrap().devices_hash().unwrap();
    let first = hash(ENGINE);
    assert_eq!(first, hash(ENGINE));
    assert_eq!(first, hash(&ENGINE.replace("web", "other")));
    assert_ne!(first, hash(&ENGINE.replace("vnet0", "vnet1")));
    let talking = ENGINE.replace(
        "name=\"org.qemu.guest_agent.0\"/>",
        "name=\"org.qemu.guest_agent.0\" state=\"connected\"/>",
    );
    assert_eq!(first, hash(&talking));
    assert!(first.parse::<i64>().unwrap() > 0);
}

#[test]
fn paths_that_are_not_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"/x\xff")).to_owned();
    let mut domain = prepared(&host());
    let drive = domain.drives().unwrap().remove(1);
    let volume = PreparedVolume {
        path: odd,
        ..volume("qcow2", false)
    };
    assert!(preprocess::place_volume(&mut domain, &drive, &volume).is_err());
}
