//! Running a program to its end: one thread, one poll over its pipes, its pidfd, the cancellation and the
//! deadline.
//!
//! States of a run: talking (pipes open), ended (pidfd readable; what is still in the pipes is read, a
//! grandchild that keeps them open is not waited for), killed (deadline, cancellation or a broken pipe).

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};

use crate::{
    Child, Command, ExecError, Exit, Stdio,
    capture::Tail,
    process::{timespec, wait_readable},
};

/// After the end of the program: how long its pipes are still read if someone else holds them open.
const DRAIN: Duration = Duration::from_millis(100);

/// What came of a program that ended by itself.
#[derive(Debug)]
pub struct Output {
    /// As asked for.
    pub program: String,
    /// How it ended.
    pub exit: Exit,
    /// The end of its standard output.
    pub stdout: Vec<u8>,
    /// Bytes of standard output lost before it.
    pub stdout_dropped: u64,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
    /// Bytes of standard error lost before it.
    pub stderr_dropped: u64,
    /// From start to end.
    pub duration: Duration,
}

impl Output {
    /// Itself, or [`ExecError::Failed`] if the program did not end with 0.
    pub fn check(self) -> Result<Self, ExecError> {
        if self.exit.success() {
            return Ok(self);
        }
        let stderr = short(&self.stderr);
        Err(ExecError::Failed {
            program: self.program,
            exit: self.exit,
            stderr,
        })
    }

    /// All of its standard output, or [`ExecError::TooMuchOutput`]: for reports that are parsed.
    pub fn whole_stdout(self) -> Result<Vec<u8>, ExecError> {
        if self.stdout_dropped == 0 {
            return Ok(self.stdout);
        }
        Err(ExecError::TooMuchOutput {
            program: self.program,
            dropped: self.stdout_dropped,
        })
    }

    /// The end of its standard error, at most 2,000 bytes, as text without surrounding blanks.
    pub fn stderr_text(&self) -> String {
        short(&self.stderr)
    }
}

/// The end of an output for a message.
fn short(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(2000);
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default())
        .trim()
        .to_owned()
}

impl Command {
    /// Runs the program to its end. Any exit status is `Ok`: see [`Output::check`].
    pub fn run(self) -> Result<Output, ExecError> {
        self.run_with(&mut |_| {})
    }

    /// As [`Command::run`], and tells of each piece of standard output as it comes.
    pub fn run_with(mut self, on_stdout: &mut dyn FnMut(&[u8])) -> Result<Output, ExecError> {
        let program = self.name();
        let started = Instant::now();
        let result = self.start_and_talk(&program, started, on_stdout);
        log(&program, started.elapsed(), &result);
        result
    }

    fn start_and_talk(
        &mut self,
        program: &str,
        started: Instant,
        on_stdout: &mut dyn FnMut(&[u8]),
    ) -> Result<Output, ExecError> {
        if self
            .cancel
            .as_ref()
            .is_some_and(crate::Cancel::is_cancelled)
        {
            return Err(ExecError::Cancelled {
                program: program.to_owned(),
            });
        }
        let io_error = |source| ExecError::Io {
            program: program.to_owned(),
            source,
        };
        let mut run = Run::prepare(self, started).map_err(io_error)?;
        let mut child = self.start()?;
        // Our copies of the child's ends must be closed, or end of file would never be seen.
        self.stdio = [Stdio::Null, Stdio::Null, Stdio::Null];
        let stop = run.talk(&child, on_stdout).map_err(io_error)?;
        let exit = match stop {
            Stop::Ended => child.reap_now(),
            Stop::Deadline | Stop::Cancelled => child.end(self.grace),
        };
        run.finish(program, stop, exit, self.timeout)
    }
}

fn log(program: &str, duration: Duration, result: &Result<Output, ExecError>) {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok(output) => {
            tracing::debug!(target: "exec", program, exit = output.exit.code(), ms, "program ended");
        }
        Err(error) => tracing::warn!(target: "exec", program, ms, %error, "program failed"),
    }
}

/// Why the talking stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Ended,
    Deadline,
    Cancelled,
}

/// The parent's side of a run.
struct Run {
    stdin: Option<OwnedFd>,
    input: zeroize::Zeroizing<Vec<u8>>,
    written: usize,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    out: Tail,
    err: Tail,
    waker: Option<Arc<OwnedFd>>,
    started: Instant,
    deadline: Instant,
}

