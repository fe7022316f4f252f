//! The executor against the real kernel: what is foreign stays, what fails is told, nothing waits for anything else.
//! Here: the words for steps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on ends"
)]

#[path = "../common/mod.rs"]
mod common;
mod foreign;
mod halted;
mod kinds;
mod lifetimes;
mod order;

use std::error::Error;

use common::{ifname, kernel_defaults, plain};
use net_model::{Cidr, Planned, Step};
use netns::ip;

pub(crate) fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

pub(crate) fn up(name: &str) -> Step {
    Step::SetUp { link: ifname(name) }
}

pub(crate) fn bridge(name: &str) -> Step {
    Step::CreateBridge {
        name: ifname(name),
        mac: None,
    }
}

pub(crate) fn mtu(name: &str, mtu: u32) -> Step {
    Step::SetMtu {
        link: ifname(name),
        mtu,
    }
}

pub(crate) fn address(name: &str, text: &str) -> Step {
    Step::AddAddress {
        link: ifname(name),
        address: cidr(text),
    }
}

pub(crate) fn master(name: &str, above: &str) -> Step {
    Step::SetMaster {
        link: ifname(name),
        master: ifname(above),
    }
}

pub(crate) fn with_undo(step: Step, undo: Step) -> Planned {
    Planned {
        undo: vec![undo],
        ..plain(step)
    }
}

/// The whole of an error, the kernel's words too.
pub(crate) fn words(error: &dyn Error) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        all = format!("{all}: {source}");
        next = source.source();
    }
    all
}

pub(crate) fn cards(number: u8) {
    kernel_defaults();
    for it in 0..number {
        ip(&format!(
            "link add eth{it} type veth peer name p{it}\nlink set eth{it} up\nlink set p{it} up\n"
        ));
    }
}
