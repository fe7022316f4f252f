//! Secrets stay secret: a token in every secret-bearing parameter of every declared verb, for calls that succeed, that
//! fail, that are refused for their form, that wait, hang and time out. Then all that came out is searched: the log
//! at its most talkative level, standard error, answers, error texts, events, arguments and environments of programs
//! that the agent ran, its files. Panics are tested where they can be made: `src/panics.rs`, `src/service/lanes.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test's helpers fail the test"
)]

mod common;

use std::{
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::Engine as _;
use common::{
    Agent, Serving as _,
    canary::Canaries,
    daemon, guarded,
    hang::Hung,
    params,
    storage::{Storage, id},
    wait_for,
    wire::Wire,
};
use schema::{VerbDecl, desc::Type};
use serde_json::{Value, json};

/// A guest for libvirt's test driver, with a password of its display and a file of cloud-init in it.
fn domain_xml(vm: &str, canaries: &mut Canaries) -> String {
    let (password, payload) = (canaries.token(), canaries.token());
    format!(
        "<domain type='test' xmlns:ovirt-vm='http://ovirt.org/vm/1.0'><name>{vm}</name><uuid>{vm}</uuid>\
         <memory>65536</memory><os><type>hvm</type></os><devices><graphics type='vnc' port='-1' \
         passwd='{password}' passwdValidTo='1970-01-01T00:00:01'/></devices><metadata><ovirt-vm:vm>\
         <ovirt-vm:device devtype='disk' name='sdc'><ovirt-vm:payload><ovirt-vm:volId>config-2</ovirt-vm:volId>\
         <ovirt-vm:file path='openstack/latest/user_data'>{payload}</ovirt-vm:file></ovirt-vm:payload>\
         </ovirt-vm:device></ovirt-vm:vm></metadata></domain>"
    )
}

/// XML that is none, or none of a domain, with a password in it.
fn bad_xmls(canaries: &mut Canaries) -> Vec<String> {
    let mut token = || canaries.token();
    vec![
        format!("<domain><graphics passwd='{}'", token()),
        format!("<domain><graphics passwd=\"{}\"/>", token()),
        format!("<graphics passwd = '{}'/>", token()),
        format!(
            "<domain type='none'><graphics type='vnc' passwd='{}'/></domain>",
            token()
        ),
        format!(
            "<domain type='test'><name>n</name><devices><graphics type='vnc' passwd='{}' port='x'/></devices></domain>",
            token()
        ),
        format!(
            "<domain><ovirt-vm:file path='p'>{}</ovirt-vm:file>",
            token()
        ),
        format!("no XML, but graphics passwd='{}'", token()),
    ]
}

/// A value for a place that holds a secret, or a plain one.
fn leaf(ty: &Type, name: &str, canaries: &mut Canaries) -> Value {
    match ty {
        Type::Secret => json!(canaries.token()),
        Type::SecretJson => json!({"deep": [canaries.token(), {"key": canaries.token()}]}),
        Type::DomainXml => json!(domain_xml(&id(), canaries)),
        Type::Dict | Type::Any => json!({"password": canaries.token()}),
        _ => params::plain(ty, name),
    }
}

/// Calls of a verb with a token in each of its secrets: right ones, and ones of a wrong form.
fn calls(verb: &'static VerbDecl, canaries: &mut Canaries) -> Vec<Value> {
    let mut complete = || params::complete(verb, &mut |ty, name| leaf(ty, name, canaries));
    let right = complete();
    let positional: Vec<Value> = verb
        .params
        .fields
        .iter()
        .map(|field| right[field.name].clone())
        .collect();
    let mut calls = vec![right, json!(positional)];
    for field in verb.params.fields {
        if !field.secret() {
            // The secret is right, another parameter is not.
            let mut wrong = complete();
            wrong[field.name] = json!({"no": ["such", "type"]});
            calls.push(wrong);
            continue;
        }
        // The secret is not where it should be, or not what it should be.
        let whole = complete();
        let secret = whole[field.name].clone();
        for value in [json!([secret]), json!({"value": secret}), json!([[secret]])] {
            let mut wrong = complete();
            wrong[field.name] = value;
            calls.push(wrong);
        }
        let mut misspelt = complete();
        misspelt.as_object_mut().unwrap().remove(field.name);
        misspelt[format!("{}x", field.name)] = secret;
        calls.push(misspelt);
        // Damaged at one of its parts, so that the path leads past the secret.
        let mut list = complete();
        if let Some(first) = list[field.name].get_mut(0).and_then(Value::as_object_mut) {
            for value in first.values_mut().filter(|value| !value.is_string()) {
                *value = json!({"wrong": 1});
            }
            calls.push(list);
        }
    }
    calls
}

/// All that came out of an agent.
#[derive(Default)]
struct Heard(Mutex<String>);

impl Heard {
    fn add(&self, what: &str) {
        let mut heard = self.0.lock().unwrap();
        heard.push_str(what);
        heard.push('\n');
    }

    fn files(&self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                self.files(&entry.path());
            } else if kind.is_file() {
                let data = fs::read(entry.path()).unwrap_or_default();
                self.add(&String::from_utf8_lossy(&data));
            }
        }
    }

    /// Arguments and environments of the programs that a process runs.
    fn programs(&self, pid: u32) {
        for child in daemon::children(pid) {
            for file in ["cmdline", "environ"] {
                let path = format!("/proc/{}/{file}", child.as_raw_nonzero());
                let text = fs::read(path).unwrap_or_default();
                self.add(&String::from_utf8_lossy(&text).replace('\0', " "));
            }
        }
    }

    /// Looks at programs again and again while a scene plays.
    fn while_watching(&self, pid: u32, scene: impl FnOnce()) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    self.programs(pid);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            scene();
            over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn no_secret_of_any_verb_comes_out() {
    guarded!(|| {
        let mut agent = Agent::start_with(&[("vars", "log_level", "trace")]);
        let (mut canaries, heard) = (Canaries::default(), Heard::default());
        let storage = Storage::build(&agent);
        let mut events = Wire::greeted(agent.address());
        events.subscribe(rpc::EVENT_QUEUE, "events");
        let client = agent.client();
        let mut sealed = 0;
        heard.while_watching(agent.pid(), || {
            for verb in schema::verbs() {
                let secret = verb
                    .params
                    .fields
                    .iter()
                    .any(schema::desc::FieldDesc::secret);
                sealed += usize::from(secret);
                for params in calls(verb, &mut canaries) {
                    match client.call(verb.method, params) {
                        Ok(answer) => heard.add(&answer.to_string()),
                        Err((_, text)) => heard.add(&text),
                    }
                }
            }
        });
        assert!(sealed >= 8, "{sealed} verbs have secrets");
        lives_of_a_vm(&agent, &mut canaries, &heard);
        connections(&agent, &storage, &mut canaries, &heard);
        unreadable(&agent, &mut canaries, &heard);
        let mut last = Wire::subscribed(agent.address());
        last.message(
            rpc::EVENT_QUEUE,
            br#"{"jsonrpc":"2.0","method":"|the|end|"}"#,
        );
        while let Some(event) = events.next() {
            let text = String::from_utf8_lossy(&event.body).into_owned();
            heard.add(&text);
            if text.contains("|the|end|") {
                break;
            }
        }
        for folder in ["run", "state", "data-center"] {
            heard.files(&agent.path(folder));
        }
        drop((client, events, last));
        heard.add(&agent.stop_hearing());
        heard.add(&agent.log());
        let all = heard.0.into_inner().unwrap();
        println!(
            "figure: {} tokens, {sealed} verbs with secrets, {} bytes searched",
            canaries.count(),
            all.len()
        );
        assert!(all.contains("VM.create") && all.contains("*****"));
        assert_eq!(canaries.found_in(&all), Vec::<String>::new());
    });
}

