//! Hosts that stay when their maker goes: those of `make lab`.
//!
//! `standing/lab<n>/` in the lab's folder holds one, with a record of its QEMU. States of a record: written when the QEMU
//! runs, removed with the folder when it was ended.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use exec::Process;
use serde::{Deserialize, Serialize};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    Disk, Image, LabError, Layer, Output, Result, Shape,
    host::{BOOT, Config, Host, Origin, card},
    image::lab_dir,
    lab::related,
    network::Wire,
    shell::{Shell, quoted},
};

/// A host that stays.
#[derive(Debug)]
pub struct Standing {
    name: String,
    shell: Shell,
}

/// What is remembered of one.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    pid: i32,
    start_time: u64,
    port: u16,
    image: PathBuf,
}

fn folder() -> PathBuf {
    lab_dir().join("standing")
}

impl Standing {
    /// Starts hosts 1 to `count`, on one network, with two shared disks (`shared-a`, `shared-b`: 4 GiB each).
    /// Earlier ones are ended. An interrupt ends what was begun.
    pub fn start(count: u8, shape: Shape, layer: &Layer, cold: bool) -> Result<Vec<Self>> {
        Self::end_all()?;
        end_on_signal();
        let started = start_all(count, shape, layer, cold);
        if started.is_err() {
            let _ = Self::end_all();
        }
        started
    }

    /// The one of this number.
    pub fn find(number: u8) -> Result<Self> {
        let name = format!("lab{number}");
        let dir = folder().join(&name);
        let record = read(&dir).filter(|record| record.process().is_alive());
        let Some(record) = record else {
            return Err(LabError::Wrong(format!("{name} does not run: make lab")));
        };
        Ok(record.standing(&name, &dir))
    }

    /// Ends all; how many there were.
    pub fn end_all() -> Result<usize> {
        let dir = folder();
        let ended = related(&dir);
        let hosts = ended.iter().filter(|(_, line)| line.contains("-qmp"));
        let count = hosts.count();
        for (process, _) in &ended {
            process.terminate(Duration::ZERO);
        }
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(LabError::file("remove", &dir)(error))
            }
            _ => Ok(count),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command line as root.
    pub fn run(&self, command: &str, timeout: Duration) -> Result<Output> {
        self.shell.run(command, timeout)
    }

    /// Copies a file into it.
    pub fn put(&self, from: &Path, to: &str) -> Result<()> {
        let file = fs::File::open(from).map_err(LabError::file("read", from))?;
        let command = format!("cat >{}", quoted(to));
        let output = self.shell.feed(&command, Duration::from_mins(5), file)?;
        if output.success() {
            return Ok(());
        }
        Err(LabError::Failed {
            host: self.name.clone(),
            command,
            code: output.code,
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    /// The command line that opens a shell on it.
    pub fn ssh_line(&self) -> String {
        let words: Vec<String> = self
            .shell
            .arguments()
            .iter()
            .map(|word| plain(word))
            .collect();
        format!("ssh {} root@127.0.0.1", words.join(" "))
    }
}

fn plain(word: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_=/.,@:+".contains(c);
    if word.chars().all(harmless) {
        word.to_owned()
    } else {
        quoted(word)
    }
}

impl Record {
    fn process(&self) -> Process {
        Process {
            pid: self.pid,
            start_time: self.start_time,
        }
    }

    fn standing(&self, name: &str, dir: &Path) -> Standing {
        Standing {
            name: name.to_owned(),
            shell: Shell::new(name, dir, &Image::at(&self.image), self.port).alone(),
        }
    }
}

fn read(dir: &Path) -> Option<Record> {
    let bytes = fs::read(dir.join("record.json")).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn start_all(count: u8, shape: Shape, layer: &Layer, cold: bool) -> Result<Vec<Standing>> {
    let dir = folder();
    fs::create_dir_all(&dir).map_err(LabError::file("make", &dir))?;
    let disks = [
        Disk::create(&dir, "shared-a", 4096)?,
        Disk::create(&dir, "shared-b", 4096)?,
    ];
    let (first, second) = Wire::cable()?;
    let mut hosts = Vec::new();
    for (number, wire) in (1..=count).zip([first, second]) {
        let origin = if cold {
            Origin::Cold(layer.cold_disk(number, shape)?)
        } else {
            layer.origin(number, shape)?
        };
        let dir = dir.join(format!("lab{number}"));
        fs::create_dir(&dir).map_err(LabError::file("make", &dir))?;
        let config = Config {
            number,
            dir: dir.clone(),
            image: layer.image().clone(),
            shape,
            origin,
            kernel_args: Vec::new(),
            ready_within: BOOT,
            stays: true,
        };
        let host = Host::new(config, disks.to_vec(), vec![card(0, wire)?]);
        crate::testing::note(&format!("{}: starting", host.name()));
        host.start()?;
        host.check(&format!(
            "ip addr add 10.77.0.{number}/24 dev data0 && ip link set data0 up"
        ))?;
        hosts.push(record(&host, &dir, layer.image())?);
    }
    Ok(hosts)
}

fn record(host: &Host, dir: &Path, image: &Image) -> Result<Standing> {
    let process = host.process().ok_or_else(|| LabError::Off {
        host: host.name().to_owned(),
        step: "recording it".to_owned(),
    })?;
    let record = Record {
        pid: process.pid,
        start_time: process.start_time,
        port: host.ssh_port()?,
        image: image.dir().to_owned(),
    };
    let path = dir.join("record.json");
    let text = serde_json::to_vec(&record).unwrap_or_default();
    fs::write(&path, text).map_err(LabError::file("write", &path))?;
    Ok(record.standing(host.name(), dir))
}

/// Ctrl-C and its kin end what was started, and the process.
fn end_on_signal() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else {
            return;
        };
        let wait = move || {
            if let Some(signal) = signals.forever().next() {
                crate::testing::note("interrupted: ending the hosts");
                let _ = Standing::end_all();
                std::process::exit(128 + signal);
            }
        };
        // Without the thread a signal ends the process at once, and the next start clears up.
        let _ = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back_and_nonsense_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).is_none());
        let record = Record {
            pid: 1,
            start_time: 2,
            port: 3,
            image: "/i".into(),
        };
        let path = dir.path().join("record.json");
        fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        let back = read(dir.path()).unwrap();
        assert_eq!((back.pid, back.start_time, back.port), (1, 2, 3));
        fs::write(&path, "{").unwrap();
        assert!(read(dir.path()).is_none());
    }

    #[test]
    fn words_for_a_shell() {
        assert_eq!(plain("-o"), "-o");
        assert_eq!(plain("a b"), "'a b'");
    }
}
