//! Who may talk to the agent: only holders of a certificate of its CA that is within its time.
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
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use common::{
    Agent,
    authority::{Authority, named, renew},
    guarded, wait_for,
};
use rcgen::date_time_ymd;
use rpc::{Client, ClientConfig, ClientError, TlsFiles};
use rustix::{
    net::{AddressFamily, SocketType, bind, connect, socket},
    process::{Pid, Signal, kill_process},
};
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

fn protected() -> (Authority, tempfile::TempDir, Agent) {
    let authority = Authority::new("the CA");
    let dir = tempfile::tempdir().unwrap();
    renew(&authority, dir.path(), named("host"));
    let store = dir.path().display().to_string();
    let agent = Agent::boot_only(&[
        ("vars", "ssl", "true"),
        ("vars", "trust_store_path", &store),
    ]);
    (authority, dir, agent)
}

async fn ping(port: u16, tls: Option<TlsFiles>) -> Result<Box<RawValue>, ClientError> {
    let mut config = ClientConfig::new(
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
            .try_into()
            .unwrap(),
        tls,
    );
    config.timeout = Duration::from_secs(5);
    Client::connect(config)
        .await?
        .call("Host.ping2", None, None, Duration::from_secs(5))
        .await
}

#[test]
fn only_certificates_of_the_ca_are_let_in() {
    guarded!(|| {
        let (authority, dir, agent) = protected();
        let port = agent.address().port();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let good = authority.issue(dir.path(), named("engine"), "c.pem", "c.key", "ca.pem");
        wait_for("the agent to serve", || {
            match runtime.block_on(ping(port, Some(good.clone()))) {
                Err(ClientError::Rpc(error)) if error.code == 99 => None,
                other => Some(other.unwrap()),
            }
        });

        let foreign = Authority::new("another CA");
        let mut stranger = foreign.issue(dir.path(), named("engine"), "f.pem", "f.key", "f-ca.pem");
        stranger.ca.clone_from(&good.ca);
        let mut old = named("engine");
        old.not_before = date_time_ymd(2001, 1, 1);
        old.not_after = date_time_ymd(2002, 1, 1);
        let expired = authority.issue(dir.path(), old, "o.pem", "o.key", "o-ca.pem");
        for (who, files) in [
            ("another CA", Some(stranger)),
            ("expired", Some(expired)),
            ("plain", None),
        ] {
            let refused = runtime.block_on(ping(port, files));
            assert!(
                !matches!(refused, Ok(_) | Err(ClientError::Rpc(_))),
                "{who}: {refused:?}"
            );
        }
        let answer = runtime.block_on(ping(port, Some(good))).unwrap();
        assert_eq!(answer.get(), "true", "the agent is still there for others");
    });
}

/// Waits until the agent serves holders of these files.
fn wait_until_served(runtime: &Runtime, port: u16, files: &TlsFiles) {
    wait_for("the agent to serve", || {
        match runtime.block_on(ping(port, Some(files.clone()))) {
            Err(ClientError::Rpc(error)) if error.code == 99 => None,
            other => Some(other.unwrap()),
        }
    });
}

fn is_served(runtime: &Runtime, port: u16, files: &TlsFiles) -> bool {
    runtime.block_on(ping(port, Some(files.clone()))).is_ok()
}