/// A guest with secrets in its XML from its creation to its end, and all that is told of it.
fn lives_of_a_vm(agent: &Agent, canaries: &mut Canaries, heard: &Heard) {
    let vm = id();
    let xml = domain_xml(&vm, canaries);
    let create = json!({"vmID": vm, "vmParams": {"xml": xml}});
    heard.add(&agent.ok("VM.create", create.clone()).to_string());
    wait_for("the guest to run", || {
        let stats = agent.ok("VM.getStats", json!({"vmID": vm}));
        heard.add(&stats.to_string());
        (stats[0]["status"] != "WaitForLaunch").then_some(())
    });
    let stats = agent.ok("VM.getStats", json!({"vmID": vm}));
    assert_ne!(stats[0]["status"], "Down", "{stats}");
    let told = agent
        .ok("Host.dumpxmls", json!({"vmList": [vm]}))
        .to_string();
    assert!(told.contains(&vm));
    heard.add(&told);
    for (verb, params) in [
        ("VM.create", create),
        ("Host.getVMFullList", json!({})),
        ("Host.getAllVmStats", json!({})),
        ("VM.getInfo", json!({"vmID": vm})),
        ("VM.destroy", json!({"vmID": vm})),
    ] {
        match agent.call(verb, params) {
            Ok(answer) => heard.add(&answer.to_string()),
            Err((_, text)) => heard.add(&text),
        }
    }
    for xml in bad_xmls(canaries) {
        let answer = agent.call("VM.create", json!({"vmID": id(), "vmParams": {"xml": xml}}));
        heard.add(&format!("{answer:?}"));
    }
}

