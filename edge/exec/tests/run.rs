//! Running real programs to their end: output, input, limits, deadlines, trees, descriptors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::fd::AsRawFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use exec::{Cancel, Command, ExecError, Exit, Process, Stdio};

/// A shell is the handiest grandchild maker; the agent itself never uses one.
fn shell(script: &str) -> Command {
    Command::new("/bin/sh").args(["-c", script])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Zombies and other children of this process.
fn children() -> BTreeSet<i32> {
    let own = std::process::id();
    let read = fs::read_dir(format!("/proc/{own}/task")).unwrap();
    read.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .map(|pid| pid.parse().unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Waits until a pid in a file can be read and returns its process.
fn process_in(file: &Path) -> Process {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let pid = fs::read_to_string(file)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(process) = pid.and_then(Process::find) {
            return process;
        }
        assert!(Instant::now() < deadline, "no pid in {}", file.display());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn output_exit_code_and_signal() {
    let output = shell("echo out; echo err >&2; exit 3").run().unwrap();
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("out".into(), "err".into())
    );
    assert_eq!(output.exit, Exit::Code(3));
    let Err(ExecError::Failed { exit, stderr, .. }) = output.check() else {
        panic!()
    };
    assert_eq!((exit, stderr.as_str()), (Exit::Code(3), "err"));
    assert_eq!(shell("kill -9 $$").run().unwrap().exit, Exit::Signal(9));
    Command::new("true").run().unwrap().check().unwrap();
}

#[test]
fn arguments_are_whole_and_the_environment_is_clean() {
    let odd = "a b'\"$HOME\n;*";
    let output = Command::new("printf")
        .args(["%s|", odd, "", "-n"])
        .run()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{odd}||-n|")
    );
    let output = Command::new("env").env("OWN", "value").run().unwrap();
    let lines: BTreeSet<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        BTreeSet::from(["LC_ALL=C".to_owned(), "OWN=value".to_owned()])
    );
}

#[test]
fn what_cannot_start_says_why() {
    assert!(matches!(
        Command::new("/no/such").run(),
        Err(ExecError::NotFound { .. })
    ));
    assert!(matches!(
        Command::new("no-such").run(),
        Err(ExecError::NotFound { .. })
    ));
    let Err(ExecError::Start { step, .. }) = Command::new("/etc/passwd").run() else {
        panic!()
    };
    assert_eq!(step, "execve");
    let Err(ExecError::Start { step, .. }) = Command::new("true").cwd("/no/such").run() else {
        panic!()
    };
    assert_eq!(step, "chdir");
    assert!(matches!(
        Command::new("true").arg("a\0b").run(),
        Err(ExecError::Invalid { .. })
    ));
}

#[test]
fn input_larger_than_any_pipe_and_input_that_nobody_reads() {
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let output = Command::new("cat")
        .stdin(data.clone())
        .stdout_limit(4 << 20)
        .run()
        .unwrap();
    assert!(output.stdout == data);
    assert!(
        Command::new("true")
            .stdin(data)
            .run()
            .unwrap()
            .exit
            .success()
    );
    assert_eq!(
        Command::new("cat").run().unwrap().stdout,
        b"",
        "stdin is /dev/null"
    );
    assert_eq!(Command::new("cat").stdin("").run().unwrap().stdout, b"");
}

#[test]
fn input_never_shows_in_the_command_line() {
    let secret = "canary-7f3a";
    let script = "cat /proc/$$/cmdline /proc/$$/environ; cat >/dev/null";
    let output = shell(script).stdin(secret).run().unwrap();
    assert!(!text(&output.stdout).contains(secret));
}

#[test]
fn a_file_as_stdin() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"from a file").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let output = Command::new("cat")
        .stdin_to(Stdio::File(file.into()))
        .run()
        .unwrap();
    assert_eq!(output.stdout, b"from a file");
}

