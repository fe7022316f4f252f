//! Children with a handle, and programs in the background.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    fs,
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use exec::{Command, Daemon, ExecError, Exit, Process, Stdio};

#[test]
fn a_child_is_talked_to_and_waited_for() {
    let mut child = Command::new("cat").stdin_to(Stdio::Pipe).spawn().unwrap();
    assert_eq!(child.try_wait(), None);
    assert_eq!(child.wait(Duration::from_millis(50)), None);
    child
        .pipes
        .stdin
        .take()
        .unwrap()
        .write_all(b"hello")
        .unwrap();
    let mut said = String::new();
    child
        .pipes
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "hello");
    assert_eq!(child.wait(Duration::from_mins(1)), Some(Exit::Code(0)));
    assert_eq!(
        child.wait(Duration::ZERO),
        Some(Exit::Code(0)),
        "the status is kept"
    );
    assert!(child.signal(15).is_err());
}

#[test]
fn a_dropped_child_is_gone_with_its_children() {
    let child = Command::new("/bin/sh")
        .args(["-c", "sleep 1000 & exec sleep 1001"])
        .grace(Duration::from_millis(200))
        .spawn()
        .unwrap();
    let process = child.process().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", process.pid);
    let deadline = Instant::now() + Duration::from_secs(10);
    let inner = loop {
        let inner = fs::read_to_string(&children).unwrap();
        if !inner.trim().is_empty() {
            break inner;
        }
        assert!(Instant::now() < deadline, "the shell starts its child");
        thread::sleep(Duration::from_millis(5));
    };
    let inner = Process::find(inner.trim().parse().unwrap()).unwrap();
    drop(child);
    assert!(!process.is_alive() && inner.wait(Duration::from_mins(1)));
    assert!(Process::find(process.pid).is_none(), "collected, no zombie");
}

#[test]
fn signals_reach_a_child() {
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    child.signal(10).unwrap();
    assert_eq!(child.wait(Duration::from_mins(1)), Some(Exit::Signal(10)));
}

#[test]
fn a_child_dies_with_the_thread_that_started_it() {
    let child = thread::spawn(|| {
        Command::new("sleep")
            .arg("1000")
            .die_with_parent()
            .spawn()
            .unwrap()
    });
    let mut child = child.join().unwrap();
    assert_eq!(child.wait(Duration::from_mins(1)), Some(Exit::Signal(9)));
}

/// The numbers of the descriptors that process `pid` holds, sorted.
fn open_fds(pid: i32) -> Vec<String> {
    let mut fds: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .collect();
    fds.sort();
    fds
}

/// Parent, process group and session of process `pid` (proc_pid_stat(5)). Zero stands for one
/// outside of this PID namespace, so that getsid(2) would be no answer.
fn relations(pid: i32) -> [i32; 3] {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let mut fields = fields.split(' ').skip(1).map(|f| f.parse().unwrap());
    [(); 3].map(|()| fields.next().unwrap())
}

#[test]
fn a_background_program_is_nobodys_child_and_writes_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon {
        log: dir.path().join("log"),
    };
    let script = "echo out; echo err >&2; cat; exec sleep 1000";
    let process = Command::new("/bin/sh")
        .args(["-c", script])
        .spawn_daemon(&daemon)
        .unwrap();
    assert!(process.is_alive());
    let deadline = Instant::now() + Duration::from_mins(1);
    while fs::read_to_string(&daemon.log).unwrap() != "out\nerr\n" {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(5));
    }
    let own = i32::try_from(std::process::id()).unwrap();
    let [parent, group, session] = relations(process.pid);
    assert_ne!(parent, own, "not our child");
    assert_eq!(group, process.pid, "its own group");
    assert_ne!(session, relations(own)[2], "another session");
    // The program that the shell becomes opens its libraries for a moment.
    while open_fds(process.pid) != ["0", "1", "2"] {
        assert!(
            Instant::now() < deadline,
            "still open: {:?}",
            open_fds(process.pid)
        );
        thread::sleep(Duration::from_millis(5));
    }
    assert!(process.terminate(Duration::from_secs(2)));
    assert!(!process.is_alive());
    assert!(
        process.terminate(Duration::ZERO),
        "a second time is no error"
    );
}

#[test]
fn a_background_program_that_cannot_start_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon {
        log: dir.path().join("log"),
    };
    assert!(matches!(
        Command::new("/no/such").spawn_daemon(&daemon),
        Err(ExecError::NotFound { .. })
    ));
    let none = Daemon {
        log: dir.path().join("none/log"),
    };
    assert!(matches!(
        Command::new("true").spawn_daemon(&none),
        Err(ExecError::Io { .. })
    ));
    let cwd = Command::new("true").cwd("/no/such").spawn_daemon(&daemon);
    assert!(matches!(cwd, Err(ExecError::Start { step: "chdir", .. })));
}

#[test]
fn a_background_program_as_another_user() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon {
        log: dir.path().join("log"),
    };
    let command = Command::new("sleep").arg("1000").user(65534, 65534, &[]);
    let process = command.spawn_daemon(&daemon).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    assert!(
        status.contains("Uid:\t65534\t65534\t65534\t65534"),
        "{status}"
    );
    assert!(process.terminate(Duration::from_secs(2)));
}

#[test]
fn netns_private_mounts_are_seen_by_nobody_else() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = Command::new("/bin/sh").args([
        "-c",
        "mount -t tmpfs none \"$0\" && grep -c \" $0 \" /proc/self/mountinfo",
    ]);
    let output = match mount.arg(dir.path()).private_mounts().run() {
        Err(ExecError::Start {
            step: "unshare", ..
        }) => {
            println!("skipped: no right to unshare");
            return;
        }
        result => result.unwrap(),
    };
    assert_eq!(output.stdout, b"1\n", "{}", output.stderr_text());
    let ours = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!ours.contains(dir.path().to_str().unwrap()));
}

#[test]
fn netns_private_network_has_a_loopback_alone() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let show = "cat /proc/self/net/dev; cat /proc/self/net/fib_trie";
    let command = Command::new("/bin/sh").args(["-c", show]);
    let output = match command.private_network().run() {
        Err(ExecError::Start {
            step: "unshare the network",
            ..
        }) => {
            println!("skipped: no right to unshare");
            return;
        }
        result => result.unwrap(),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let links = text.lines().filter(|it| it.contains(": "));
    let links: Vec<&str> = links.filter_map(|it| it.split(':').next()).collect();
    assert_eq!(links, ["    lo"], "{text}");
    // The loopback has its address only while it is up.
    assert!(text.contains("127.0.0.1"), "{text}");
}
