//! One test in a process of its own: the same test binary, told to run just that test.

use std::{env, path::Path, time::Duration};

use exec::{Command, ExecError, Exit, Output};
use rustix::{
    mount::{MountFlags, mount},
    process::{getpid, set_child_subreaper},
};

use crate::{Guard, Watch, fail};

/// Names the test that runs inside.
const MARK: &str = "VDSM_GUARD_INSIDE";

/// Set if the process has mounts of its own.
const OWN_MOUNTS: &str = "VDSM_GUARD_OWN_MOUNTS";

/// Set if the process has a network of its own.
const OWN_NETWORK: &str = "VDSM_GUARD_OWN_NETWORK";

/// How a test runs in its own process.
#[derive(Debug, Clone)]
pub struct Isolation {
    /// What is looked at; the fresh `TMPDIR` is added.
    pub watch: Watch,
    /// In a network of its own: a loopback that is up, and `/sys` that shows this network. Where the machine does
    /// not let us, the test is skipped.
    pub network: bool,
    /// How long the test may take.
    pub timeout: Duration,
}

impl Default for Isolation {
    fn default() -> Self {
        Self {
            watch: Watch::default(),
            network: false,
            // A bound for what hangs, not a measure: the machine may be busy.
            timeout: Duration::from_mins(10),
        }
    }
}

/// What came of a test in its own process.
#[derive(Debug)]
pub struct Outcome {
    /// It ran, succeeded and left nothing.
    pub passed: bool,
    /// What it wrote, both streams; and why it did not pass.
    pub report: String,
}

/// The name of a test, as its binary knows it, from the type name of a function within it.
#[doc(hidden)]
pub fn test_name(type_name: &str) -> String {
    let inner = type_name.strip_suffix("::here").unwrap_or(type_name);
    let parts = inner
        .split("::")
        .skip(1)
        .filter(|part| *part != "{{closure}}");
    parts.collect::<Vec<_>>().join("::")
}

/// Are we the process of that test?
pub fn is_inside(name: &str) -> bool {
    env::var(MARK).is_ok_and(|inside| inside == name)
}

/// Runs `test`, which must be (all of) the test function called `name`, in a process of its own. Fails as
/// it fails, or if it leaves something. [`crate::isolated!`] finds the name by itself.
#[track_caller]
pub fn isolated(name: &str, test: impl FnOnce()) {
    isolated_with(name, &Isolation::default(), test);
}

/// As [`isolated`], watching or allowing more.
#[track_caller]
pub fn isolated_with(name: &str, isolation: &Isolation, test: impl FnOnce()) {
    if is_inside(name) {
        run_inside(isolation, test);
        return;
    }
    let outcome = outcome(name, isolation);
    if !outcome.passed {
        // Not as the harness prints its own: results are counted.
        fail(&format!(
            "{name}, in a process of its own:\n  | {}",
            outcome.report.replace('\n', "\n  | ")
        ));
    }
    pass_on(&outcome.report);
}

/// Inside: snapshot, test, comparison.
fn run_inside(isolation: &Isolation, test: impl FnOnce()) {
    // Orphans come to us, not to init.
    let _ = set_child_subreaper(Some(getpid()));
    let mut watch = isolation.watch.clone();
    watch.folders.push(env::temp_dir());
    watch.mounts |= env::var_os(OWN_MOUNTS).is_some();
    if env::var_os(OWN_NETWORK).is_some() {
        // A sysfs shows the network in which it was mounted.
        let flags = MountFlags::empty();
        if let Err(error) = mount("sysfs", "/sys", "sysfs", flags, None) {
            fail(&format!("no /sys of this network: {error}"));
        }
    }
    let guard = Guard::with(watch);
    test();
    if let Err(leaks) = guard.finish() {
        leaks.0.iter().for_each(crate::Leak::end);
        fail(&leaks.to_string());
    }
}

/// Runs the test called `name` of this test binary in a process of its own and tells what came of it. That
/// test must call [`isolated`].
pub fn outcome(name: &str, isolation: &Isolation) -> Outcome {
    let failed = |report: String| Outcome {
        passed: false,
        report,
    };
    let folder = match tempfile::Builder::new().prefix("guard-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return failed(format!("no temporary folder: {error}")),
    };
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed(format!("the test binary cannot be found: {error}")),
    };
    let plain = || command(&program, name, isolation).env("TMPDIR", folder.path());
    if isolation.network {
        let command = plain().env(OWN_MOUNTS, "1").env(OWN_NETWORK, "1");
        return match command.private_mounts().private_network().run() {
            Err(ExecError::Start { step, .. }) if step != "execve" => Outcome {
                passed: true,
                report: format!("skipped: no network of its own: {step} is refused"),
            },
            result => judge(name, result),
        };
    }
    let result = match plain().env(OWN_MOUNTS, "1").private_mounts().run() {
        // Not root, or root without the right: then nothing is mounted either.
        Err(ExecError::Start {
            step: "unshare" | "mount",
            ..
        }) => plain().run(),
        result => result,
    };
    judge(name, result)
}

fn judge(name: &str, result: Result<Output, ExecError>) -> Outcome {
    let failed = |report: String| Outcome {
        passed: false,
        report,
    };
    let output = match result {
        Ok(output) => output,
        Err(error) => return failed(error.to_string()),
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let ran = stdout.contains("test result: ok. 1 passed");
    if output.exit == Exit::Code(0) && !ran {
        return failed(format!(
            "there is no test called {name:?} in this binary\n{report}"
        ));
    }
    Outcome {
        passed: ran && output.exit.success(),
        report,
    }
}

/// The same binary, one test, everything shown; our environment.
fn command(program: &Path, name: &str, isolation: &Isolation) -> Command {
    let args = [
        "--exact",
        name,
        "--nocapture",
        "--include-ignored",
        "--test-threads=1",
    ];
    let command = Command::new(program).args(args).timeout(isolation.timeout);
    let command = env::vars_os().fold(command, |command, (key, value)| command.env(key, value));
    command.env(MARK, name)
}

/// A test that skips says so, and one that measures tells its figures; that must be heard outside too.
#[expect(clippy::print_stdout, reason = "the test's own words")]
fn pass_on(report: &str) {
    told(report).for_each(|words| println!("{words}"));
}

/// These words, without the beginning that the harness gives to the first line of a test: its name.
fn told(report: &str) -> impl Iterator<Item = &str> {
    report.lines().filter_map(|line| {
        let start = ["skipped:", "figure:"]
            .iter()
            .find_map(|it| line.find(it))?;
        line.get(start..)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_says_is_heard_from_its_first_line_on() {
        let report = "running 1 test\ntest netns_x ... skipped: no y\n  figure: 3 s\nok\n";
        let told: Vec<&str> = told(report).collect();
        assert_eq!(told, ["skipped: no y", "figure: 3 s"]);
    }
}
