//! What tests of the installed product on lab hosts have in common. The tests are in `tests/lab/`, a module for each
//! subject; `docs/lab.md` tells how to write one. [`network`] is for tests of networks.
#![forbid(unsafe_code)]

pub mod network;

use hosts::{Host, Lab, Result};

/// Host `number` with the product installed, as `make lab-check` built it: from memory, within seconds.
pub fn installed(lab: &Lab, number: u8) -> Result<Host> {
    lab.host(number).layer(&lab.installed()?).start()
}
