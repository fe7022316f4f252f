//! A lab host: power, devices, commands. States: off, on (a [`Machine`] and a connection).
//!
//! A host keeps its disk and its devices while it is off; [`Host::boot`] starts it again on them.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use exec::{Child, Command};
use serde_json::json;

use crate::{
    Disk, Image, LabError, Network, Result, Shape,
    machine::{Machine, tail},
    network::Wire,
    plan::{Card, Plan},
    shell::{Shell, quoted},
};

/// How long a boot may take, if nothing was said. Under software emulation it takes 20 to 40 s alone on 2 cores, and
/// more than four minutes where ten compilers run beside it.
pub(crate) const BOOT: Duration = Duration::from_mins(12);

/// How long a start from memory may take before the host is booted instead.
const WAKE: Duration = Duration::from_mins(5);

/// What a host starts from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A boot of this disk.
    Cold(PathBuf),
    /// This disk with this memory.
    Warm {
        /// The disk as it was.
        disk: PathBuf,
        /// The memory as it was.
        memory: PathBuf,
    },
}

impl Origin {
    fn disk(&self) -> &Path {
        match self {
            Self::Cold(disk) | Self::Warm { disk, .. } => disk,
        }
    }
}

/// All that makes a host.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) number: u8,
    pub(crate) dir: PathBuf,
    pub(crate) image: Image,
    pub(crate) shape: Shape,
    pub(crate) origin: Origin,
    pub(crate) kernel_args: Vec<String>,
    pub(crate) ready_within: Duration,
    pub(crate) stays: bool,
}

/// A lab host. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    config: Config,
    devices: Mutex<Devices>,
    power: Mutex<Option<Power>>,
    /// Held while a file is on the disk for transfers.
    transfer: Mutex<()>,
}

#[derive(Debug, Default)]
struct Devices {
    disks: Vec<Disk>,
    cards: Vec<Card>,
}

struct Power {
    machine: Machine,
    shell: Shell,
    /// The connection that all commands share: held, never asked.
    master: Child,
}

/// An interface of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nic {
    index: u8,
}

impl Nic {
    /// Its name in the host.
    pub fn name(self) -> String {
        format!("data{}", self.index)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.inner.name).finish()
    }
}

pub(crate) fn card(index: u8, wire: Wire) -> Result<Card> {
    if index > 7 {
        return Err(LabError::Wrong(
            "a host has at most 8 interfaces".to_owned(),
        ));
    }
    Ok(Card {
        index,
        wire,
        up: true,
    })
}

impl Host {
    pub(crate) fn new(config: Config, disks: Vec<Disk>, cards: Vec<Card>) -> Self {
        Self {
            inner: Arc::new(Inner {
                name: format!("lab{}", config.number),
                config,
                devices: Mutex::new(Devices { disks, cards }),
                power: Mutex::new(None),
                transfer: Mutex::new(()),
            }),
        }
    }

    /// Its name, which is its host name: `lab1`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The folder with its console's log and QEMU's log.
    pub(crate) fn dir(&self) -> &Path {
        &self.inner.config.dir
    }

    pub(crate) fn transfer(&self) -> MutexGuard<'_, ()> {
        let lock = self.inner.transfer.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    fn power(&self) -> MutexGuard<'_, Option<Power>> {
        let lock = self.inner.power.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    fn devices(&self) -> MutexGuard<'_, Devices> {
        let lock = self.inner.devices.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the disk and starts from the origin; from memory if that works, else by a boot.
    pub(crate) fn start(&self) -> Result<()> {
        let config = &self.inner.config;
        if let Origin::Warm { disk, memory } = &config.origin {
            self.make_disk(disk)?;
            let deadline = Instant::now() + WAKE.min(config.ready_within);
            match self.wake(memory, deadline) {
                Ok(()) => return Ok(()),
                Err(error) => crate::testing::note(&format!(
                    "{}: cannot start from memory, so it boots: {error}",
                    self.name()
                )),
            }
            self.pull_power();
        }
        self.make_disk(config.origin.disk())?;
        self.boot()
    }

    /// A fresh overlay of a disk that stays as it is.
    fn make_disk(&self, below: &Path) -> Result<()> {
        let format = if below.extension().is_some_and(|it| it == "img") {
            "raw"
        } else {
            "qcow2"
        };
        let path = self.dir().join("root.qcow2");
        let result = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
            .args([below, path.as_path()])
            .run()
            .and_then(exec::Output::check);
        result.map(drop).map_err(|source| LabError::Program {
            host: self.name().to_owned(),
            step: "making its disk",
            source,
        })
    }

    fn machine(&self, memory: Option<&Path>) -> Result<Machine> {
        let config = &self.inner.config;
        let devices = self.devices();
        Machine::start(&Plan {
            host: self.name(),
            number: config.number,
            dir: &config.dir,
            image: &config.image,
            shape: config.shape,
            kernel_args: &config.kernel_args,
            disks: &devices.disks,
            cards: &devices.cards,
            memory,
            stays: config.stays,
        })
    }

