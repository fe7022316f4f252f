//! What comes and goes ten thousand times leaves nothing: connections, plain and with TLS, and virtual machines on
//! libvirt's test driver. Descriptors and threads come back to what they were, memory stays flat.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use common::{
    Agent, Serving as _,
    authority::{Authority, named},
    daemon::{Footprint, resident},
    guarded,
    storage::id,
    wait_for,
    wire::Wire,
};
use host_model::HostPort;
use rpc::{Client, ClientConfig, ClientError};
use rustix::net::sockopt::set_socket_linger;
use serde_json::json;

/// Cycles at one time.
const AT_ONCE: usize = 4;
/// Memory may grow by so much between the first tenth and the end, KiB: allocators keep some.
const SLACK: u64 = 8 * 1024;

/// Runs cycles on some threads, and looks whether the agent gives back what they took.
fn cycles(agent: &Agent, what: &str, count: usize, cycle: impl Fn(usize) + Sync) {
    let start = Instant::now();
    let run = |from: usize, to: usize| {
        let next = AtomicUsize::new(from);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= to {
                            break;
                        }
                        cycle(number);
                    }
                });
            }
        });
    };
    // The first ones start threads that are kept, and fill caches.
    run(0, count / 10);
    let before = Footprint::of(agent.pid());
    let early = resident(agent.pid());
    run(count / 10, count);
    before.comes_back(agent.pid());
    let late = resident(agent.pid());
    println!(
        "figure: {count} cycles of {what} in {:.1} s: {before:?} -> {:?}, resident {early} KiB after a tenth, {late} KiB at the end",
        start.elapsed().as_secs_f64(),
        Footprint::of(agent.pid()),
    );
    assert!(late < early + SLACK, "{what}: {early} KiB -> {late} KiB");
}

#[test]
fn ten_thousand_connections_leave_nothing() {
    guarded!(|| {
        // Each line of the log is written; ten thousand of them are no subject here.
        let mut agent = Agent::start_with(&[("vars", "log_level", "info")]);
        let address = agent.address();
        cycles(&agent, "connect, call, disconnect", 10_000, |number| {
            let mut wire = Wire::open(address);
            wire.send(
                b"CONNECT\naccept-version:1.2\nhost:test\nheart-beat:0,0\n\n\0\
                  SUBSCRIBE\ndestination:answers\nid:a\n\n\0\
                  SEND\ndestination:jms.topic.vdsm_requests\nreply-to:answers\n\n\
                  {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"Host.getVMList\",\"params\":{}}\0",
            );
            assert_eq!(wire.next().expect("an answer").command, "CONNECTED");
            assert_eq!(wire.next().expect("an answer").json()["result"], json!([]));
            match number % 3 {
                0 => wire.send(b"DISCONNECT\n\n\0"),
                1 => {}
                _ => set_socket_linger(&wire.stream, Some(std::time::Duration::ZERO)).unwrap(),
            }
        });
        agent.stop();
    });
}

#[test]
fn connections_with_tls_leave_nothing() {
    guarded!(|| {
        let authority = Authority::new("the CA");
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = ("certs/vdsmcert.pem", "keys/vdsmkey.pem");
        authority.issue(dir.path(), named("host"), cert, key, "certs/cacert.pem");
        let files = authority.issue(dir.path(), named("engine"), "c.pem", "c.key", "ca.pem");
        let mut agent = Agent::boot_only(&[
            ("vars", "ssl", "true"),
            ("vars", "trust_store_path", dir.path().to_str().unwrap()),
            ("vars", "log_level", "info"),
        ]);
        let address = HostPort::parse("127.0.0.1", agent.address().port()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ping = || {
            runtime.block_on(async {
                let config = ClientConfig::new(address.clone(), Some(files.clone()));
                let client = Client::connect(config).await?;
                client
                    .call("Host.ping2", None, None, common::PATIENCE)
                    .await
            })
        };
        wait_for("the agent to serve", || match ping() {
            Err(ClientError::Rpc(error)) if error.code == 99 => None,
            other => Some(other.unwrap()),
        });
        cycles(&agent, "connect, call, disconnect with TLS", 500, |_| {
            assert_eq!(ping().unwrap().get(), "true");
        });
        agent.stop();
    });
}

#[test]
fn a_thousand_vms_leave_nothing() {
    guarded!(|| {
        let mut agent = Agent::start_with(&[("vars", "log_level", "info")]);
        let clients: Vec<_> = (0..AT_ONCE).map(|_| agent.client()).collect();
        let clients: Vec<_> = clients.into_iter().map(std::sync::Mutex::new).collect();
        cycles(&agent, "create and destroy a VM", 1000, |_| {
            let client = clients.iter().find_map(|client| client.try_lock().ok());
            let client = client.expect("as many as there are threads");
            let vm = id();
            let xml = format!(
                "<domain type='test'><name>{vm}</name><uuid>{vm}</uuid><memory>65536</memory>\
                 <os><type>hvm</type></os><devices/></domain>"
            );
            let create = json!({"vmID": vm, "vmParams": {"xml": xml}});
            client.call("VM.create", create).unwrap();
            wait_for("the VM to run", || {
                let stats = client.call("VM.getStats", json!({"vmID": vm})).unwrap();
                let status = stats[0]["status"].as_str().unwrap().to_owned();
                assert_ne!(status, "Down", "{stats}");
                (status != "WaitForLaunch").then_some(())
            });
            client.call("VM.destroy", json!({"vmID": vm})).unwrap();
        });
        assert_eq!(agent.ok("Host.getVMList", json!({})), json!([]));
        drop(clients);
        agent.stop();
    });
}
