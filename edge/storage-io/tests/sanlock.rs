//! A real sanlock daemon (without watchdog, in a folder of its own) and two hosts' worth of lock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use storage_io::{SanlockConfig, SanlockLock};
use storage_model::ports::{ClusterLock, ClusterLockError, DomainLock};
use uuid::Uuid;

/// Set for the process that talks to the private daemon: its folder of domains. (The library finds the
/// daemon by an environment variable, which a test cannot set for itself.)
const MARK: &str = "STORAGE_IO_TEST_SANLOCK";

fn domain(dir: &Path) -> DomainLock {
    DomainLock {
        domain: Uuid::from_u128(0x5a17_0c4d),
        ids_path: dir.join("ids"),
        leases_path: dir.join("leases"),
        resource: "SDM".into(),
        resource_offset: 1 << 20,
        block_size: 512,
        alignment: 1 << 20,
    }
}

/// `-w 0`: no watchdog. `-h 0`, `-l 0`: no real-time priority, no locked memory. As root: the files are ours.
const DAEMON: &[&str] = &[
    "daemon", "-D", "-w", "0", "-h", "0", "-l", "0", "-U", "root", "-G", "root",
];

/// Where the right to lift limits is withheld (containers), the daemon would end at once for limits that it
/// does not use with `-l 0`: strace answers those calls (the second and
/// third of their kind) for the kernel.
const LIFT: &[&str] = &[
    "-f",
    "-o",
    "/dev/null",
    "-e",
    "trace=prlimit64",
    "-e",
    "inject=prlimit64:retval=0:when=2..3",
];

fn start_daemon(run_dir: &Path) -> Option<exec::Child> {
    let sanlock = exec::command::find("sanlock")?;
    let plain = exec::Command::new(&sanlock).args(DAEMON);
    let lifted = exec::Command::new("strace")
        .args(LIFT)
        .arg(&sanlock)
        .args(DAEMON);
    [plain, lifted]
        .into_iter()
        .find_map(|command| running(command, run_dir))
}

/// The daemon, if it answers within 10 s.
fn running(command: exec::Command, run_dir: &Path) -> Option<exec::Child> {
    let command = command.env("SANLOCK_RUN_DIR", run_dir);
    let null = |command: exec::Command| {
        command
            .stdout_to(exec::Stdio::Null)
            .stderr_to(exec::Stdio::Null)
            .spawn()
    };
    let mut child = null(command).ok()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !run_dir.join("sanlock.sock").exists() {
        if child.try_wait().is_some() || Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Some(child)
}

#[test]
fn netns_a_lease_is_taken_and_given_back_by_a_real_daemon() {
    if std::env::var_os(MARK).is_some() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    fs::create_dir(&run_dir).unwrap();
    fs::set_permissions(&run_dir, fs::Permissions::from_mode(0o755)).unwrap();
    let Some(_daemon) = start_daemon(&run_dir) else {
        println!("skipped: no sanlock daemon can be started here");
        return;
    };
    let output = exec::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "talk_to_the_daemon", "--nocapture"])
        .env(MARK, dir.path())
        .env("SANLOCK_RUN_DIR", &run_dir)
        .timeout(Duration::from_secs(150))
        .run()
        .unwrap();
    // Not as the harness prints its own: results are counted.
    let said = String::from_utf8_lossy(&output.stdout);
    println!("  | {}", said.trim_end().replace('\n', "\n  | "));
    assert!(output.exit.success(), "{}", output.stderr_text());
}

/// The child: not a test by itself.
#[test]
fn talk_to_the_daemon() {
    let Some(dir) = std::env::var_os(MARK) else {
        return;
    };
    let domain = domain(Path::new(&dir));
    let lock = SanlockLock::default();
    assert_eq!(lock.kind(), "sanlock");
    println!("daemon version {:#x}", lock.probe().unwrap());
    for path in [&domain.ids_path, &domain.leases_path] {
        fs::write(path, b"").unwrap();
    }
    lock.initialize(&domain).unwrap();
    assert_eq!(fs::metadata(&domain.ids_path).unwrap().len(), 1 << 20);
    let leases = fs::read(&domain.leases_path).unwrap();
    assert!(
        leases[1 << 20..].windows(3).any(|word| word == b"SDM"),
        "the resource is at its offset"
    );
    assert_eq!(lock.inquire(&domain).unwrap(), None);
    assert!(!lock.has_host_id(&domain, 1).unwrap());
    let early = lock.acquire(&domain, 1);
    assert!(
        matches!(early, Err(ClusterLockError::Failed { .. })),
        "not joined: {early:?}"
    );

    let started = Instant::now();
    lock.acquire_host_id(&domain, 1).unwrap();
    println!("joined after {:?}", started.elapsed());
    assert!(lock.has_host_id(&domain, 1).unwrap());
    lock.acquire_host_id(&domain, 1).unwrap();
    let other = lock.acquire_host_id(&domain, 2);
    assert!(
        matches!(other, Err(ClusterLockError::Held { .. })),
        "{other:?}"
    );

    lock.acquire(&domain, 1).unwrap();
    lock.acquire(&domain, 1).unwrap();
    let (host, version) = lock.inquire(&domain).unwrap().unwrap();
    assert_eq!(host, 1);
    let second = SanlockLock::default();
    let taken = second.acquire(&domain, 1);
    assert!(
        matches!(taken, Err(ClusterLockError::Held { .. })),
        "another connection: {taken:?}"
    );
    assert_eq!(second.inquire(&domain).unwrap(), Some((1, version)));
    lock.release(&domain).unwrap();
    lock.release(&domain).unwrap();
    assert_eq!(lock.inquire(&domain).unwrap(), None);
    second.acquire(&domain, 1).unwrap();
    assert_eq!(second.inquire(&domain).unwrap(), Some((1, version + 1)));
    // The connection closes with the lock: the daemon frees the lease, as it does when an agent is killed.
    drop(second);
    let deadline = Instant::now() + Duration::from_secs(10);
    while lock.inquire(&domain).unwrap().is_some() {
        assert!(
            Instant::now() < deadline,
            "the lease of a closed connection stays"
        );
        thread::sleep(Duration::from_millis(100));
    }
    lock.release_host_id(&domain, 1).unwrap();
    lock.release_host_id(&domain, 1).unwrap();
    assert!(!lock.has_host_id(&domain, 1).unwrap());
}

#[test]
fn without_a_daemon_each_call_is_a_clear_error() {
    if std::env::var_os(MARK).is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = SanlockConfig {
        timeout: Duration::from_secs(5),
        ..SanlockConfig::default()
    };
    let lock = SanlockLock::new(config);
    if lock.probe().is_ok() {
        println!("skipped: a sanlock daemon of the machine runs");
        return;
    }
    let domain = domain(dir.path());
    let errors = [
        lock.initialize(&domain).unwrap_err(),
        lock.acquire_host_id(&domain, 1).unwrap_err(),
        lock.acquire(&domain, 1).unwrap_err(),
        lock.inquire(&domain).unwrap_err(),
    ];
    for error in errors {
        println!("{error}");
        assert!(matches!(error, ClusterLockError::Failed { code, .. } if code < 0));
        let text = error.to_string();
        let missing = text.contains("does not run") || text.contains("is not installed");
        assert!(missing, "{text}");
    }
    let odd = DomainLock {
        block_size: 1024,
        ..domain
    };
    assert!(
        lock.acquire(&odd, 1)
            .unwrap_err()
            .to_string()
            .contains("1024")
    );
}
