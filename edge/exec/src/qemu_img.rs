//! `qemu-img`: its command line run with a deadline, its report or its progress read.
//!
//! Knows no verb's meaning: the argument lists are `storage-io`'s.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Cancel, Command, ExecError, Output};

/// Bytes that a JSON report may have (a map of a fragmented disk is long).
const REPORT_LIMIT: usize = 64 << 20;

/// Where upstream looks for it, in this order.
pub const PATHS: [&str; 2] = ["/usr/local/bin/qemu-img", "/usr/bin/qemu-img"];

/// Limits for images that may be hostile: upstream runs `qemu-img info` of untrusted images with 30 s of
/// CPU time and 1 GiB of address space.
pub const UNTRUSTED_CPU: Duration = Duration::from_secs(30);
/// See [`UNTRUSTED_CPU`]. Bytes.
pub const UNTRUSTED_MEMORY: u64 = 1 << 30;

/// One call of `qemu-img`, to be run.
#[derive(Debug)]
pub struct Call {
    command: Command,
}

impl Call {
    /// `qemu-img` with these arguments, the verb first. It dies with the agent: what is taken back at the next
    /// start must not be written to by one who was left over.
    pub fn new<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: Command::new(program())
                .args(args)
                .die_with_parent()
                .stdout_limit(REPORT_LIMIT),
        }
    }

    /// How long it may run.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            command: self.command.timeout(timeout),
        }
    }

    /// In this folder: relative names of backing files are looked up from there.
    #[must_use]
    pub fn cwd(self, dir: &Path) -> Self {
        Self {
            command: self.command.cwd(dir),
        }
    }

    /// A token that ends it.
    #[must_use]
    pub fn cancel(self, token: &Cancel) -> Self {
        Self {
            command: self.command.cancel(token),
        }
    }

    /// With the limits for images that may be hostile.
    #[must_use]
    pub fn untrusted(self) -> Self {
        Self {
            command: self
                .command
                .cpu_limit(UNTRUSTED_CPU)
                .memory_limit(UNTRUSTED_MEMORY),
        }
    }

    /// Runs it. Any exit status is `Ok`.
    pub fn run(self) -> Result<Output, ExecError> {
        self.command.run()
    }

    /// Runs it; its standard output, whole, if it ended with 0. For `--output json`.
    pub fn json(self) -> Result<Vec<u8>, ExecError> {
        self.command.run()?.check()?.whole_stdout()
    }

    /// Runs it (with `-p` among its arguments) and tells of its progress, 0 to 100, never going back.
    pub fn with_progress(self, on_progress: &mut dyn FnMut(f64)) -> Result<Output, ExecError> {
        let mut parser = Progress::default();
        self.command.run_with(&mut |bytes| {
            if let Some(percent) = parser.push(bytes) {
                on_progress(percent);
            }
        })
    }
}

/// The program's path: where upstream looks, else by name.
pub fn program() -> PathBuf {
    let installed = PATHS.iter().map(PathBuf::from).find(|path| path.is_file());
    installed.unwrap_or_else(|| PathBuf::from("qemu-img"))
}

/// Reads progress as `qemu-img -p` writes it: `    (12.34/100%)\r`, in pieces of any size.
#[derive(Debug, Default)]
pub struct Progress {
    pending: Vec<u8>,
    best: f64,
}

impl Progress {
    /// Bytes of an unfinished record that are kept; a real one has about 20.
    const PENDING: usize = 256;

    /// Takes a piece of output; the newest percentage if there was a new, higher one.
    pub fn push(&mut self, bytes: &[u8]) -> Option<f64> {
        let before = self.best;
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
            self.pending.extend_from_slice(part);
            if part.ends_with(b"\r") || part.ends_with(b"\n") {
                let seen = record(&self.pending);
                self.best = seen.map_or(self.best, |percent| percent.max(self.best));
                self.pending.clear();
            } else if self.pending.len() > Self::PENDING {
                self.pending.clear();
            }
        }
        (self.best > before).then_some(self.best)
    }
}

/// One record, `(12.34/100%)` with blanks around; nothing else is a percentage.
fn record(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let number = text.strip_prefix('(')?.strip_suffix("/100%)")?;
    let plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent: f64 = if plain {
        number.parse().ok()?
    } else {
        return None;
    };
    (0.0..=100.0).contains(&percent).then_some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_in_any_pieces() {
        let mut progress = Progress::default();
        assert_eq!(progress.push(b"    (0.00/100%)\r    (1"), None);
        assert_eq!(progress.push(b"2.50/100%)\r"), Some(12.5));
        assert_eq!(progress.push(b"    (12.00/100%)\r"), None, "never back");
        assert_eq!(
            progress.push(b"noise\n (101/100%)\r (nan/100%)\r(1e1/100%)\r"),
            None
        );
        assert_eq!(progress.push(b"    (100.00/100%)\r\n"), Some(100.0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_monotonic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..8)) {
            let mut progress = Progress::default();
            let mut last = 0.0;
            for piece in pieces {
                if let Some(percent) = progress.push(&piece) {
                    prop_assert!(percent > last && percent <= 100.0);
                    last = percent;
                }
                prop_assert!(progress.pending.len() <= Progress::PENDING + 600);
            }
        }
    }

    fn disk(dir: &Path, name: &str, size: &str) -> PathBuf {
        let path = dir.join(name);
        let args = ["create", "-q", "-f", "raw", path.to_str().unwrap(), size];
        Call::new(args).run().unwrap().check().unwrap();
        path
    }

    #[test]
    fn a_report_and_progress_from_the_real_program() {
        if crate::command::find("qemu-img").is_none() {
            println!("skipped: qemu-img is not installed");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let source = disk(dir.path(), "a.raw", "64M");
        let report = Call::new(
            ["info", "--output", "json", "-f", "raw"]
                .iter()
                .map(std::ffi::OsStr::new)
                .chain([source.as_os_str()]),
        );
        let text = String::from_utf8(report.json().unwrap()).unwrap();
        assert!(text.contains("\"virtual-size\": 67108864"), "{text}");
        std::fs::write(&source, vec![7_u8; 8 << 20]).unwrap();
        let target = dir.path().join("b.qcow2");
        let args = ["convert", "-p", "-f", "raw", "-O", "qcow2"].map(std::ffi::OsString::from);
        let all = args.into_iter().chain([source.into(), target.into()]);
        let mut seen = Vec::new();
        Call::new(all)
            .with_progress(&mut |percent| seen.push(percent))
            .unwrap()
            .check()
            .unwrap();
        assert_eq!(seen.last().copied(), Some(100.0));
    }

    #[test]
    fn no_such_image_is_a_failure_with_its_words() {
        if crate::command::find("qemu-img").is_none() {
            println!("skipped: qemu-img is not installed");
            return;
        }
        let result = Call::new(["info", "--output", "json", "/no/such/image"])
            .untrusted()
            .json();
        let Err(ExecError::Failed { exit, stderr, .. }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(exit.code(), 1);
        assert!(stderr.contains("No such file"), "{stderr}");
    }
}
