//! Networks of a test's own: links through `ip` of iproute2, who looks on as an independent witness, and the networks at the
//! other end of them.
//!
//! The network a test runs in comes from `guard::in_network!`; [`Peer`] is another one beside it, with programs and servers.
//! All act in the network of the thread that calls. What fails here is a failed test: nothing returns an error.
//!
//! Where to look next: `peer.rs` other networks, `wait.rs` conditions that come true in their time.
#![forbid(unsafe_code)]
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is a failed test"
)]

mod peer;
mod wait;

use std::time::Duration;

use exec::Command;

pub use peer::Peer;
pub use wait::{eventually, wait_for, wait_or};

/// A bound for what hangs, not a measure: the machine may be busy.
pub const LONG: Duration = Duration::from_mins(3);

/// Lines for `ip -batch`: all of them succeed.
#[track_caller]
pub fn ip(lines: &str) {
    batch(Command::new("ip"), lines);
}

/// Runs a program with its words to its end, which must be good: what it wrote.
#[track_caller]
pub fn run(line: &str) -> String {
    let mut words = line.split_ascii_whitespace();
    let program = words.next().unwrap_or_default();
    finish(Command::new(program).args(words), line)
}

#[track_caller]
fn batch(ip: Command, lines: &str) {
    finish(ip.args(["-batch", "-"]).stdin(lines), lines);
}

#[track_caller]
fn finish(command: Command, what: &str) -> String {
    let output = command.timeout(LONG).run();
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(output.exit.success(), "{what}\n{}", output.stderr_text());
    String::from_utf8(output.stdout).unwrap()
}

/// Does the kernel (with its modules) make such a link? Leaves none.
pub fn can_make(kind: &str) -> bool {
    // A VLAN on the loopback is refused for another reason than a kind that nobody knows.
    let words = if kind == "vlan" {
        "link add link lo name probe0 type vlan id 9".to_owned()
    } else {
        format!("link add probe0 type {kind}")
    };
    let made = Command::new("ip").args(words.split(' '));
    let output = made.timeout(LONG).run().unwrap();
    let unknown = output.stderr_text().contains("Unknown device type");
    if output.exit.success() {
        ip("link del probe0");
    }
    !unknown
}
