//! What is asked for when a program is started: a description, nothing happens yet.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use zeroize::Zeroizing;

use crate::{Cancel, ExecError};

/// The folders in which a program that is given by name is searched, in this order. The environment's
/// `PATH` plays no part.
pub const SEARCH: [&str; 7] = [
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/bin",
    "/sbin",
    "/usr/libexec",
];

/// How long a program may run if nothing was said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// Between SIGTERM and SIGKILL, if nothing was said.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(2);

/// Bytes kept of each output, if nothing was said.
pub const DEFAULT_LIMIT: usize = 1 << 20;

/// Where one of the three descriptors of a spawned child leads.
#[derive(Debug)]
pub enum Stdio {
    /// To /dev/null.
    Null,
    /// To a pipe whose other end the handle holds.
    Pipe,
    /// To this descriptor; consumed by the first start.
    File(OwnedFd),
}

/// Scheduling class of a program's I/O, as `ionice` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoClass {
    /// Only when nobody else needs the disk.
    Idle,
    /// Best effort, 0 (first) to 7 (last).
    BestEffort(u8),
}

/// The variable by which descendants of a [`Command::marked`] program are known.
pub const MARK: &str = "VDSM_EXEC_MARK";

/// A program to run. The builder's methods take and return it.
///
/// `Debug` shows the program alone: arguments are logged by nobody, stdin cannot be shown at all.
pub struct Command {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) stdin: Option<Zeroizing<Vec<u8>>>,
    pub(crate) timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) cancel: Option<Cancel>,
    pub(crate) stdout_limit: usize,
    pub(crate) stderr_limit: usize,
    pub(crate) die_with_parent: bool,
    pub(crate) user: Option<(u32, u32, Vec<u32>)>,
    pub(crate) nice: Option<i32>,
    pub(crate) io_class: Option<IoClass>,
    pub(crate) cpu_limit: Option<Duration>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) file_limit: Option<u64>,
    pub(crate) umask: Option<u32>,
    pub(crate) private_mounts: bool,
    pub(crate) private_network: bool,
    pub(crate) marked: bool,
    pub(crate) stdio: [Stdio; 3],
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

impl Command {
    /// A program by absolute path, or by name to be searched in [`SEARCH`].
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: vec![("LC_ALL".into(), "C".into())],
            cwd: None,
            stdin: None,
            timeout: DEFAULT_TIMEOUT,
            grace: DEFAULT_GRACE,
            cancel: None,
            stdout_limit: DEFAULT_LIMIT,
            stderr_limit: DEFAULT_LIMIT,
            die_with_parent: false,
            user: None,
            nice: None,
            io_class: None,
            cpu_limit: None,
            memory_limit: None,
            file_limit: None,
            umask: None,
            private_mounts: false,
            private_network: false,
            marked: false,
            stdio: [Stdio::Null, Stdio::Pipe, Stdio::Pipe],
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable. The environment holds nothing else than `LC_ALL=C` and these.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let name = name.as_ref();
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts it in this folder (else in the caller's).
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Bytes for its standard input: the way of secrets. Overwritten in memory when the command is dropped,
    /// never logged. Only [`Command::run`] sends them.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(Zeroizing::new(bytes.into()));
        self
    }

    /// How long [`Command::run`] lets it run, from its start. Monotonic.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Time between SIGTERM and SIGKILL when it has to be ended.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// A token that ends [`Command::run`] early.
    #[must_use]
    pub fn cancel(mut self, token: &Cancel) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Bytes kept of its standard output (the last ones).
    #[must_use]
    pub fn stdout_limit(mut self, bytes: usize) -> Self {
        self.stdout_limit = bytes;
        self
    }

    /// Bytes kept of its standard error (the last ones).
    #[must_use]
    pub fn stderr_limit(mut self, bytes: usize) -> Self {
        self.stderr_limit = bytes;
        self
    }

    /// SIGKILL for it when the *thread* that starts it ends (that is how the kernel counts).
    #[must_use]
    pub fn die_with_parent(mut self) -> Self {
        self.die_with_parent = true;
        self
    }

