//! The verbs in their order: what Engine does for a first data centre with one host and one VM, and back.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use exec::{Cancel, Command};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Home, call::Caller, picture::Saved, view};
use crate::cli::DemoArgs;

/// Bytes of the volume.
const CAPACITY: u64 = 1 << 30;

const BLANK: Uuid = Uuid::nil();

/// The ids of all that is made.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) connection: Uuid,
    pub(super) pool: Uuid,
    pub(super) domain: Uuid,
    pub(super) image: Uuid,
    pub(super) volume: Uuid,
    pub(super) vm: Uuid,
}

/// The demo at work.
pub(crate) struct Demo<'a> {
    pub(super) caller: Caller,
    pub(super) cancel: Cancel,
    storage: PathBuf,
    pub(super) args: &'a DemoArgs,
    pub(super) ids: Ids,
    pub(super) boot: Option<Duration>,
    pub(super) write_ops: Option<(u64, u64)>,
    pub(super) picture: Option<Saved>,
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
        let caps = self
            .caller
            .call("Host.getCapabilities", &json!({}), |caps| {
                let text = |key: &str| caps.get(key).map(plain).unwrap_or_default();
                format!(
                    "{} CPU(s) {}, {} MiB",
                    text("cpuThreads"),
                    text("cpuModel"),
                    text("memSize")
                )
            })?;
        let kvm = caps
            .get("kvmEnabled")
            .map(plain)
            .is_some_and(|enabled| enabled == "true");
        view::said(if kvm {
            "guests run under KVM"
        } else {
            "guests run by software emulation: KVM is not here, not wanted, or does not truly work"
        });
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
            "masterVersion": 1, "domainDict": { domain.to_string(): "active" },
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

/// A value without quotes.
pub(super) fn plain(value: &Value) -> String {
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

    #[test]
    fn objects_are_merged() {
        let mut object = json!({ "a": 1 });
        extend(&mut object, json!({ "b": 2 }));
        assert_eq!(object, json!({ "a": 1, "b": 2 }));
    }
}
