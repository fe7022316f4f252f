//! What is done within a host: commands, files, its clock.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
    time::Duration,
};

use crate::{
    Host, LabError, Output, Result,
    plan::{TRANSFER, TRANSFER_SIZE},
    shell::quoted,
};

/// Bytes up to which a file goes through the connection; a larger one goes through a disk.
const SMALL: u64 = 128 << 10;

/// That disk in a host.
const DISK: &str = "/dev/disk/by-id/virtio-transfer";

/// A command's deadline, if nothing was said: for what hangs. On a busy machine everything takes ten times as long.
const COMMAND: Duration = Duration::from_mins(10);

impl Host {
    /// Runs a shell command line as root, for at most 10 minutes. Any exit code is `Ok`. What it leaves in the background
    /// must not hold its output: `setsid x >/dev/null 2>&1 &`.
    pub fn run(&self, command: &str) -> Result<Output> {
        self.run_for(command, COMMAND)
    }

    /// As [`Host::run`], for at most `timeout`; then it is killed and the answer is an error.
    pub fn run_for(&self, command: &str, timeout: Duration) -> Result<Output> {
        self.shell(command)?.run(command, timeout)
    }

    /// Runs a command that must succeed; its standard output without the last line's end.
    pub fn check(&self, command: &str) -> Result<String> {
        self.check_for(command, COMMAND)
    }

    /// As [`Host::check`], for at most `timeout`.
    pub fn check_for(&self, command: &str, timeout: Duration) -> Result<String> {
        let output = self.run_for(command, timeout)?;
        let output = self.successful(command.to_owned(), output)?;
        Ok(output.stdout.trim_end_matches('\n').to_owned())
    }

    /// Runs a command again and again until it succeeds; `what` names the condition.
    pub fn wait_until(&self, what: &str, command: &str, timeout: Duration) -> Result<()> {
        self.shell(command)?.wait_until(what, command, timeout)
    }

    /// Copies a file into the host, with its permissions; missing folders are made.
    pub fn put(&self, from: impl AsRef<Path>, to: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let from = from.as_ref();
        let file = File::open(from).map_err(LabError::file("read", from))?;
        let mode = file.metadata().map_err(LabError::file("read", from))?;
        self.feed(to, mode.permissions().mode() & 0o7777, file)
    }

    /// Writes a file in the host; missing folders are made.
    pub fn write(&self, to: &str, mode: u32, bytes: impl AsRef<[u8]>) -> Result<()> {
        let path = self.dir().join("to-write");
        let failed = || LabError::file("write", &path);
        let mut file = File::options();
        let file = file.read(true).write(true).create(true).truncate(true);
        let mut file = file.open(&path).map_err(failed())?;
        // It has no name any more; two threads that write have a file each.
        fs::remove_file(&path).map_err(failed())?;
        file.write_all(bytes.as_ref()).map_err(failed())?;
        std::io::Seek::rewind(&mut file).map_err(failed())?;
        self.feed(to, mode, file)
    }

    fn feed(&self, to: &str, mode: u32, mut file: File) -> Result<()> {
        let to = quoted(to);
        let length = file.metadata().map_or(0, |data| data.len());
        let rest = format!("chmod {mode:o} {to}.new && mv -f {to}.new {to}");
        let begin = format!("mkdir -p \"$(dirname {to})\"");
        if length <= SMALL {
            let command = format!("{begin} && cat >{to}.new && {rest}");
            let output = self.shell(&command)?.feed(&command, COMMAND, file)?;
            return self.successful(command, output).map(drop);
        }
        fits(length)?;
        let _lock = self.transfer();
        let disk = self.dir().join(TRANSFER);
        let mut through = File::options()
            .write(true)
            .open(&disk)
            .map_err(LabError::file("open", &disk))?;
        io::copy(&mut file, &mut through).map_err(LabError::file("write", &disk))?;
        let count = mebibytes(length);
        let copy = format!("dd if={DISK} of={to}.new bs=1M iflag=direct count={count} status=none");
        let command = format!("{begin} && {copy} && truncate -s {length} {to}.new && {rest}");
        self.check(&command).map(drop)
    }

    fn successful(&self, command: String, output: Output) -> Result<Output> {
        if output.success() {
            return Ok(output);
        }
        Err(LabError::Failed {
            host: self.name().to_owned(),
            command,
            code: output.code,
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    /// The content of a file of the host.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.copy_out(path, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies a file out of the host.
    pub fn get(&self, from: &str, to: impl AsRef<Path>) -> Result<()> {
        let to = to.as_ref();
        let mut file = File::create(to).map_err(LabError::file("make", to))?;
        self.copy_out(from, &mut file)
    }

    fn copy_out(&self, from: &str, to: &mut dyn io::Write) -> Result<()> {
        let path = quoted(from);
        let size = self.check(&format!("stat -L -c %s -- {path}"))?;
        let length: u64 = size.parse().unwrap_or(0);
        // Files of /proc and their like have no size until they are read.
        if length <= SMALL {
            let bytes = self.shell(from)?.read(from, COMMAND)?;
            return to
                .write_all(&bytes)
                .map_err(LabError::file("write", "the copy"));
        }
        fits(length)?;
        let _lock = self.transfer();
        let copy =
            format!("dd if={path} of={DISK} bs=1M oflag=direct conv=sync,notrunc status=none");
        self.check(&copy)?;
        let disk = self.dir().join(TRANSFER);
        let file = File::open(&disk).map_err(LabError::file("open", &disk))?;
        let copied = io::copy(&mut file.take(length), to);
        copied.map(drop).map_err(LabError::file("read", &disk))
    }

    /// Sets the wall clock, in seconds since 1970.
    pub fn set_clock(&self, unix: f64) -> Result<()> {
        self.check(&format!("date -s @{unix:.3}")).map(drop)
    }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

fn fits(bytes: u64) -> Result<()> {
    if mebibytes(bytes) << 20 <= TRANSFER_SIZE {
        return Ok(());
    }
    Err(LabError::Wrong(format!(
        "a file of {bytes} bytes is too large to be copied"
    )))
}
