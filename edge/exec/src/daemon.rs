//! Starting a program in the background that outlives the caller.
//!
//! It gets its own session and process group, /dev/null as stdin, a log file (appended) as stdout and
//! stderr. It is nobody's child here: init collects it. The caller remembers it as a [`Process`].

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::PathBuf,
};

use crate::{Command, ExecError, Process, Stdio, sys};

/// What a background program needs besides its [`Command`].
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Appended by its stdout and stderr; made with mode 0640 if missing, opened as the *caller*.
    pub log: PathBuf,
}

impl Command {
    /// Starts the program in the background. Returns when it has begun to run (execve succeeded); whether
    /// it works is for the caller to find out. `die_with_parent` plays no part.
    pub fn spawn_daemon(mut self, daemon: &Daemon) -> Result<Process, ExecError> {
        let program = self.name();
        let io_error = |source| ExecError::Io {
            program: program.clone(),
            source,
        };
        let (out, err) = open_log(daemon).map_err(io_error)?;
        self.stdio = [Stdio::Null, Stdio::File(out), Stdio::File(err)];
        self.die_with_parent = false;
        let (plan, _keep) = self.plan()?;
        let pid = sys::spawn_detached(&plan).map_err(|error| self.start_error(error))?;
        tracing::debug!(target: "exec", program, pid, "background program started");
        // If it has ended already, its start time is gone: 0 is the start time of no process but the first.
        Ok(Process::find(pid).unwrap_or(Process { pid, start_time: 0 }))
    }
}

fn open_log(daemon: &Daemon) -> io::Result<(OwnedFd, OwnedFd)> {
    let file = File::options()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(&daemon.log)?;
    let second = file.try_clone()?;
    Ok((file.into(), second.into()))
}
