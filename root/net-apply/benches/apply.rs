//! How long it takes to set up, change one of, and remove 10, 100 and 1,000 networks, through plan and executor;
//! beside it `ip -batch`, which is given the same acts in the same order in a like world. Settings of IPv6, which `ip`
//! cannot set, are left out on its side and told apart on ours.
//!
//! Bridges over ends of veth pairs; and, where the kernel has them, VLANs of one card with a bridge each.
//! `cargo bench -p net-apply --bench apply` as root; nothing of the machine's network is touched. With `-- calls` system calls and
//! messages of netlink alone are counted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]
#![allow(clippy::print_stdout, reason = "its figures are what it is for")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    env,
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use common::{Host, ifname, kernel_defaults, soon};
use exec::Command;
use net_apply::Machine as _;
use net_model::{
    Base, BridgeConfig, Config, Current, Desired, Ip, NetName, Network, Planned, Scope, Step,
    Tables, VlanId, plan,
};
use netns::{LONG, Peer, can_make, ip};

/// Set in the process that measures; names what it is to do.
const TASK: &str = "NET_BENCH_TASK";
/// How many networks are traced.
const NUMBER: &str = "NET_BENCH_NUMBER";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cards,
    Vlans,
}

fn main() {
    match env::var(TASK).as_deref() {
        Err(_) if env::args().any(|it| it == "calls") => outside("calls"),
        Err(_) => outside("all"),
        Ok("all") => measure_all(),
        Ok("calls") => system_calls(),
        Ok(task) => count(task),
    }
}

/// Runs this program again in a network of its own.
fn outside(task: &str) {
    let program = env::current_exe().unwrap();
    let inner = Command::new(program)
        .env(TASK, task)
        .timeout(Duration::from_mins(30));
    match inner.private_network().run() {
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            assert!(output.exit.success(), "{}", output.stderr_text());
        }
        Err(error) => println!("skipped: no network of its own: {error}"),
    }
}

fn measure_all() {
    println!("| networks | what | steps | read, ms | plan, ms | run, ms | ip -batch, ms | ratio |");
    println!("|---|---|---|---|---|---|---|---|");
    let vlans = can_make("vlan");
    for number in [10, 100, 1000] {
        measure(Kind::Cards, number);
        if vlans {
            measure(Kind::Vlans, number);
        }
    }
    if !vlans {
        println!("skipped: VLANs: this kernel has none");
    }
    system_calls();
}

fn network(kind: Kind, number: u32) -> Network {
    let (high, low) = (number / 250, number % 250);
    let (base, vlan) = match kind {
        Kind::Cards => (format!("eth{number}"), None),
        Kind::Vlans => ("eth0".to_owned(), VlanId::new(i64::from(number) + 1).ok()),
    };
    Network {
        base: Some(Base::Nic(ifname(&base))),
        vlan,
        bridge: Some(BridgeConfig::default()),
        ipv4: Ip {
            addresses: vec![format!("10.{high}.{low}.2/24").parse().unwrap()],
            gateway: Some(format!("10.{high}.{low}.1").parse().unwrap()),
            ..Ip::default()
        },
        ..Network::default()
    }
}

fn name(number: u32) -> NetName {
    NetName::new(&format!("net{number}")).unwrap()
}

fn config(kind: Kind, number: u32) -> Config {
    Config {
        networks: (0..number)
            .map(|it| (name(it), network(kind, it)))
            .collect(),
        ..Config::default()
    }
}

/// The cards, up, with their far ends in another network.
fn make_world(kind: Kind, number: u32, peers: &Peer) {
    kernel_defaults();
    let cards = if kind == Kind::Cards { number } else { 1 };
    let (mut here, mut there) = (String::new(), String::new());
    for it in 0..cards {
        let pid = peers.pid();
        writeln!(
            here,
            "link add eth{it} type veth peer name p{it} netns {pid}"
        )
        .unwrap();
        writeln!(here, "link set eth{it} up").unwrap();
        writeln!(there, "link set p{it} up").unwrap();
    }
    ip(&here);
    peers.ip(&there);
}

struct Change {
    what: &'static str,
    before: Config,
    after: Config,
    scope: Scope,
}

