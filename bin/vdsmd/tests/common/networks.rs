//! The agent as an ordinary user and the root helper, in a network of their own, beside a second network on the other end
//! of their cards. `ip` of iproute2 is the independent witness of what they do.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::{fs::PermissionsExt as _, fs::chown, net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use netns::Peer;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait, waitpid};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Caller, Serving, peers,
    programs::{AGENT, command, end, port_of},
    wait_for,
};

/// Agent and helper on one configuration, each a process of its own; and the peers of their cards.
pub struct Twins {
    dir: TempDir,
    helper: Option<Child>,
    agent: Option<Child>,
    /// Who is at the other end of its cards.
    pub peers: Peer,
    port: u16,
}

impl Twins {
    /// Starts both, with the cards `veth_a` and `veth_b`; `None`, with the reason printed, where that cannot be.
    pub fn start() -> Option<Self> {
        let twins = Self::start_agent_alone()?;
        Some(twins.with_helper())
    }

    /// As [`Self::start`], without the root helper.
    pub fn start_agent_alone() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        if let Err(why) = try_run("ip", &["link", "add", "veth_x", "type", "veth"]) {
            println!("skipped: no pair of cards: {why}");
            return None;
        }
        ip(&["link", "del", "veth_x"]);
        let peers = match Peer::start() {
            Ok(peers) => peers,
            Err(why) => {
                println!("skipped: no second network: {why}");
                return None;
            }
        };
        // The agent is nobody, and comes by here.
        let open = || fs::Permissions::from_mode(0o755);
        fs::set_permissions(std::env::temp_dir(), open()).unwrap();
        let dir = tempfile::Builder::new().prefix("vdsmd-").tempdir().unwrap();
        fs::set_permissions(dir.path(), open()).unwrap();
        let mut twins = Self {
            dir,
            helper: None,
            agent: None,
            peers,
            port: 0,
        };
        twins.lay_out();
        for card in ["veth_a", "veth_b"] {
            twins.cable(card);
        }
        twins.start_agent();
        Some(twins)
    }

    fn with_helper(mut self) -> Self {
        self.start_helper();
        self
    }

    /// A card of ours; at the peers' end `p` and its name. Both are up.
    pub fn cable(&self, card: &str) {
        self.peers.link(card, &format!("p{card}"));
    }

    fn lay_out(&self) {
        for sub in ["run", "state", "data-center", "log", "home"] {
            fs::create_dir(self.path(sub)).unwrap();
            chown(self.path(sub), Some(AGENT), Some(AGENT)).unwrap();
        }
        for sub in ["staging", "persistence", "root", "root/state", "root/dhcp"] {
            fs::create_dir(self.path(sub)).unwrap();
        }
        fs::write(self.path("resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
        for (name, target) in [("vdsmd.conf", "file"), ("supervdsmd.conf", "stderr")] {
            fs::write(self.path(name), self.configuration(target)).unwrap();
        }
    }

    fn configuration(&self, log_target: &str) -> String {
        let at = |sub: &str| self.path(sub).display().to_string();
        format!(
            "[vars]\nssl = false\nlibvirt_uri = test:///default\naccelerator = tcg\nstate_dir = {}\nrun_dir = {}\n\
             log_target = {log_target}\nlog_file = {}\n\
             [addresses]\nmanagement_ip = 0.0.0.0\nmanagement_port = 0\n\
             [irs]\nrepository = {}\n[sanlock]\nmode = local\n\
             [supervdsm]\nsocket = {}\nclient_user = {AGENT}\nallowed_roots = {}\nrequest_timeout = 60\n\
             netconf_running = {}\nnetconf_persistent = {}\nnetwork_state = {}\nnetworks_restored = {}\n\
             network_managers = false\ndhcp_dir = {}\ndhcp_client = {}\nresolv_conf = {}\n",
            at("state"),
            at("run"),
            at("log/vdsmd.log"),
            at("data-center"),
            at("sock"),
            at("data-center"),
            at("staging/netconf"),
            at("persistence/netconf"),
            at("root/state"),
            at("root/restored"),
            at("root/dhcp"),
            beside("vdsm-dhcp").display(),
            at("resolv.conf"),
        )
    }

    /// Starts the root helper.
    pub fn start_helper(&mut self) {
        self.helper = Some(self.next_helper());
    }

    /// A helper beside one that is dead, in its place.
    pub fn next_helper(&self) -> Child {
        let mut log = File::options();
        log.create(true).append(true);
        let log = log.open(self.path("helper.log")).unwrap();
        let program = beside("supervdsmd");
        assert!(
            program.exists(),
            "{} is not built: cargo build --workspace",
            program.display()
        );
        let mut command = command(&program, &self.path("supervdsmd.conf"));
        command.env_remove("JOURNAL_STREAM").stderr(log);
        let helper = command.spawn().unwrap();
        wait_for("the helper", || UnixStream::connect(self.path("sock")).ok());
        helper
    }

    /// Starts the agent and waits until it serves.
    pub fn start_agent(&mut self) {
        let _ = fs::remove_file(self.path("log/vdsmd.log"));
        let mut command = command(
            Path::new(env!("CARGO_BIN_EXE_vdsmd")),
            &self.path("vdsmd.conf"),
        );
        command.uid(AGENT).gid(AGENT).env("HOME", self.path("home"));
        self.agent = Some(command.stderr(Stdio::null()).spawn().unwrap());
        self.port = wait_for("the port", || port_of(&self.log()));
        wait_for("the agent to serve", || {
            self.client().call("Host.ping2", json!({})).ok()
        });
    }

    /// SIGKILL.
    pub fn kill_agent(&mut self) {
        end(&mut self.agent);
    }

    /// The port of the agent.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A path in the folder.
    pub fn path(&self, sub: &str) -> PathBuf {
        self.dir.path().join(sub)
    }

    /// The agent's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log/vdsmd.log")).unwrap_or_default()
    }

    /// Runs a program among the peers.
    pub fn at_peers(&self, words: &[&str]) {
        self.peers.run(&words.join(" "));
    }

    /// From a peer: an echo request to an address, and its reply, within a time.
    pub fn is_answered(&self, address: &str, time: Duration) -> bool {
        self.is_answered_from("0.0.0.0", address, time)
    }

    /// As [`Self::is_answered`], from one of the peers' addresses.
    pub fn is_answered_from(&self, source: &str, address: &str, time: Duration) -> bool {
        peers::is_answered_from(&self.peers, source, address, time)
    }

    /// From a peer: can the agent's port be reached?
    pub fn reaches_agent(&self, address: &str) -> bool {
        let address = SocketAddr::new(address.parse().unwrap(), self.port);
        let time = Duration::from_secs(20);
        self.peers
            .within(move || std::net::TcpStream::connect_timeout(&address, time).is_ok())
    }

    /// SIGKILL.
    pub fn kill_helper(&mut self) {
        end(&mut self.helper);
    }

    /// The process of the root helper.
    pub fn helper(&self) -> Pid {
        Pid::from_child(self.helper.as_ref().unwrap())
    }

    /// The process of a DHCP client (`green.v4`), if it runs.
    pub fn dhcp_client(&self, which: &str) -> Option<Pid> {
        let text = fs::read_to_string(self.path(&format!("root/dhcp/{which}.process"))).ok()?;
        let digits = text.split_once("\"pid\":")?.1;
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        let words = fs::read_to_string(format!("/proc/{digits}/cmdline")).ok()?;
        let ours = words.contains(&self.path("root/dhcp").display().to_string());
        ours.then(|| Pid::from_raw(digits.parse().unwrap()).unwrap())
    }

    /// Ends DHCP clients that a test which failed leaves, and collects all of them: they outlive the helper.
    fn end_dhcp_clients(&self) {
        let Ok(all) = fs::read_dir(self.path("root/dhcp")) else {
            return;
        };
        for file in all.filter_map(Result::ok) {
            let name = file.file_name().into_string().unwrap_or_default();
            let client = name.strip_suffix(".process");
            if let Some(pid) = client.and_then(|it| self.dhcp_client(it)) {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
        }
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }
}

impl Serving for Twins {
    fn client(&self) -> Caller {
        Caller::connect(self.port)
    }

    fn log_tail(&self) -> String {
        let tail = |log: String| {
            let lines: Vec<_> = log.lines().map(str::to_owned).collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        };
        let helper = fs::read_to_string(self.path("helper.log")).unwrap_or_default();
        format!("{}\nhelper:\n{}", tail(self.log()), tail(helper))
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log_tail());
        }
        end(&mut self.agent);
        end(&mut self.helper);
        self.end_dhcp_clients();
    }
}

