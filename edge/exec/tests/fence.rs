//! Fence agents as programs: what they are given, what is kept of what they say, and that nothing is left of
//! one that hangs. The agents here are scripts; real ones are run in `bin/vdsmd/tests/fence.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use exec::{
    Cancel, ExecError, Exit, Output, Process,
    fence::{self, AgentName, Lines, OUTPUT_LIMIT},
};
use tempfile::TempDir;

const LONG: Duration = Duration::from_mins(2);
const SECRET: &str = "c4n%s ary-\u{fc}\u{df}-\"'$x";

/// Writes `fence_<name>` and waits until nobody writes to it: a program that a parallel test forked while it
/// was open would keep it busy.
fn script(dir: &Path, name: &str, body: &str) {
    let path = dir.join(format!("fence_{name}"));
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn lines() -> Lines {
    let mut lines = Lines::new();
    lines.push("action", "status").unwrap();
    lines.push("passwd", SECRET).unwrap();
    lines
}

fn run(dir: &Path, name: &str, timeout: Duration) -> Result<Output, ExecError> {
    let agent = AgentName::new(name).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match fence::run(dir, &agent, lines(), timeout, &Cancel::new()) {
            Err(ExecError::Start { source, .. })
                if source.kind() == std::io::ErrorKind::ExecutableFileBusy
                    && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

#[test]
fn lines_go_through_stdin_and_nowhere_else() {
    let dir = TempDir::new().unwrap();
    let body =
        "cat; tr '\\0' '\\n' </proc/$$/cmdline >&2; tr '\\0' '\\n' </proc/$$/environ >&2; exit 2";
    script(dir.path(), "tells", body);
    let output = run(dir.path(), "tells", LONG).unwrap();
    assert_eq!(output.exit, Exit::Code(2));
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told, format!("action=status\npasswd={SECRET}\n"));
    let seen = String::from_utf8(output.stderr).unwrap();
    assert!(
        seen.contains("fence_tells") && seen.contains("LC_ALL=C"),
        "{seen}"
    );
    assert!(!seen.contains("ary-"), "{seen}");
    assert!(!format!("{:?}{}", lines(), output.program).contains("ary-"));
}

#[test]
fn what_is_not_there_is_not_installed() {
    let dir = TempDir::new().unwrap();
    let missing = run(dir.path(), "nosuch", LONG);
    assert!(
        matches!(missing, Err(ExecError::NotFound { .. })),
        "{missing:?}"
    );
    // There, and no program.
    fs::write(dir.path().join("fence_text"), "text").unwrap();
    assert!(matches!(
        run(dir.path(), "text", LONG),
        Err(ExecError::Start { .. })
    ));
}

#[test]
fn a_flood_of_output_is_bounded_and_its_end_kept() {
    let dir = TempDir::new().unwrap();
    let body = "cat >/dev/null; head -c 5000000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 3";
    script(dir.path(), "flood", body);
    let output = run(dir.path(), "flood", LONG).unwrap();
    assert_eq!(output.exit, Exit::Code(3));
    assert_eq!(output.stderr.len(), OUTPUT_LIMIT);
    assert!(output.stderr.ends_with(b"xend\n"));
    assert!(output.stderr_dropped > 4_000_000);
}

fn pid_in(file: &Path) -> Process {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let pid = fs::read_to_string(file)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(process) = pid.and_then(Process::find) {
            return process;
        }
        assert!(Instant::now() < deadline, "no pid in {}", file.display());
        thread::sleep(Duration::from_millis(10));
    }
}

/// The agent ignores SIGTERM; a child of it leaves the session; a grandchild leaves the session and loses its
/// parent, so that it is nobody's descendant any more.
#[test]
fn the_deadline_leaves_nothing_of_an_agent_that_hangs() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str| dir.path().join(name);
    let body = format!(
        "trap '' TERM\n\
         setsid sh -c 'echo $$ >{child}; exec sleep 1001' &\n\
         (setsid sh -c 'echo $$ >{orphan}; exec sleep 1002' &) \n\
         echo $$ >{agent}\nwhile :; do sleep 1003; done",
        child = file("child").display(),
        orphan = file("orphan").display(),
        agent = file("agent").display(),
    );
    script(dir.path(), "hangs", &body);
    // The pids are read while it runs; the deadline comes only when they are known.
    let (agent, cancel) = (AgentName::new("hangs").unwrap(), Cancel::new());
    let token = cancel.clone();
    let folder = dir.path().to_owned();
    let running = thread::spawn(move || fence::run(&folder, &agent, lines(), LONG, &token));
    let all: Vec<Process> = ["agent", "child", "orphan"]
        .iter()
        .map(|name| pid_in(&file(name)))
        .collect();
    cancel.cancel();
    let ended = running.join().unwrap();
    assert!(
        matches!(ended, Err(ExecError::Cancelled { .. })),
        "{ended:?}"
    );
    for process in all {
        assert!(
            process.wait(Duration::from_secs(30)),
            "{process:?} is still there"
        );
    }
}

#[test]
fn a_deadline_is_told_without_what_was_said_to_it() {
    let dir = TempDir::new().unwrap();
    script(dir.path(), "slow", "cat >/dev/null; exec sleep 1004");
    let ended = run(dir.path(), "slow", Duration::from_millis(300)).unwrap_err();
    assert!(matches!(ended, ExecError::TimedOut { .. }), "{ended:?}");
    assert!(!format!("{ended} {ended:?}").contains("ary-"));
}
