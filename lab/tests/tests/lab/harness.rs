//! The lab itself, with one host: commands, files, devices, power.

use std::{
    fs,
    time::{Duration, Instant},
};

use hosts::{LabError, Shape};

const LONG: Duration = Duration::from_mins(12);

#[test]
fn lab_commands_tell_their_code_and_their_output() {
    hosts::test("lab_commands_tell_their_code_and_their_output", |lab| {
        let host = lab.host(1).start()?;
        let said = host.run("echo out; echo err >&2; exit 255")?;
        assert_eq!(
            (said.code, said.stdout.as_str(), said.stderr.as_str()),
            (255, "out\n", "err\n")
        );
        assert_eq!(host.run("kill -9 $$")?.code, 137);
        assert_eq!(host.check("hostname; id -un")?, "lab1\nroot");
        let failed = host.check("echo why >&2; false").unwrap_err();
        assert!(matches!(&failed, LabError::Failed { host, code: 1, .. } if host == "lab1"));
        let late = host
            .run_for("sleep 100", Duration::from_secs(2))
            .unwrap_err();
        assert!(matches!(&late, LabError::TimedOut { .. }), "{late}");
        assert!(late.to_string().starts_with("lab1: `sleep 100`"), "{late}");
        host.wait_until("the sleeper is gone", "! pgrep -x sleep", LONG)?;
        Ok::<_, LabError>(())
    });
}

#[test]
fn lab_files_go_in_and_come_out() {
    hosts::test("lab_files_go_in_and_come_out", |lab| {
        let host = lab.host(1).start()?;
        let odd: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
        let there = lab.dir().join("there");
        fs::write(&there, &odd).unwrap();
        host.put(&there, "/srv/new folder/it's here")?;
        assert_eq!(host.read("/srv/new folder/it's here")?, odd);
        let back = lab.dir().join("back");
        host.get("/srv/new folder/it's here", &back)?;
        assert_eq!(fs::read(back).unwrap(), odd);
        host.write("/usr/local/bin/greet", 0o755, "#!/bin/sh\necho hello\n")?;
        assert_eq!(host.check("greet")?, "hello");
        let missing = host.read("/no/such").unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
        Ok::<_, LabError>(())
    });
}

/// What one test does to a host, the next does not see; time is now; what is random differs.
#[test]
fn lab_every_host_starts_pristine() {
    let mut seen = Vec::new();
    for round in 0..2 {
        hosts::test(&format!("lab_every_host_starts_pristine_{round}"), |lab| {
            let began = observe::clock::now_unix_f64();
            let host = lab.host(1).start()?;
            assert_eq!(host.check("ls /srv")?, "", "round {round}");
            host.check("touch /srv/mark; sync")?;
            assert_eq!(host.check("systemctl is-system-running")?, "running");
            // Its clock was set after the start from memory began, to what it was then or later.
            let clock: f64 = host.check("date +%s.%N")?.parse().unwrap();
            let now = observe::clock::now_unix_f64();
            assert!(
                (began - 1.0..=now + 1.0).contains(&clock),
                "{clock} is not between {began} and {now}"
            );
            seen.push(host.check("cat /proc/sys/kernel/random/uuid")?);
            Ok::<_, LabError>(())
        });
    }
    assert_ne!(seen.first(), seen.last());
}

#[test]
fn lab_devices_come_and_go() {
    hosts::test("lab_devices_come_and_go", |lab| {
        let network = lab.network()?;
        let first = lab.disk("first", 64)?;
        let host = lab.host(1).disk(&first).nic(&network).start()?;
        assert_eq!(
            host.check(&format!("blockdev --getsize64 {}", first.device()))?,
            (64 << 20).to_string()
        );
        let second = lab.disk("second", 32)?;
        host.attach(&second)?;
        let third = lab.disk("third", 16)?.scsi();
        host.attach(&third)?;
        assert_eq!(
            host.check(&format!("blockdev --getsize64 {}", third.device()))?,
            (16 << 20).to_string()
        );
        let gone = second.device();
        host.detach(&second)?;
        host.wait_until("the disk is gone", &format!("! test -e {gone}"), LONG)?;

        let nic = host.plug(&network)?;
        assert_eq!(nic.name(), "data1");
        host.check("ip link set data0 up; ip link set data1 up")?;
        host.wait_until("carrier", "grep -qx 1 /sys/class/net/data1/carrier", LONG)?;
        host.set_link(nic, false)?;
        host.wait_until("the cut", "grep -qx 0 /sys/class/net/data1/carrier", LONG)?;
        assert_eq!(host.check("cat /sys/class/net/data0/carrier")?, "1");
        host.set_link(nic, true)?;
        host.wait_until(
            "carrier again",
            "grep -qx 1 /sys/class/net/data1/carrier",
            LONG,
        )?;
        host.unplug(nic)?;
        host.wait_until(
            "the interface is gone",
            "! test -e /sys/class/net/data1",
            LONG,
        )?;
        Ok::<_, LabError>(())
    });
}

#[test]
fn lab_power_pulled_keeps_what_was_flushed() {
    hosts::test("lab_power_pulled_keeps_what_was_flushed", |lab| {
        let disk = lab.disk("data", 64)?;
        let host = lab.host(1).disk(&disk).start()?;
        let boot = host.check("cat /proc/sys/kernel/random/boot_id")?;
        host.check("echo kept >/srv/flushed; sync -f /srv/flushed; echo lost >/srv/unflushed")?;
        host.pull_power();
        assert!(!host.is_on());
        let off = host.run("true").unwrap_err();
        assert!(matches!(off, LabError::Off { .. }), "{off}");
        host.boot()?;
        assert_ne!(host.check("cat /proc/sys/kernel/random/boot_id")?, boot);
        assert_eq!(host.check("cat /srv/flushed")?, "kept");
        let errors = host.run("dmesg | grep -E 'EXT4-fs (error|warning)'")?;
        assert_eq!(errors.stdout, "");
        assert!(host.run(&format!("test -b {}", disk.device()))?.success());
        assert_eq!(host.check("systemctl is-system-running")?, "running");
        host.reboot()?;
        assert_eq!(host.check("cat /srv/flushed")?, "kept");
        host.shut_down()?;
        assert!(!host.is_on());
        Ok::<_, LabError>(())
    });
}

#[test]
fn lab_hosts_freeze_and_have_other_shapes() {
    hosts::test("lab_hosts_freeze_and_have_other_shapes", |lab| {
        let shape = Shape {
            memory_mib: 1024,
            cpus: 1,
        };
        let host = lab.host(1).shape(shape).cold().start()?;
        assert_eq!(host.check("nproc")?, "1");
        let port = host.forward(7777)?;
        host.check(
            "setsid socat TCP-LISTEN:7777,fork SYSTEM:'echo hello' >/dev/null 2>&1 </dev/null &",
        )?;
        host.wait_until("the listener", "ss -Hltn | grep -q 7777", LONG)?;
        let deadline = Instant::now() + LONG;
        while greeting(port).as_deref() != Some("hello\n") {
            assert!(Instant::now() < deadline, "nobody greets");
        }
        host.freeze(true)?;
        assert_eq!(host.status()?, "paused");
        assert_eq!(greeting(port), None);
        host.freeze(false)?;
        assert_eq!(host.check("echo on")?, "on");
        Ok::<_, LabError>(())
    });
}

/// What a port says, if it begins within 3 seconds.
fn greeting(port: u16) -> Option<String> {
    use std::io::Read as _;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}
