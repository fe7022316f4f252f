//! The verbs in their order: what Engine does for a first data centre with one host and one VM, and back.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use exec::{Cancel, Command};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Home,
    call::Caller,
    console::Console,
    picture::{self, Saved},
    table::{self, Sample},
    view,
};
use crate::{cli::DemoArgs, interrupt::wait_for};

/// The VM as Engine sends it.
const VM_XML: &str = include_str!("../../../../demo/vm.xml");

/// What the guest says on its console when it is up (demo/guest/setup).
const GREETING: &str = "VDSM-DEMO-GUEST-UP";

/// What it says while it writes (demo/guest/writer).
const TICK: &str = "tick:";

/// Software emulation on a busy machine takes its time.
const BOOT_TIMEOUT: Duration = Duration::from_mins(3);

/// Bytes of the volume.
const CAPACITY: u64 = 1 << 30;

/// Rows of the table, and the time between them.
const SAMPLES: usize = 5;
const PERIOD: Duration = Duration::from_millis(2100);

const BLANK: Uuid = Uuid::nil();

/// The ids of all that is made.
#[derive(Debug)]
struct Ids {
    connection: Uuid,
    pool: Uuid,
    domain: Uuid,
    image: Uuid,
    volume: Uuid,
    vm: Uuid,
}

/// The demo at work.
pub(crate) struct Demo<'a> {
    caller: Caller,
    cancel: Cancel,
    storage: PathBuf,
    args: &'a DemoArgs,
    ids: Ids,
    boot: Option<Duration>,
    write_ops: Option<(u64, u64)>,
    picture: Option<Saved>,
}

/// What the last lines tell.
pub(crate) struct Summary {
    calls: usize,
    slowest: Option<(String, Duration)>,
    boot: Option<Duration>,
    write_ops: Option<(u64, u64)>,
    picture: Option<(Saved, PathBuf)>,
}

impl Summary {
    /// As lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} calls of verbs, each a vdsm-client of its own over TLS",
            self.calls
        )];
        if let Some((verb, time)) = &self.slowest {
            lines.push(format!("slowest: {verb} with {} ms", time.as_millis()));
        }
        if let Some(boot) = self.boot {
            lines.push(format!(
                "from VM.create to the guest's greeting: {:.1} s",
                boot.as_secs_f64()
            ));
        }
        if let Some((first, last)) = self.write_ops {
            lines.push(format!(
                "writes to the disk while it was watched: {} (from {first} to {last})",
                last - first
            ));
        }
        if let Some((saved, path)) = &self.picture {
            lines.push(format!(
                "screenshot: {} ({}x{}, {} bytes)",
                path.display(),
                saved.width,
                saved.height,
                saved.bytes
            ));
        }
        lines
    }
}

impl<'a> Demo<'a> {
    /// A demo with ids of its own.
    pub(crate) fn new(caller: Caller, home: &Home, args: &'a DemoArgs, cancel: &Cancel) -> Self {
        let ids = Ids {
            connection: Uuid::new_v4(),
            pool: Uuid::new_v4(),
            domain: Uuid::new_v4(),
            image: Uuid::new_v4(),
            volume: Uuid::new_v4(),
            vm: Uuid::new_v4(),
        };
        Self {
            caller,
            cancel: cancel.clone(),
            storage: home.dir().join("storage"),
            args,
            ids,
            boot: None,
            write_ops: None,
            picture: None,
        }
    }

    /// All of it.
    pub(crate) fn play(&mut self) -> Result<()> {
        view::part("The host");
        self.host()?;
        view::part(
            "Storage: a folder becomes a storage domain, the domain a pool, the host its manager",
        );
        self.storage_up()?;
        view::part("A disk: a volume made by a task, and a guest put on it");
        self.disk()?;
        view::part("The virtual machine");
        let console = self.create()?;
        self.boot(&console)?;
        self.watch(&console)?;
        self.screenshot()?;
        view::part("The way back");
        self.destroy()?;
        self.storage_down()
    }

    /// The last lines.
    pub(crate) fn summary(&self) -> Summary {
        let slowest = self
            .caller
            .times
            .iter()
            .max_by_key(|(_, time)| *time)
            .cloned();
        Summary {
            calls: self.caller.times.len(),
            slowest,
            boot: self.boot,
            write_ops: self.write_ops,
            picture: self
                .picture
                .map(|saved| (saved, self.args.screenshot.clone())),
        }
    }

