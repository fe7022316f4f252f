//! `Host.fenceNode` through the port: agents that are scripts of the test, hostile requests, agents that
//! misbehave, and where a password may be seen. The agents of the package fence-agents are run in `fence_bmc.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use common::{Agent, Serving as _, guarded, storage::Storage, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Upstream's `fenceAgent`.
const UNSUPPORTED: i64 = 43;
/// Upstream's `InvalidParameterException`.
const INVALID: i64 = 1000;
/// With `%`, quotes, blanks within, and letters of UTF-8.
const PASSWORD: &str = "c4n%s \"ary\" '$x' -\u{fc}\u{df}\u{65e5}-end";
/// A part of it that is in no other text.
const CANARY: &str = "\u{fc}\u{df}\u{65e5}";
/// A secret among the options.
const TOKEN: &str = "0pt10n-c4n4ry";

/// Agents that are scripts. `fence_told` notes what it got, and ends as the user name says.
struct Scripts {
    dir: TempDir,
}

impl Scripts {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("fence-").tempdir().unwrap();
        let scripts = Self { dir };
        scripts.write(
            "told",
            "here=${0%/*}\n\
             cat >$here/stdin\n\
             tr '\\0' '\\n' </proc/$$/cmdline >$here/seen\n\
             tr '\\0' '\\n' </proc/$$/environ >>$here/seen\n\
             echo told >>$here/runs\n\
             . $here/end",
        );
        scripts.ends("exit 0");
        scripts
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, body: &str) {
        let path = self.path(&format!("fence_{name}"));
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// How `fence_told` ends from now on.
    fn ends(&self, body: &str) {
        fs::write(self.path("end"), body).unwrap();
    }

    fn stdin(&self) -> String {
        fs::read_to_string(self.path("stdin")).unwrap()
    }

    /// How often an agent ran.
    fn runs(&self) -> usize {
        let runs = fs::read_to_string(self.path("runs")).unwrap_or_default();
        runs.lines().count()
    }

    fn agent(&self, timeout: &str) -> Agent {
        let dir = self.dir.path().display().to_string();
        Agent::start_with(&[
            ("fencing", "agent_dir", &dir),
            ("fencing", "agent_timeout", timeout),
        ])
    }
}

fn request(action: &str) -> Value {
    json!({"addr": "192.0.2.7", "port": "", "agent": "told", "username": "admin",
           "password": PASSWORD, "action": action, "secure": "", "options": "",
           "policy": null})
}

fn with(action: &str, key: &str, value: impl Into<Value>) -> Value {
    let mut request = request(action);
    request[key] = value.into();
    request
}

/// No secret in the log, at level DEBUG; the control is that the log tells of the call at all.
fn log_is_clean(agent: &Agent) {
    let log = agent.log();
    assert!(
        log.contains("Host.fenceNode") && log.contains("fencing"),
        "{log}"
    );
    for secret in [CANARY, TOKEN] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
}

#[test]
fn an_agent_is_told_and_its_end_is_answered_as_upstream_does() {
    guarded!(|| {
        let scripts = Scripts::new();
        let agent = scripts.agent("120");
        for (end, action, answer) in [
            ("exit 0", "status", json!({"power": "on"})),
            ("exit 2", "status", json!({"power": "off"})),
            (
                "exit 0",
                "on",
                json!({"operationStatus": "initiated", "power": "unknown"}),
            ),
            (
                "exit 0",
                "off",
                json!({"operationStatus": "initiated", "power": "unknown"}),
            ),
            (
                "exit 0",
                "reboot",
                json!({"operationStatus": "initiated", "power": "unknown"}),
            ),
        ] {
            scripts.ends(end);
            // No key `status` among them: Engine would take it for the call's.
            assert_eq!(agent.ok("Host.fenceNode", request(action)), answer);
            let lines = format!(
                "agent=fence_told\nipaddr=192.0.2.7\nlogin=admin\naction={action}\npasswd={PASSWORD}\n"
            );
            assert_eq!(scripts.stdin(), lines);
        }
        for (port, secure, lines) in [
            (json!(7), json!(true), "port=7\nsecure=yes\n"),
            (json!("7"), json!("true"), "port=7\nsecure=yes\n"),
            (json!(""), json!("false"), ""),
        ] {
            let mut request = request("off");
            request["port"] = port;
            request["secure"] = secure;
            request["options"] = json!(format!("lanplus=1\nauth_token={TOKEN}"));
            agent.ok("Host.fenceNode", request);
            let told = scripts.stdin();
            let end = format!("-end\n{lines}lanplus=1\nauth_token={TOKEN}\n");
            assert!(told.ends_with(&end), "{told}");
        }
        let seen = fs::read_to_string(scripts.path("seen")).unwrap();
        assert!(
            seen.contains("fence_told") && seen.contains("LC_ALL=C"),
            "{seen}"
        );
        assert!(!seen.contains(CANARY) && !seen.contains(TOKEN), "{seen}");
        log_is_clean(&agent);
    });
}

