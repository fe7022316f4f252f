//! The agent with a socket that somebody else holds for it, as systemd does: nobody is refused while it starts and
//! restarts, the first request is answered, and what it tells is heard.
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
    fs,
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    process::{Child, Command, Output, Stdio},
};

use common::{Caller, guarded, mounts::Slow, wait_for};
use serde_json::json;
use tempfile::TempDir;

/// A folder for agents on one socket.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        for name in ["state", "run", "repository"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let text = format!(
            "[vars]\nssl = false\nlibvirt_uri = test:///default\naccelerator = tcg\nstate_dir = {}\nrun_dir = {}\n\
             log_target = stderr\n[addresses]\nmanagement_ip = 127.0.0.1\nmanagement_port = 0\n[irs]\nrepository = {}\n\
             [supervdsm]\nenable = false\n",
            at("state"),
            at("run"),
            at("repository")
        );
        fs::write(dir.path().join("vdsm.conf"), text).unwrap();
        Self { dir }
    }

    /// Another line in its configuration.
    fn set(&self, old: &str, new: &str) {
        let path = self.dir.path().join("vdsm.conf");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{old}");
        fs::write(&path, text.replace(old, new)).unwrap();
    }

    /// Starts `vdsmd` with this as its descriptor 3. A shell puts it there and learns the process id, as the protocol
    /// wants it.
    fn start(&self, socket: impl Into<OwnedFd>, environment: &[(&str, String)]) -> Child {
        #[expect(clippy::disallowed_methods, reason = "a test starts what it tests")]
        Command::new("/bin/sh")
            .arg("-c")
            .arg("exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --config \"$1\"")
            .arg(env!("CARGO_BIN_EXE_vdsmd"))
            .arg(self.dir.path().join("vdsm.conf"))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(socket.into()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn socket() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn end(mut agent: Child) -> Output {
    let pid = rustix::process::Pid::from_child(&agent);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // Its log must not fill the pipe.
    let stderr = agent.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stderr.unwrap(), &mut text);
        text
    });
    let status = agent.wait().unwrap();
    Output {
        status,
        stdout: Vec::new(),
        stderr: reader.join().unwrap(),
    }
}

#[test]
fn the_request_that_starts_the_agent_is_answered() {
    guarded!(|| {
        let place = Place::new();
        let (listener, port) = socket();
        // It connects before there is an agent: it waits in the queue.
        let early = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let agent = place.start(listener.try_clone().unwrap(), &[]);
        let pong = Caller::connect(port).call("Host.ping2", json!({}));
        assert_eq!(pong, Ok(json!(true)), "never code 99");
        drop(early);
        let ended = end(agent);
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{log}");
        assert!(log.contains("systemd holds another port"), "{log}");
    });
}

#[test]
fn nobody_waits_for_a_look_at_kvm_but_who_must_know() {
    guarded!(|| {
        if let Err(error) = fs::File::options().read(true).write(true).open("/dev/kvm") {
            println!("skipped: /dev/kvm: {error}");
            return;
        }
        let Some(qemu) = Slow::kvm() else { return };
        qemu.close();
        let place = Place::new();
        place.set(
            "accelerator = tcg",
            "accelerator = auto\nkvm_probe_timeout = 600",
        );
        let (listener, port) = socket();
        let agent = place.start(listener.try_clone().unwrap(), &[]);
        let caller = Caller::connect(port);
        assert_eq!(caller.call("Host.ping2", json!({})), Ok(json!(true)));
        assert!(caller.call("Host.getStats", json!({})).is_ok());
        let asking = std::thread::spawn(move || {
            Caller::connect(port).call("Host.getCapabilities", json!({}))
        });
        assert_eq!(caller.call("Host.ping2", json!({})), Ok(json!(true)));
        assert!(!asking.is_finished(), "the look goes on");
        qemu.open();
        let capabilities = asking.join().unwrap().unwrap();
        assert_eq!(capabilities["kvmEnabled"], "true");
        assert!(end(agent).status.success());
    });
}

#[test]
fn nobody_is_refused_between_two_agents() {
    guarded!(|| {
        let place = Place::new();
        let (listener, port) = socket();
        let mut agent = place.start(listener.try_clone().unwrap(), &[]);
        for round in 0..3 {
            assert_eq!(
                Caller::connect(port).call("Host.ping2", json!({})),
                Ok(json!(true))
            );
            if round == 1 {
                agent.kill().unwrap();
                agent.wait().unwrap();
            } else {
                assert!(end(agent).status.success());
            }
            let waiting = TcpStream::connect(("127.0.0.1", port)).expect("the port stays open");
            agent = place.start(listener.try_clone().unwrap(), &[]);
            drop(waiting);
        }
        end(agent);
    });
}

#[test]
fn the_service_manager_is_told() {
    guarded!(|| {
        let place = Place::new();
        let (listener, port) = socket();
        let path = place.dir.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_nonblocking(true).unwrap();
        let environment = [
            ("NOTIFY_SOCKET", path.display().to_string()),
            ("WATCHDOG_USEC", "300000".to_owned()),
        ];
        let agent = place.start(listener, &environment);
        let mut words = String::new();
        let mut wait = |wanted: &str, times: usize| {
            wait_for(wanted, || {
                let mut buffer = [0; 4096];
                while let Ok(length) = heard.recv(&mut buffer) {
                    words.push_str(&String::from_utf8_lossy(&buffer[..length]));
                    words.push('\n');
                }
                (words.matches(wanted).count() >= times).then_some(())
            });
        };
        wait("READY=1", 1);
        wait("STATUS=serving", 1);
        wait("WATCHDOG=1", 3);
        assert_eq!(
            Caller::connect(port).call("Host.ping2", json!({})),
            Ok(json!(true))
        );
        assert!(end(agent).status.success());
        wait("STOPPING=1", 1);
    });
}

#[test]
fn sockets_that_cannot_be_served_are_named() {
    guarded!(|| {
        let place = Place::new();
        let folder = fs::File::open(place.dir.path()).unwrap();
        let (unix, _other) = UnixStream::pair().unwrap();
        let (_listener, port) = socket();
        let connected = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let cases: [(OwnedFd, &str); 3] = [
            (folder.into(), "is not a TCP socket"),
            (unix.into(), "is not a TCP socket"),
            (connected.into(), "does not listen"),
        ];
        for (descriptor, words) in cases {
            let ended = place.start(descriptor, &[]).wait_with_output().unwrap();
            assert!(!ended.status.success());
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(
                said.contains(words) && said.contains("LISTEN_FDS"),
                "{said}"
            );
        }
    });
}