fn hang_up(agent: &Agent) {
    let pid = Pid::from_raw(agent.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

fn count(agent: &Agent, text: &str) -> usize {
    agent.log().matches(text).count()
}

#[test]
fn renewed_certificates_are_taken_without_a_restart() {
    guarded!(|| {
        let (old, dir, agent) = protected();
        let port = agent.address().port();
        let runtime = Runtime::new().unwrap();
        let before = old.issue(dir.path(), named("engine"), "c.pem", "c.key", "ca.pem");
        wait_until_served(&runtime, port, &before);
        let address = agent.address().try_into().unwrap();
        let config = ClientConfig::new(address, Some(before.clone()));
        let open = runtime.block_on(Client::connect(config)).unwrap();

        // Another authority, found by the agent itself, without any signal.
        let new = Authority::new("a new CA");
        let after = new.issue(dir.path(), named("engine"), "n.pem", "n.key", "n-ca.pem");
        renew(&new, dir.path(), named("host"));
        wait_for("the new certificates to serve", || {
            is_served(&runtime, port, &after).then_some(())
        });
        assert!(!is_served(&runtime, port, &before), "the old CA is gone");
        let call = open.call("Host.ping2", None, None, Duration::from_secs(20));
        let answer = runtime.block_on(call).unwrap();
        assert_eq!(answer.get(), "true", "an open connection goes on");

        // Files that cannot be used: told once, and what served goes on.
        fs::write(dir.path().join("keys/vdsmkey.pem"), "no key").unwrap();
        hang_up(&agent);
        let broken = "new certificates cannot be used";
        wait_for("the line", || (count(&agent, broken) > 0).then_some(()));
        assert!(agent.log().contains("private key"), "{}", agent.log());
        assert!(is_served(&runtime, port, &after));
        std::thread::sleep(Duration::from_secs(22));
        assert_eq!(count(&agent, broken), 1, "two looks later: {}", agent.log());

        // By signal back to the first authority, at once.
        renew(&old, dir.path(), named("host"));
        hang_up(&agent);
        wait_for("the old authority to serve", || {
            is_served(&runtime, port, &before).then_some(())
        });
        assert!(!is_served(&runtime, port, &after));
        drop(open);
    });
}

#[test]
fn a_revoked_client_is_refused_as_soon_as_the_list_says_so() {
    guarded!(|| {
        let authority = Authority::new("the CA");
        let dir = tempfile::tempdir().unwrap();
        renew(&authority, dir.path(), named("host"));
        let lists = dir.path().join("lists.pem");
        fs::write(&lists, authority.revoke(&[])).unwrap();
        let agent = Agent::boot_only(&[
            ("vars", "ssl", "true"),
            ("vars", "trust_store_path", dir.path().to_str().unwrap()),
            ("vars", "revocation_lists", lists.to_str().unwrap()),
        ]);
        let (port, runtime) = (agent.address().port(), Runtime::new().unwrap());
        let issue = |serial: u64, name: &str| {
            let mut params = named(name);
            params.serial_number = Some(serial.into());
            let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
            authority.issue(dir.path(), params, &cert, &key, "ca.pem")
        };
        let (engine, thief) = (issue(7, "engine"), issue(8, "thief"));
        wait_until_served(&runtime, port, &engine);
        assert!(is_served(&runtime, port, &thief));
        fs::write(&lists, authority.revoke(&[8])).unwrap();
        hang_up(&agent);
        wait_for("the list to count", || {
            (!is_served(&runtime, port, &thief)).then_some(())
        });
        assert!(is_served(&runtime, port, &engine));
    });
}

#[test]
fn a_clients_name_is_compared_where_that_is_wanted() {
    guarded!(|| {
        for wanted in ["false", "true"] {
            let authority = Authority::new("the CA");
            let dir = tempfile::tempdir().unwrap();
            renew(&authority, dir.path(), named("host"));
            let agent = Agent::boot_only(&[
                ("vars", "ssl", "true"),
                ("vars", "trust_store_path", dir.path().to_str().unwrap()),
                ("vars", "verify_client_cert", wanted),
            ]);
            let issue = |name| authority.issue(dir.path(), named(name), "c.pem", "c.key", "ca.pem");
            let own = Ipv4Addr::new(127, 0, 0, 9);
            let right = connected(agent.address(), own, &issue("127.0.0.9"));
            assert!(right, "{}", agent.log());
            let wrong = connected(agent.address(), own, &issue("127.0.0.8"));
            assert_eq!(wrong, wanted == "false", "{}", agent.log());
        }
    });
}

/// Whether an agent says CONNECTED to a client that comes from this address.
fn connected(agent: SocketAddr, own: Ipv4Addr, files: &TlsFiles) -> bool {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((own, 0))).unwrap();
    connect(&socket, &agent).unwrap();
    let name = rustls_pki_types::ServerName::try_from("host").unwrap();
    let session = rustls::ClientConnection::new(files.client_config().unwrap(), name).unwrap();
    let mut stream = rustls::StreamOwned::new(session, TcpStream::from(socket));
    let _ = stream.write_all(b"CONNECT\naccept-version:1.2\n\n\0");
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).is_ok() && answer == *b"CONNECTED"
}

/// Runs `vdsmd --certificates`.
fn told(conf: &Path) -> (bool, String) {
    #[expect(clippy::disallowed_methods, reason = "a test starts what it tests")]
    let output = Command::new(env!("CARGO_BIN_EXE_vdsmd"))
        .args(["--certificates", "--config"])
        .arg(conf)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_end_of_certificates_is_told_in_time() {
    guarded!(|| {
        let now = UNIX_EPOCH + observe::clock::since_epoch();
        let cases = [
            (100, " INFO ", "the certificate ends in 100 days", true),
            (20, " WARN ", "the certificate ends in 20 days", true),
            (5, "ERROR ", "the certificate ends in 5 days", false),
            (-5, "ERROR ", "the certificate has expired", false),
        ];
        for (days, level, text, fine) in cases {
            let days: i32 = days;
            let authority = Authority::new("the CA");
            let dir = tempfile::tempdir().unwrap();
            let mut params = named("host");
            params.not_before = date_time_ymd(2001, 1, 1);
            let distance = Duration::from_secs(u64::from(days.unsigned_abs()) * 86_400);
            let end = if days < 0 {
                now - distance
            } else {
                now + distance
            };
            // Half a day more, so that the hour of the test does not count.
            params.not_after = (end + Duration::from_hours(12)).into();
            renew(&authority, dir.path(), params);
            let agent = Agent::boot_only(&[
                ("vars", "ssl", "true"),
                ("vars", "trust_store_path", dir.path().to_str().unwrap()),
            ]);
            let log = agent.log();
            let line = log.lines().find(|line| line.contains(text));
            assert!(line.is_some_and(|line| line.contains(level)), "{log}");
            let (success, told) = told(&agent.path("vdsm.conf"));
            assert_eq!(success, fine, "{told}");
            assert!(told.contains(text), "{told}");
            assert!(told.contains("the CA certificate ends in "), "{told}");
        }
    });
}

#[test]
fn without_certificates_it_says_which_file_is_missing() {
    guarded!(|| {
        let told = Agent::refused(&[
            ("vars", "ssl", "true"),
            ("vars", "trust_store_path", "/nonexistent"),
        ]);
        assert!(told.contains("/nonexistent/certs/cacert.pem"), "{told}");
    });
}
