//! Whatever happens to a program, nothing of it stays: descriptors, threads, children.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::time::Duration;

use exec::{Cancel, Command, Daemon, Stdio};

#[test]
fn runs_leave_nothing_however_they_end() {
    guard::isolated!(|| {
        let token = Cancel::new();
        for _ in 0..20 {
            Command::new("cat").stdin("some input").run().unwrap();
            Command::new("false").run().unwrap();
            Command::new("/no/such").stdin("x").run().unwrap_err();
            Command::new("/etc/passwd").run().unwrap_err();
            Command::new("true").cwd("/no/such").run().unwrap_err();
            Command::new("true").cancel(&token).run().unwrap();
        }
        let brief = Duration::from_millis(50);
        Command::new("sleep")
            .arg("1000")
            .timeout(brief)
            .run()
            .unwrap_err();
        let script = "setsid sleep 1000 & sleep 1000 & wait";
        let tree = Command::new("/bin/sh").args(["-c", script]);
        tree.timeout(Duration::from_millis(300))
            .grace(brief)
            .run()
            .unwrap_err();
        token.cancel();
        Command::new("sleep")
            .arg("1000")
            .cancel(&token)
            .run()
            .unwrap_err();
    });
}

#[test]
fn children_and_daemons_leave_nothing() {
    guard::isolated!(|| {
        let mut child = Command::new("cat").stdin_to(Stdio::Pipe).spawn().unwrap();
        child.pipes.stdin = None;
        assert!(child.wait(Duration::from_mins(1)).unwrap().success());
        drop(child);
        drop(Command::new("sleep").arg("1000").spawn().unwrap());
        Command::new("/no/such")
            .stdin_to(Stdio::Pipe)
            .spawn()
            .unwrap_err();
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon {
            log: dir.path().join("log"),
        };
        let process = Command::new("sleep")
            .arg("1000")
            .spawn_daemon(&daemon)
            .unwrap();
        assert!(process.terminate(Duration::from_secs(5)));
        Command::new("/no/such").spawn_daemon(&daemon).unwrap_err();
    });
}