#[test]
fn a_failed_agent_is_an_error_that_tells_no_secret() {
    guarded!(|| {
        let scripts = Scripts::new();
        let agent = scripts.agent("120");
        let shout = "cat $here/stdin; cat $here/stdin >&2";
        for (end, action, expected) in [
            ("exit 1", "status", 1),
            ("exit 3", "status", 1),
            ("kill -9 $$", "status", 1),
            ("exit 1", "off", 1),
            ("exit 2", "off", 2),
            ("exit 3", "off", 1),
        ] {
            scripts.ends(&format!("{shout}; {end}"));
            let mut request = request(action);
            request["options"] = json!(format!("auth_token={TOKEN}"));
            let (code, text) = agent.call("Host.fenceNode", request).unwrap_err();
            assert_eq!(code, expected, "{end} {action}: {text}");
            assert!(
                text.contains("login=admin") && text.contains("passwd=*****"),
                "{text}"
            );
            assert!(!text.contains(CANARY) && !text.contains(TOKEN), "{text}");
        }
        scripts.ends("head -c 30000000 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 1");
        let (code, text) = agent.call("Host.fenceNode", request("off")).unwrap_err();
        assert_eq!(code, 1);
        assert!(
            text.len() <= 2000 && text.ends_with("the end"),
            "{} bytes",
            text.len()
        );
        log_is_clean(&agent);
    });
}

#[test]
fn hostile_requests_run_nothing() {
    guarded!(|| {
        let scripts = Scripts::new();
        // What a path would reach.
        scripts.write("told;rm", "echo path >>${0%/*}/runs");
        fs::create_dir(scripts.path("fence_")).unwrap();
        fs::copy("/bin/true", scripts.path("sh")).unwrap();
        let agent = scripts.agent("120");
        let fence = |request: Value| agent.call("Host.fenceNode", request).unwrap_err();
        for name in [
            "../../bin/sh",
            "/../sh",
            "told;rm",
            "told\n",
            "told --help",
            "nosuchagent",
            "",
            "TOLD",
            "t\u{f6}ld",
        ] {
            let (code, text) = fence(with("off", "agent", name));
            assert_eq!(
                (code, text.as_str()),
                (UNSUPPORTED, "Unsupported fencing agent"),
                "{name:?}"
            );
        }
        for bad in [
            "\naction=off",
            "\r\naction=off",
            "\raction=off",
            "\u{0}",
            "\u{1b}]0;x\u{7}",
            "\u{85}x",
        ] {
            for field in ["addr", "username", "password", "options"] {
                let base = if field == "options" {
                    "lanplus=1"
                } else {
                    "192.0.2.7"
                };
                let (code, text) = fence(with("status", field, format!("{base}{bad}")));
                assert_eq!(code, INVALID, "{field} {bad:?}: {text}");
                assert!(text.contains(field) && !text.contains(bad), "{text}");
            }
        }
        for (field, value) in [
            ("addr", json!("")),
            ("addr", json!("192.0.2.7 -f /etc/shadow")),
            ("addr", json!("[::1")),
            ("addr", json!("host:")),
            ("port", json!(70_000)),
            ("port", json!(-1)),
            ("options", json!("action=off")),
            ("options", json!("passwd_script=/bin/true")),
            ("options", json!("ipmitool-path=/bin/true")),
            ("options", json!("x".repeat(5000))),
        ] {
            let (code, text) = fence(with("status", field, value));
            assert_eq!(code, INVALID, "{field}: {text}");
        }
        for (field, value) in [
            ("action", json!("explode")),
            ("port", json!("x")),
            ("addr", json!({})),
        ] {
            let (code, text) = fence(with("status", field, value));
            assert_eq!(code, -32602, "{field}: {text}");
        }
        assert_eq!(scripts.runs(), 0);
        // The control: the same request without the hostile part runs.
        agent.ok("Host.fenceNode", request("status"));
        assert_eq!(scripts.runs(), 1);
    });
}