impl Run {
    /// Makes the pipes; the child's ends go into the command.
    fn prepare(command: &mut Command, started: Instant) -> io::Result<Self> {
        let input = command.stdin.take();
        let mut stdin = None;
        if input.is_some() {
            let (read, write) = pipe()?;
            rustix::io::ioctl_fionbio(&write, true)?;
            stdin = Some(write);
            command.stdio[0] = Stdio::File(read);
        } else if matches!(command.stdio[0], Stdio::Pipe) {
            command.stdio[0] = Stdio::Null;
        }
        let (stdout, out_end) = reading_pipe()?;
        let (stderr, err_end) = reading_pipe()?;
        command.stdio[1] = Stdio::File(out_end);
        command.stdio[2] = Stdio::File(err_end);
        let waker = command
            .cancel
            .as_ref()
            .map(crate::Cancel::waker)
            .transpose()?;
        Ok(Self {
            stdin,
            input: input.unwrap_or_default(),
            written: 0,
            stdout: Some(stdout),
            stderr: Some(stderr),
            out: Tail::new(command.stdout_limit),
            err: Tail::new(command.stderr_limit),
            waker,
            started,
            deadline: started + command.timeout,
        })
    }

    /// Feeds and reads until the child has ended, or must be ended.
    fn talk(&mut self, child: &Child, on_stdout: &mut dyn FnMut(&[u8])) -> io::Result<Stop> {
        loop {
            let now = Instant::now();
            if self
                .waker
                .as_ref()
                .is_some_and(|fd| wait_readable(&**fd, now))
            {
                return Ok(Stop::Cancelled);
            }
            if child.has_ended() {
                self.drain(on_stdout)?;
                return Ok(Stop::Ended);
            }
            if now >= self.deadline {
                return Ok(Stop::Deadline);
            }
            self.wait(child, self.deadline - now)?;
            self.feed();
            self.read_both(on_stdout)?;
        }
    }

    /// Sleeps until something happens.
    fn wait(&self, child: &Child, left: Duration) -> io::Result<()> {
        let mut fds = vec![PollFd::new(child.pidfd(), PollFlags::IN)];
        fds.extend(
            self.waker
                .iter()
                .map(|fd| PollFd::new(&**fd, PollFlags::IN)),
        );
        fds.extend(self.stdin.iter().map(|fd| PollFd::new(fd, PollFlags::OUT)));
        fds.extend(self.stdout.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.stderr.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes what fits; a program that does not read its input is its own affair.
    fn feed(&mut self) {
        let Some(fd) = &self.stdin else { return };
        let rest = self.input.get(self.written..).unwrap_or_default();
        if rest.is_empty() {
            self.stdin = None;
            return;
        }
        match rustix::io::write(fd, rest) {
            Ok(count) => self.written += count,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => self.stdin = None,
        }
        if self.written >= self.input.len() {
            self.stdin = None;
        }
    }

    fn read_both(&mut self, on_stdout: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let out = &mut self.out;
        read_some(&mut self.stdout, &mut |bytes| {
            on_stdout(bytes);
            out.push(bytes);
        })?;
        let err = &mut self.err;
        read_some(&mut self.stderr, &mut |bytes| err.push(bytes))
    }

    /// Reads what the ended program left; waits shortly only if someone else still holds a pipe.
    fn drain(&mut self, on_stdout: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let deadline = Instant::now() + DRAIN;
        loop {
            self.read_both(on_stdout)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if (self.stdout.is_none() && self.stderr.is_none()) || left.is_zero() {
                return Ok(());
            }
            let mut fds: Vec<_> = [&self.stdout, &self.stderr]
                .into_iter()
                .flatten()
                .map(|fd| PollFd::new(fd, PollFlags::IN))
                .collect();
            let _ = poll(&mut fds, Some(&timespec(left)));
        }
    }

    fn finish(
        self,
        program: &str,
        stop: Stop,
        exit: Exit,
        after: Duration,
    ) -> Result<Output, ExecError> {
        let program = program.to_owned();
        let (stdout, stdout_dropped) = self.out.finish();
        let (stderr, stderr_dropped) = self.err.finish();
        match stop {
            Stop::Cancelled => Err(ExecError::Cancelled { program }),
            Stop::Deadline => Err(ExecError::TimedOut {
                program,
                after,
                stderr: short(&stderr),
            }),
            Stop::Ended => Ok(Output {
                program,
                exit,
                stdout,
                stdout_dropped,
                stderr,
                stderr_dropped,
                duration: self.started.elapsed(),
            }),
        }
    }
}

pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// A pipe whose reading end does not block.
fn reading_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe()?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

/// Reads at most 1 MiB of what is there, so that no output can starve the deadline; at its end the
/// descriptor goes.
fn read_some(slot: &mut Option<OwnedFd>, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = [0_u8; 16_384];
    for _ in 0..64 {
        let Some(fd) = slot.as_ref() else {
            return Ok(());
        };
        match rustix::io::read(fd.as_fd(), &mut buffer) {
            Ok(0) => *slot = None,
            Ok(count) => sink(buffer.get(..count).unwrap_or_default()),
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// /dev/null for reading and writing.
pub(crate) fn dev_null() -> io::Result<OwnedFd> {
    Ok(File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into())
}
