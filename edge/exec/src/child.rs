//! A running child of ours: its number, its pidfd, its pipes; ended and collected when dropped.
//!
//! States: running, ended but not collected (its number is still ours), collected.

use std::{
    ffi::{CString, OsStr},
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::{
    Command, ExecError, Exit, IoClass, Process, Stdio,
    process::{self, Tree, signal_group, wait_readable},
    run::{dev_null, pipe},
    sys,
};

/// How long a killed process may take to vanish; one that hangs in the kernel is left to [`sweep`].
const KILLED: Duration = Duration::from_secs(5);

/// Killed children that had not vanished in time; collected when the next program starts.
static STUCK: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// The parent's ends of a child's pipes.
#[derive(Debug, Default)]
pub struct Pipes {
    /// To write to its standard input.
    pub stdin: Option<File>,
    /// To read its standard output.
    pub stdout: Option<File>,
    /// To read its standard error.
    pub stderr: Option<File>,
}

/// A running child. Dropping it ends it and everything it started.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    pidfd: OwnedFd,
    exit: Option<Exit>,
    grace: Duration,
    /// `MARK=value`, if it carries one.
    mark: Option<String>,
    /// Ends of the pipes that were asked for; take them out to use them elsewhere.
    pub pipes: Pipes,
}

impl Command {
    /// Starts the program and returns at once. Timeout, limits of output and [`Command::stdin`] play no
    /// part; where its descriptors lead is said by [`Command::stdin_to`] and its brothers.
    pub fn spawn(mut self) -> Result<Child, ExecError> {
        let program = self.name();
        let mut pipes = Pipes::default();
        let io_error = |source| ExecError::Io {
            program: program.clone(),
            source,
        };
        let [stdin, stdout, stderr] = &mut self.stdio;
        pipes.stdin = pipe_for(stdin, true).map_err(io_error)?;
        pipes.stdout = pipe_for(stdout, false).map_err(io_error)?;
        pipes.stderr = pipe_for(stderr, false).map_err(io_error)?;
        let mut child = self.start()?;
        child.pipes = pipes;
        tracing::debug!(target: "exec", program, pid = child.pid, "program started");
        Ok(child)
    }

    /// Makes the process. The descriptors in `stdio` stay open here until the command is dropped.
    pub(crate) fn start(&self) -> Result<Child, ExecError> {
        sweep();
        let mark = self.marked.then(process::mark);
        let (mut plan, _keep) = self.plan()?;
        if let Some(variable) = &mark {
            plan.envp.push(self.text(OsStr::new(variable))?);
        }
        let (pid, pidfd) = sys::spawn(&plan).map_err(|error| self.start_error(error))?;
        Ok(Child {
            pid,
            pidfd,
            exit: None,
            grace: self.grace,
            mark,
            pipes: Pipes::default(),
        })
    }

    pub(crate) fn start_error(&self, (step, errno): sys::StepError) -> ExecError {
        if step == "execve" && errno == rustix::io::Errno::NOENT {
            return ExecError::NotFound {
                program: self.name(),
            };
        }
        ExecError::Start {
            program: self.name(),
            step,
            source: errno.into(),
        }
    }

    /// Turns the description into what the child needs, and the descriptors that must live until then.
    pub(crate) fn plan(&self) -> Result<(sys::Plan, Vec<OwnedFd>), ExecError> {
        let path = self.locate()?;
        let env = |(name, value): &(std::ffi::OsString, std::ffi::OsString)| {
            [name.as_bytes(), b"=", value.as_bytes()].concat()
        };
        let mut argv = vec![self.text(&self.program)?];
        for arg in &self.args {
            argv.push(self.text(arg)?);
        }
        let mut envp = Vec::new();
        for variable in &self.env {
            envp.push(self.text(OsStr::from_bytes(&env(variable)))?);
        }
        let source_error = |source| ExecError::Io {
            program: self.name(),
            source,
        };
        let (fds, keep) = self.descriptors().map_err(source_error)?;
        let plan = sys::Plan {
            path: self.text(path.as_os_str())?,
            argv,
            envp,
            cwd: self
                .cwd
                .as_ref()
                .map(|dir| self.text(dir.as_os_str()))
                .transpose()?,
            fds,
            death_signal: self.die_with_parent,
            user: self.user.clone(),
            nice: self.nice,
            io_priority: self.io_class.map(io_priority),
            limits: self.limits(),
            umask: self.umask,
            private_mounts: self.private_mounts,
            private_network: self.private_network,
        };
        Ok((plan, keep))
    }

    fn text(&self, text: &OsStr) -> Result<CString, ExecError> {
        let why = "a zero byte in an argument, a variable or a path";
        CString::new(text.as_bytes()).map_err(|_| ExecError::Invalid {
            program: self.name(),
            why,
        })
    }