/// Runs `ip` in our network.
pub fn ip(words: &[&str]) {
    run("ip", words);
}

/// What `ip -j` tells.
pub fn ip_json(words: &[&str]) -> Value {
    let mut all = vec!["-j"];
    all.extend(words);
    let text = run("ip", &all);
    serde_json::from_str(&text).unwrap_or(json!([]))
}

/// One of our programs.
pub fn beside(program: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_vdsmd")).with_file_name(program)
}

/// Runs a program, which must succeed, and answers what it says.
pub fn run(program: &str, words: &[&str]) -> String {
    try_run(program, words).unwrap_or_else(|why| panic!("{program} {words:?}: {why}"))
}

fn try_run(program: &str, words: &[&str]) -> Result<String, String> {
    #[expect(clippy::disallowed_methods, reason = "a test asks a witness")]
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8(output.stdout).unwrap())
}

/// As Engine asks for a network with a bridge and one address.
pub fn bridged() -> Value {
    json!({
        "nic": "veth_a", "mtu": 1400, "bridged": "true", "STP": "no", "bootproto": "none",
        "ipaddr": "192.0.2.2", "prefix": "24", "dhcpv6": false, "ipv6autoconf": false, "switch": "legacy",
    })
}

/// Parameters of `Host.setupNetworks`.
pub fn setup(networks: Value, options: Value) -> Value {
    json!({"networks": networks, "bondings": {}, "options": options})
}

