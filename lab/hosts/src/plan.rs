//! QEMU's command line. The devices of a memory snapshot are those of every host, at fixed places; disks and interfaces
//! of a test are added to them, on the command line for a boot, through the monitor after a start from memory.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

use crate::{Disk, Image, image::accelerator, network::Wire};

/// Changes whenever old memory snapshots no longer fit what is below: devices, processors, the kernel's command line.
pub(crate) const DEVICES: u32 = 5;

/// The first that a disk can have: a test's disk in a lower one would be `/dev/vda` in place of the root. None of the
/// slots up to the last fixed device's is free, for the same reason.
const ROOT_SLOT: u8 = 2;

/// All that QEMU can emulate, without what only costs time there: a fifth level of page tables; the kernel's guard against
/// reading users' memory, which ends a block of translated code at each access; string instructions, which go byte by
/// byte; vectors wider than the C library's next choice, and their state at each switch of processes. Together a third of
/// the processors' time of a boot.
const EMULATED_CPU: &str =
    "max,la57=off,smap=off,smep=off,erms=off,fsrm=off,avx=off,avx2=off,xsave=off";

/// The file of the disk through which large files go in and out: nobody mounts it, so that a memory snapshot does not
/// mind what is on it, and reading it is much faster than the cipher of a connection.
pub(crate) const TRANSFER: &str = "transfer.raw";

/// Bytes of that disk.
pub(crate) const TRANSFER_SIZE: u64 = 2 << 30;

/// Memory and processors of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u8,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            memory_mib: 2048,
            cpus: 2,
        }
    }
}

/// An interface beside the management's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Card {
    /// It is `data<index>` in the host.
    pub(crate) index: u8,
    pub(crate) wire: Wire,
    pub(crate) up: bool,
}

impl Card {
    pub(crate) fn id(&self) -> String {
        format!("nic{}", self.index)
    }

    pub(crate) fn netdev(&self) -> String {
        format!("net{}", self.index)
    }

    pub(crate) fn frontend(&self, host: u8) -> Value {
        json!({
            "driver": "virtio-net-pci",
            "id": self.id(),
            "netdev": self.netdev(),
            "mac": format!("52:54:00:1a:{:02x}:{host:02x}", self.index),
            "romfile": "",
        })
    }
}

/// What a machine is started with.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) host: &'a str,
    pub(crate) number: u8,
    pub(crate) dir: &'a Path,
    pub(crate) image: &'a Image,
    pub(crate) shape: Shape,
    pub(crate) kernel_args: &'a [String],
    pub(crate) disks: &'a [Disk],
    pub(crate) cards: &'a [Card],
    /// Start with this memory, instead of booting.
    pub(crate) memory: Option<&'a Path>,
    /// Die with this process, or stay.
    pub(crate) stays: bool,
}

