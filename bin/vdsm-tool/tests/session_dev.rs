//! Private agents as a person meets them: up, status, a killed vdsmd, up again, down, down again; and starts
//! that fail. Needs libvirt's daemon and, for most, a built vdsmd and vdsm-client.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests are tests"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use exec::{Command, Daemon, Output, Process};
use serde_json::Value;

const TOOL: &str = env!("CARGO_BIN_EXE_vdsm-tool");

/// A folder beneath /tmp that the agent's user can reach; what runs beneath it ends with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("vdt.")
            .tempdir()
            .unwrap()
            .keep();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn agent(&self) -> PathBuf {
        self.0.join("a")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = tool(&["dev", "down", "--remove"], &self.agent());
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tool(args: &[&str], dir: &Path) -> Output {
    let command = Command::new(TOOL).args(args).arg("--dir").arg(dir);
    command
        .env("PATH", "/usr/bin:/bin")
        .timeout(Duration::from_mins(2))
        .run()
        .unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.exit.success(), "{}", output.stderr_text());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Why the test cannot run here, if it cannot.
fn lacking(programs: &[&str]) -> Option<String> {
    if exec::command::find("libvirtd")
        .or_else(|| exec::command::find("virtqemud"))
        .is_none()
    {
        return Some("no libvirt daemon is installed".to_owned());
    }
    let beside = Path::new(TOOL).parent().unwrap();
    let missing = programs.iter().find(|name| !beside.join(name).is_file())?;
    Some(format!("{missing} is not built"))
}

/// Processes whose environment names the folder.
fn beneath(dir: &Path) -> Vec<i32> {
    let name = format!("{}/", dir.display());
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|text| String::from_utf8_lossy(&text).contains(&name))
    })
    .filter(|pid| Process::find(*pid).is_some_and(|process| process.is_alive()))
    .collect()
}

fn process(status: &Value) -> Process {
    let pid = status
        .pointer("/agent/pid")
        .and_then(Value::as_i64)
        .unwrap();
    Process::find(i32::try_from(pid).unwrap()).unwrap()
}

#[test]
fn session_up_survives_a_kill_and_down_leaves_nothing() {
    if let Some(why) = lacking(&["vdsmd", "vdsm-client"]) {
        println!("skipped: {why}");
        return;
    }
    let folder = Folder::new();
    let dir = folder.agent();
    let up = [
        "dev",
        "up",
        "--port",
        "0",
        "--accelerator",
        "tcg",
        "-o",
        "json",
    ];
    let first = json(&tool(&up, &dir));
    assert_eq!(first["tls"], true);
    let status = json(&tool(&["dev", "status", "-o", "json"], &dir));
    assert_eq!(
        (&status["answers"], &status["agent"]["port"]),
        (&true.into(), &first["port"])
    );

    let again = json(&tool(&up, &dir));
    assert_eq!(again["pid"], first["pid"], "a second up finds the agent");
    let other = tool(&["dev", "up", "--port", "0", "--plain"], &dir);
    assert!(!other.exit.success() && other.stderr_text().contains("other settings"));

    let vdsmd = process(&status);
    vdsmd.signal(9).unwrap();
    assert!(vdsmd.wait(Duration::from_secs(5)));
    let status = tool(&["dev", "status", "-o", "json"], &dir);
    assert!(!status.exit.success());
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&status["vdsmd"], &status["libvirt"]),
        (&false.into(), &true.into())
    );

    let ended = tool(&["dev", "down"], &dir);
    assert!(ended.exit.success(), "{}", ended.stderr_text());
    assert_eq!(beneath(&dir), Vec::<i32>::new());
    let ended = tool(&["dev", "down"], &dir);
    assert_eq!(String::from_utf8_lossy(&ended.stdout).trim(), "nothing ran");
    let second = json(&tool(&up, &dir));
    assert_ne!(second["pid"], first["pid"]);
}

#[test]
fn session_a_vdsmd_that_ends_is_told_with_its_last_words() {
    if let Some(why) = lacking(&["vdsm-client"]) {
        println!("skipped: {why}");
        return;
    }
    let folder = Folder::new();
    let vdsmd = script(&folder, "echo 'last words' >&2\nexit 3");
    let up = tool(
        &[
            "dev",
            "up",
            "--port",
            "0",
            "--vdsmd",
            vdsmd.to_str().unwrap(),
        ],
        &folder.agent(),
    );
    assert!(!up.exit.success());
    let said = up.stderr_text();
    assert!(
        said.contains("last words") && said.contains("vdsmd ended"),
        "{said}"
    );
    assert_eq!(beneath(&folder.agent()), Vec::<i32>::new());
}

#[test]
fn session_an_interrupted_start_leaves_nothing() {
    interrupt(|up, _| up.signal(2).unwrap());
}

#[test]
fn session_down_ends_a_start_that_still_waits() {
    interrupt(|_, dir| {
        let down = tool(&["dev", "down"], dir);
        assert!(down.exit.success(), "{}", down.stderr_text());
    });
}

/// A start whose vdsmd never answers, and what makes it end.
fn interrupt(how: impl FnOnce(Process, &Path)) {
    if let Some(why) = lacking(&["vdsm-client"]) {
        println!("skipped: {why}");
        return;
    }
    let folder = Folder::new();
    let vdsmd = script(&folder, "exec sleep 600");
    let log = folder.0.join("log");
    let command = Command::new(TOOL)
        .args(["dev", "up", "--port", "0", "--vdsmd"])
        .arg(&vdsmd);
    let command = command.arg("--dir").arg(folder.agent());
    let up = command.spawn_daemon(&Daemon { log: log.clone() }).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let asleep = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep"))
    };
    while !beneath(&folder.agent()).iter().any(asleep) {
        assert!(
            Instant::now() < deadline,
            "{}",
            fs::read_to_string(&log).unwrap()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    how(up, &folder.agent());
    assert!(up.wait(Duration::from_secs(30)), "it does not end");
    assert!(fs::read_to_string(&log).unwrap().contains("interrupted"));
    assert_eq!(beneath(&folder.agent()), Vec::<i32>::new());
}

/// A stand-in for vdsmd.
fn script(folder: &Folder, text: &str) -> PathBuf {
    let path = folder.0.join("vdsmd");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn refusals_come_before_anything_is_started() {
    let long = format!("/tmp/{}", "x".repeat(60));
    let up = tool(&["dev", "up"], Path::new(&long));
    assert!(!up.exit.success() && up.stderr_text().contains("too long"));
    assert!(!Path::new(&long).exists());
    let down = tool(&["dev", "down", "--remove"], Path::new("/usr"));
    assert!(!down.exit.success() && down.stderr_text().contains("not the folder"));
}