/// Options: nobody has to confirm, and it is safe at once.
pub fn unchecked() -> Value {
    json!({"connectivityCheck": "false", "commitOnSuccess": true})
}

/// An interface, as `ip` tells it.
pub fn link(name: &str) -> Option<Value> {
    let all = ip_json(&["addr"]);
    let mut all = all.as_array().unwrap().iter();
    all.find(|it| it["ifname"] == name).cloned()
}

/// Its IPv4 addresses.
pub fn address_of(link: &Value) -> Vec<String> {
    let all = link["addr_info"].as_array().unwrap().iter();
    let v4 = all.filter(|it| it["family"] == "inet");
    v4.map(|it| {
        format!(
            "{}/{}",
            it["local"].as_str().unwrap(),
            it["prefixlen"].as_u64().unwrap()
        )
    })
    .collect()
}

/// What `ip` tells of the network, without what moves by itself.
pub fn witnessed() -> Value {
    let mut links = Vec::new();
    for link in ip_json(&["addr"]).as_array().unwrap() {
        let addresses = link["addr_info"].as_array().unwrap().iter();
        let told = addresses.filter(|it| it["scope"] != "link");
        let told: Vec<_> = told
            .map(|it| json!([it["local"], it["prefixlen"], it["dynamic"]]))
            .collect();
        let up = link["flags"].as_array().unwrap().contains(&json!("UP"));
        links.push(json!([
            link["ifname"],
            link["mtu"],
            link["master"],
            up,
            told
        ]));
    }
    json!({
        "links": links,
        "routes": ip_json(&["route", "show", "table", "all", "proto", "118"]),
        "routes6": ip_json(&["-6", "route", "show", "table", "all", "proto", "118"]),
        "rules": ip_json(&["rule"]),
        "rules6": ip_json(&["-6", "rule"]),
    })
}
