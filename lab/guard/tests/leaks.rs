//! Seeded leaks: each kind is found and named; what cleans up passes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    env, fs,
    mem::forget,
    os::{fd::OwnedFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

use exec::{Command, Daemon, Stdio};
use guard::{Guard, Isolation, Leak, Watch, is_inside, isolated, outcome};

/// Declares a test that leaks; it does so only when it is asked for by `assert_found`.
macro_rules! seed {
    ($name:ident, $leak:expr) => {
        #[test]
        fn $name() {
            if is_inside(stringify!($name)) {
                isolated(stringify!($name), $leak);
            }
        }
    };
}

fn quick() -> Isolation {
    Isolation::default()
}

#[track_caller]
fn assert_found(seed: &str, words: &[&str]) {
    let outcome = outcome(seed, &quick());
    assert!(!outcome.passed, "{seed} was not found\n{}", outcome.report);
    for word in words {
        assert!(
            outcome.report.contains(word),
            "{seed}: {word:?} is missing in\n{}",
            outcome.report
        );
    }
}

seed!(seed_file, || forget(fs::File::open("/etc/passwd").unwrap()));

#[test]
fn an_open_file_is_named() {
    assert_found(
        "seed_file",
        &["1 left behind", "descriptor", "-> /etc/passwd"],
    );
}

seed!(seed_deleted_file, || {
    let file = tempfile::tempfile().unwrap();
    forget(file);
});

#[test]
fn an_open_file_without_a_name_is_found() {
    assert_found("seed_deleted_file", &["1 left behind", "descriptor"]);
}

seed!(seed_epoll, || {
    let fd: OwnedFd =
        rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
    forget(fd);
});

#[test]
fn an_epoll_descriptor_is_named() {
    assert_found("seed_epoll", &["1 left behind", "anon_inode:[eventpoll]"]);
}

seed!(seed_socket, || {
    let (one, two) = UnixStream::pair().unwrap();
    drop(one);
    forget(two);
});

#[test]
fn one_end_of_a_socket_pair_is_named() {
    assert_found("seed_socket", &["1 left behind", "socket:["]);
}

seed!(seed_child, || forget(
    Command::new("sleep")
        .arg("1000")
        .stdout_to(Stdio::Null)
        .stderr_to(Stdio::Null)
        .spawn()
        .unwrap()
));

#[test]
fn a_running_child_is_named() {
    assert_found(
        "seed_child",
        &["2 left behind", "(sleep) runs", "anon_inode:[pidfd]"],
    );
}

seed!(seed_zombie, || {
    let child = Command::new("true")
        .stdout_to(Stdio::Null)
        .stderr_to(Stdio::Null)
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(200));
    forget(child);
});

#[test]
fn a_child_that_nobody_waited_for_is_named() {
    assert_found("seed_zombie", &["(true) has ended and was not waited for"]);
}

seed!(seed_orphan, || {
    // Its parent, the shell, ends at once.
    let script = "sleep 1000 >/dev/null 2>&1 &";
    Command::new("/bin/sh")
        .args(["-c", script])
        .run()
        .unwrap()
        .check()
        .unwrap();
});

#[test]
fn an_orphan_is_found() {
    assert_found("seed_orphan", &["1 left behind", "(sleep) runs"]);
}

seed!(seed_daemon, || {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon {
        log: dir.path().join("log"),
    };
    Command::new("sleep")
        .arg("1000")
        .spawn_daemon(&daemon)
        .unwrap();
});

#[test]
fn a_forgotten_daemon_is_found() {
    assert_found("seed_daemon", &["1 left behind", "(sleep) runs"]);
}

seed!(seed_thread, || {
    thread::Builder::new()
        .name("lingering".into())
        .spawn(|| thread::sleep(Duration::from_mins(1)))
        .unwrap();
});

#[test]
fn a_running_thread_is_named() {
    assert_found("seed_thread", &["1 left behind", "thread", "(lingering)"]);
}

seed!(seed_temporary, || fs::write(
    env::temp_dir().join("forgotten"),
    "x"
)
.unwrap());

