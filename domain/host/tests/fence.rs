//! Fencing as data: requests that are refused before anything runs, the table of the policy and its properties,
//! the table of exit codes, and what a masked text shows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use host::fence::{
    AgentError, AgentExit, FenceAction, FenceAgents, FenceAnswer, FenceError, FencePolicy,
    FenceRequest, Fencer, FieldError, HostLeases, Lease, Order, Power, Sealed, Verdict, decide,
    leases_needed,
};
use host_model::HostError;
use proptest::prelude::*;
use uuid::Uuid;

const PASSWORD: &str = "s3cr%t-\u{fc}";

/// A power management that is told what agents are told.
#[derive(Default)]
struct World {
    told: Mutex<Vec<String>>,
    exit: Mutex<Option<Result<AgentExit, AgentError>>>,
    leases: BTreeMap<(Uuid, i32), Lease>,
    asked: Mutex<Vec<Uuid>>,
}

impl FenceAgents for World {
    fn run(&self, order: &Order) -> Result<AgentExit, AgentError> {
        let lines = order.lines().iter().map(|line| match &line.value {
            Some(value) => format!("{}={}", line.key, value.expose()),
            None => line.key.clone(),
        });
        let told = format!(
            "{}\n{}",
            order.agent(),
            lines.collect::<Vec<_>>().join("\n")
        );
        self.told.lock().unwrap().push(told);
        self.exit
            .lock()
            .unwrap()
            .clone()
            .unwrap_or(Ok(AgentExit::default()))
    }
}

impl HostLeases for World {
    fn lease(&self, domain: Uuid, host_id: i32) -> Lease {
        self.asked.lock().unwrap().push(domain);
        let known = self.leases.get(&(domain, host_id));
        known.copied().unwrap_or(Lease::Unavailable)
    }
}

fn request(action: FenceAction) -> FenceRequest {
    FenceRequest {
        address: "192.0.2.9".to_owned(),
        port: None,
        agent: "ipmilan".to_owned(),
        username: "admin".to_owned(),
        password: Sealed::new(PASSWORD),
        action,
        secure: false,
        options: Sealed::new(""),
        policy: None,
    }
}

fn run(world: &Arc<World>, request: FenceRequest) -> Result<FenceAnswer, FenceError> {
    Fencer::new(world.clone(), world.clone()).fence(request)
}

fn ends(code: i32, out: &str, err: &str) -> Arc<World> {
    let exit = AgentExit {
        code,
        stdout: out.into(),
        stderr: err.into(),
    };
    Arc::new(World {
        exit: Mutex::new(Some(Ok(exit))),
        ..World::default()
    })
}

#[test]
fn an_agent_is_told_what_upstream_tells_it() {
    let world = Arc::new(World::default());
    let full = FenceRequest {
        address: "[fe80::1%eth0]".to_owned(),
        port: Some(7),
        secure: true,
        options: Sealed::new("lanplus=1\npower_wait=4\n\nssl_insecure"),
        ..request(FenceAction::Reboot)
    };
    assert_eq!(run(&world, full), Ok(FenceAnswer::Initiated));
    run(&world, request(FenceAction::Status)).unwrap();
    let told = world.told.lock().unwrap();
    assert_eq!(
        told[0],
        format!(
            "ipmilan\nagent=fence_ipmilan\nipaddr=fe80::1%eth0\nlogin=admin\naction=reboot\npasswd={PASSWORD}\nport=7\nsecure=yes\nlanplus=1\npower_wait=4\nssl_insecure"
        )
    );
    assert!(
        told[1].ends_with(&format!("action=status\npasswd={PASSWORD}")),
        "{}",
        told[1]
    );
}

#[test]
fn names_of_agents_that_are_none() {
    for agent in [
        "../../bin/sh",
        "ipmilan;rm",
        "ipmilan\n",
        "",
        "/usr/sbin/fence_ipmilan",
        "IPMI",
        "a b",
        "a.b",
    ] {
        let world = Arc::new(World::default());
        let bad = FenceRequest {
            agent: agent.to_owned(),
            ..request(FenceAction::Status)
        };
        assert_eq!(
            run(&world, bad),
            Err(FenceError::UnsupportedAgent),
            "{agent:?}"
        );
        assert!(world.told.lock().unwrap().is_empty());
    }
}