/// Connections to servers with passwords: right, wrong, and while the lane of storage hangs.
fn connections(agent: &Agent, storage: &Storage, canaries: &mut Canaries, heard: &Heard) {
    let mut params = storage.server();
    params["connectionParams"][0]["password"] = json!(canaries.token());
    heard.add(
        &agent
            .ok("StoragePool.connectStorageServer", params.clone())
            .to_string(),
    );
    for domain_type in [0, 1, 3, 6, 7] {
        params["domainType"] = json!(domain_type);
        params["connectionParams"][0]["password"] = json!(canaries.token());
        let answer = agent.call("StoragePool.connectStorageServer", params.clone());
        heard.add(&format!("{answer:?}"));
    }
}

/// Frames and requests that cannot be read, with a secret in them.
fn unreadable(agent: &Agent, canaries: &mut Canaries, heard: &Heard) {
    for body in [
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"VM.create","params":{{"password":"{}"#,
            canaries.token()
        ),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"VM.create","params":"{}"}}"#,
            canaries.token()
        ),
        format!(
            r#"{{"id":1,"method":"VM.create","params":{{"password":"{}"}}}}"#,
            canaries.token()
        ),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"No.such","params":{{"password":"{}"}}}}"#,
            canaries.token()
        ),
        format!(
            r#"[{{"jsonrpc":"2.0","params":{{"password":"{}"}}}}]"#,
            canaries.token()
        ),
        format!("password={}", canaries.token()),
    ] {
        let mut wire = Wire::subscribed(agent.address());
        wire.request(body.as_bytes());
        let answer = wire.next().expect("an answer");
        heard.add(&String::from_utf8_lossy(&answer.body));
    }
    let mut wire = Wire::greeted(agent.address());
    let frame = format!("SEND\npassword:{}\n\n\0", canaries.token());
    wire.send(frame.as_bytes());
    heard.add(&format!("{:?}", wire.next().expect("an answer")));
    wire.send(format!("NOTHING\n{}\n\n\0", canaries.token()).as_bytes());
    while let Some(frame) = wire.next() {
        heard.add(&format!("{frame:?}"));
    }
}