    /// Starts from memory. Its clock is set: inside, it was just then.
    fn wake(&self, memory: &Path, deadline: Instant) -> Result<()> {
        let mut machine = self.machine(Some(memory))?;
        let started = self.wake_machine(&mut machine, memory);
        if let Err(error) = started {
            machine.kill();
            return Err(error);
        }
        self.connect(machine, deadline, "starting from memory")?;
        self.set_clock(observe::clock::now_unix_f64())?;
        self.await_devices()
    }

    fn wake_machine(&self, machine: &mut Machine, memory: &Path) -> Result<()> {
        machine.load(memory)?;
        let devices = self.devices();
        devices
            .disks
            .iter()
            .try_for_each(|disk| machine.add_disk(disk))?;
        devices
            .cards
            .iter()
            .try_for_each(|card| machine.add_card(card))?;
        machine.go()
    }

    /// Opens the connection; the host is on when it stands.
    fn connect(&self, mut machine: Machine, deadline: Instant, step: &'static str) -> Result<()> {
        let connected = self.open_shell(&mut machine, deadline, step);
        match connected {
            Ok((shell, master)) => {
                *self.power() = Some(Power {
                    machine,
                    shell,
                    master,
                });
                Ok(())
            }
            Err(error) => {
                machine.kill();
                Err(error)
            }
        }
    }

    fn open_shell(
        &self,
        machine: &mut Machine,
        deadline: Instant,
        step: &'static str,
    ) -> Result<(Shell, Child)> {
        let started = Instant::now();
        let port = machine.ssh_port()?;
        let shell = Shell::new(self.name(), self.dir(), &self.inner.config.image, port);
        let master = shell.connect(deadline, &mut || machine.alive(step))?;
        match master {
            Some(master) => Ok((shell, master)),
            None => Err(LabError::NotReady {
                host: self.name().to_owned(),
                step,
                after: started.elapsed(),
                ssh: shell.complaint(),
                console: tail(&self.dir().join("console.log")),
            }),
        }
    }

    /// Gives it power and waits until systemd has started everything (or given up on some).
    pub fn boot(&self) -> Result<()> {
        self.boot_early()?;
        self.settle()
    }

    /// Gives it power and waits until commands run; the boot may go on.
    pub fn boot_early(&self) -> Result<()> {
        if self.is_on() {
            return Err(LabError::Wrong(format!("{} has power", self.name())));
        }
        let deadline = Instant::now() + self.inner.config.ready_within;
        let machine = self.machine(None)?;
        self.connect(machine, deadline, "booting")?;
        for card in self.devices().cards.clone() {
            if !card.up {
                self.with_machine("set_link", |machine| machine.set_link(&card))?;
            }
        }
        Ok(())
    }

    /// Waits until systemd has nothing more to start.
    pub fn settle(&self) -> Result<()> {
        // Its exit code says whether a unit failed, which is not asked here.
        let wait = "systemctl is-system-running --wait >/dev/null 2>&1; udevadm settle";
        self.check_for(wait, self.inner.config.ready_within)
            .map(drop)
    }

    fn await_devices(&self) -> Result<()> {
        let mut wanted = Vec::new();
        let devices = self.devices();
        wanted.extend(devices.disks.iter().map(Disk::device));
        wanted.extend(
            devices
                .cards
                .iter()
                .map(|card| format!("/sys/class/net/data{}", card.index)),
        );
        drop(devices);
        if wanted.is_empty() {
            return Ok(());
        }
        let tests: Vec<String> = wanted
            .iter()
            .map(|path| format!("test -e {}", quoted(path)))
            .collect();
        self.wait_until("its devices appear", &tests.join(" && "), WAKE)
    }

    /// Has it power? A host that ended by itself has none.
    pub fn is_on(&self) -> bool {
        let mut power = self.power();
        let alive = power
            .as_mut()
            .is_some_and(|on| on.machine.alive("looking").is_ok());
        if !alive {
            *power = None;
        }
        alive
    }

    pub(crate) fn shell(&self, step: &str) -> Result<Shell> {
        match self.power().as_ref() {
            Some(power) => Ok(power.shell.clone()),
            None => Err(self.off(step)),
        }
    }

    fn off(&self, step: &str) -> LabError {
        LabError::Off {
            host: self.name().to_owned(),
            step: step.to_owned(),
        }
    }

    fn with_machine<T>(
        &self,
        step: &str,
        act: impl FnOnce(&mut Machine) -> Result<T>,
    ) -> Result<T> {
        match self.power().as_mut() {
            Some(power) => act(&mut power.machine),
            None => Err(self.off(step)),
        }
    }

    /// Attaches a disk; returns when the host has it.
    pub fn attach(&self, disk: &Disk) -> Result<()> {
        self.with_machine("attach", |machine| machine.add_disk(disk))?;
        self.devices().disks.push(disk.clone());
        self.await_devices()
    }