#[test]
fn a_line_break_in_any_field_is_refused_before_anything_runs() {
    type Change = fn(&mut FenceRequest, &str);
    let fields: [(&str, Change); 4] = [
        ("addr", |request, bad| request.address.push_str(bad)),
        ("username", |request, bad| request.username.push_str(bad)),
        ("password", |request, bad| {
            request.password = Sealed::new(&format!("{PASSWORD}{bad}"));
        }),
        ("options", |request, bad| {
            request.options = Sealed::new(&format!("lanplus=1{bad}"));
        }),
    ];
    for (name, change) in fields {
        for bad in [
            "\naction=off",
            "\raction=off",
            "\0",
            "\u{85}x",
            "\u{1b}[0m",
            "\u{7f}",
        ] {
            let world = Arc::new(World::default());
            let mut hostile = request(FenceAction::Status);
            change(&mut hostile, bad);
            let error = run(&world, hostile).unwrap_err();
            // A newline between options is Engine's; what it brings is refused for its key.
            let expected = match (name, bad) {
                ("addr", _) => FieldError::Host(HostError::Control),
                ("options", "\naction=off") => FieldError::Repeats(2),
                _ => FieldError::Control,
            };
            assert_eq!(
                error,
                FenceError::Field {
                    field: name,
                    why: expected
                },
                "{bad:?}"
            );
            assert!(world.told.lock().unwrap().is_empty());
            let text = format!("{error} {error:?}");
            assert!(!text.contains("s3cr") && !text.contains(bad), "{text}");
        }
    }
}

#[test]
fn fields_that_agents_would_misread() {
    let long = "x".repeat(5000);
    for (options, why) in [
        ("action=off", FieldError::Repeats(1)),
        ("Action=off", FieldError::Repeats(1)),
        ("option=off", FieldError::Repeats(1)),
        ("lanplus=1\n passwd = x", FieldError::Repeats(2)),
        ("ip=1.2.3.4", FieldError::Repeats(1)),
        ("passwd_script=/bin/sh", FieldError::RunsPrograms(1)),
        ("password-script=/bin/sh", FieldError::RunsPrograms(1)),
        ("ipmitool_path=/tmp/x", FieldError::RunsPrograms(1)),
        ("sudo-path=/tmp/x", FieldError::RunsPrograms(1)),
        ("debug_file=/etc/x", FieldError::RunsPrograms(1)),
        ("--action=off", FieldError::Key(1)),
        ("=x", FieldError::Key(1)),
        ("# off", FieldError::Key(1)),
        ("a b=c", FieldError::Key(1)),
        (&long, FieldError::TooLong),
        (&"a=1\n".repeat(65), FieldError::TooMany),
    ] {
        let bad = FenceRequest {
            options: Sealed::new(options),
            ..request(FenceAction::Status)
        };
        let error = Order::of(bad).err();
        assert_eq!(
            error,
            Some(FenceError::Field {
                field: "options",
                why
            }),
            "{options:.40}"
        );
    }
    for (port, right) in [
        (Some(0), true),
        (Some(65_535), true),
        (None, true),
        (Some(65_536), false),
        (Some(-1), false),
    ] {
        let order = Order::of(FenceRequest {
            port,
            ..request(FenceAction::On)
        });
        assert_eq!(order.is_ok(), right, "{port:?}");
    }
    for address in ["", "1.2.3.4 -f /etc/passwd", "-v", "a;b", "192.0.2.9:623"] {
        let order = Order::of(FenceRequest {
            address: address.to_owned(),
            ..request(FenceAction::On)
        });
        assert!(
            matches!(order, Err(FenceError::Field { field: "addr", .. })),
            "{address}"
        );
    }
    // Options that Engine sends.
    for fine in [
        "port=15",
        "ipport=623",
        "ssl=yes",
        "secure=yes",
        "api_path=/rest",
        "lanplus",
        "cipher=3",
        "hexadecimal-kg=AB=",
    ] {
        assert!(
            Order::of(FenceRequest {
                options: Sealed::new(fine),
                ..request(FenceAction::On)
            })
            .is_ok(),
            "{fine}"
        );
    }
}

