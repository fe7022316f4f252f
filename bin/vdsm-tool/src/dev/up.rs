//! Starting a private agent: folder, certificates, configuration, libvirt, vdsmd, in this order.
//!
//! Each process is recorded as soon as it runs. Whatever goes wrong on the way (an interruption too), what
//! was started is ended again and the end of the log that matters is in the error.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use exec::{Cancel, Command, Daemon, Process};
use rustix::fs::{FlockOperation, flock};
use signal_hook::consts::SIGINT;

use super::{Account, Agent, ClientLine, Layout, client, conf, down, layout, record::Record};
use crate::{certs, cli::UpArgs, interrupt::wait_for};

/// The daemons that can serve `qemu:///session`: the one for all, else the one for QEMU alone.
const LIBVIRT: [&str; 2] = ["libvirtd", "virtqemud"];

/// How long libvirt may take until its socket answers.
const LIBVIRT_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between questions to a vdsmd that starts: each leaves lines in its log.
const BETWEEN_PINGS: Duration = Duration::from_millis(100);

/// Bytes of a log that an error shows.
const TAIL: u64 = 4000;

/// Starts an agent, or finds the one that runs beneath the folder already.
pub(crate) fn up(args: &UpArgs, cancel: &Cancel, say: &mut dyn FnMut(&str)) -> Result<Agent> {
    let layout = Layout::new(&args.dir)?;
    layout.check_name()?;
    let account = Account::choose(args.user.as_deref())?;
    fs::create_dir_all(&layout.dir)
        .with_context(|| format!("cannot make {}", layout.dir.display()))?;
    let _lock = lock(&layout)?;
    if let Some(agent) = running(&layout, args)? {
        say("an agent runs there already");
        return Ok(agent);
    }
    down::end_all(&layout)?;
    let start = Start {
        layout: &layout,
        args,
        account: &account,
        cancel,
    };
    start.run(say).map_err(|error| {
        let ended = down::end_all(&layout).map(|_| ());
        match ended {
            Ok(()) => error.context("the agent did not come up (what was started is ended)"),
            Err(also) => error.context(format!(
                "the agent did not come up, and not all was ended: {also:#}"
            )),
        }
    })
}

/// Takes the folder's lock; waits a little for another command.
fn lock(layout: &Layout) -> Result<File> {
    take_lock(layout, |_| {})
}

/// Takes the folder's lock. A start that holds it is interrupted: who ends an agent need not wait for it.
pub(crate) fn lock_and_interrupt(layout: &Layout) -> Result<File> {
    let mut told = false;
    take_lock(layout, |holder| {
        if !told {
            told = true;
            // If it is gone by now, the lock is free.
            let _ = holder.signal(SIGINT);
        }
    })
}

/// Takes the folder's lock and writes into it who holds it. `busy` hears of a holder that still runs.
fn take_lock(layout: &Layout, mut busy: impl FnMut(Process)) -> Result<File> {
    let path = layout.lock();
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let what = "another vdsm-tool works on this folder";
    wait_for(
        what,
        Duration::from_mins(1),
        &Cancel::new(),
        |_| match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(())),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                holder(&path).into_iter().for_each(&mut busy);
                Ok(None)
            }
            Err(error) => Err(error).context("cannot lock the folder"),
        },
    )?;
    file.set_len(0)?;
    if let Some(own) = i32::try_from(std::process::id())
        .ok()
        .and_then(Process::find)
    {
        write!(file, "{} {}", own.pid, own.start_time)?;
    }
    Ok(file)
}

/// Who wrote itself into a lock file, if it runs.
fn holder(path: &Path) -> Option<Process> {
    let text = fs::read_to_string(path).ok()?;
    let (pid, start_time) = text.split_once(' ')?;
    let process = Process {
        pid: pid.parse().ok()?,
        start_time: start_time.parse().ok()?,
    };
    process.is_alive().then_some(process)
}

/// The agent that runs beneath the folder, if it is what was asked for; another one is an error.
fn running(layout: &Layout, args: &UpArgs) -> Result<Option<Agent>> {
    let Some(record) = Record::load(layout)?.filter(|r| r.vdsmd_runs() && r.libvirt_runs()) else {
        return Ok(None);
    };
    if (args.port != 0 && args.port != record.port) || args.plain != record.plain {
        bail!(
            "an agent with other settings runs beneath {} (port {}, {}): end it first",
            layout.dir.display(),
            record.port,
            if record.plain { "no TLS" } else { "TLS" }
        );
    }
    Ok(Some(agent(layout, &record)))
}

