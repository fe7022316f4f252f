//! Commands and files: ssh through a port that QEMU forwards on loopback, one connection kept for all.
//!
//! The exit code of ssh cannot tell a dead connection from a command that ended with 255. So every command is
//! followed by a mark on its standard error that carries the code; without the mark the connection failed.

use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use exec::{Child, Command, ExecError, Stdio};

use crate::{Image, LabError, Result, keeper, machine::tail};

/// What a command may take beyond its own deadline until its end is known here.
const SLACK: Duration = Duration::from_secs(20);

/// Bytes kept of each output of a command.
const LIMIT: usize = 32 << 20;

/// Bytes of a file that is read into memory.
const FILE_LIMIT: usize = 1 << 30;

/// The pause before a condition is looked at again: the first, and the longest. A look costs an emulated host much.
const FIRST_POLL: Duration = Duration::from_millis(100);
const LAST_POLL: Duration = Duration::from_secs(1);

/// How long the first attempt to connect may take, and how long the later ones at most.
const FIRST_TRY: Duration = Duration::from_secs(2);
const LAST_TRY: Duration = Duration::from_mins(1);

/// The socket of the connection that all commands share, in the folder of the host. ssh is started there: it puts
/// 17 letters more behind the name while it makes it, and the whole path may be too long for a socket.
pub(crate) const SOCKET: &str = "ssh";

/// What ssh had to say when it could not connect, in the same folder.
pub(crate) const LOG: &str = "ssh.log";

/// What was run there and how many seconds each took, in the same folder.
pub(crate) const COMMANDS: &str = "commands.log";

const MARK: &str = "\n[lab-exit ";

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 128 + n if signal n ended it.
    pub code: i32,
    /// The end of its standard output (32 MiB), as text.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
}

impl Output {
    /// Exit code 0?
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

/// The way to one host, without the connection itself: can be copied and used by any thread.
#[derive(Debug, Clone)]
pub(crate) struct Shell {
    host: String,
    /// The folder of the host.
    dir: PathBuf,
    /// Is there a connection that all commands share? Without one each has its own.
    shared: bool,
    port: u16,
    key: PathBuf,
    known_hosts: PathBuf,
}

impl Shell {
    pub(crate) fn new(host: &str, dir: &Path, image: &Image, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            dir: dir.to_owned(),
            shared: true,
            port,
            key: image.key(),
            known_hosts: image.known_hosts(),
        }
    }

    /// The same way, with a connection of its own for each command.
    pub(crate) fn alone(mut self) -> Self {
        self.shared = false;
        self
    }