    fn host(&mut self) -> Result<()> {
        self.caller
            .call("Host.ping2", &json!({}), Value::to_string)?;
        self.caller
            .call("Host.getCapabilities", &json!({}), |caps| {
                let text = |key: &str| caps.get(key).map(plain).unwrap_or_default();
                format!(
                    "{} CPU(s) {}, {} MiB, kvmEnabled {}",
                    text("cpuThreads"),
                    text("cpuModel"),
                    text("memSize"),
                    text("kvmEnabled")
                )
            })?;
        Ok(())
    }

    /// The storage server of the demo: a local folder.
    fn server(&self) -> Value {
        json!({
            "storagepoolID": BLANK,
            "domainType": 4,
            "connectionParams": [{ "id": self.ids.connection, "connection": self.storage, "user": "", "iqn": "", "port": "" }],
        })
    }

    /// Pool, domain, image and volume as most verbs of storage want them.
    fn volume(&self) -> Value {
        json!({
            "storagepoolID": self.ids.pool,
            "storagedomainID": self.ids.domain,
            "imageID": self.ids.image,
            "volumeID": self.ids.volume,
        })
    }

    fn storage_up(&mut self) -> Result<()> {
        let (pool, domain) = (self.ids.pool, self.ids.domain);
        let server = self.server();
        let connected = self
            .caller
            .call("StoragePool.connectStorageServer", &server, status_of)?;
        ensure!(
            connected.pointer("/0/status") == Some(&json!(0)),
            "not connected: {connected}"
        );
        let create = json!({
            "storagedomainID": domain, "domainType": 4, "typeArgs": self.storage, "name": "demo",
            "domainClass": 1, "version": 5, "blockSize": 512, "maxHosts": 250,
        });
        self.caller
            .call("StorageDomain.create", &create, |_| "format V5".to_owned())?;
        let create = json!({
            "storagepoolID": pool, "name": "demo", "masterSdUUID": domain, "masterVersion": 1,
            "domainList": [domain], "lockRenewalIntervalSec": 5, "leaseTimeSec": 60,
            "ioOpTimeoutSec": 10, "leaseRetries": 3,
        });
        self.caller
            .call("StoragePool.create", &create, |_| String::new())?;
        let connect = json!({
            "storagepoolID": pool, "hostID": 1, "scsiKey": pool, "masterSdUUID": domain,
            "masterVersion": 1, "domainDict": { domain.to_string(): "attached" },
        });
        self.caller
            .call("StoragePool.connect", &connect, |_| "as host 1".to_owned())?;
        let start = json!({
            "storagepoolID": pool, "prevID": -1, "prevLver": "-1", "enableScsiFencing": "false",
            "maxHostID": 250, "domVersion": "5",
        });
        self.caller.task("StoragePool.spmStart", &start)?;
        let activate = json!({ "storagedomainID": domain, "storagepoolID": pool });
        self.caller
            .call("StorageDomain.activate", &activate, |_| String::new())?;
        self.caller.call(
            "StoragePool.getInfo",
            &json!({ "storagepoolID": pool }),
            |info| {
                let text = |path: &str| info.pointer(path).map(plain).unwrap_or_default();
                let free = text(&format!("/dominfo/{domain}/diskfree"))
                    .parse::<u64>()
                    .unwrap_or_default();
                format!(
                    "{} {}, {} GiB free",
                    text("/info/type"),
                    text(&format!("/dominfo/{domain}/status")),
                    free >> 30
                )
            },
        )?;
        Ok(())
    }

    fn disk(&mut self) -> Result<()> {
        let mut create = self.volume();
        let more = json!({
            "size": CAPACITY.to_string(), "volFormat": 5, "preallocate": 2, "diskType": "DATA",
            "desc": "{\"DiskAlias\":\"demo_disk\",\"DiskDescription\":\"\"}",
            "srcImgUUID": BLANK, "srcVolUUID": BLANK,
        });
        extend(&mut create, more);
        self.caller.task("Volume.create", &create)?;
        let volume = self.volume();
        self.caller
            .call("Volume.getInfo", &volume, describe_volume)?;
        let prepared = self
            .caller
            .call("Image.prepare", &volume, |_| String::new())?;
        let path = prepared
            .get("path")
            .and_then(Value::as_str)
            .context("Image.prepare gave no path")?;
        self.upload(Path::new(path))?;
        self.caller
            .call("Image.teardown", &volume, |_| String::new())?;
        self.caller
            .call("Volume.getInfo", &volume, describe_volume)?;
        Ok(())
    }

