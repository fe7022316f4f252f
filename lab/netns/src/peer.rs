//! Another network: that of a process that sleeps and ends with its handle, or with the thread that made it.

use std::{
    fs::{self, File},
    os::fd::{AsFd as _, AsRawFd as _},
    panic::resume_unwind,
    path::Path,
    thread,
    time::Duration,
};

use exec::{Child, Command, ExecError, Stdio};
use nix::ifaddrs::getifaddrs;
use rustix::{
    net::{AddressFamily, SendFlags, SocketType, send, socket},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{batch, finish, ip};

/// Another network, its loopback up, and the servers that were started in it.
#[derive(Debug)]
pub struct Peer {
    holder: Child,
    servers: Vec<Child>,
}

impl Default for Peer {
    fn default() -> Self {
        Self::new()
    }
}

impl Peer {
    /// A network without links.
    #[track_caller]
    pub fn new() -> Self {
        Self::start().unwrap_or_else(|error| panic!("no other network: {error}"))
    }

    /// As [`Peer::new`], where the machine may refuse it.
    pub fn start() -> Result<Self, ExecError> {
        let sleep = Command::new("sleep").arg("3600").private_network();
        Ok(Self {
            holder: sleep.die_with_parent().spawn()?,
            servers: Vec::new(),
        })
    }

    /// A process in it, by which `ip` names it (`netns PID`).
    pub fn pid(&self) -> i32 {
        self.holder.pid()
    }

    /// A program in it.
    pub fn command(&self, program: &str) -> Command {
        let pid = self.pid().to_string();
        // nsenter looks in fewer folders.
        let path = exec::command::find(program).unwrap_or_else(|| program.into());
        let command = Command::new("nsenter").args(["-t", &pid, "-n", "--"]);
        command.arg(path)
    }

    /// As [`run`](crate::run), in it.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let mut words = line.split_ascii_whitespace();
        let program = words.next().unwrap_or_default();
        finish(self.command(program).args(words), line)
    }

    /// As [`crate::ip`], in it.
    #[track_caller]
    pub fn ip(&self, lines: &str) {
        batch(self.command("ip"), lines);
    }

    /// As [`Peer::ip`], where the family cannot be told from the words.
    #[track_caller]
    pub fn ip6(&self, lines: &str) {
        batch(self.command("ip").arg("-6"), lines);
    }

    /// Sets a value in it, `name` beneath `/proc/sys/net`.
    #[track_caller]
    pub fn sysctl(&self, name: &str, value: &str) {
        // Whose network it is, is decided by the thread that opens the file.
        let written = self.within(|| fs::write(format!("/proc/sys/net/{name}"), value));
        written.unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// A cable: `here` in the caller's network, `there` in it, both up.
    #[track_caller]
    pub fn link(&self, here: &str, there: &str) {
        let pid = self.pid();
        ip(&format!(
            "link add {here} type veth peer name {there} netns {pid}\nlink set {here} up"
        ));
        self.ip(&format!("link set {there} up"));
    }

    /// Does something in it, on a thread of its own: the thread moves, the process stays.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), network).unwrap();
                act()
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Sends a frame, whole from its addresses on, out of the interface `there`.
    #[track_caller]
    pub fn send_frame(&self, there: &str, frame: &[u8]) {
        self.within(|| {
            let mut all = getifaddrs().unwrap();
            let link = all.find_map(|it| {
                let address = it.address.filter(|_| it.interface_name == there)?;
                address.as_link_addr().copied()
            });
            let link = link.unwrap_or_else(|| panic!("there is no {there}"));
            let socket = socket(AddressFamily::PACKET, SocketType::RAW, None).unwrap();
            nix::sys::socket::bind(socket.as_raw_fd(), &link).unwrap();
            send(&socket, frame, SendFlags::empty()).unwrap();
        });
    }

    /// Starts dnsmasq on the interface `there`, without DNS and the machine's own settings; `folder` gets its leases and its
    /// log. Answers its place, for [`Peer::end_server`].
    #[track_caller]
    pub fn dnsmasq(&mut self, folder: &Path, there: &str, args: &[&str]) -> usize {
        let leases = folder.join(format!("leases-{there}"));
        let command = self
            .command("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0"])
            .args([
                "--no-resolv",
                "--no-hosts",
                "--no-ping",
                "--bind-interfaces",
            ])
            .args([
                "--user=root",
                "--pid-file=",
                "--log-facility=-",
                "--log-dhcp",
            ])
            .arg(format!("--interface={there}"))
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .arg("--except-interface=lo")
            .args(args);
        let log = File::create(folder.join(format!("dnsmasq-{there}"))).unwrap();
        let command = command.stdout_to(Stdio::Null);
        let server = command.stderr_to(Stdio::File(log.into())).spawn().unwrap();
        self.servers.push(server);
        self.servers.len() - 1
    }

    /// Ends the server at this place.
    #[track_caller]
    pub fn end_server(&mut self, which: usize) {
        self.servers
            .get_mut(which)
            .unwrap()
            .end(Duration::from_secs(2));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.end(Duration::from_secs(2));
        }
        self.holder.end(Duration::from_secs(1));
    }
}