#[test]
fn of_huge_output_the_end_is_kept() {
    let script =
        "i=0; while [ $i -lt 64 ]; do head -c 1048576 /dev/zero; i=$((i+1)); done; echo end";
    let output = shell(script).stdout_limit(1000).run().unwrap();
    assert_eq!(output.stdout.len(), 1000);
    assert_eq!(output.stdout_dropped, (64 << 20) + 4 - 1000);
    assert!(output.stdout.ends_with(b"end\n"));
    assert!(matches!(
        output.whole_stdout(),
        Err(ExecError::TooMuchOutput { .. })
    ));
}

#[test]
fn endless_output_does_not_outlive_the_deadline() {
    let started = Instant::now();
    let result = Command::new("yes")
        .timeout(Duration::from_millis(500))
        .run();
    assert!(matches!(result, Err(ExecError::TimedOut { .. })));
    assert!(
        started.elapsed() < Duration::from_mins(1),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn the_deadline_kills_the_tree_with_those_who_left_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let pid = |name: &str| dir.path().join(name);
    // A child that ignores SIGTERM, a grandchild, and one in a session of its own.
    let script = format!(
        "trap '' TERM; (sleep 1000 & echo $! >{0}; exec sleep 1001) & setsid sh -c 'echo $$ >{1}; exec sleep 1002' & echo $$ >{2}; wait; sleep 1003",
        pid("grandchild").display(),
        pid("session").display(),
        pid("child").display(),
    );
    let runner = thread::spawn(move || {
        shell(&script)
            .timeout(Duration::from_secs(1))
            .grace(Duration::from_millis(300))
            .run()
    });
    let processes = ["grandchild", "session", "child"].map(|name| process_in(&pid(name)));
    let started = Instant::now();
    let result = runner.join().unwrap();
    let Err(ExecError::TimedOut { after, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(after, Duration::from_secs(1));
    assert!(started.elapsed() < Duration::from_mins(1));
    for process in processes {
        assert!(process.wait(Duration::from_mins(1)), "{process:?} lives");
    }
}

#[test]
fn a_gentle_program_is_given_time_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("said");
    let script = format!(
        "trap 'echo bye >{}; exit 0' TERM; while :; do sleep 0.05; done",
        file.display()
    );
    let result = shell(&script).timeout(Duration::from_millis(300)).run();
    assert!(matches!(result, Err(ExecError::TimedOut { .. })));
    assert_eq!(fs::read_to_string(file).unwrap(), "bye\n");
}

#[test]
fn a_cancelled_program_ends_at_once() {
    let token = Cancel::new();
    let canceller = token.clone();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        canceller.cancel();
    });
    let started = Instant::now();
    let result = Command::new("sleep").arg("1000").cancel(&token).run();
    assert!(matches!(result, Err(ExecError::Cancelled { .. })));
    assert!(started.elapsed() < Duration::from_mins(1));
    thread.join().unwrap();
    let again = Command::new("sleep").arg("1000").cancel(&token).run();
    assert!(
        matches!(again, Err(ExecError::Cancelled { .. })),
        "and none starts later"
    );
}

#[test]
fn a_grandchild_that_keeps_the_pipe_open_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let started = Instant::now();
    let script = format!("sleep 1000 & echo $! >{}; echo done", file.display());
    let output = shell(&script).run().unwrap();
    assert_eq!(output.stdout, b"done\n");
    assert!(started.elapsed() < Duration::from_mins(1));
    let left = process_in(&file);
    assert!(
        left.is_alive(),
        "a program that goes to the background by itself may live"
    );
    assert!(left.terminate(Duration::from_secs(1)));
}

#[test]
fn the_child_sees_three_descriptors_whatever_we_have_open() {
    // Descriptors without CLOEXEC, as a C library would leave them, also at high numbers.
    let file = fs::File::open("/etc/passwd").unwrap();
    let leaky: Vec<_> = [3, 50, 200, 900]
        .map(|min| rustix::io::fcntl_dupfd_cloexec(&file, min).unwrap())
        .into_iter()
        .inspect(|fd| rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).unwrap())
        .collect();
    assert!(leaky.iter().any(|fd| fd.as_raw_fd() >= 900));
    let output = Command::new("ls")
        .arg("/proc/self/fd")
        .stdin("x")
        .run()
        .unwrap();
    // The fourth is ls's own, of the folder it lists.
    assert_eq!(
        text(&output.stdout).lines().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
    let links = Command::new("readlink")
        .args(["/proc/self/fd/1", "/proc/self/fd/3"])
        .run()
        .unwrap();
    assert_eq!(
        text(&links.stdout).lines().count(),
        1,
        "{}",
        text(&links.stdout)
    );
}