impl Plan<'_> {
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut add = |name: &str, value: String| all.extend([name.to_owned(), value]);
        let kvm = accelerator() == "kvm";
        add("-name", self.host.to_owned());
        add("-machine", "pc,usb=off,vmport=off".to_owned());
        if kvm {
            add("-accel", "kvm".to_owned());
            add("-cpu", "host".to_owned());
        } else {
            add("-accel", "tcg,thread=multi,tb-size=512".to_owned());
            add("-cpu", EMULATED_CPU.to_owned());
        }
        add("-smp", self.shape.cpus.to_string());
        add("-m", format!("{}M", self.shape.memory_mib));
        let uuid = format!("7d5a11ab-0000-4000-8000-{:012x}", self.number);
        add("-uuid", uuid);
        add("-kernel", self.image.kernel().display().to_string());
        add("-initrd", self.image.initrd().display().to_string());
        add("-append", self.kernel_line());
        add(
            "-device",
            json!({ "driver": "vmgenid", "guid": "auto" }).to_string(),
        );
        add("-device", pci("virtio-rng-pci", "rng", 4));
        add("-device", pci("virtio-scsi-pci", "scsi", 5));
        add("-blockdev", self.transfer_backend().to_string());
        let mut transfer = device("virtio-blk-pci", "transfer", 6);
        set(&mut transfer, "drive", json!("node-transfer"));
        set(&mut transfer, "serial", json!("transfer"));
        add("-device", transfer.to_string());
        add("-blockdev", self.root_backend().to_string());
        let mut root = device("virtio-blk-pci", "root", ROOT_SLOT);
        set(&mut root, "drive", json!("node-root"));
        add("-device", root.to_string());
        add(
            "-netdev",
            "user,id=mgmt,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22".to_owned(),
        );
        let mut nic = device("virtio-net-pci", "mgmt-nic", 3);
        set(&mut nic, "netdev", json!("mgmt"));
        set(
            &mut nic,
            "mac",
            json!(format!("52:54:00:1a:b0:{:02x}", self.number)),
        );
        set(&mut nic, "romfile", json!(""));
        add("-device", nic.to_string());
        let console = self.dir.join("console.log");
        add(
            "-chardev",
            format!("file,id=console,append=on,path={}", escaped(&console)),
        );
        add("-serial", "chardev:console".to_owned());
        let monitor = escaped(&self.dir.join("qmp"));
        add("-qmp", format!("unix:{monitor},server=on,wait=off"));
        if self.memory.is_some() {
            add("-incoming", "defer".to_owned());
        } else {
            for disk in self.disks {
                add("-blockdev", disk.backend().to_string());
                add("-device", disk.frontend().to_string());
            }
            for card in self.cards {
                let Wire { own, peer } = card.wire;
                add(
                    "-netdev",
                    format!("socket,id={},udp={peer},localaddr={own}", card.netdev()),
                );
                add("-device", card.frontend(self.number).to_string());
            }
        }
        all
    }

    fn kernel_line(&self) -> String {
        let mut line =
            "console=ttyS0 quiet loglevel=4 panic=1 net.ifnames=0 mitigations=off nokaslr \
            no_timer_check tsc=reliable random.trust_cpu=on cryptomgr.notests apparmor=0 \
            rcupdate.rcu_expedited=1 systemd.show_status=0"
                .to_owned();
        let id = 0x7d5a_11ab_0000_0000_0000_0000_0000_0000_u128 + u128::from(self.number);
        let _ = write!(
            line,
            " systemd.machine_id={id:032x} systemd.hostname=lab{}",
            self.number
        );
        if accelerator() == "tcg" {
            // Its rate is measured at the start, and wrong on a busy machine: then all of the host's time would be.
            line.push_str(" tsc=unstable");
            // QEMU keeps translated code by its virtual address: a program that starts is only known from its last time if it
            // lies where it lay then. To start one costs a third.
            line.push_str(" norandmaps");
        }
        for arg in self.kernel_args {
            line.push(' ');
            line.push_str(arg);
        }
        line
    }

    fn transfer_backend(&self) -> Value {
        let file = self.dir.join(TRANSFER);
        let file = json!({ "driver": "file", "filename": file, "locking": "off" });
        json!({ "driver": "raw", "node-name": "node-transfer", "file": file })
    }

    fn root_backend(&self) -> Value {
        let file = self.dir.join("root.qcow2");
        let cache = json!({ "no-flush": true });
        json!({
            "driver": "qcow2", "node-name": "node-root", "discard": "unmap", "cache": cache,
            "file": { "driver": "file", "filename": file, "cache": cache },
        })
    }
}

fn device(driver: &str, id: &str, slot: u8) -> Value {
    json!({ "driver": driver, "id": id, "addr": format!("{slot:#x}") })
}

fn pci(driver: &str, id: &str, slot: u8) -> String {
    device(driver, id, slot).to_string()
}

fn set(device: &mut Value, name: &str, value: Value) {
    if let Some(fields) = device.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// A path in one of QEMU's comma lists.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