#[test]
fn exit_codes_mean_what_they_mean_to_upstream() {
    use FenceAction::{Off, On, Reboot, Status};
    let failed = |code| {
        Err(FenceError::AgentFailed {
            code,
            said: "outerr".to_owned(),
        })
    };
    for (actions, code, answer) in [
        (vec![Status], 0, Ok(FenceAnswer::Power(Power::On))),
        (vec![Status], 2, Ok(FenceAnswer::Power(Power::Off))),
        (vec![Status], 1, failed(1)),
        (vec![On, Off, Reboot], 0, Ok(FenceAnswer::Initiated)),
        (vec![On, Off, Reboot], 1, failed(1)),
        (vec![On, Off, Reboot], 2, failed(2)),
        (vec![Status, On, Off, Reboot], 3, failed(1)),
        (vec![Status, On, Off, Reboot], 137, failed(1)),
        (vec![Status, On, Off, Reboot], -1, failed(1)),
    ] {
        for action in actions {
            assert_eq!(
                run(&ends(code, "out", "err"), request(action)),
                answer,
                "{action} {code}"
            );
        }
    }
}

#[test]
fn an_agent_that_does_not_end_or_is_not_there() {
    let late = AgentError::TimedOut(Duration::from_secs(5));
    for (end, error) in [
        (AgentError::NotInstalled, FenceError::UnsupportedAgent),
        (late.clone(), FenceError::Agent(late)),
    ] {
        let world = Arc::new(World {
            exit: Mutex::new(Some(Err(end))),
            ..World::default()
        });
        assert_eq!(run(&world, request(FenceAction::Off)), Err(error));
    }
}

#[test]
fn what_an_agent_says_is_masked_and_bounded() {
    let noise = "x".repeat(5000);
    let said = format!("{noise} {PASSWORD} token-1 qwerty \u{1b}[31m 1\n");
    let world = ends(1, &said, &format!("again \"{PASSWORD}\""));
    let asked = FenceRequest {
        options: Sealed::new("auth_token=tok\nlogin_hint=qwerty\nlanplus=1"),
        ..request(FenceAction::Off)
    };
    let Err(FenceError::AgentFailed { said, .. }) = run(&world, asked) else {
        panic!("it fails");
    };
    assert!(said.len() <= 2000);
    assert!(
        said.ends_with(" ***** *****en-1 ***** [31m 1\nagain \"*****\""),
        "{said}"
    );
    // Not even in part: a password that holds another secret.
    let world = ends(1, "abc-quertz-def", "");
    let asked = FenceRequest {
        password: Sealed::new("abc-quertz-def"),
        options: Sealed::new("x=quertz"),
        ..request(FenceAction::Off)
    };
    assert!(
        matches!(run(&world, asked), Err(FenceError::AgentFailed { said, .. }) if said == "*****")
    );
    // As agents read it: quotes and blanks around it cut.
    let world = ends(1, "password is hunter2", "");
    let asked = FenceRequest {
        password: Sealed::new(" \"hunter2\" "),
        ..request(FenceAction::Off)
    };
    assert!(
        matches!(run(&world, asked), Err(FenceError::AgentFailed { said, .. }) if said == "password is *****")
    );
}

fn policy(domains: &[(u128, i32)], bricks: bool, quorum: bool) -> FencePolicy {
    FencePolicy {
        host_ids: domains
            .iter()
            .map(|(domain, id)| (Uuid::from_u128(*domain), *id))
            .collect(),
        skip_if_bricks_up: bricks,
        skip_if_quorum_breaks: quorum,
    }
}

#[test]
fn the_policy_holds_back_what_upstream_holds_back() {
    use FenceAction::{Off, Status};
    let both = policy(&[(1, 3), (2, 3)], false, false);
    for (name, action, policy, leases, touched) in [
        ("no policy", Off, None, vec![], true),
        (
            "an empty map",
            Off,
            Some(policy(&[], false, false)),
            vec![],
            true,
        ),
        (
            "live in one of two",
            Off,
            Some(both.clone()),
            vec![(1, 3, Lease::Dead), (2, 3, Lease::Live)],
            false,
        ),
        (
            "live, and only looked",
            Status,
            Some(both.clone()),
            vec![(1, 3, Lease::Live)],
            true,
        ),
        (
            "another host is live",
            Off,
            Some(both.clone()),
            vec![(1, 4, Lease::Live)],
            true,
        ),
        (
            "stale",
            Off,
            Some(both.clone()),
            vec![(1, 3, Lease::Fail), (2, 3, Lease::Dead)],
            true,
        ),
        (
            "free",
            Off,
            Some(both.clone()),
            vec![(1, 3, Lease::Free), (2, 3, Lease::Unknown)],
            true,
        ),
        ("nobody knows", Off, Some(both), vec![], true),
    ] {
        let leases = leases
            .into_iter()
            .map(|(domain, id, lease)| ((Uuid::from_u128(domain), id), lease));
        let world = Arc::new(World {
            leases: leases.collect(),
            ..World::default()
        });
        let answer = run(
            &world,
            FenceRequest {
                policy,
                ..request(action)
            },
        )
        .unwrap();
        assert_eq!(answer != FenceAnswer::Skipped, touched, "{name}");
        assert_eq!(
            world.told.lock().unwrap().len(),
            usize::from(touched),
            "{name}"
        );
        assert!(
            action != Status || world.asked.lock().unwrap().is_empty(),
            "{name}"
        );
    }
}

