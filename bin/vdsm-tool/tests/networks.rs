//! The networks from a shell: plans without a helper, what is said when there is none, and a helper's answers as
//! exit codes and words. The helper here is the protocol alone; that the real one does what it says is shown elsewhere
//! (`root/net-apply`, `bin/supervdsmd`, `lab/tests`).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use exec::{Command, Output};
use net_model::NetName;
use privileged::{
    Applied, Call, NetworkOutcome, NetworkSet, Refusal, Reply, Request, Restored, Stored, Trouble,
    Word, decode, encode, read_frame, write_frame,
};
use serde_json::Value;

const TOOL: &str = env!("CARGO_BIN_EXE_vdsm-tool");

fn tool(args: &[&str], input: &str) -> Output {
    Command::new(TOOL)
        .args(args)
        .stdin(input)
        .timeout(Duration::from_mins(4))
        .run()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.exit.code()
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Plans for this machine, whose root has no files of networks.
fn offline(request: &str, more: &[&str]) -> Output {
    let root = tempfile::tempdir().unwrap();
    let mut args = vec!["net-plan", "-", "--offline", "--root"];
    args.push(root.path().to_str().unwrap());
    args.extend(more);
    tool(&args, request)
}

#[test]
fn a_plan_is_shown_and_tells_by_its_exit_code_whether_there_is_something_to_do() {
    let request =
        r#"{"networks": {"vdsmplan0": {"ipaddr": "192.0.2.77", "prefix": 28, "unheard": 1}}}"#;
    let planned = offline(request, &[]);
    assert_eq!(code(&planned), 0, "{}", planned.stderr_text());
    let text = told(&planned);
    for line in ["+ bridge vdsmplan0", "+ vdsmplan0: address 192.0.2.77/28"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(
        planned
            .stderr_text()
            .contains("networks.vdsmplan0.unheard is not known"),
        "{}",
        planned.stderr_text()
    );
    assert_eq!(code(&offline(request, &["--exit-code"])), 3);
    let nothing = offline("{}", &["--exit-code"]);
    assert_eq!(code(&nothing), 0);
    assert_eq!(told(&nothing).trim(), "nothing to do");

    let plan: Value = serde_json::from_slice(&offline(request, &["--json"]).stdout).unwrap();
    let first = &plan["steps"][0];
    assert_eq!(
        (&first["sign"], &first["undo"][0]),
        (&Value::from("+"), &Value::from("- link vdsmplan0"))
    );
    assert!(plan["result"]["links"]["vdsmplan0"].is_object());
    assert!(
        !Path::new("/sys/class/net/vdsmplan0").exists(),
        "nothing is done"
    );
}

#[test]
fn what_is_refused_is_told_with_vdsms_number() {
    for (request, words) in [
        (
            r#"{"networks": {"n": {"nic": "vdsmnonic0"}}}"#,
            "23 ERR_BAD_NIC",
        ),
        (
            r#"{"networks": {"vdsmnone0": {"remove": true}}}"#,
            "27 ERR_BAD_BRIDGE",
        ),
        (
            r#"{"bondings": {"vdsmbond": {"nics": []}}}"#,
            "25 ERR_BAD_BONDING",
        ),
        (r#"{"nets": {}}"#, "nets: there is no such parameter"),
        ("{", "it is no JSON"),
    ] {
        let refused = offline(request, &[]);
        assert_eq!(code(&refused), 1, "{request}");
        let said = refused.stderr_text();
        assert!(said.contains(words), "{request}: {said}");
        assert!(refused.stdout.is_empty());
    }
}

#[test]
fn without_a_helper_it_is_said_what_to_do() {
    for args in [
        &["net-plan", "-"][..],
        &["restore-nets"],
        &["restore-nets", "--dry-run"],
        &["net-state"],
    ] {
        let mut args = args.to_vec();
        args.extend(["--socket", "/nonexistent/svdsm.sock"]);
        let failed = tool(&args, "{}");
        assert_eq!(code(&failed), 1);
        let told = failed.stderr_text();
        assert!(
            told.contains("systemctl start supervdsmd.socket")
                && told.contains("/nonexistent/svdsm.sock"),
            "{told}"
        );
    }
}

/// A folder with a helper's socket, and a helper that serves one connection there.
struct Helper {
    dir: tempfile::TempDir,
    serving: JoinHandle<()>,
}

impl Helper {
    fn new(serve: impl FnOnce(Request, &mut UnixStream) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let call: Call = decode(&read_frame(&mut stream).unwrap()).unwrap();
            serve(call.request, &mut stream);
        });
        Self { dir, serving }
    }

    fn ask(self, args: &[&str], input: &str) -> Output {
        let socket = self.dir.path().join("sock");
        let root = self.dir.path().to_str().unwrap();
        let mut all = args.to_vec();
        all.extend(["--root", root, "--socket", socket.to_str().unwrap()]);
        let output = tool(&all, input);
        self.serving.join().unwrap();
        output
    }

    /// Generations 1 and 2 of the persistent set, 2 in force.
    fn with_generations(self) -> Self {
        let folder = self.dir.path().join("var/lib/vdsm/persistence");
        for number in 1..=2 {
            let nets = folder.join(format!("netconf.g000000{number}/nets"));
            fs::create_dir_all(&nets).unwrap();
            fs::write(nets.join(format!("n{number}")), "{\"nic\": \"eth0\"}").unwrap();
        }
        std::os::unix::fs::symlink("netconf.g0000002", folder.join("netconf")).unwrap();
        self
    }
}

fn say(stream: &mut UnixStream, reply: &Reply) {
    write_frame(stream, &encode(reply)).unwrap();
}

fn restored(failed: bool) -> Restored {
    let name = |text: &str| NetName::new(text).unwrap();
    let mut networks = [(name("good"), NetworkOutcome::Unchanged {})].into_iter();
    let mut all: std::collections::BTreeMap<_, _> = networks.by_ref().collect();
    if failed {
        let trouble = Trouble {
            subject: "bad".to_owned(),
            code: 23,
            why: "Nic eth9 does not exist".to_owned(),
        };
        all.insert(name("bad"), NetworkOutcome::Failed(trouble));
    }
    Restored {
        networks: all,
        ..Restored::default()
    }
}

#[test]
fn a_network_that_failed_is_named_and_fails_the_unit() {
    for (failed, expected) in [(false, 0), (true, 1)] {
        let helper = Helper::new(move |request, stream| {
            let Request::NetworkRestore(asked) = request else {
                panic!("{request:?}")
            };
            assert!(asked.force);
            say(stream, &Reply::NetworkRestored(restored(failed)));
        });
        let output = helper.ask(&["restore-nets", "--force"], "");
        assert_eq!(code(&output), expected, "{}", output.stderr_text());
        assert!(told(&output).contains("good: unchanged"));
        assert_eq!(
            output.stderr_text().contains("not restored: bad"),
            failed,
            "{}",
            output.stderr_text()
        );
    }
}

#[test]
fn a_refusal_of_the_helper_is_the_error() {
    let helper = Helper::new(|_, stream| {
        let busy = Refusal::NetworkBusy { since_ms: 12 };
        say(stream, &Reply::Refused(busy));
    });
    let output = helper.ask(&["restore-nets"], "");
    assert_eq!(code(&output), 1);
    let told = output.stderr_text();
    assert!(
        told.contains("another change of networks is under way"),
        "{told}"
    );
}

fn applied() -> Reply {
    Reply::NetworkApplied(Applied {
        steps: vec!["+ bridge n".to_owned()],
        took_ms: 3,
    })
}

#[test]
fn a_rollback_is_confirmed_at_once_unless_a_word_is_asked_for() {
    // Arguments; what is typed; the word that the helper hears; the exit code.
    for (args, typed, keeps) in [
        (&["net-rollback"][..], "", true),
        (&["net-rollback", "--to", "1"], "", true),
        (&["net-rollback", "--confirm-within", "60"], "yes\n", true),
        (&["net-rollback", "--confirm-within", "60"], "no\n", false),
        (&["net-rollback", "--confirm-within", "60"], "", false),
    ] {
        let helper = Helper::new(move |request, stream| {
            let Request::NetworkRollback(asked) = request else {
                panic!("{request:?}")
            };
            assert_eq!((asked.set, asked.back), (NetworkSet::Persistent, 1));
            say(stream, &applied());
            let word: Word = decode(&read_frame(stream).unwrap()).unwrap();
            assert_eq!(word == Word::Confirm {}, keeps);
            let stored = Stored {
                running: Some(9),
                persistent: Some(3),
            };
            let reply = if keeps {
                Reply::NetworkStored(stored)
            } else {
                Reply::NetworkUndone {}
            };
            say(stream, &reply);
        });
        let output = helper.with_generations().ask(args, typed);
        let told = (self::told(&output), output.stderr_text());
        assert_eq!(code(&output), i32::from(!keeps), "{args:?}: {told:?}");
        assert!(told.0.contains("+ bridge n"), "{told:?}");
        let word = if keeps {
            told.0.contains("generation 3")
        } else {
            told.1.contains("as they were before")
        };
        assert!(word, "{told:?}");
    }
}

#[test]
fn generations_are_listed_without_a_helper() {
    let helper = Helper::new(|_, _| {}).with_generations();
    let root = helper.dir.path().to_str().unwrap();
    let listed = tool(&["net-rollback", "--list", "--root", root], "");
    assert_eq!(code(&listed), 0, "{}", listed.stderr_text());
    let text = told(&listed);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("* ") && lines[0].ends_with(" n2"),
        "{text}"
    );
    assert!(lines[1].ends_with(" n1") && lines.len() == 2, "{text}");
    let all: Value = serde_json::from_slice(
        &tool(&["net-rollback", "--list", "--json", "--root", root], "").stdout,
    )
    .unwrap();
    assert_eq!(all["generations"][0]["inForce"], true);
    let wrong = tool(&["net-rollback", "--to", "7", "--root", root], "");
    assert!(
        wrong
            .stderr_text()
            .contains("no generation 7; there are: 2, 1"),
        "{}",
        wrong.stderr_text()
    );
    // The helper of this test is asked nothing: let it go.
    drop(UnixStream::connect(helper.dir.path().join("sock")));
    drop(helper.serving.join());
}
