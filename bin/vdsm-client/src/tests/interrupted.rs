//! Ctrl-C while waiting. Signals belong to a process: the client is this test's own program, run again.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{LONG_TASK, World};

/// Set for the process that is the client.
const PORT: &str = "VDSM_CLIENT_TEST_PORT";

#[test]
fn an_interrupted_wait_says_how_to_follow_the_task() {
    if let Ok(port) = std::env::var(PORT) {
        be_the_client(&port);
    }
    let world = World::new();
    #[expect(clippy::disallowed_methods, reason = "a test starts what it tests")]
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("tests::interrupted::an_interrupted_wait_says_how_to_follow_the_task")
        .env(PORT, world.address.port().to_string())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    errors.read_line(&mut first).unwrap();
    assert_eq!(
        first,
        format!("task {LONG_TASK}: running: running job 1 of 1\n")
    );
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let mut rest = String::new();
    errors.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let begin = format!(
        "vdsm-client: interrupted: task {LONG_TASK} goes on\nFollow it: vdsm-client --host"
    );
    assert!(rest.starts_with(&begin), "{rest}");
}

fn be_the_client(port: &str) -> ! {
    let words = [
        "vdsm-client",
        "-a",
        "127.0.0.1",
        "-p",
        port,
        "--insecure",
        "--wait",
        "Task",
        "getStatus",
    ];
    let task = format!("taskID={LONG_TASK}");
    let args = words.iter().copied().chain([task.as_str()]);
    let mut streams = crate::Streams {
        input: &mut std::io::empty(),
        output: &mut std::io::sink(),
        errors: &mut std::io::stderr(),
        terminal: false,
    };
    let code = crate::run(args.map(Into::into), &mut streams);
    std::process::exit(code.into());
}