    /// Copies the guest into the volume, as an uploader does: to the path that the agent gave.
    fn upload(&self, path: &Path) -> Result<()> {
        view::going_on("copying the guest into the volume");
        let started = Instant::now();
        let copy = Command::new("qemu-img")
            .args(["convert", "-n", "-S", "64k", "-f", "raw", "-O", "raw"])
            .arg(&self.args.guest_image)
            .arg(path);
        copy.timeout(Duration::from_mins(5))
            .cancel(&self.cancel)
            .run()?
            .check()?;
        view::called(
            "(the guest's image, by qemu-img)",
            started.elapsed(),
            "copied to the path that Image.prepare gave",
        );
        Ok(())
    }

    fn create(&mut self) -> Result<Console> {
        let vm = self.ids.vm;
        let xml = domain_xml(&self.ids);
        let create = json!({ "vmID": vm, "vmParams": { "vmId": vm, "xml": xml } });
        self.caller.call("VM.create", &create, |answer| {
            answer.get("status").map(plain).unwrap_or_default()
        })?;
        let cancel = self.cancel.clone();
        let path = wait_for(
            "the VM's serial console",
            Duration::from_mins(1),
            &cancel,
            |_| {
                self.fail_if_down()?;
                let (xml, _) = self
                    .caller
                    .quietly("Host.dumpxmls", &json!({ "vmList": [vm] }))?;
                Ok(xml
                    .get(vm.to_string())
                    .and_then(Value::as_str)
                    .and_then(console_path))
            },
        )?;
        Console::connect(&path, &cancel)
    }

    /// Statistics of the VM. An error if it went down, with the agent's reason.
    fn fail_if_down(&mut self) -> Result<Value> {
        let (stats, _) = self
            .caller
            .quietly("VM.getStats", &json!({ "vmID": self.ids.vm }))?;
        if stats.pointer("/0/status") == Some(&json!("Down")) {
            let why = stats
                .pointer("/0/exitMessage")
                .map(plain)
                .unwrap_or_default();
            bail!("the virtual machine is down: {why}");
        }
        Ok(stats)
    }

    fn boot(&mut self, console: &Console) -> Result<()> {
        let started = Instant::now();
        let cancel = self.cancel.clone();
        let mut asked = 0;
        let (greeting, more) = wait_for("the guest's greeting", BOOT_TIMEOUT, &cancel, |waited| {
            if waited.as_secs() > asked {
                asked = waited.as_secs();
                let stats = self.fail_if_down()?;
                let read = stats
                    .pointer("/0/disks/vda/readBytes")
                    .map(plain)
                    .unwrap_or_default();
                let read = read.parse::<u64>().unwrap_or_default() >> 20;
                let text = format!("the guest boots: {asked} s, {read} MiB read from its disk");
                if asked % 5 == 0 {
                    view::said(&text);
                } else {
                    view::going_on(&text);
                }
            }
            Ok(console.find(GREETING))
        })?;
        self.boot = Some(started.elapsed());
        view::said("the guest's own words on its serial console:");
        view::row(&greeting);
        view::row(&more);
        let id = self.ids.vm.to_string();
        ensure!(
            greeting.to_lowercase().contains(&id),
            "the guest did not read {id} from its firmware"
        );
        Ok(())
    }

    fn watch(&mut self, console: &Console) -> Result<()> {
        view::said("VM.getStats while the guest writes to its disk:");
        for line in table::head() {
            view::row(&line);
        }
        let started = Instant::now();
        let mut first = None;
        let mut last = 0;
        for _ in 0..SAMPLES {
            let sample = Sample::of(&self.fail_if_down()?)?;
            let guest = console.find(TICK).map(|(line, _)| line).unwrap_or_default();
            view::row(&sample.row(started.elapsed(), &guest));
            last = sample.write_ops;
            first.get_or_insert(last);
            self.pause(PERIOD)?;
        }
        let first = first.unwrap_or_default();
        ensure!(
            last > first,
            "the guest writes, but writeOps stayed at {first}"
        );
        self.write_ops = Some((first, last));
        Ok(())
    }

