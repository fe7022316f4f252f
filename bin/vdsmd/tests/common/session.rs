//! Agents that run real guests: a private libvirt daemon, QEMU by software emulation, an agent on top of both,
//! started and ended by `vdsm-tool dev`. The folder is short, since sockets lie beneath it.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Caller, Serving, last_lines, storage::Storage, wait_for};

/// A private agent with a libvirt of its own.
pub struct Session {
    dir: TempDir,
    /// What `dev up` told of it.
    pub told: Value,
    /// vdsmd, if the test has started it anew.
    vdsmd: Option<Child>,
}

/// How a vdsmd was started.
struct Started {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    owner: (u32, u32),
}

impl Started {
    /// As the kernel knows it.
    fn of(pid: i32) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let words = |file: &str| {
            let bytes = fs::read(proc.join(file)).unwrap();
            let words = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec);
            words
                .map(OsString::from_vec)
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
        };
        let pair = |word: OsString| {
            let mut parts = word.as_bytes().splitn(2, |byte| *byte == b'=');
            let mut part = || OsString::from_vec(parts.next().unwrap_or_default().to_vec());
            (part(), part())
        };
        let owner = fs::metadata(&proc).unwrap();
        Self {
            program: fs::read_link(proc.join("exe")).unwrap(),
            arguments: words("cmdline").split_off(1),
            environment: words("environ").into_iter().map(pair).collect(),
            owner: (owner.uid(), owner.gid()),
        }
    }

    fn again(&self) -> Child {
        use std::os::unix::process::CommandExt as _;
        #[expect(clippy::disallowed_methods, reason = "a test starts what it tests")]
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().cloned());
        if rustix::process::geteuid().is_root() {
            command.uid(self.owner.0).gid(self.owner.1);
        }
        command.spawn().unwrap()
    }
}

impl Session {
    /// Starts one; `None`, with the reason printed, where this machine cannot.
    pub fn start() -> Option<Self> {
        for program in ["/usr/sbin/libvirtd", "/usr/bin/qemu-system-x86_64"] {
            if !Path::new(program).exists() {
                println!("skipped: {program} is not installed");
                return None;
            }
        }
        let dir = tempfile::Builder::new().prefix("vs-").tempdir().unwrap();
        shared_dir(dir.path());
        let mut session = Self {
            dir,
            told: Value::Null,
            vdsmd: None,
        };
        session.up();
        Some(session)
    }

    fn up(&mut self) {
        let vdsmd = env!("CARGO_BIN_EXE_vdsmd");
        let up = self.tool(&[
            "up",
            "--port",
            "0",
            "--plain",
            "--accelerator",
            "tcg",
            "-o",
            "json",
            "--vdsmd",
            vdsmd,
        ]);
        assert!(
            up.status.success(),
            "{}",
            String::from_utf8_lossy(&up.stderr)
        );
        self.told = serde_json::from_slice(&up.stdout).unwrap();
    }

    /// SIGKILL for vdsmd alone, as a crash, and a new start over the same libvirt and guests. (`dev up` would end
    /// what is left of a dead agent first.)
    pub fn crash_and_restart(&mut self) {
        let started = Started::of(self.pid());
        self.kill();
        self.reap();
        self.vdsmd = Some(started.again());
        wait_for("vdsmd to serve", || {
            is_listened_to(self.port()).then_some(())?;
            self.call("Host.ping2", json!({})).ok()
        });
    }

    fn port(&self) -> u16 {
        u16::try_from(self.told["port"].as_u64().unwrap()).unwrap()
    }

    fn pid(&self) -> i32 {
        let told = || self.told["pid"].as_i64().unwrap();
        let pid = self
            .vdsmd
            .as_ref()
            .map_or_else(told, |child| i64::from(child.id()));
        i32::try_from(pid).unwrap()
    }

