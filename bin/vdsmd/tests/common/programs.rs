//! Agent and root helper as two processes on one configuration: what their tests share.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

/// `nobody`, as whom the agent runs beside the root helper.
pub const AGENT: u32 = 65_534;

/// Ends a process that runs.
pub fn end(process: &mut Option<Child>) {
    if let Some(mut process) = process.take() {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

/// A program of ours on a configuration, its log still to be directed.
pub fn command(program: &Path, conf: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a test starts what it tests")]
    let mut command = Command::new(program);
    command.arg("--config").arg(conf);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The port that a log tells of.
pub fn port_of(log: &str) -> Option<u16> {
    let line = log.lines().find(|line| line.contains("listening"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}