fn changes(kind: Kind, number: u32) -> [Change; 3] {
    let (none, all) = (Config::default(), config(kind, number));
    let mut other = all.clone();
    other.networks.get_mut(&name(7)).unwrap().mtu = 1400;
    let one = Scope::Named {
        networks: [name(7)].into(),
        bonds: [].into(),
    };
    [
        Change {
            what: "set up",
            before: none.clone(),
            after: all.clone(),
            scope: Scope::All,
        },
        Change {
            what: "change one",
            before: all,
            after: other.clone(),
            scope: one,
        },
        Change {
            what: "remove",
            before: other,
            after: none,
            scope: Scope::All,
        },
    ]
}

struct Figure {
    what: &'static str,
    steps: Vec<Planned>,
    read: Duration,
    plan: Duration,
    run: Duration,
}

/// A change on the kernel of this thread.
fn go(host: &Host, change: Change, tables: &Tables) -> Figure {
    let start = Instant::now();
    let current: Current = host.machine.current(soon()).unwrap();
    let read = start.elapsed();
    let desired = Desired {
        before: change.before,
        after: change.after,
        scope: change.scope,
    };
    let start = Instant::now();
    let plan = plan(&current, &desired, tables).unwrap();
    let planned = start.elapsed();
    let start = Instant::now();
    host.machine.run(&plan.steps, soon()).unwrap();
    Figure {
        what: change.what,
        steps: plan.steps,
        read,
        plan: planned,
        run: start.elapsed(),
    }
}

fn tables(kind: Kind, number: u32, host: &Host) -> Tables {
    let mut tables = Tables::default();
    let current = host.machine.current(soon()).unwrap();
    tables
        .allot(&config(kind, number), &current.tables())
        .unwrap();
    tables
}

fn measure(kind: Kind, number: u32) {
    let (here, like, peers) = (Peer::new(), Peer::new(), Peer::new());
    let ours = here.within(|| {
        make_world(kind, number, &peers);
        let host = Host::new();
        let tables = tables(kind, number, &host);
        changes(kind, number).map(|change| go(&host, change, &tables))
    });
    drop(here);
    let peers = Peer::new();
    like.within(|| make_world(kind, number, &peers));
    for it in ours {
        let lines: String = it.steps.iter().filter_map(|it| line(&it.step)).collect();
        let start = Instant::now();
        like.ip(&lines);
        let theirs = start.elapsed();
        let millis = |it: Duration| it.as_secs_f64() * 1e3;
        println!(
            "| {number} {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} |",
            if kind == Kind::Cards {
                "bridges"
            } else {
                "VLANs with bridges"
            },
            it.what,
            it.steps.len(),
            millis(it.read),
            millis(it.plan),
            millis(it.run),
            millis(theirs),
            millis(it.plan + it.run) / millis(theirs),
        );
    }
}

/// What `ip -batch` is told for a step.
fn line(step: &Step) -> Option<String> {
    let words = match step {
        Step::CreateBridge { name, mac } => {
            let mac = mac.map(|it| format!(" address {it}")).unwrap_or_default();
            format!("link add {name}{mac} type bridge")
        }
        Step::CreateVlan { name, parent, id } => {
            format!("link add link {parent} name {name} type vlan id {id}")
        }
        Step::DeleteLink { name } => format!("link del {name}"),
        Step::SetMaster { link, master } => format!("link set {link} master {master}"),
        Step::ClearMaster { link } => format!("link set {link} nomaster"),
        Step::SetMtu { link, mtu } => format!("link set {link} mtu {mtu}"),
        Step::SetUp { link } => format!("link set {link} up"),
        Step::AddAddress { link, address } => format!("addr add {address} brd + dev {link}"),
        Step::RemoveAddress { link, address } => format!("addr del {address} dev {link}"),
        Step::AddRoute { route } => format!("route prepend {}", route_words(route)),
        Step::RemoveRoute { route } => format!("route del {}", route_words(route)),
        Step::AddRule { rule } => format!("rule add {}", rule_words(rule)),
        Step::RemoveRule { rule } => format!("rule del {}", rule_words(rule)),
        _ => return None,
    };
    Some(words + "\n")
}