#[test]
fn a_temporary_file_is_named() {
    assert_found("seed_temporary", &["1 left behind", "file ", "forgotten"]);
}

seed!(seed_mount, || {
    let dir = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, c"size=64k").unwrap();
    forget(dir);
});

#[test]
fn netns_a_mount_is_named_and_goes_with_the_test() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    assert_found("seed_mount", &["mount ", " - tmpfs tmpfs rw,size=64k"]);
    let ours = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!ours.contains("/guard-"), "{ours}");
}

seed!(seed_failure, || panic!("its own failure"));

#[test]
fn a_failure_of_the_test_itself_is_a_failure() {
    assert_found("seed_failure", &["its own failure"]);
}

#[test]
fn a_name_that_is_no_test_is_a_failure() {
    assert_found(
        "no_such_test",
        &["there is no test called \"no_such_test\""],
    );
}

seed!(seed_endless, || thread::sleep(Duration::from_secs(1000)));

#[test]
fn a_test_that_never_ends_is_a_failure() {
    let isolation = Isolation {
        timeout: Duration::from_millis(500),
        ..Isolation::default()
    };
    let outcome = outcome("seed_endless", &isolation);
    assert!(
        !outcome.passed && outcome.report.contains("did not end"),
        "{}",
        outcome.report
    );
}

#[test]
fn what_cleans_up_passes() {
    guard::isolated!(|| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        let thread = thread::spawn(|| drop(fs::File::open("/etc/passwd").unwrap()));
        thread.join().unwrap();
        Command::new("true").run().unwrap().check().unwrap();
        drop(Command::new("sleep").arg("1000").spawn().unwrap());
        let daemon = Daemon {
            log: dir.path().join("log"),
        };
        let process = Command::new("sleep")
            .arg("1000")
            .spawn_daemon(&daemon)
            .unwrap();
        assert!(process.terminate(Duration::from_secs(5)));
    });
}

/// A thread that has just been told to end is given its time.
#[test]
fn what_is_just_ending_passes() {
    guard::isolated!(|| {
        thread::spawn(|| thread::sleep(Duration::from_millis(300)));
    });
}

#[test]
fn what_is_allowed_passes() {
    let name = "what_is_allowed_passes";
    let watch = Watch {
        allowed: vec!["/etc/passwd".into()],
        ..Watch::default()
    };
    let isolation = Isolation {
        watch,
        ..Isolation::default()
    };
    guard::isolated_with(name, &isolation, || {
        forget(fs::File::open("/etc/passwd").unwrap());
    });
}

mod inner {
    #[test]
    fn names_within_modules_are_found() {
        guard::isolated!(|| ());
    }
}

seed!(seed_direct, || {
    let guard = Guard::with(Watch {
        grace: Duration::ZERO,
        ..Watch::default()
    });
    let file = fs::File::open("/etc/passwd").unwrap();
    let leaks = guard.finish().unwrap_err();
    assert!(matches!(&leaks.0[..], [Leak::Descriptor { target, .. }] if target == "/etc/passwd"));
    drop(file);
    let file = fs::File::open("/etc/passwd").unwrap();
    let guard = Guard::new();
    drop(file);
    assert_eq!(guard.finish(), Ok(()), "less than before is no leak");
    let file;
    {
        let _guard = Guard::with(Watch {
            grace: Duration::ZERO,
            ..Watch::default()
        });
        file = fs::File::open("/etc/group").unwrap();
    }
    drop(file);
});

#[test]
fn a_dropped_guard_fails_the_test() {
    assert_found("seed_direct", &["1 left behind", "/etc/group"]);
}

#[test]
fn netns_a_network_of_its_own() {
    guard::in_network!(|| {
        let seen = std::fs::read_dir("/sys/class/net").unwrap();
        let seen: Vec<_> = seen.map(|it| it.unwrap().file_name()).collect();
        assert!(seen.contains(&"lo".into()), "{seen:?}");
        assert!(!seen.iter().any(|it| it == "eth0"), "{seen:?}");
        let routes = std::fs::read_to_string("/proc/self/net/route").unwrap();
        assert_eq!(routes.lines().count(), 1, "the heading alone: {routes}");
    });
}
