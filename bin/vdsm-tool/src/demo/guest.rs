//! The guest: made from XML, heard on its serial console, watched while it writes, photographed, ended.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    console::Console,
    flow::{Demo, Ids, plain},
    picture,
    table::{self, Sample},
    view,
};
use crate::interrupt::wait_for;

/// The VM as Engine sends it.
const VM_XML: &str = include_str!("../../../../demo/vm.xml");

/// What the guest says on its console when it is up (demo/guest/setup).
const GREETING: &str = "VDSM-DEMO-GUEST-UP";

/// What it says while it writes (demo/guest/writer).
const TICK: &str = "tick:";

/// Software emulation on a busy machine takes its time.
const BOOT_TIMEOUT: Duration = Duration::from_mins(3);

/// Rows of the table, and the time between them.
const SAMPLES: usize = 5;
const PERIOD: Duration = Duration::from_millis(2100);

impl Demo<'_> {
    pub(super) fn create(&mut self) -> Result<Console> {
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
                // Before its launch the XML is as it was sent; the socket's place is chosen then.
                let stats = self.fail_if_down()?;
                if stats.pointer("/0/status") == Some(&json!("WaitForLaunch")) {
                    return Ok(None);
                }
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

    pub(super) fn boot(&mut self, console: &Console) -> Result<()> {
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
            // Two lines belong together; the second must be there as well.
            Ok(console.find(GREETING).filter(|(_, more)| !more.is_empty()))
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

    pub(super) fn watch(&mut self, console: &Console) -> Result<()> {
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

    pub(super) fn screenshot(&mut self) -> Result<()> {
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

    pub(super) fn destroy(&mut self) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

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
}