fn pid_in(path: &Path) -> u32 {
    wait_for("a pid", || {
        fs::read_to_string(path).ok()?.trim().parse().ok()
    })
}

fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some(Some('Z' | 'X')))
}

#[test]
fn an_agent_that_hangs_is_killed_with_all_that_it_started() {
    guarded!(|| {
        let scripts = Scripts::new();
        scripts.ends(
            "trap '' TERM\n\
             setsid sh -c \"echo \\$\\$ >$here/child; exec sleep 1001\" &\n\
             (setsid sh -c \"echo \\$\\$ >$here/orphan; exec sleep 1002\" &)\n\
             echo $$ >$here/self\n\
             while :; do sleep 1003; done",
        );
        let agent = scripts.agent("5");
        let (code, text) = std::thread::scope(|scope| {
            let late = scope.spawn(|| agent.call("Host.fenceNode", request("off")).unwrap_err());
            // Meanwhile others are answered.
            pid_in(&scripts.path("self"));
            agent.ok("Host.ping2", json!({}));
            agent.ok("Host.getVMList", json!({}));
            late.join().unwrap()
        });
        assert_eq!(code, 1);
        assert!(
            text.contains("5 seconds") && text.contains("killed"),
            "{text}"
        );
        for name in ["self", "child", "orphan"] {
            let pid = pid_in(&scripts.path(name));
            wait_for("its end", || (!runs(pid)).then_some(()));
        }
        log_is_clean(&agent);
    });
}

#[test]
fn the_policy_is_asked_before_the_power_is_touched() {
    guarded!(|| {
        let scripts = Scripts::new();
        let agent = scripts.agent("120");
        let storage = Storage::build(&agent);
        let ours = |id: i32| json!({"storageDomainHostIdMap": {storage.domain.clone(): id}});
        let skipped = json!({"operationStatus": "skipped"});
        // This host is number 1 of the domain, and lives.
        wait_for("the lease", || {
            let answer = agent.ok("Host.fenceNode", with("off", "policy", ours(1)));
            (answer == skipped).then_some(())
        });
        let before = scripts.runs();
        for action in ["on", "off", "reboot"] {
            assert_eq!(
                agent.ok("Host.fenceNode", with(action, "policy", ours(1))),
                skipped
            );
        }
        assert_eq!(scripts.runs(), before);
        // To look is never held back.
        let looked = agent.ok("Host.fenceNode", with("status", "policy", ours(1)));
        assert_eq!(looked, json!({"power": "on"}));
        // Nobody knows of another host's lease, or of a domain that is not watched: fenced, as upstream does.
        let elsewhere = json!({"storageDomainHostIdMap": {uuid::Uuid::new_v4().to_string(): 1}});
        for policy in [
            ours(2),
            elsewhere,
            json!({}),
            json!({"storageDomainHostIdMap": {}}),
        ] {
            let answer = agent.ok("Host.fenceNode", with("off", "policy", policy));
            assert_eq!(answer["operationStatus"], "initiated");
        }
        let before = scripts.runs();
        for key in [
            "skipFencingIfGlusterBricksUp",
            "skipFencingIfGlusterQuorumNotMet",
        ] {
            let policy = json!({key: true, "glusterServerUuid": uuid::Uuid::new_v4().to_string()});
            let (code, text) = agent
                .call("Host.fenceNode", with("off", "policy", policy))
                .unwrap_err();
            assert!(code > 0 && text.contains("Gluster"), "{code} {text}");
        }
        assert_eq!(scripts.runs(), before);
    });
}