fn route_words(route: &net_model::Route) -> String {
    let mut words = format!("{} table {} proto 118", route.destination, route.table);
    if let Some(via) = route.via {
        write!(words, " via {via}").unwrap();
    }
    if let Some(device) = &route.device {
        write!(words, " dev {device}").unwrap();
    }
    words
}

fn rule_words(rule: &net_model::Rule) -> String {
    let mut words = format!(
        "priority {} table {} protocol 118",
        rule.priority, rule.table
    );
    if let Some(from) = rule.from {
        write!(words, " from {from}").unwrap();
    }
    if let Some(to) = rule.to {
        write!(words, " to {to}").unwrap();
    }
    words
}

/// System calls, messages of netlink among them, of networks set up, by `strace -c`.
fn system_calls() {
    println!("\n| networks | what | ours | ip -batch |\n|---|---|---|---|");
    for number in [10, 100, 1000] {
        let Some([idle, busy, theirs]) = traces(number) else {
            println!("skipped: system calls: there is no strace");
            return;
        };
        let ours = |call: &str| calls(&busy, call).saturating_sub(calls(&idle, call));
        let sum = |all: &[&str], of: &dyn Fn(&str) -> u64| all.iter().map(|it| of(it)).sum::<u64>();
        for (what, all) in [
            ("messages sent", &["sendto", "sendmsg"][..]),
            ("messages received", &["recvfrom", "recvmsg"]),
            ("system calls", &["total"]),
        ] {
            let (ours, theirs) = (sum(all, &ours), sum(all, &|call| calls(&theirs, call)));
            println!("| {number} | {what} | {ours} | {theirs} |");
        }
    }
}

/// Counts of all but the run, of everything, and of `ip -batch`.
fn traces(number: u32) -> Option<[String; 3]> {
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("lines");
    let traced = |program: &str, args: &[&str], task: &str| {
        let counts = folder.path().join("counts");
        let command = Command::new("strace")
            .args(["-c", "-U", "calls,name", "-o"])
            .arg(&counts)
            .arg(program)
            .args(args)
            .env(TASK, task)
            .env(NUMBER, number.to_string())
            .env("NET_BENCH_LINES", &lines);
        let output = command.timeout(LONG).run().ok()?;
        assert!(output.exit.success(), "{}", output.stderr_text());
        Some(fs::read_to_string(counts).unwrap())
    };
    let program = env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let within = |task: &str| Peer::new().within(|| traced(program, &[], task));
    let (idle, busy) = (within("idle")?, within("run")?);
    let like = Peer::new();
    let peers = Peer::new();
    let theirs = like.within(|| {
        make_world(Kind::Cards, number, &peers);
        let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"];
        let ip = ip.into_iter().find(|it| fs::exists(it).is_ok_and(|it| it));
        traced(ip.unwrap(), &["-batch", lines.to_str().unwrap()], "")
    })?;
    Some([idle, busy, theirs])
}

/// The number before a name in a table of `strace -c`.
fn calls(table: &str, name: &str) -> u64 {
    let row = table.lines().find_map(|it| {
        let mut words = it.split_whitespace();
        let number = words.next()?.parse().ok()?;
        (words.next()? == name).then_some(number)
    });
    row.unwrap_or(0)
}

/// What is traced: everything but the run, or everything.
fn count(task: &str) {
    let number = env::var(NUMBER).unwrap().parse().unwrap();
    let peers = Peer::new();
    make_world(Kind::Cards, number, &peers);
    let host = Host::new();
    let tables = tables(Kind::Cards, number, &host);
    let [change, ..] = changes(Kind::Cards, number);
    let desired = Desired {
        before: change.before,
        after: change.after,
        scope: change.scope,
    };
    let current = host.machine.current(soon()).unwrap();
    let plan = plan(&current, &desired, &tables).unwrap();
    let lines: String = plan.steps.iter().filter_map(|it| line(&it.step)).collect();
    fs::write(env::var_os("NET_BENCH_LINES").unwrap(), lines).unwrap();
    if task == "run" {
        host.machine.run(&plan.steps, soon()).unwrap();
    }
}