/// How to reach what a record tells of.
pub(crate) fn agent(layout: &Layout, record: &Record) -> Agent {
    let certificates = (!record.plain).then(|| layout.certificates());
    let mut agent = Agent {
        dir: layout.dir.clone(),
        address: Ipv4Addr::LOCALHOST.to_string(),
        port: record.port,
        tls: !record.plain,
        ca: certificates.as_ref().map(|c| c.ca.clone()),
        cert: certificates.as_ref().map(|c| c.client_cert.clone()),
        key: certificates.as_ref().map(|c| c.client_key.clone()),
        user: record.user.clone(),
        libvirt_uri: record.libvirt_uri.clone(),
        log: layout.log("vdsmd"),
        pid: record.vdsmd.map_or(0, |started| started.pid),
        client: String::new(),
    };
    agent.client = client::to_type(&agent);
    agent
}

/// One start.
struct Start<'a> {
    layout: &'a Layout,
    args: &'a UpArgs,
    account: &'a Account,
    cancel: &'a Cancel,
}

impl Start<'_> {
    fn run(&self, say: &mut dyn FnMut(&str)) -> Result<Agent> {
        self.prepare_folder()?;
        let port = free_port(self.args.port)?;
        let vdsmd = self.vdsmd()?;
        let (daemon, uri) = self.libvirt()?;
        conf::write(self.layout, self.args, port, &uri)?;
        let mut record = Record::new(port, self.args.plain, &self.account.name, &uri);
        record.save(self.layout)?;
        if let Some((name, program)) = daemon {
            say(&format!(
                "starting a private {name} as {}",
                self.account.name
            ));
            record.libvirt = Some(self.start_libvirt(name, &program)?.into());
            record.save(self.layout)?;
            self.await_libvirt(name, &record)?;
        }
        say(&format!(
            "starting vdsmd on port {port} as {}",
            self.account.name
        ));
        record.vdsmd = Some(self.start_vdsmd(&vdsmd)?.into());
        record.save(self.layout)?;
        let agent = agent(self.layout, &record);
        self.await_vdsmd(&agent, &record, say)?;
        Ok(agent)
    }

    /// Folders, certificates, and whose they are.
    fn prepare_folder(&self) -> Result<()> {
        let (layout, account) = (self.layout, self.account);
        fs::set_permissions(&layout.dir, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("{} must be yours", layout.dir.display()))?;
        if let Some(folder) = layout::barrier(&layout.dir, account) {
            bail!(
                "the user {} cannot pass through {}: choose another --dir, or chmod o+x that folder",
                account.name,
                folder.display()
            );
        }
        for folder in layout.writable() {
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            account.give(&folder)?;
        }
        fs::set_permissions(layout.run(), fs::Permissions::from_mode(0o700))?;
        fs::create_dir_all(layout.dir.join("log"))?;
        File::options()
            .create(true)
            .append(true)
            .open(layout.log("vdsmd"))?;
        account.give(&layout.log("vdsmd"))?;
        if !self.args.plain {
            let (set, _) = certs::ensure(&layout.pki(), "localhost", "vdsm-rs.test")?;
            account.give(&set.server_key)?;
        }
        Ok(())
    }

    /// The vdsmd to start; a copy of it where the account cannot reach it (a build in someone's home).
    fn vdsmd(&self) -> Result<PathBuf> {
        let path = match &self.args.vdsmd {
            Some(path) => std::path::absolute(path)?,
            None => layout::sibling("vdsmd")?,
        };
        if !path.is_file() {
            bail!("{} is not there", path.display());
        }
        if layout::barrier(&path, self.account).is_none() {
            return Ok(path);
        }
        let copy = self.layout.vdsmd_copy();
        let folder = self.layout.dir.join("bin");
        fs::create_dir_all(&folder)?;
        // A running program's file cannot be written: the old copy goes first.
        let _ = fs::remove_file(&copy);
        fs::copy(&path, &copy).context("cannot copy vdsmd")?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        Ok(copy)
    }

    /// The daemon to start (none if a URI was given) and the URI.
    fn libvirt(&self) -> Result<(Option<(&'static str, PathBuf)>, String)> {
        if let Some(uri) = &self.args.libvirt_uri {
            return Ok((None, uri.clone()));
        }
        let found = LIBVIRT
            .into_iter()
            .find_map(|name| Some((name, exec::command::find(name)?)));
        let (name, program) =
            found.context("no libvirt daemon is installed (scripts/deps.sh installs one)")?;
        let socket = self.layout.libvirt_socket(name);
        Ok((
            Some((name, program)),
            format!("qemu:///session?socket={}", socket.display()),
        ))
    }

    fn command(&self, program: &Path) -> Command {
        let command = Command::new(program).cwd(&self.layout.dir).umask(0o022);
        let environment = self.layout.environment();
        let command = environment
            .into_iter()
            .fold(command, |c, (name, value)| c.env(name, value));
        self.account.apply(command)
    }

    /// Starts a program in the background, its log beneath the folder and readable for the account.
    fn start(&self, command: Command, name: &str, log: &str) -> Result<Process> {
        let log = self.layout.log(log);
        let daemon = Daemon { log: log.clone() };
        let process = command
            .spawn_daemon(&daemon)
            .with_context(|| format!("cannot start {name}"))?;
        self.account.give(&log)?;
        Ok(process)
    }

    fn start_libvirt(&self, name: &str, program: &Path) -> Result<Process> {
        let pid_file = self.layout.run().join(format!("{name}.pid"));
        let command = self.command(program).arg("--pid-file").arg(pid_file);
        self.start(command, name, name)
    }

    fn await_libvirt(&self, name: &str, record: &Record) -> Result<()> {
        let socket = self.layout.libvirt_socket(name);
        wait_for(name, LIBVIRT_TIMEOUT, self.cancel, |_| {
            if !record.libvirt_runs() {
                bail!("{name} ended at once");
            }
            Ok(UnixStream::connect(&socket).ok().map(drop))
        })
        .with_context(|| tail(&self.layout.log(name)))
    }

    fn start_vdsmd(&self, program: &Path) -> Result<Process> {
        let command = self
            .command(program)
            .arg("--config")
            .arg(self.layout.conf());
        // What it writes before its log is open, and panics, must not be lost.
        self.start(command, "vdsmd", "vdsmd.err")
    }

    /// Waits until `Host.ping2` is answered with `true`: until then the port is closed, or the agent says
    /// that it is recovering.
    fn await_vdsmd(&self, agent: &Agent, record: &Record, say: &mut dyn FnMut(&str)) -> Result<()> {
        let line = ClientLine::of(agent)?;
        let started = Instant::now();
        let mut last = String::from("the port is closed");
        let mut told = 0;
        let answer = wait_for(
            "vdsmd does not answer",
            self.args.timeout,
            self.cancel,
            |waited| {
                if !record.vdsmd_runs() {
                    bail!("vdsmd ended");
                }
                if waited.as_secs() >= told + 5 {
                    told = waited.as_secs();
                    say(&format!("waiting for vdsmd: {told} s, {last}"));
                }
                let ping = line
                    .command()
                    .args(["Host", "ping2"])
                    .timeout(Duration::from_secs(10));
                let output = ping.cancel(self.cancel).run()?;
                if output.exit.success() {
                    return Ok(Some(()));
                }
                let said = output.stderr_text();
                said.lines()
                    .last()
                    .unwrap_or_default()
                    .clone_into(&mut last);
                thread::sleep(BETWEEN_PINGS);
                Ok(None)
            },
        );
        answer.with_context(|| {
            let logs = [self.layout.log("vdsmd"), self.layout.log("vdsmd.err")];
            format!(
                "last answer: {last}\n{}\n{}",
                tail(&logs[0]),
                tail(&logs[1])
            )
        })?;
        say(&format!(
            "vdsmd answered after {} ms",
            started.elapsed().as_millis()
        ));
        Ok(())
    }
}

/// The port asked for, if it is free; for 0 one that is.
fn free_port(asked: u16) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, asked))
        .map_err(|error| anyhow!("port {asked} cannot be used: {error}"))?;
    Ok(listener.local_addr()?.port())
}

/// The end of a log, for an error.
fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) if text.trim().is_empty() => format!("{} is empty", path.display()),
        Ok(text) => format!("end of {}:\n{}", path.display(), text.trim_end()),
        Err(error) => format!("{}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_said_so() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = free_port(port).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()), "{error}");
        assert_ne!(free_port(0).unwrap(), 0);
    }

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, format!("first\n{}\nlast line\n", "x".repeat(10_000))).unwrap();
        let text = tail(&path);
        assert!(text.ends_with("last line") && !text.contains("first"));
        assert!(tail(&dir.path().join("none")).contains("none"));
    }
}