#[test]
fn a_policy_on_gluster_is_an_error_and_nothing_runs() {
    for (bricks, quorum) in [(true, false), (false, true), (true, true)] {
        let world = Arc::new(World::default());
        let asked = FenceRequest {
            policy: Some(policy(&[], bricks, quorum)),
            ..request(FenceAction::Off)
        };
        assert_eq!(run(&world, asked), Err(FenceError::PolicyUnknowable));
        assert!(world.told.lock().unwrap().is_empty());
    }
}

fn any_lease() -> impl Strategy<Value = Lease> {
    use Lease::{Dead, Fail, Free, Live, Unavailable, Unknown};
    prop::sample::select(vec![Unavailable, Unknown, Free, Live, Fail, Dead])
}

fn any_action() -> impl Strategy<Value = FenceAction> {
    use FenceAction::{Off, On, Reboot, Status};
    prop::sample::select(vec![Status, On, Off, Reboot])
}

fn any_policy() -> impl Strategy<Value = Option<FencePolicy>> {
    let ids =
        prop::collection::btree_map(any::<u128>().prop_map(Uuid::from_u128), any::<i32>(), 0..4);
    let policy =
        (ids, any::<bool>(), any::<bool>()).prop_map(|(host_ids, bricks, quorum)| FencePolicy {
            host_ids,
            skip_if_bricks_up: bricks,
            skip_if_quorum_breaks: quorum,
        });
    prop::option::of(policy)
}

proptest! {
    /// The table against the rules in words.
    #[test]
    fn the_table_is_the_policy(action in any_action(), policy in any_policy(), leases in prop::collection::vec(any_lease(), 0..5)) {
        let verdict = decide(action, policy.as_ref(), &leases);
        let looks = action == FenceAction::Status;
        let live = leases.contains(&Lease::Live);
        let gluster = policy.as_ref().is_some_and(|it| it.skip_if_bricks_up || it.skip_if_quorum_breaks);
        match verdict {
            Verdict::Skip(_) => prop_assert!(!looks && policy.is_some() && live),
            Verdict::Refuse(_) => prop_assert!(!looks && gluster && !live),
            Verdict::Fence(_) => prop_assert!(looks || policy.is_none() || (!live && !gluster)),
        }
        let mut reversed = leases.clone();
        reversed.reverse();
        prop_assert_eq!(decide(action, policy.as_ref(), &reversed), verdict);
        let needed = leases_needed(action, policy.as_ref()).count();
        prop_assert_eq!(needed, policy.filter(|_| !looks).map_or(0, |it| it.host_ids.len()));
    }

    /// Whatever Engine sends: an agent gets whole lines of known meaning, or nothing.
    #[test]
    fn any_request_is_refused_or_becomes_lines(
        fields in (".*", "[a-z_0-9]{1,10}|.*", ".*", ".*"),
        options in "([a-z_-]{0,12}=?[ -~\\n]{0,12}){0,6}|.*",
        port in prop::option::of(any::<i64>()),
        good_address in any::<bool>(),
    ) {
        let (address, agent, username, password) = fields;
        let asked = FenceRequest {
            address: if good_address { "bmc.example".to_owned() } else { address },
            port,
            agent,
            username,
            password: Sealed::new(&password),
            options: Sealed::new(&options),
            ..request(FenceAction::Status)
        };
        if let Ok(order) = Order::of(asked) {
            prop_assert!(order.agent().bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_'));
            let mut actions = 0;
            for line in order.lines() {
                let value = line.value.as_ref().map_or("", Sealed::expose);
                prop_assert!(!line.key.contains(char::is_control) && !value.contains(char::is_control));
                actions += usize::from(matches!(line.key.to_ascii_lowercase().as_str(), "action" | "option"));
            }
            prop_assert_eq!(actions, 1);
        }
    }
}
