//! The helper with a socket that somebody else holds for it, as systemd does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers fail the test"
)]

use std::{
    fs,
    os::{fd::OwnedFd, unix::net::UnixListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use privileged::Client;
use rustix::process::{Pid, Signal, geteuid, kill_process};

/// Starts it with this as its descriptor 3. A shell puts it there and learns the process id, as the protocol wants it.
fn start(folder: &std::path::Path, socket: impl Into<OwnedFd>) -> Child {
    #[expect(clippy::disallowed_methods, reason = "a test starts what it tests")]
    Command::new("/bin/sh")
        .arg("-c")
        .arg("exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --config \"$1\"")
        .arg(env!("CARGO_BIN_EXE_supervdsmd"))
        .arg(folder.join("conf"))
        .stdin(Stdio::from(socket.into()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let me = geteuid().as_raw();
    let text = format!(
        "[vars]\nlog_target = stderr\n[supervdsm]\nclient_user = {me}\nowner_vdsm = {me}:{me}\nsocket = /nonexistent/x\nnetworks = false\n"
    );
    fs::write(dir.path().join("conf"), text).unwrap();
    dir
}

#[test]
fn a_held_socket_is_served_and_stays() {
    let dir = folder();
    let path = dir.path().join("held.sock");
    let listener = UnixListener::bind(&path).unwrap();
    for _ in 0..2 {
        let mut helper = start(dir.path(), listener.try_clone().unwrap());
        // No waiting until it is ready: the queue holds the request.
        let client = Client::new(&path, Duration::from_mins(1));
        client.ping().unwrap();
        kill_process(Pid::from_child(&helper), Signal::TERM).unwrap();
        assert!(helper.wait().unwrap().success());
        assert!(path.exists(), "the socket is not the helper's to take away");
    }
}

#[test]
fn another_descriptor_is_refused() {
    let dir = folder();
    let tcp = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let ended = start(dir.path(), tcp).wait_with_output().unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("is not a Unix stream socket"), "{said}");
}