    fn pause(&self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            ensure!(!self.cancel.is_cancelled(), "interrupted");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn screenshot(&mut self) -> Result<()> {
        let ask = json!({ "vmID": self.ids.vm });
        let answer = self.caller.call("VM.screenshot", &ask, |answer| {
            answer.get("mime_type").map(plain).unwrap_or_default()
        })?;
        let saved = picture::save(&answer, &self.args.screenshot)?;
        view::said(&format!(
            "saved {}: {}x{}",
            self.args.screenshot.display(),
            saved.width,
            saved.height
        ));
        self.picture = Some(saved);
        Ok(())
    }

    fn destroy(&mut self) -> Result<()> {
        self.caller.call("Host.getVMList", &json!({}), |list| {
            format!("{} running", list.as_array().map_or(0, Vec::len))
        })?;
        self.caller
            .call("VM.destroy", &json!({ "vmID": self.ids.vm }), |_| {
                String::new()
            })?;
        let list = self.caller.call("Host.getVMList", &json!({}), |list| {
            format!("{} running", list.as_array().map_or(0, Vec::len))
        })?;
        ensure!(
            list == json!([]),
            "the virtual machine is still listed: {list}"
        );
        Ok(())
    }

    fn storage_down(&mut self) -> Result<()> {
        let (pool, domain) = (self.ids.pool, self.ids.domain);
        let mut delete = self.volume();
        extend(
            &mut delete,
            json!({ "postZero": false, "force": false, "discard": false }),
        );
        self.caller.task("Volume.delete", &delete)?;
        let deactivate = json!({
            "storagedomainID": domain, "storagepoolID": pool, "masterSdUUID": BLANK, "masterVersion": 1,
        });
        self.caller
            .call("StorageDomain.deactivate", &deactivate, |_| String::new())?;
        self.caller.call(
            "StoragePool.spmStop",
            &json!({ "storagepoolID": pool }),
            |_| String::new(),
        )?;
        let leave = json!({ "storagepoolID": pool, "hostID": 1, "scsiKey": pool });
        self.caller
            .call("StoragePool.disconnect", &leave, |_| String::new())?;
        let server = self.server();
        self.caller
            .call("StoragePool.disconnectStorageServer", &server, status_of)?;
        Ok(())
    }
}

/// The template with its ids.
fn domain_xml(ids: &Ids) -> String {
    let values = [
        ("@VM_ID@", ids.vm),
        ("@POOL_ID@", ids.pool),
        ("@DOMAIN_ID@", ids.domain),
        ("@IMAGE_ID@", ids.image),
        ("@VOLUME_ID@", ids.volume),
    ];
    values.iter().fold(VM_XML.to_owned(), |xml, (word, id)| {
        xml.replace(word, &id.to_string())
    })
}

/// The socket of the serial console in a running domain's XML.
fn console_path(xml: &str) -> Option<PathBuf> {
    let document = roxmltree::Document::parse(xml).ok()?;
    let serial = document
        .descendants()
        .find(|node| node.has_tag_name("serial") && node.attribute("type") == Some("unix"))?;
    let source = serial.children().find(|node| node.has_tag_name("source"))?;
    source.attribute("path").map(PathBuf::from)
}

/// A value without quotes.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// How connecting a storage server went.
fn status_of(answer: &Value) -> String {
    format!(
        "status {}",
        answer.pointer("/0/status").map(plain).unwrap_or_default()
    )
}

fn describe_volume(info: &Value) -> String {
    let text = |key: &str| info.get(key).map(plain).unwrap_or_default();
    let mib = |key: &str| text(key).parse::<u64>().unwrap_or_default() >> 20;
    format!(
        "{} {} {}, {} MiB of {} MiB used",
        text("legality"),
        text("type"),
        text("format"),
        mib("truesize"),
        mib("capacity")
    )
}

/// Adds the keys of one object to another.
fn extend(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> Ids {
        Ids {
            connection: Uuid::from_u128(6),
            pool: Uuid::from_u128(1),
            domain: Uuid::from_u128(2),
            image: Uuid::from_u128(3),
            volume: Uuid::from_u128(4),
            vm: Uuid::from_u128(5),
        }
    }

    #[test]
    fn the_template_is_filled_and_well_formed() {
        let xml = domain_xml(&ids());
        assert!(!xml.contains('@'));
        let document = roxmltree::Document::parse(&xml).unwrap();
        let of = |name: &str| {
            let found = document
                .descendants()
                .find(|node| node.tag_name().name() == name);
            found.and_then(|node| node.text()).map(str::to_owned)
        };
        assert_eq!(of("uuid"), Some(ids().vm.to_string()));
        assert_eq!(of("volumeID"), Some(ids().volume.to_string()));
        assert_eq!(of("poolID"), Some(ids().pool.to_string()));
    }

    #[test]
    fn the_console_is_found_in_what_libvirt_tells() {
        let xml = "<domain><devices><serial type='unix'><source mode='bind' path='/run/x.sock'/></serial>\
                   <disk><serial>abc</serial></disk></devices></domain>";
        assert_eq!(console_path(xml), Some(PathBuf::from("/run/x.sock")));
        assert_eq!(
            console_path("<domain><devices><serial type='pty'/></devices></domain>"),
            None
        );
        assert_eq!(console_path("<domain"), None);
    }

    #[test]
    fn objects_are_merged() {
        let mut object = json!({ "a": 1 });
        extend(&mut object, json!({ "b": 2 }));
        assert_eq!(object, json!({ "a": 1, "b": 2 }));
    }
}