    /// The private libvirt daemon.
    pub fn libvirt_pid(&self) -> i32 {
        let record = fs::read(self.path("dev.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        i32::try_from(record["libvirt"]["pid"].as_i64().unwrap()).unwrap()
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.vdsmd.take() {
            child.wait().unwrap();
        }
    }

    /// SIGKILL for vdsmd alone, as a crash: libvirt and guests go on.
    pub fn kill(&self) {
        let pid = self.pid();
        let process = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        wait_for("vdsmd to be gone", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.map_or(true, |it| it.contains(") Z ")).then_some(())
        });
        // Its other threads may end later, and hold its descriptors until then.
        wait_for("the port to be closed", || {
            (!is_listened_to(self.port())).then_some(())
        });
    }

    /// A path in the folder.
    pub fn path(&self, sub: &str) -> PathBuf {
        self.dir.path().join(sub)
    }

    fn tool(&self, arguments: &[&str]) -> Output {
        let tool = Path::new(env!("CARGO_BIN_EXE_vdsmd")).with_file_name("vdsm-tool");
        assert!(
            tool.exists(),
            "{} is not built: cargo build --workspace",
            tool.display()
        );
        #[expect(clippy::disallowed_methods, reason = "a test starts what it tests")]
        Command::new(tool)
            .arg("dev")
            .arg(arguments[0])
            .arg("--dir")
            .arg(self.dir.path())
            .args(&arguments[1..])
            .output()
            .unwrap()
    }

    /// QEMU processes of this session.
    pub fn qemus(&self) -> Vec<i32> {
        let mark = self.dir.path().display().to_string();
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            (line.contains("qemu-system") && line.contains(&mark)).then_some(pid)
        });
        pids.collect()
    }
}

impl Serving for Session {
    fn client(&self) -> Caller {
        Caller::connect(self.port())
    }

    fn log_tail(&self) -> String {
        let log = self.told["log"].as_str().map(fs::read_to_string);
        last_lines(&log.and_then(Result::ok).unwrap_or_default())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.vdsmd.is_some() {
            self.kill();
            self.reap();
        }
        let down = self.tool(&["down"]);
        let told = String::from_utf8_lossy(&down.stderr);
        assert!(
            down.status.success() || std::thread::panicking(),
            "dev down: {told}"
        );
    }
}

/// Does anybody listen on the port? Found without connecting: that could meet itself.
fn is_listened_to(port: u16) -> bool {
    let mark = format!(":{port:04X} 00000000:0000 0A ");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.contains(&mark)
}

/// Makes a folder that everyone may use: the agent runs as another user when root starts it.
pub fn shared_dir(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
}

/// The disk `vda` of a VM on a volume: its device, and the ids in the `ovirt-vm` metadata, as Engine sends them.
pub fn disk(storage: &Storage, image: &str, volume: &str) -> (String, String) {
    let device = format!(
        "<disk type=\"file\" device=\"disk\" snapshot=\"no\"><target dev=\"vda\" bus=\"virtio\"/>\
         <source file=\"/rhev/data-center/{}/{}/images/{image}/{volume}\">\
         <seclabel model=\"dac\" type=\"none\" relabel=\"no\"/></source>\
         <driver name=\"qemu\" io=\"threads\" type=\"raw\" error_policy=\"stop\" cache=\"writeback\"/>\
         <alias name=\"ua-{image}\"/><serial>{image}</serial></disk>",
        storage.pool, storage.domain
    );
    let metadata = format!(
        "<ovirt-vm:device devtype=\"disk\" name=\"vda\"><ovirt-vm:poolID>{}</ovirt-vm:poolID>\
         <ovirt-vm:volumeID>{volume}</ovirt-vm:volumeID><ovirt-vm:imageID>{image}</ovirt-vm:imageID>\
         <ovirt-vm:domainID>{}</ovirt-vm:domainID></ovirt-vm:device>",
        storage.pool, storage.domain
    );
    (device, metadata)
}

/// A domain XML as Engine shapes it: one vCPU, 32 MiB, serial console, VNC, and the disks given.
pub fn domain_xml(vm_id: &str, name: &str, disks: &str, metadata: &str) -> String {
    include_str!("domain.xml")
        .replace("@ID@", vm_id)
        .replace("@NAME@", name)
        .replace("@DISKS@", disks)
        .replace("@METADATA@", metadata)
}

/// Parameters of `VM.create`.
pub fn new_vm(vm_id: &str, xml: &str) -> Value {
    json!({"vmID": vm_id, "vmParams": {"xml": xml}})
}
