//! A real NetworkManager on a bus of its own: it lets go of what is ours, and takes it back.
//!
//! Each test runs in a process with mounts and a network of its own, in which `/run`, `/etc/NetworkManager` and
//! `/var/lib/NetworkManager` are empty and its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use exec::{Child, Command, ExecError, Stdio};
use net_apply::managers::{Held, Managers};
use net_model::IfName;
use netns::{LONG, run, wait_for};
use rustix::mount::{MountFlags, mount, mount_bind};

const MARK: &str = "VDSM_TEST_NETWORKMANAGER";
const OURS: &str = "/etc/NetworkManager/conf.d/vdsm-rs.conf";
const NAME_SERVERS: &str = "/etc/resolv.conf";
const FOLDERS: [&str; 3] = ["/run", "/etc/NetworkManager", "/var/lib/NetworkManager"];

/// Runs `test`, all of the test function of this name, in a process of its own.
fn apart(name: &str, test: impl FnOnce()) {
    if env::var(MARK).is_ok_and(|it| it == name) {
        return test();
    }
    let programs = ["NetworkManager", "nmcli", "dbus-daemon", "ip"];
    let missing = programs.iter().find(|it| exec::command::find(it).is_none());
    let missing = missing.map(ToString::to_string).or_else(|| {
        FOLDERS
            .iter()
            .find(|it| !Path::new(it).is_dir())
            .map(ToString::to_string)
    });
    if let Some(missing) = missing {
        println!("skipped: {missing} is not here");
        return;
    }
    let own = env::current_exe().unwrap();
    let result = Command::new(own)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .timeout(LONG * 2)
        .marked()
        .private_mounts()
        .private_network()
        .run();
    match result {
        Err(ExecError::Start { step, .. }) if step != "execve" => {
            println!("skipped: no mounts and network of its own: {step} is refused");
        }
        result => {
            let output = result.unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let passed = output.exit.success() && text.contains("test result: ok. 1 passed");
            assert!(passed, "{text}{}", output.stderr_text());
            text.lines()
                .filter(|it| it.contains("skipped:"))
                .for_each(|it| println!("{it}"));
        }
    }
}

fn start(program: &str, args: &[&str]) -> Child {
    let command = Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let command = command.stdout_to(Stdio::Null).stderr_to(Stdio::Null);
    command.spawn().unwrap()
}

/// A host with a bus and NetworkManager; they end with it.
struct Host {
    manager: Child,
    _bus: Child,
}

impl Host {
    fn new() -> Self {
        for folder in FOLDERS {
            mount("tmpfs", folder, "tmpfs", MountFlags::empty(), None).unwrap();
        }
        // One that cannot be written: NetworkManager then does not wait for udev.
        mount("sysfs", "/sys", "sysfs", MountFlags::RDONLY, None).unwrap();
        for folder in [
            "/run/dbus",
            "/run/NetworkManager",
            "/etc/NetworkManager/conf.d",
        ] {
            fs::create_dir_all(folder).unwrap();
        }
        // Name servers are left alone: /etc/resolv.conf is the machine's, and what is written all the same goes to a copy.
        if Path::new(NAME_SERVERS).exists() {
            fs::copy(NAME_SERVERS, "/run/resolv.conf").unwrap();
            mount_bind("/run/resolv.conf", NAME_SERVERS).unwrap();
        }
        let settings = "[main]\nplugins=keyfile\ndns=none\nrc-manager=unmanaged\n\
                        [keyfile]\nunmanaged-devices=interface-name:foreign*\n";
        fs::write("/etc/NetworkManager/NetworkManager.conf", settings).unwrap();
        let bus = start(
            "dbus-daemon",
            &["--system", "--nofork", "--nopidfile", "--nosyslog"],
        );
        wait_for("a bus", || {
            Path::new("/run/dbus/system_bus_socket")
                .exists()
                .then_some(())
        });
        let manager = start("NetworkManager", &["--no-daemon"]);
        let host = Self { manager, _bus: bus };
        Self::answers();
        host
    }

    fn answers() {
        wait_for("NetworkManager", || {
            let asked = Command::new("nmcli")
                .args(["-t", "-f", "RUNNING", "general"])
                .run();
            let output = asked.ok()?;
            String::from_utf8_lossy(&output.stdout)
                .contains("running")
                .then_some(())
        });
    }

    fn restart(&mut self) {
        self.manager.end(Duration::from_secs(10));
        self.manager = start("NetworkManager", &["--no-daemon"]);
        Self::answers();
    }
}