    /// Detaches a disk, as far as the host lets go of it.
    pub fn detach(&self, disk: &Disk) -> Result<()> {
        self.with_machine("detach", |machine| machine.remove_disk(disk))?;
        self.devices().disks.retain(|known| known != disk);
        Ok(())
    }

    /// Adds an interface in a network; returns when the host has it.
    pub fn plug(&self, network: &Network) -> Result<Nic> {
        let used: Vec<u8> = self.devices().cards.iter().map(|card| card.index).collect();
        let index = (0..8).find(|index| !used.contains(index)).unwrap_or(8);
        let card = card(index, network.port()?)?;
        self.with_machine("plug", |machine| machine.add_card(&card))?;
        self.devices().cards.push(card);
        self.await_devices()?;
        Ok(Nic { index })
    }

    /// Takes an interface away.
    pub fn unplug(&self, nic: Nic) -> Result<()> {
        let card = self.card(nic)?;
        self.with_machine("unplug", |machine| machine.remove_card(&card))?;
        self.devices()
            .cards
            .retain(|known| known.index != nic.index);
        Ok(())
    }

    /// The interfaces, in order.
    pub fn nics(&self) -> Vec<Nic> {
        let devices = self.devices();
        let index = |card: &Card| Nic { index: card.index };
        devices.cards.iter().map(index).collect()
    }

    fn card(&self, nic: Nic) -> Result<Card> {
        let devices = self.devices();
        let found = devices.cards.iter().find(|card| card.index == nic.index);
        found.copied().ok_or_else(|| {
            LabError::Wrong(format!("{} has no interface {}", self.name(), nic.name()))
        })
    }

    /// Pulls the cable of an interface, or puts it back. It stays so over a boot.
    pub fn set_link(&self, nic: Nic, up: bool) -> Result<()> {
        let card = Card {
            up,
            ..self.card(nic)?
        };
        self.with_machine("set_link", |machine| machine.set_link(&card))?;
        let mut devices = self.devices();
        for known in devices
            .cards
            .iter_mut()
            .filter(|known| known.index == nic.index)
        {
            known.up = up;
        }
        Ok(())
    }

    /// A port on loopback of the machine that runs the lab, behind which this port of the host is. Until it loses power.
    pub fn forward(&self, port: u16) -> Result<u16> {
        self.with_machine("forward", |machine| machine.forward(port))
    }

    /// Freezes its processors (a host that hangs), or lets them go on.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        self.with_machine(
            "freeze",
            |machine| if frozen { machine.halt() } else { machine.go() },
        )
    }

    /// Takes its power away: QEMU is killed. What the host had not flushed is lost.
    pub fn pull_power(&self) {
        if let Some(mut power) = self.power().take() {
            power.machine.kill();
        }
    }

    /// Shuts it down in order.
    pub fn shut_down(&self) -> Result<()> {
        self.leave("systemctl --no-block poweroff")
    }

    /// Restarts it in order, and waits until it is ready again.
    pub fn reboot(&self) -> Result<()> {
        self.leave("systemctl --no-block reboot")?;
        self.boot()
    }

    fn leave(&self, command: &str) -> Result<()> {
        self.check(command)?;
        let off = self.with_machine(command, |machine| Ok(machine.wait_off(BOOT)))?;
        if !off {
            return Err(LabError::NotReady {
                host: self.name().to_owned(),
                step: "shutting down",
                after: BOOT,
                ssh: String::new(),
                console: tail(&self.dir().join("console.log")),
            });
        }
        *self.power() = None;
        Ok(())
    }

    /// Writes its memory to a file and ends it; its disk is then as the memory believes.
    pub(crate) fn save(&self, memory: &Path) -> Result<()> {
        self.check("sync; echo 3 >/proc/sys/vm/drop_caches; sync")?;
        let power = self.power().take();
        let power = power.ok_or_else(|| self.off("save"))?;
        drop(power.master);
        // The guest hears that the connection is gone before it stands still.
        thread::sleep(Duration::from_millis(300));
        power.machine.save(memory)
    }

    /// The process of its QEMU, for what outlives this process.
    pub(crate) fn process(&self) -> Option<exec::Process> {
        self.power()
            .as_ref()
            .and_then(|power| power.machine.process())
    }

    /// The port on loopback where its ssh answers.
    pub(crate) fn ssh_port(&self) -> Result<u16> {
        self.with_machine("ssh", Machine::ssh_port)
    }

    /// What QEMU itself says of its state: `running`, `paused`, ...
    pub fn status(&self) -> Result<String> {
        let status = self.with_machine("status", |machine| {
            machine.monitor("query-status", json!({}))
        })?;
        let text = status.get("status").and_then(serde_json::Value::as_str);
        Ok(text.unwrap_or_default().to_owned())
    }
}