#[test]
fn signals_are_neither_blocked_nor_ignored_and_the_group_is_its_own() {
    let output = Command::new("cat").arg("/proc/self/status").run().unwrap();
    let status = text(&output.stdout);
    let mask = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    assert_eq!(
        (mask("SigBlk:"), mask("SigIgn:")),
        (0, 0),
        "SIGPIPE too, which Rust programs ignore"
    );
    let stat = text(
        &Command::new("cat")
            .arg("/proc/self/stat")
            .run()
            .unwrap()
            .stdout,
    );
    let fields: Vec<&str> = stat.split_whitespace().collect();
    assert_eq!(fields[0], fields[4], "process id and group");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert!(
        own.lines()
            .any(|line| line.starts_with("SigBlk:") && line.ends_with("0000000000000000"))
    );
}

#[test]
fn limits_niceness_umask_and_folder() {
    let dir = tempfile::tempdir().unwrap();
    let script = "ulimit -t; ulimit -v; umask; nice; pwd";
    let output = shell(script)
        .cpu_limit(Duration::from_secs(7))
        .memory_limit(1 << 30)
        .umask(0o027)
        .nice(5)
        .io_class(exec::IoClass::Idle)
        .cwd(dir.path())
        .run()
        .unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let wanted = ["7", "1048576", "0027", "5", dir.to_str().unwrap()];
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), wanted);
    let spin = shell("while :; do :; done")
        .cpu_limit(Duration::from_secs(1))
        .run()
        .unwrap();
    assert!(matches!(spin.exit, Exit::Signal(9 | 24)), "{:?}", spin.exit);
}

#[test]
fn another_user() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let output = Command::new("id")
        .user(65534, 65534, &[12345])
        .run()
        .unwrap();
    let said = text(&output.stdout);
    assert!(
        said.contains("uid=65534") && said.contains("gid=65534") && said.contains("12345"),
        "{said}"
    );
    assert!(!said.contains("(root)"), "{said}");
    assert!(rustix::process::geteuid().is_root(), "we stay who we are");
}

/// One process at a time, 1,000 times: no zombie, no descriptor, and quick.
#[test]
fn a_thousand_programs_leave_nothing() {
    let mut times = Vec::new();
    for _ in 0..1000 {
        let started = Instant::now();
        assert!(Command::new("/bin/true").run().unwrap().exit.success());
        times.push(started.elapsed());
    }
    times.sort();
    println!(
        "start to end: median {:?}, p99 {:?}",
        times[500], times[990]
    );
    let zombies: Vec<i32> = children()
        .into_iter()
        .filter(|pid| is_zombie(*pid))
        .collect();
    thread::sleep(Duration::from_millis(50));
    let still: Vec<i32> = zombies.into_iter().filter(|pid| is_zombie(*pid)).collect();
    assert!(still.is_empty(), "{still:?}");
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[test]
fn many_threads_at_once() {
    let threads: Vec<_> = (0..8)
        .map(|n| {
            thread::spawn(move || {
                for i in 0..25 {
                    let word = format!("{n}-{i}");
                    let output = Command::new("echo").arg(&word).run().unwrap();
                    assert_eq!(text(&output.stdout), word);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn streaming_output_comes_while_it_runs() {
    let started = Instant::now();
    let mut first = None;
    shell("echo one; sleep 1; echo two")
        .run_with(&mut |_| {
            first.get_or_insert_with(|| started.elapsed());
        })
        .unwrap();
    assert!(first.unwrap() < Duration::from_millis(900));
}
