//! `Host.fenceNode` with a real agent (`fence_ipmilan` of fence-agents, `ipmitool`) against a simulated BMC
//! (`ipmi_sim` of OpenIPMI) on loopback, whose machine is a real QEMU process. The test starts and ends both.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
};

use common::{Agent, Serving as _, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAMS: [&str; 4] = [
    "/usr/sbin/fence_ipmilan",
    "/usr/bin/ipmitool",
    "/usr/bin/ipmi_sim",
    "/usr/bin/qemu-system-x86_64",
];

/// At most 16 bytes, as IPMI wants it, and no blanks, as the simulator does.
const PASSWORD: &str = "p%d-\u{fc}'$x-s3c";

/// A BMC with its machine.
struct Bmc {
    dir: TempDir,
    port: u16,
    process: Child,
}

impl Bmc {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("bmc-").tempdir().unwrap();
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let serial = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let machine = format!(
            "{} -accel tcg -machine pc -m 16 -nodefaults -no-user-config -display none -pidfile {}",
            PROGRAMS[3],
            dir.path().join("machine").display()
        );
        let auths = ["callback", "user", "operator", "admin"]
            .map(|level| format!("allowed_auths_{level} none md2 md5 straight\n"))
            .concat();
        fs::write(
            dir.path().join("lan.conf"),
            format!(
                "name \"vdsm-test\"\nset_working_mc 0x20\nserial 15 127.0.0.1 {serial} codec VM\n\
                 startlan 1\naddr 127.0.0.1 {port}\npriv_limit admin\n{auths}\
                 guid a123456789abcdefa123456789abcdef\nendlan\n\
                 startcmd \"{machine}\"\nstartnow false\npoweroff_wait 2\nkill_wait 2\n\
                 user 2 true \"fencer\" \"{PASSWORD}\" admin 10 none md2 md5 straight\n"
            ),
        )
        .unwrap();
        fs::write(
            dir.path().join("bmc.emu"),
            "mc_setbmc 0x20\n\
             mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
             mc_enable 0x20\n",
        )
        .unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test starts what it talks to")]
        let process = Command::new(PROGRAMS[2])
            .args(["-n", "-c", "lan.conf", "-f", "bmc.emu", "-s", "state"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { dir, port, process }
    }

    /// The machine's process, if it runs.
    fn machine(&self) -> Option<i32> {
        let pid: i32 = fs::read_to_string(self.dir.path().join("machine"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        // The number may be another's by now.
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let dir = self.dir.path().display().to_string();
        String::from_utf8_lossy(&line).contains(&dir).then_some(pid)
    }

    fn request(&self, action: &str) -> Value {
        json!({"addr": "127.0.0.1", "port": "", "agent": "ipmilan", "username": "fencer",
               "password": PASSWORD, "action": action, "secure": "", "policy": null,
               "options": format!("lanplus=1\ncipher=3\npower_wait=1\nipport={}", self.port)})
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(pid) = self.machine().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn fence_ipmilan_switches_a_machine_behind_a_bmc() {
    if let Some(missing) = PROGRAMS.iter().find(|path| !Path::new(path).exists()) {
        println!("skipped: {missing} is not installed");
        return;
    }
    let bmc = Bmc::start();
    let agent = Agent::start();
    let fence = |action: &str| agent.call("Host.fenceNode", bmc.request(action));
    let initiated = json!({"operationStatus": "initiated", "power": "unknown"});
    // The simulator needs a moment; until then the agent says that it got no answer.
    let first = wait_for("the BMC", || fence("status").ok());
    assert_eq!(first, json!({"power": "off"}));
    assert_eq!(bmc.machine(), None);

    assert_eq!(fence("on").unwrap(), initiated);
    let machine = wait_for("the machine", || bmc.machine());
    assert_eq!(fence("status").unwrap(), json!({"power": "on"}));

    assert_eq!(fence("reboot").unwrap(), initiated);
    let rebooted = wait_for("the machine again", || {
        bmc.machine().filter(|pid| *pid != machine)
    });
    assert_ne!(rebooted, machine);
    assert_eq!(fence("status").unwrap(), json!({"power": "on"}));

    assert_eq!(fence("off").unwrap(), initiated);
    wait_for("its end", || bmc.machine().is_none().then_some(()));
    assert_eq!(fence("status").unwrap(), json!({"power": "off"}));

    // A wrong password is the agent's error, with its words and without the password.
    let mut wrong = bmc.request("status");
    wrong["password"] = json!("wr0ng-c4n4ry");
    let (code, text) = agent.call("Host.fenceNode", wrong).unwrap_err();
    assert!(code == 1 && !text.is_empty(), "{code} {text}");
    for secret in ["wr0ng-c4n4ry", "s3c"] {
        assert!(!text.contains(secret), "{text}");
        let log = agent.log();
        assert_eq!(log.lines().find(|line| line.contains(secret)), None);
    }
}
