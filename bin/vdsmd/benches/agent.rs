//! Figures of the whole agent, as its callers meet it: the real `vdsmd` in a process of its own, asked through its
//! port. They are printed, never judged.
//!
//! Every figure has a baseline from the same run, so that the machine's speed cancels out: for calls an echo over
//! plain TCP of as many bytes, asked by the same code and answered by another process ([`asking`]); for starts the
//! time that `vdsmd --version` takes. Rows without guests use libvirt's `test:///default`; rows with guests start
//! real ones by software emulation ([`guests`]), or say why they are skipped.
//!
//! `make bench` builds what is needed; `cargo bench -p vdsmd --bench agent` runs this one alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints its figures, and may fail where it stands"
)]

#[path = "agent_bench/asking.rs"]
mod asking;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "agent_bench/guests.rs"]
mod guests;
#[path = "agent_bench/process.rs"]
mod process;

use std::{fs, path::Path, thread, time::Duration};

use asking::{Echo, Target, calls, print_calls_head};
use common::{Agent, Serving as _, Setting};
use process::{print_memory, start_times};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rpc::TlsFiles;

/// What tests set otherwise: the product's own values.
const AS_INSTALLED: [Setting<'static>; 3] = [
    ("vars", "log_level", "info"),
    ("vars", "vm_sample_interval", "15"),
    ("vars", "host_sample_stats_interval", "15"),
];
/// Until an agent that nobody asks is at rest.
const REST: Duration = Duration::from_secs(3);

fn main() {
    if std::env::args().any(|argument| argument == asking::ECHO) {
        return asking::answer_echoes();
    }
    let echo = Echo::start();
    println!("\nstart (baseline: vdsmd --version)");
    start_times();
    println!();
    let agent = Agent::start_with(&AS_INSTALLED);
    thread::sleep(REST);
    println!("memory, no guests");
    print_memory("idle", agent.pid());

    print_calls_head();
    let plain = Target::Plain(agent.address());
    for connections in [1, 8] {
        calls(
            &echo,
            "Host.ping2, plain",
            &plain,
            "Host.ping2",
            connections,
        );
    }
    with_tls(&echo);
    calls(&echo, "Host.getStats, plain", &plain, "Host.getStats", 1);
    let verb = "Host.getCapabilities";
    calls(&echo, "Host.getCapabilities, plain", &plain, verb, 1);
    println!("\nmemory, no guests");
    print_memory("after these calls", agent.pid());
    agent.ok("Host.ping2", serde_json::json!({}));
    drop(agent);

    guests::figures(&echo);
}

fn with_tls(echo: &Echo) {
    let dir = tempfile::tempdir().unwrap();
    let files = certificates(dir.path());
    let store = dir.path().display().to_string();
    let mut settings = AS_INSTALLED.to_vec();
    settings.extend([
        ("vars", "ssl", "true"),
        ("vars", "trust_store_path", &store),
    ]);
    let agent = Agent::boot_only(&settings);
    let tls = Target::Tls(agent.address(), files);
    common::wait_for("the agent to serve", || {
        tls.connect("ready").serves().then_some(())
    });
    for connections in [1, 8] {
        calls(echo, "Host.ping2, TLS", &tls, "Host.ping2", connections);
    }
}

/// A certificate authority and one certificate for both sides, laid out as `trust_store_path`.
fn certificates(dir: &Path) -> TlsFiles {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let pair = KeyPair::generate().unwrap();
    let signed = CertificateParams::default().signed_by(&pair, &authority);
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    TlsFiles {
        cert: write("certs/vdsmcert.pem", signed.unwrap().pem()),
        key: write("keys/vdsmkey.pem", pair.serialize_pem()),
        ca: write("certs/cacert.pem", authority.pem()),
    }
}