    /// Runs it as another user (needs privilege). Supplementary groups are exactly `groups`.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32, groups: &[u32]) -> Self {
        self.user = Some((uid, gid, groups.to_vec()));
        self
    }

    /// Niceness, -20 to 19.
    #[must_use]
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = Some(nice);
        self
    }

    /// Scheduling class of its I/O.
    #[must_use]
    pub fn io_class(mut self, class: IoClass) -> Self {
        self.io_class = Some(class);
        self
    }

    /// CPU time, whole seconds, after which the kernel kills it (RLIMIT_CPU).
    #[must_use]
    pub fn cpu_limit(mut self, time: Duration) -> Self {
        self.cpu_limit = Some(time);
        self
    }

    /// Bytes of address space (RLIMIT_AS).
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Bytes of the largest file it may write (RLIMIT_FSIZE).
    #[must_use]
    pub fn file_limit(mut self, bytes: u64) -> Self {
        self.file_limit = Some(bytes);
        self
    }

    /// File mode creation mask, instead of the caller's.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// In a mount namespace of its own (needs privilege): what it mounts, nobody else sees, and goes with
    /// it; what others mount later, it does not see.
    #[must_use]
    pub fn private_mounts(mut self) -> Self {
        self.private_mounts = true;
        self
    }

    /// In a network namespace of its own (needs privilege), in which there is a loopback, up, and nothing else. It goes
    /// with the last process in it.
    #[must_use]
    pub fn private_network(mut self) -> Self {
        self.private_network = true;
        self
    }

    /// Marks it and what it starts by a variable of the environment ([`MARK`]), so that ending it also finds
    /// descendants whose parent has ended before: they belong to the tree no more, and still carry the mark.
    #[must_use]
    pub fn marked(mut self) -> Self {
        self.marked = true;
        self
    }

    /// Where descriptor 0 of a *spawned* child leads (default: /dev/null).
    /// With [`Command::run`], a [`Stdio::File`] here is what the program reads.
    #[must_use]
    pub fn stdin_to(mut self, stdio: Stdio) -> Self {
        let [stdin, ..] = &mut self.stdio;
        *stdin = stdio;
        self
    }

    /// Where descriptor 1 of a *spawned* child leads (default: a pipe).
    #[must_use]
    pub fn stdout_to(mut self, stdio: Stdio) -> Self {
        let [_, stdout, _] = &mut self.stdio;
        *stdout = stdio;
        self
    }

    /// Where descriptor 2 of a *spawned* child leads (default: a pipe).
    #[must_use]
    pub fn stderr_to(mut self, stdio: Stdio) -> Self {
        let [.., stderr] = &mut self.stdio;
        *stderr = stdio;
        self
    }

    /// The program as asked for, for messages.
    pub fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// Finds the program: an absolute path as it is, a plain name in [`SEARCH`].
    pub(crate) fn locate(&self) -> Result<PathBuf, ExecError> {
        let path = Path::new(&self.program);
        if path.is_absolute() {
            return Ok(path.to_owned());
        }
        if path.components().count() != 1 {
            let why = "neither an absolute path nor a plain name";
            return Err(ExecError::Invalid {
                program: self.name(),
                why,
            });
        }
        find(path).ok_or_else(|| ExecError::NotFound {
            program: self.name(),
        })
    }
}

/// Where a program of this plain name is installed, if it is.
pub fn find(name: impl AsRef<Path>) -> Option<PathBuf> {
    SEARCH
        .iter()
        .map(|dir| Path::new(dir).join(name.as_ref()))
        .find(|path| path.is_file() && executable(path))
}

fn executable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_searched_and_paths_are_not() {
        assert_eq!(
            Command::new("/no/such").locate().unwrap(),
            PathBuf::from("/no/such")
        );
        assert!(Command::new("true").locate().unwrap().ends_with("true"));
        let missing = Command::new("no-such-program-here").locate();
        assert!(matches!(missing, Err(ExecError::NotFound { .. })));
        for odd in ["", "bin/true", "../true", "./true"] {
            assert!(
                matches!(Command::new(odd).locate(), Err(ExecError::Invalid { .. })),
                "{odd}"
            );
        }
    }

    #[test]
    fn debug_shows_no_argument_and_no_stdin() {
        let command = Command::new("true")
            .arg("canary-arg")
            .stdin("canary-stdin")
            .env("A", "canary-env");
        assert!(!format!("{command:?}").contains("canary"));
    }

    #[test]
    fn a_variable_is_set_once() {
        let command = Command::new("true")
            .env("LC_ALL", "C.UTF-8")
            .env("A", "1")
            .env("A", "2");
        assert_eq!(command.env.len(), 2);
    }
}
