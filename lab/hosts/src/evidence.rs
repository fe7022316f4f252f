//! What tells why a test failed: consoles, QEMU's words, journals, the agent's logs, the state of the host.

use std::{fs, path::Path, time::Duration};

use crate::{Host, shell};

/// How long each of the questions may take on a host that may be in any state.
const PATIENCE: Duration = Duration::from_mins(2);

/// The file that an answer goes to, and the command that gives it.
const QUESTIONS: [(&str, &str); 8] = [
    ("journal.txt", "journalctl --no-pager -b -o short-precise"),
    (
        "units.txt",
        "systemctl --no-pager list-units --failed; systemctl --no-pager list-jobs",
    ),
    (
        "processes.txt",
        "ps -eo pid,ppid,user,stat,etime,wchan:20,args --forest",
    ),
    (
        "network.txt",
        "ip -d address; ip route; bridge vlan; ss -lntup",
    ),
    (
        "storage.txt",
        "lsblk -o +SERIAL,WWN; findmnt; multipath -ll; pvs; lvs -a",
    ),
    ("vms.txt", "timeout 10 virsh -r list --all"),
    ("kernel.txt", "dmesg"),
    (
        "logs.tar",
        "tar -c -C / --ignore-failed-read var/log/vdsm var/log/libvirt run/vdsm/*.json 2>/dev/null",
    ),
];

/// Collects from a host, as far as it still answers.
pub(crate) fn collect(host: &Host, to: &Path) {
    if fs::create_dir_all(to).is_err() {
        return;
    }
    for log in ["console.log", "qemu.log", shell::LOG, shell::COMMANDS] {
        let _ = fs::copy(host.dir().join(log), to.join(log));
    }
    if !host.is_on() {
        let _ = fs::write(to.join("state.txt"), "the host has no power\n");
        return;
    }
    let status = host.status().unwrap_or_else(|error| error.to_string());
    let _ = fs::write(to.join("state.txt"), format!("QEMU: {status}\n"));
    if status != "running" {
        return;
    }
    for (file, command) in QUESTIONS {
        // A host that does not answer the first will not answer the others.
        match host.run_for(&format!("{command} >/run/lab-evidence; true"), PATIENCE) {
            Ok(said) => {
                let mut text = host.read("/run/lab-evidence").unwrap_or_default();
                text.extend_from_slice(said.stderr.as_bytes());
                let _ = fs::write(to.join(file), text);
            }
            Err(error) => {
                let _ = fs::write(to.join(file), error.to_string());
                return;
            }
        }
    }
}
