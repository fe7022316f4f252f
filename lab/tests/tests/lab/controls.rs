//! Controls: what must turn a run red does, with a message that names it.

use std::{
    env, fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use exec::{Command, Daemon, Stdio};
use hosts::{Lab, LabError};

const LONG: Duration = Duration::from_mins(10);

#[test]
fn lab_control_a_host_that_never_becomes_ready() {
    hosts::test("lab_control_a_host_that_never_becomes_ready", |lab| {
        // On a busy machine it takes longer until its console tells why: then it gets longer. Every such host is another.
        let mut errors = (1..).zip([20, 90, 480]).map(|(number, seconds)| {
            let builder = lab.host(number).kernel_arg("lab.wrong-root");
            let patient = builder.ready_within(Duration::from_secs(seconds));
            let error = patient.start().unwrap_err();
            let name = format!("lab{number}");
            assert!(
                matches!(&error, LabError::NotReady { host, step: "booting", .. } if *host == name),
                "{error}"
            );
            error.to_string()
        });
        assert!(
            errors.any(|error| error.contains("no root: /dev/no-such-disk")),
            "no host told why it was not ready"
        );
        Ok::<_, LabError>(())
    });
}

#[test]
fn lab_control_a_kernel_that_panics() {
    hosts::test("lab_control_a_kernel_that_panics", |lab| {
        let error = lab
            .host(1)
            .kernel_arg("rdinit=/no-such-init")
            .kernel_arg("root=/dev/none")
            .start();
        let error = error.unwrap_err();
        assert!(
            matches!(
                &error,
                LabError::Ended {
                    step: "booting",
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("Kernel panic"), "{error}");
        Ok::<_, LabError>(())
    });
}

#[test]
fn lab_control_a_leaked_process() {
    let lab = Lab::start("lab_control_a_leaked_process").unwrap();
    let log = lab.dir().join("leaked.log");
    let sleeper = Command::new("tail").arg("-f").arg(&log);
    fs::write(&log, "").unwrap();
    let log = env::temp_dir().join(format!("lab-leak-{}", std::process::id()));
    let process = sleeper.spawn_daemon(&Daemon { log: log.clone() }).unwrap();
    let error = lab.finish().unwrap_err();
    fs::remove_file(log).unwrap();
    let text = error.to_string();
    assert!(matches!(error, LabError::Leak { .. }));
    assert!(
        text.contains(&format!("process {}: tail -f", process.pid)),
        "{text}"
    );
    assert!(!process.is_alive(), "and is ended");
}

#[test]
fn lab_control_a_failed_test_leaves_evidence_and_nothing_else() {
    let name = "lab_control_failed_on_purpose";
    let mut place = PathBuf::new();
    let failed = catch_unwind(std::panic::AssertUnwindSafe(|| {
        hosts::test(name, |lab| {
            place = lab.dir().to_owned();
            let host = lab.host(1).start()?;
            host.check("logger this-is-the-evidence")?;
            host.check("echo reason >&2; false").map(drop)
        });
    }));
    let panic = failed.unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(
        text.contains("lab1: `echo reason >&2; false` ended with 1"),
        "{text}"
    );
    assert!(!place.exists());
    let folder = hosts::evidence_of(name);
    let evidence = folder.join("lab1");
    let journal = fs::read_to_string(evidence.join("journal.txt")).unwrap();
    assert!(journal.contains("this-is-the-evidence"));
    assert!(evidence.join("console.log").is_file());
    fs::remove_dir_all(folder).unwrap();
}

/// A run that is killed takes its hosts with it, and the next one clears what it left.
#[test]
fn lab_control_a_killed_run_leaves_nothing() {
    const VARIABLE: &str = "LAB_CONTROL_MARKER";
    let name = "lab_control_a_killed_run_leaves_nothing";
    if let Some(marker) = env::var_os(VARIABLE) {
        let lab = Lab::start(name).unwrap();
        let _host = lab.host(1).start().unwrap();
        fs::write(marker, lab.dir().display().to_string()).unwrap();
        thread::sleep(LONG);
        return;
    }
    hosts::test(name, |lab| {
        let marker = lab.dir().join("marker");
        let mut run = Command::new(env::current_exe().unwrap())
            .args([&format!("controls::{name}"), "--exact", "--test-threads=1"])
            .env(VARIABLE, &marker)
            .env("LAB_DIR", hosts::lab_dir())
            .stdout_to(Stdio::Null)
            .stderr_to(Stdio::Null)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + LONG;
        while fs::read_to_string(&marker).unwrap_or_default().is_empty() {
            assert!(
                Instant::now() < deadline && run.try_wait().is_none(),
                "no host"
            );
            thread::sleep(Duration::from_millis(50));
        }
        let place = fs::read_to_string(&marker).unwrap();
        assert!(!knowing(&place).is_empty(), "a QEMU runs");
        run.signal(9).unwrap();
        run.wait(LONG).unwrap();
        while !knowing(&place).is_empty() {
            assert!(Instant::now() < deadline, "left: {:?}", knowing(&place));
            thread::sleep(Duration::from_millis(50));
        }
        assert!(Path::new(&place).exists(), "files stay until the next lab");
        drop(Lab::start("lab_control_next").unwrap());
        assert!(!Path::new(&place).exists());
        Ok::<_, LabError>(())
    });
}

/// Processes with this folder in their command line.
fn knowing(place: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let bytes = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&bytes).into_owned();
            line.contains(place).then_some(line)
        });
    lines.collect()
}