#[test]
fn no_secret_of_a_call_that_waits_or_times_out_comes_out() {
    guarded!(|| {
        let mut agent = Agent::start_with(&[
            ("irs", "process_pool_timeout", "3"),
            ("rpc", "worker_threads", "1"),
            ("rpc", "tasks_per_worker", "4"),
            ("rpc", "worker_timeout", "1"),
        ]);
        let (mut canaries, heard) = (Canaries::default(), Heard::default());
        let storage = Storage::build(&agent);
        let hung = Hung::file(&storage.inside("dom_md/metadata"));
        let mut wire = Wire::subscribed(agent.address());
        let mut send = |verb: &str, params: &Value| {
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": verb, "params": params});
            wire.request(body.to_string().as_bytes());
        };
        send("StorageDomain.getInfo", &storage.ids());
        // Some wait for their turn, the others are refused.
        for _ in 0..8 {
            let mut params = storage.server();
            params["connectionParams"][0]["password"] = json!(canaries.token());
            send("StoragePool.connectStorageServer", &params);
        }
        for _ in 0..9 {
            let answer = wire.next().expect("an answer");
            heard.add(&String::from_utf8_lossy(&answer.body));
        }
        drop((hung, wire));
        heard.add(&agent.stop_hearing());
        heard.add(&agent.log());
        let all = heard.0.into_inner().unwrap();
        assert!(all.contains("has not ended yet") && all.contains("too many calls"));
        assert_eq!(canaries.found_in(&all), Vec::<String>::new());
    });
}

/// A fence agent that shows whatever it is given: what it says of its password must not come out either.
#[test]
fn no_secret_of_a_fence_agent_comes_out() {
    use std::os::unix::fs::PermissionsExt as _;
    guarded!(|| {
        let agents = tempfile::tempdir().unwrap();
        let script = agents.path().join("fence_shows");
        let text =
            "#!/bin/sh\ngiven=$(cat)\nsleep 1\necho \"$given\"\necho \"$given\" >&2\nexit 1\n";
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = agents.path().display().to_string();
        let mut agent = Agent::start_with(&[
            ("vars", "log_level", "trace"),
            ("fencing", "agent_dir", &folder),
        ]);
        let (mut canaries, heard) = (Canaries::default(), Heard::default());
        let client = agent.client();
        heard.while_watching(agent.pid(), || {
            for action in ["status", "on", "off"] {
                let fence = json!({
                    "addr": "192.0.2.9", "port": "", "agent": "shows", "username": "admin",
                    "password": canaries.token(), "action": action, "secure": false,
                    "options": format!("ssh_pass={}", canaries.token()),
                });
                heard.add(&format!("{:?}", client.call("Host.fenceNode", fence)));
            }
        });
        drop(client);
        heard.add(&agent.stop_hearing());
        heard.add(&agent.log());
        let all = heard.0.into_inner().unwrap();
        assert!(
            all.contains("fence_shows"),
            "no agent was seen: {}",
            agent.log_tail()
        );
        assert_eq!(canaries.found_in(&all), Vec::<String>::new());
    });
}

/// The control: what is declared as a plain string is shown in the log, and the search finds it there.
#[test]
fn a_leak_is_found() {
    guarded!(|| {
        let agent = Agent::start();
        let mut canaries = Canaries::default();
        let token = canaries.token();
        let _ = agent.call("Host.getStorageDomains", json!({"remotePath": token}));
        wait_for("the leak to be found", || {
            (!canaries.found_in(&agent.log()).is_empty()).then_some(())
        });
    });
}

#[test]
fn a_leak_is_found_in_every_form() {
    let mut canaries = Canaries::default();
    let token = canaries.token();
    let hex = token.bytes().map(|byte| format!("{byte:02X}"));
    let hex = hex.collect::<Vec<_>>().concat();
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    for text in [
        format!("a {token} b"),
        token[..16].to_owned(),
        hex.to_lowercase(),
        hex,
        base64(&token),
        base64(&format!("user:{token}")),
        base64(&format!("u:{token}:more")),
        base64(&format!("us:{token}")),
        token
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace("%=", "%25%3D"),
    ] {
        assert_ne!(canaries.found_in(&text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(canaries.found_in("nothing here"), Vec::<String>::new());
}