    fn limits(&self) -> Vec<(u32, u64)> {
        let cpu = self
            .cpu_limit
            .map(|time| (libc::RLIMIT_CPU, time.as_secs().max(1)));
        let memory = self.memory_limit.map(|bytes| (libc::RLIMIT_AS, bytes));
        let file = self.file_limit.map(|bytes| (libc::RLIMIT_FSIZE, bytes));
        let limits = [cpu, memory, file].into_iter().flatten();
        limits.collect()
    }

    /// The numbers that become 0, 1, 2: each above 2, so that moving one never overwrites another.
    fn descriptors(&self) -> io::Result<([i32; 3], Vec<OwnedFd>)> {
        let mut keep = Vec::new();
        let mut fds = [0; 3];
        for (slot, stdio) in fds.iter_mut().zip(&self.stdio) {
            let fd = match stdio {
                Stdio::File(fd) => rustix::io::fcntl_dupfd_cloexec(fd, 3)?,
                Stdio::Null | Stdio::Pipe => rustix::io::fcntl_dupfd_cloexec(dev_null()?, 3)?,
            };
            *slot = fd.as_raw_fd();
            keep.push(fd);
        }
        Ok((fds, keep))
    }
}

/// `ioprio_set`'s number: class in the upper bits, level below (linux/ioprio.h).
fn io_priority(class: IoClass) -> i32 {
    match class {
        IoClass::Idle => 3 << 13,
        IoClass::BestEffort(level) => (2 << 13) | i32::from(level.min(7)),
    }
}

/// Replaces `Pipe` by the child's end; returns ours.
fn pipe_for(stdio: &mut Stdio, child_reads: bool) -> io::Result<Option<File>> {
    if !matches!(stdio, Stdio::Pipe) {
        return Ok(None);
    }
    let (read, write) = pipe()?;
    let (theirs, ours) = if child_reads {
        (read, write)
    } else {
        (write, read)
    };
    *stdio = Stdio::File(theirs);
    Ok(Some(ours.into()))
}

impl Child {
    /// Its process id, which is also the id of its process group.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its identity, to find it again.
    pub fn process(&self) -> Option<Process> {
        Process::find(self.pid)
    }

    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.exit.is_some() || wait_readable(&self.pidfd, Instant::now())
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<Exit> {
        self.has_ended().then(|| self.reap_now())
    }

    /// Waits for its end; `None` if it still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Option<Exit> {
        if self.exit.is_none() && !wait_readable(&self.pidfd, Instant::now() + timeout) {
            return None;
        }
        Some(self.reap_now())
    }

    /// Sends a signal to it alone. `NotFound` if it was collected.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        if self.exit.is_some() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let signal = Signal::from_named_raw(signal)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Ends it and all that it started: SIGTERM to its group, after `grace` (or once it has ended)
    /// SIGKILL to the group, to descendants that had left it, and to those that carry its mark, if it has one.
    /// Collects it.
    pub fn end(&mut self, grace: Duration) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        let tree = Tree::of(self.pid);
        signal_group(self.pid, Signal::TERM);
        wait_readable(&self.pidfd, Instant::now() + grace);
        // It is not collected yet, so its number, and with it the group's, cannot be anyone else's.
        let late = Tree::of(self.pid);
        signal_group(self.pid, Signal::KILL);
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        tree.kill();
        late.kill();
        self.mark.iter().for_each(|mark| process::kill_marked(mark));
        if wait_readable(&self.pidfd, Instant::now() + KILLED) {
            return self.reap_now();
        }
        self.leave_behind()
    }

    /// Collects an ended child.
    pub(crate) fn reap_now(&mut self) -> Exit {
        let exit = match self.exit {
            Some(exit) => exit,
            None => collect(&self.pidfd).unwrap_or(Exit::Unknown),
        };
        self.exit = Some(exit);
        exit
    }

    /// It hangs in the kernel: remembered, to be collected when it is done.
    fn leave_behind(&mut self) -> Exit {
        tracing::warn!(target: "exec", pid = self.pid, "killed, but it hangs in the kernel");
        if let Ok(fd) = self.pidfd.try_clone() {
            STUCK
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(fd);
        }
        self.exit = Some(Exit::Unknown);
        Exit::Unknown
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.end(self.grace);
        }
    }
}

/// The status of an ended process, `None` if it has not ended.
fn collect(pidfd: &OwnedFd) -> Option<Exit> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
        Ok(status) => status?,
        Err(_) => return Some(Exit::Unknown),
    };
    let exit = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    };
    Some(exit)
}

/// Collects killed children that had hung and are gone by now.
fn sweep() {
    let mut stuck = STUCK.lock().unwrap_or_else(PoisonError::into_inner);
    stuck.retain(|pidfd| collect(pidfd).is_none());
}
