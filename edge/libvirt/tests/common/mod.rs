//! A private libvirtd with real QEMU (software emulation) beneath one temporary directory, for tests that need more
//! than libvirt's own test driver. Ends with the value that stands for it, together with every QEMU it started.
//!
//! As root it runs as user nobody: a session daemon must not be root's, since that one has the machine's sockets.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use libvirt::{DomainCapabilitiesQuery, Libvirt, LibvirtConfig};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use uuid::Uuid;

const NOBODY: u32 = 65_534;
const LIBVIRTD: &str = "/usr/sbin/libvirtd";
const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// The daemon and all that belongs to it.
pub(crate) struct Daemon {
    dir: TempDir,
    child: Child,
}

impl Daemon {
    /// Starts one; `None` (and a line that says why) where this machine cannot.
    pub(crate) fn start() -> Option<Self> {
        for program in [LIBVIRTD, QEMU] {
            if !Path::new(program).exists() {
                println!("skipped: {program} is not installed");
                return None;
            }
        }
        let dir = tempfile::Builder::new().prefix("lv").tempdir().unwrap();
        for name in [
            "home",
            "run",
            "config",
            "config/libvirt",
            "cache",
            "data",
            "disks",
        ] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        // Without it a second daemon would be started for the logs, which outlives the test.
        fs::write(
            dir.path().join("config/libvirt/qemu.conf"),
            "stdio_handler = \"file\"\n",
        )
        .unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        give_away(dir.path());
        let child = spawn(dir.path());
        let daemon = Self { dir, child };
        daemon.wait_for_socket();
        // libvirt asks QEMU for its abilities when they are first needed, which takes seconds.
        let first = Libvirt::connect(daemon.config()).unwrap();
        first
            .domain_capabilities_xml(&DomainCapabilitiesQuery::default())
            .unwrap();
        Some(daemon)
    }

    pub(crate) fn config(&self) -> LibvirtConfig {
        LibvirtConfig::new(format!(
            "qemu:///session?socket={}",
            self.socket().display()
        ))
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/libvirt/libvirt-sock")
    }

    fn wait_for_socket(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(
                Instant::now() < end,
                "libvirtd does not come up:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Sends a signal to the daemon.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends the daemon at once; its domains go on.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts the daemon anew after [`Self::kill`].
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.dir.path());
        self.wait_for_socket();
    }

    /// XML of a small domain with one disk, a display and a balloon; boots into the firmware and stays there.
    pub(crate) fn xml(&self, id: Uuid, name: &str) -> String {
        let disk = self.dir.path().join("disks").join(name);
        fs::File::create(&disk).unwrap().set_len(1 << 20).unwrap();
        give_away(&disk);
        format!(
            "<domain type='qemu'><name>{name}</name><uuid>{id}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>
             <metadata><o:vm xmlns:o='http://example.org/vm/1.0'><o:kept>yes</o:kept></o:vm></metadata>
             <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
             <devices><emulator>{QEMU}</emulator>
             <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>
             <target dev='vda' bus='virtio'/></disk>
             <graphics type='vnc'><listen type='socket' socket='{dir}/{name}.vnc'/></graphics>
             <video><model type='vga'/></video><memballoon model='virtio'/></devices></domain>",
            disk = disk.display(),
            dir = self.dir.path().join("run").display(),
        )
    }

    /// The QEMU of a running domain.
    pub(crate) fn qemu(&self, name: &str) -> Pid {
        pid_in(
            &self
                .dir
                .path()
                .join(format!("run/libvirt/qemu/run/{name}.pid")),
        )
        .unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A stopped one must not outlive the test either; SIGKILL reaches it.
        self.kill();
        self.sweep();
    }
}

impl Daemon {
    /// Ends every process that the daemon left: its domains, and QEMUs that it asked for their abilities when it was
    /// killed. They are known by this test's own directory in their command line.
    fn sweep(&self) {
        let mark = format!("{}/", self.dir.path().display());
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let pid = entry
                .file_name()
                .to_string_lossy()
                .parse()
                .ok()
                .and_then(Pid::from_raw);
            if let Some(pid) = pid.filter(|_| String::from_utf8_lossy(&line).contains(&mark)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn pid_in(path: &Path) -> Option<Pid> {
    if path.extension()? != "pid" {
        return None;
    }
    Pid::from_raw(fs::read_to_string(path).ok()?.trim().parse().ok()?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's own daemon, ended by the test"
)]
fn spawn(dir: &Path) -> Child {
    let log = fs::File::create(dir.join("log")).unwrap();
    let mut command = Command::new(LIBVIRTD);
    command
        .args(["-t", "0", "-p"])
        .arg(dir.join("libvirtd.pid"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .env("HOME", dir.join("home"));
    for (name, sub) in [
        ("RUNTIME_DIR", "run"),
        ("CONFIG_HOME", "config"),
        ("CACHE_HOME", "cache"),
        ("DATA_HOME", "data"),
    ] {
        command.env(format!("XDG_{name}"), dir.join(sub));
    }
    command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.spawn().unwrap()
}

/// Gives `path` and all beneath it to the daemon's user.
fn give_away(path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        give_away(&entry.path());
    }
}