    /// The arguments that reach the host, from a cold start.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let option = |name: &str, value: String| ["-o".to_owned(), format!("{name}={value}")];
        let mut all = vec!["-F".to_owned(), "/dev/null".to_owned()];
        all.extend(option("IdentityFile", self.key.display().to_string()));
        let known = self.known_hosts.display().to_string();
        for (name, value) in [
            ("UserKnownHostsFile", known.as_str()),
            ("IdentitiesOnly", "yes"),
            ("BatchMode", "yes"),
            ("StrictHostKeyChecking", "yes"),
            ("HostKeyAlias", "lab-host"),
            ("LogLevel", "ERROR"),
            ("ConnectTimeout", "60"),
            ("KexAlgorithms", "curve25519-sha256"),
            ("Ciphers", "aes128-gcm@openssh.com,aes128-ctr"),
        ] {
            all.extend(option(name, value.to_owned()));
        }
        all.extend(["-p".to_owned(), self.port.to_string()]);
        all
    }

    fn ssh(&self) -> Command {
        Command::new("ssh")
            .args(self.arguments())
            .args(["-S", if self.shared { SOCKET } else { "none" }])
            .cwd(&self.dir)
    }

    /// Opens the connection that all commands share. `alive` ends the wait with its error.
    ///
    /// A busy host takes seconds for its first word, and every attempt that is given up costs it more: so attempts
    /// become longer. The first ones are short, since what is sent to a host without an address is lost for a while.
    pub(crate) fn connect(
        &self,
        deadline: Instant,
        alive: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Option<Child>> {
        let socket = self.dir.join(SOCKET);
        let mut patience = FIRST_TRY;
        while Instant::now() < deadline {
            alive()?;
            let _ = std::fs::remove_file(&socket);
            let mut master = self.master(patience)?;
            let limit = deadline.min(Instant::now() + patience * 2);
            while master.try_wait().is_none() && Instant::now() < limit {
                if socket.exists() {
                    return Ok(Some(master));
                }
                alive()?;
                thread::sleep(Duration::from_millis(20));
            }
            drop(master);
            patience = (patience * 3 / 2).min(LAST_TRY);
            thread::sleep(Duration::from_millis(100));
        }
        Ok(None)
    }

    /// Starts the ssh whose connection the others use.
    fn master(&self, patience: Duration) -> Result<Child> {
        let timeout = format!("ConnectTimeout={}", patience.as_secs().max(1));
        let path = self.dir.join(LOG);
        let log = File::create(&path).map_err(LabError::file("make", &path))?;
        let master = Command::new("ssh")
            .args(["-o", &timeout])
            .args(self.arguments())
            .args(["-S", SOCKET, "-M", "-N", "root@127.0.0.1"])
            .cwd(&self.dir)
            .grace(Duration::ZERO)
            .stdout_to(Stdio::Null)
            .stderr_to(Stdio::File(log.into()));
        keeper::spawn(master).map_err(|error| self.program("connecting", error))
    }

    /// What ssh said last when it could not connect; empty if it could.
    pub(crate) fn complaint(&self) -> String {
        tail(&self.dir.join(LOG))
    }

    /// Runs a shell command line as root.
    pub(crate) fn run(&self, command: &str, timeout: Duration) -> Result<Output> {
        self.talk(command, timeout, None)
    }

    /// As `run`, with a file as standard input.
    pub(crate) fn feed(&self, command: &str, timeout: Duration, input: File) -> Result<Output> {
        self.talk(command, timeout, Some(input))
    }

    fn talk(&self, command: &str, timeout: Duration, input: Option<File>) -> Result<Output> {
        let started = Instant::now();
        let output = self.raw(command, timeout, input, LIMIT)?;
        let (code, stderr) = self.code(command, &output)?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if matches!(code, 124 | 137) && started.elapsed() >= timeout {
            return Err(self.late(command, timeout, &stderr));
        }
        Ok(Output {
            code,
            stdout,
            stderr,
        })
    }

    /// The content of a file.
    pub(crate) fn read(&self, path: &str, timeout: Duration) -> Result<Vec<u8>> {
        let command = format!("cat -- {}", quoted(path));
        let output = self.raw(&command, timeout, None, FILE_LIMIT)?;
        let (code, stderr) = self.code(&command, &output)?;
        if code == 0 && output.stdout_dropped == 0 {
            return Ok(output.stdout);
        }
        Err(LabError::Failed {
            host: self.host.clone(),
            command,
            code,
            stdout: String::new(),
            stderr,
        })
    }

    fn raw(
        &self,
        command: &str,
        timeout: Duration,
        input: Option<File>,
        limit: usize,
    ) -> Result<exec::Output> {
        let seconds = timeout.as_secs().max(1);
        let remote = format!(
            "timeout -k 5 {seconds} /bin/bash -c {}; printf '\\n[lab-exit %d]' $? >&2",
            quoted(command)
        );
        let mut ssh = self
            .ssh()
            .args(["-o", "ControlMaster=no", "root@127.0.0.1", "--"])
            .arg(remote)
            .timeout(timeout + SLACK)
            .stdout_limit(limit)
            .stderr_limit(LIMIT);
        if let Some(file) = input {
            ssh = ssh.stdin_to(Stdio::File(file.into()));
        }
        let began = Instant::now();
        let done = ssh.run();
        self.record(command, began.elapsed());
        done.map_err(|error| match error {
            ExecError::TimedOut { stderr, .. } => self.late(command, timeout, &stderr),
            error => self.program("a command", error),
        })
    }

    /// A line for whoever asks why a test failed, or what it waits for. That it cannot be written fails nothing.
    fn record(&self, command: &str, took: Duration) {
        let log = self.dir.join(COMMANDS);
        let words: Vec<&str> = command.split_whitespace().collect();
        let line = format!("{:8.2}  {}\n", took.as_secs_f64(), words.join(" "));
        if let Ok(mut file) = File::options().append(true).create(true).open(log) {
            let _ = file.write_all(line.as_bytes());
        }
    }

    /// The code that the mark carries, and standard error without it.
    fn code(&self, command: &str, output: &exec::Output) -> Result<(i32, String)> {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        marked(&text).ok_or_else(|| LabError::Channel {
            host: self.host.clone(),
            command: command.to_owned(),
            why: format!("ssh ended with {}: {}", output.exit, text.trim()),
        })
    }

    fn late(&self, command: &str, after: Duration, stderr: &str) -> LabError {
        LabError::TimedOut {
            host: self.host.clone(),
            command: command.to_owned(),
            after,
            stderr: stderr.trim().to_owned(),
        }
    }

    fn program(&self, step: &'static str, source: ExecError) -> LabError {
        LabError::Program {
            host: self.host.clone(),
            step,
            source,
        }
    }

    /// Runs it until it ends with 0.
    pub(crate) fn wait_until(&self, what: &str, command: &str, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut pause = FIRST_POLL;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let output = self.run(command, left.max(Duration::from_secs(5)))?;
            if output.success() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let mut last = format!("exit code {}", output.code);
                for text in [output.stdout, output.stderr] {
                    let _ = write!(last, " {}", text.trim());
                }
                return Err(LabError::NeverTrue {
                    host: self.host.clone(),
                    what: what.to_owned(),
                    after: timeout,
                    last,
                });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LAST_POLL);
        }
    }
}

/// Takes the mark off the end of standard error.
fn marked(stderr: &str) -> Option<(i32, String)> {
    let at = stderr.rfind(MARK)?;
    let (said, mark) = stderr.split_at(at);
    let code = mark.strip_prefix(MARK)?.trim_end().strip_suffix(']')?;
    Some((code.parse().ok()?, said.to_owned()))
}

/// Text as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_mark_tells_a_code_from_a_dead_connection() {
        assert_eq!(marked("\n[lab-exit 255]"), Some((255, String::new())));
        assert_eq!(marked("why\n\n[lab-exit 3]"), Some((3, "why\n".to_owned())));
        assert_eq!(marked("Connection closed"), None);
        assert_eq!(marked("\n[lab-exit 1"), None);
    }

    proptest! {
        #[test]
        fn marks_of_anything(text in "\\PC{0,100}", code in 0..256) {
            let _ = marked(&text);
            let said = format!("{text}{MARK}{code}]");
            prop_assert_eq!(marked(&said), Some((code, text)));
        }

        #[test]
        fn a_shell_reads_back_what_was_quoted(text in "[^\\x00]{0,60}") {
            let script = format!("printf %s {}", quoted(&text));
            let output = Command::new("sh").args(["-c", &script]).run().unwrap();
            prop_assert_eq!(output.stdout, text.into_bytes());
        }
    }
}
