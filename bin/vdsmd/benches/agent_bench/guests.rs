//! With real guests: QEMU by software emulation under a private libvirt daemon, started by `vdsm-tool dev up`.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    REST,
    asking::{Echo, Target, calls, print_calls_head},
    common::{
        PATIENCE, Serving as _,
        session::{Session, domain_xml, new_vm},
        storage, wait_for,
    },
    process::{print_memory, print_starts},
};

/// Guests of the larger row.
const MANY: usize = 10;
/// Ticks of CPU time a second: USER_HZ is 100 on every architecture that Linux tells it on.
const TICKS: f64 = 100.0;

/// All figures that need guests.
pub(crate) fn figures(echo: &Echo) {
    println!("\nreal libvirt and guests by software emulation");
    let Some(session) = Session::start() else {
        return;
    };
    let pid = u32::try_from(session.told["pid"].as_u64().unwrap()).unwrap();
    let port = u16::try_from(session.told["port"].as_u64().unwrap()).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    thread::sleep(REST);
    print_memory("idle, no guests", pid);
    print_calls_head();
    let mut guests = Vec::new();
    for count in [1, MANY] {
        while guests.len() < count {
            guests.push(launch(&session, guests.len()));
        }
        let calm = settle(&session);
        let name = format!("Host.getAllVmStats, {count} VMs{calm}");
        let target = Target::Plain(address);
        calls(echo, &name, &target, "Host.getAllVmStats", 1);
    }
    println!("\nprocess with {MANY} VMs");
    print_memory("after these calls", pid);
    session.kill();
    // What `dev up` wrote: the same agent again, with its guests still running.
    let (conf, name) = (
        session.path("vdsm.conf"),
        format!("{MANY} VMs found again, "),
    );
    print_starts(&name, &conf, address, 5);
}

fn launch(session: &Session, number: usize) -> String {
    let vm = storage::id();
    let xml = domain_xml(&vm, &format!("guest{number}"), "", "");
    session.ok("VM.create", new_vm(&vm, &xml));
    wait_for("the guest to run", || {
        let stats = session.ok("VM.getStats", json!({"vmID": vm}));
        let status = stats[0]["status"].as_str().unwrap().to_owned();
        ["Powering up", "Up"].contains(&&*status).then_some(())
    });
    vm
}

/// Waits until guests have booted into their idle loop, so that they do not compete for processors.
fn settle(session: &Session) -> &'static str {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let before = cpu_seconds(session);
        thread::sleep(Duration::from_secs(1));
        if cpu_seconds(session) - before < 0.3 {
            return "";
        }
    }
    " (busy)"
}

fn cpu_seconds(session: &Session) -> f64 {
    let ticks = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap())
    };
    session.qemus().into_iter().filter_map(ticks).sum::<f64>() / TICKS
}