/// What NetworkManager makes of a device.
fn state(device: &str) -> String {
    let all = run("nmcli -t -f DEVICE,STATE device");
    let line = all
        .lines()
        .find_map(|it| it.strip_prefix(device)?.strip_prefix(':'));
    line.unwrap_or("unknown").to_owned()
}

fn held(names: &[&str]) -> Held {
    Held {
        devices: names.iter().map(|it| IfName::new(it).unwrap()).collect(),
        nameservers: true,
    }
}

fn hold(held: &Held) {
    let until = Instant::now() + LONG;
    Managers::default()
        .hold(held, until)
        .unwrap_or_else(|error| panic!("{error}"));
}

/// A bridge of NetworkManager's with addresses and a route.
fn bridge() {
    let add = "nmcli connection add type bridge con-name given ifname given0 bridge.stp no \
               ipv4.method manual ipv4.addresses 192.0.2.5/24 ipv4.gateway 192.0.2.1 \
               ipv6.method manual ipv6.addresses 2001:db8::5/64";
    run(add);
    run("nmcli connection up given");
    run("ip link add port0 type veth peer name port1");
    run("ip link set port1 up");
    run("ip link set port0 up master given0");
    wait_for("its addresses", || has_all().then_some(()));
}

fn has_all() -> bool {
    let addresses = run("ip -o address show dev given0");
    let routes = run("ip route show dev given0");
    addresses.contains("192.0.2.5/24")
        && addresses.contains("2001:db8::5/64")
        && routes.contains("default via 192.0.2.1")
}

#[test]
fn netns_what_is_ours_is_let_go_and_keeps_its_addresses() {
    apart(
        "netns_what_is_ours_is_let_go_and_keeps_its_addresses",
        || {
            let mut host = Host::new();
            bridge();
            wait_for("it is connected", || {
                state("given0").starts_with("connected").then_some(())
            });
            // Also of one that is not there yet.
            hold(&held(&["given0", "later0"]));
            assert_eq!(state("given0"), "unmanaged");
            assert!(has_all(), "{}", run("ip address"));
            hold(&held(&["given0", "later0"]));
            run("ip link add later0 type bridge");
            run("ip address add 198.51.100.7/24 dev later0");
            run("ip link set later0 up");
            // Both live through a restart of it.
            host.restart();
            for device in ["given0", "later0"] {
                wait_for("it knows the device", || {
                    (state(device) != "unknown").then_some(())
                });
                assert_eq!(state(device), "unmanaged");
            }
            assert!(has_all(), "{}", run("ip address"));
            assert!(run("ip -o address show dev later0").contains("198.51.100.7/24"));
            // And a reading of its files anew.
            run("nmcli general reload");
            assert!(has_all(), "{}", run("ip address"));
        },
    );
}

#[test]
fn netns_what_is_given_back_is_managed_again() {
    apart("netns_what_is_given_back_is_managed_again", || {
        let _host = Host::new();
        bridge();
        hold(&held(&["given0"]));
        assert_eq!(state("given0"), "unmanaged");
        hold(&Held::default());
        assert!(!Path::new(OURS).exists());
        wait_for("it is managed", || {
            (state("given0") != "unmanaged").then_some(())
        });
        hold(&Held::default());
    });
}

#[test]
fn netns_a_manager_that_hangs_is_not_waited_for() {
    apart("netns_a_manager_that_hangs_is_not_waited_for", || {
        let host = Host::new();
        bridge();
        host.manager.signal(19).unwrap();
        let until = Instant::now() + Duration::from_secs(2);
        let refused = Managers::default().hold(&held(&["given0"]), until);
        let why = refused.unwrap_err().to_string();
        assert!(why.starts_with("NetworkManager: "), "{why}");
        assert!(Instant::now() < until + LONG);
        // The next attempt does what is left.
        host.manager.signal(18).unwrap();
        hold(&held(&["given0"]));
        assert_eq!(state("given0"), "unmanaged");
        assert!(has_all(), "{}", run("ip address"));
    });
}

#[test]
fn netns_one_that_does_not_run_gets_its_file() {
    apart("netns_one_that_does_not_run_gets_its_file", || {
        for folder in FOLDERS {
            mount("tmpfs", folder, "tmpfs", MountFlags::empty(), None).unwrap();
        }
        hold(&held(&["given0"]));
        let text = fs::read_to_string(OURS).unwrap();
        assert!(text.contains("interface-name:=given0;"), "{text}");
        hold(&Held::default());
        assert!(!Path::new(OURS).exists());
    });
}
