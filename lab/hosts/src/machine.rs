//! One QEMU: its command line, its monitor, its end. A [`Machine`] is a host that has power.
//!
//! States: started (its CPUs run, or it waits for a memory snapshot), ended (by itself or by us).

use std::{
    fs::{self, File},
    io::Read as _,
    io::Seek as _,
    io::SeekFrom,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use exec::{Child, Command, Exit, Stdio};
use serde_json::{Value, json};

use crate::{
    Disk, LabError, Result,
    image::QEMU,
    keeper,
    network::Wire,
    plan::{Card, Plan, TRANSFER, TRANSFER_SIZE},
    qmp::{Qmp, QmpError},
    shell::quoted,
};

/// How long the monitor may take for one command, and a guest to let go of a device: for what hangs.
const MONITOR: Duration = Duration::from_mins(5);

/// How long saving or loading a memory snapshot may take.
const MIGRATION: Duration = Duration::from_mins(10);

/// Bytes of a log's end that go into an error.
const TAIL: u64 = 4000;

/// A running QEMU.
#[derive(Debug)]
pub(crate) struct Machine {
    host: String,
    number: u8,
    dir: PathBuf,
    child: Holding,
    qmp: Qmp,
}

/// Who ends it.
#[derive(Debug)]
enum Holding {
    /// Ours: ends with us.
    Child(Child),
    /// Stays when we go.
    Apart(exec::Process),
}

impl Holding {
    fn ended(&mut self) -> Option<Exit> {
        match self {
            Self::Child(child) => child.try_wait(),
            Self::Apart(process) => (!process.is_alive()).then_some(Exit::Unknown),
        }
    }

    fn wait(&mut self, timeout: Duration) -> Option<Exit> {
        match self {
            Self::Child(child) => child.wait(timeout),
            Self::Apart(process) => process.wait(timeout).then_some(Exit::Unknown),
        }
    }

    fn kill(&mut self) {
        match self {
            Self::Child(child) => {
                let _ = child.signal(9);
                child.end(Duration::ZERO);
            }
            Self::Apart(process) => {
                process.terminate(Duration::ZERO);
            }
        }
    }
}

impl Machine {
    /// Starts it. With a memory snapshot its CPUs stand until [`Machine::load`].
    pub(crate) fn start(plan: &Plan<'_>) -> Result<Self> {
        let socket = plan.dir.join("qmp");
        if socket.as_os_str().len() > 100 {
            return Err(LabError::LongPath { path: socket });
        }
        let _ = fs::remove_file(&socket);
        let transfer = plan.dir.join(TRANSFER);
        File::create(&transfer)
            .and_then(|file| file.set_len(TRANSFER_SIZE))
            .map_err(LabError::file("make", &transfer))?;
        let mut child = launch(plan)?;
        let qmp = match reach(plan, &mut child, &socket) {
            Ok(qmp) => qmp,
            Err(error) => {
                child.kill();
                return Err(error);
            }
        };
        Ok(Self {
            host: plan.host.to_owned(),
            number: plan.number,
            dir: plan.dir.to_owned(),
            child,
            qmp,
        })
    }

    /// An error if it has ended.
    pub(crate) fn alive(&mut self, step: &'static str) -> Result<()> {
        match self.child.ended() {
            None => Ok(()),
            Some(exit) => Err(ended(&self.host, &self.dir, step, exit)),
        }
    }

    /// Its process id.
    pub(crate) fn process(&self) -> Option<exec::Process> {
        match &self.child {
            Holding::Child(child) => child.process(),
            Holding::Apart(process) => Some(*process),
        }
    }

    /// A command of the monitor.
    pub(crate) fn monitor(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let answer = self.qmp.execute(command, arguments, MONITOR);
        answer.map_err(|error| self.refused(command, &error))
    }

    fn refused(&self, command: &str, error: &QmpError) -> LabError {
        LabError::Monitor {
            host: self.host.clone(),
            command: command.to_owned(),
            why: error.to_string(),
        }
    }

    fn human(&mut self, line: &str) -> Result<String> {
        let answer = self.monitor("human-monitor-command", json!({ "command-line": line }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// The port on loopback behind which the host's port 22 is.
    pub(crate) fn ssh_port(&mut self) -> Result<u16> {
        self.forwarded(22)
    }

    fn forwarded(&mut self, inside: u16) -> Result<u16> {
        let report = self.human("info usernet")?;
        forwarded_port(&report, inside).ok_or_else(|| {
            let why = format!("no forwarded port in: {report}");
            self.refused("info usernet", &QmpError::Odd(why))
        })
    }

    /// Forwards a port of loopback to one of the host; the number outside.
    pub(crate) fn forward(&mut self, inside: u16) -> Result<u16> {
        let line = format!("hostfwd_add mgmt tcp:127.0.0.1:0-10.0.2.15:{inside}");
        let said = self.human(&line)?;
        if !said.trim().is_empty() {
            return Err(self.refused("hostfwd_add", &QmpError::Refused(said)));
        }
        self.forwarded(inside)
    }

    /// Reads a memory snapshot. The CPUs still stand.
    pub(crate) fn load(&mut self, memory: &Path) -> Result<()> {
        let uri = format!("exec:cat {}", quoted(&memory.display().to_string()));
        self.monitor("migrate-incoming", json!({ "uri": uri }))?;
        let deadline = Instant::now() + MIGRATION;
        loop {
            self.alive("loading its memory")?;
            let status = self.monitor("query-status", json!({}))?;
            match status.get("status").and_then(Value::as_str) {
                Some("inmigrate") => {}
                Some("paused" | "postmigrate" | "running" | "prelaunch") => return Ok(()),
                other => {
                    let why = QmpError::Odd(format!("the status is {other:?}"));
                    return Err(self.refused("migrate-incoming", &why));
                }
            }
            if Instant::now() >= deadline {
                return Err(self.refused("migrate-incoming", &QmpError::Late(MIGRATION)));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets the CPUs run.
    pub(crate) fn go(&mut self) -> Result<()> {
        self.monitor("cont", json!({})).map(drop)
    }

    /// Lets the CPUs stand.
    pub(crate) fn halt(&mut self) -> Result<()> {
        self.monitor("stop", json!({})).map(drop)
    }

    /// Stops the CPUs, writes the memory to a file, and ends it.
    pub(crate) fn save(mut self, memory: &Path) -> Result<()> {
        self.halt()?;
        let fast = json!({ "max-bandwidth": 1_u64 << 40 });
        self.monitor("migrate-set-parameters", fast)?;
        let uri = format!("exec:cat > {}", quoted(&memory.display().to_string()));
        self.monitor("migrate", json!({ "uri": uri }))?;
        let deadline = Instant::now() + MIGRATION;
        loop {
            self.alive("saving its memory")?;
            let report = self.monitor("query-migrate", json!({}))?;
            match report.get("status").and_then(Value::as_str) {
                Some("completed") => break,
                Some("failed" | "cancelled") => {
                    let why = QmpError::Refused(report.to_string());
                    return Err(self.refused("migrate", &why));
                }
                _ if Instant::now() >= deadline => {
                    return Err(self.refused("migrate", &QmpError::Late(MIGRATION)));
                }
                _ => thread::sleep(Duration::from_millis(50)),
            }
        }
        // It writes its disk's last metadata when it quits.
        let _ = self.monitor("quit", json!({}));
        match self.child.wait(MONITOR) {
            Some(_) => Ok(()),
            None => Err(self.refused("quit", &QmpError::Late(MONITOR))),
        }
    }

    pub(crate) fn add_disk(&mut self, disk: &Disk) -> Result<()> {
        self.monitor("blockdev-add", disk.backend())?;
        self.monitor("device_add", disk.frontend()).map(drop)
    }

    pub(crate) fn remove_disk(&mut self, disk: &Disk) -> Result<()> {
        self.remove_device(&disk.device_id())?;
        self.monitor("blockdev-del", json!({ "node-name": disk.node() }))
            .map(drop)
    }

    pub(crate) fn add_card(&mut self, card: &Card) -> Result<()> {
        let Wire { own, peer } = card.wire;
        let netdev = json!({
            "type": "socket", "id": card.netdev(),
            "udp": peer.to_string(), "localaddr": own.to_string(),
        });
        self.monitor("netdev_add", netdev)?;
        self.monitor("device_add", card.frontend(self.number))
            .map(drop)
    }

    pub(crate) fn remove_card(&mut self, card: &Card) -> Result<()> {
        self.remove_device(&card.id())?;
        self.monitor("netdev_del", json!({ "id": card.netdev() }))
            .map(drop)
    }

    /// Asks the guest to let go of a device, and waits until it has.
    fn remove_device(&mut self, id: &str) -> Result<()> {
        self.monitor("device_del", json!({ "id": id }))?;
        let gone = |data: &Value| data.get("device").and_then(Value::as_str) == Some(id);
        let seen = self.qmp.event("DEVICE_DELETED", &gone, MONITOR);
        seen.map_err(|error| self.refused("device_del", &error))
    }

    pub(crate) fn set_link(&mut self, card: &Card) -> Result<()> {
        let arguments = json!({ "name": card.id(), "up": card.up });
        self.monitor("set_link", arguments).map(drop)
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_off(&mut self, timeout: Duration) -> bool {
        self.child.wait(timeout).is_some()
    }

    /// Ends it at once, as a power failure would.
    pub(crate) fn kill(&mut self) {
        self.child.kill();
    }
}

fn launch(plan: &Plan<'_>) -> Result<Holding> {
    let log = plan.dir.join("qemu.log");
    let command = Command::new(QEMU)
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(plan.arguments())
        .cwd(plan.dir)
        .grace(Duration::ZERO);
    let failed = |source| LabError::Program {
        host: plan.host.to_owned(),
        step: "starting QEMU",
        source,
    };
    if plan.stays {
        let process = command
            .spawn_daemon(&exec::Daemon { log })
            .map_err(failed)?;
        return Ok(Holding::Apart(process));
    }
    let out = File::options().append(true).create(true).open(&log);
    let out = out.map_err(LabError::file("open the log", &log))?;
    let second = out.try_clone();
    let second = second.map_err(LabError::file("open the log", &log))?;
    let command = command
        .stdout_to(Stdio::File(out.into()))
        .stderr_to(Stdio::File(second.into()));
    keeper::spawn(command).map(Holding::Child).map_err(failed)
}

/// Connects to the monitor of a QEMU that has just been started.
fn reach(plan: &Plan<'_>, child: &mut Holding, socket: &Path) -> Result<Qmp> {
    let step = "starting";
    let deadline = Instant::now() + MONITOR;
    loop {
        if let Some(exit) = child.ended() {
            return Err(ended(plan.host, plan.dir, step, exit));
        }
        match Qmp::connect(socket, MONITOR) {
            Ok(qmp) => return Ok(qmp),
            Err(QmpError::Io(_)) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => {
                return Err(LabError::Monitor {
                    host: plan.host.to_owned(),
                    command: "connect".to_owned(),
                    why: error.to_string(),
                });
            }
        }
    }
}

fn ended(host: &str, dir: &Path, step: &'static str, exit: Exit) -> LabError {
    let mut said = tail(&dir.join("qemu.log"));
    if said.trim().is_empty() {
        said = tail(&dir.join("console.log"));
    }
    LabError::Ended {
        host: host.to_owned(),
        step,
        exit,
        said,
    }
}

/// The end of a log, for an error.
pub(crate) fn tail(path: &Path) -> String {
    let Ok(mut file) = File::open(path) else {
        return String::new();
    };
    let length = file.metadata().map_or(0, |data| data.len());
    let mut bytes = Vec::new();
    let _ = file.seek(SeekFrom::Start(length.saturating_sub(TAIL)));
    let _ = file.take(TAIL).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Reads `info usernet`: the host's port of the row that forwards to this port inside. Columns: protocol and state,
/// descriptor, address and port outside, address and port inside, queues.
fn forwarded_port(report: &str, inside: u16) -> Option<u16> {
    let wanted = inside.to_string();
    report.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let row = words.first()?.starts_with("TCP[HOST_FORWARD]");
        (row && words.get(5) == Some(&wanted.as_str())).then(|| words.get(3)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_forwarded_port_is_read() {
        let report = "Hub -1 (mgmt):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
            TCP[ESTABLISHED]   20       127.0.0.1 40000       10.0.2.15    22     0     0\r\n  \
            TCP[HOST_FORWARD]  12       127.0.0.1 33445       10.0.2.15    22     0     0\r\n  \
            TCP[HOST_FORWARD]  13       127.0.0.1 33446       10.0.2.15 54321     0     0\r\n";
        assert_eq!(forwarded_port(report, 22), Some(33445));
        assert_eq!(forwarded_port(report, 54321), Some(33446));
        assert_eq!(forwarded_port(report, 80), None);
    }

    proptest! {
        #[test]
        fn any_report_is_read_without_panic(text in "\\PC{0,200}") {
            let _ = forwarded_port(&text, 22);
        }
    }
}
