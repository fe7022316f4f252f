//! `lldptool`: what lldpad has heard on a network card. Typed verbs; what is printed is read by `net_model::lldp`.
//!
//! It talks to lldpad over a socket that only root may use. Where lldpad does not run it fails at once.

use std::time::Duration;

use crate::{Command, ExecError, Output};

/// Bytes kept of a report: one frame's elements, printed.
const REPORT_LIMIT: usize = 256 << 10;

/// Found in the folders that are searched.
const PROGRAM: &str = "lldptool";

/// `lldptool get-lldp -i NIC adminStatus`: does lldpad listen on this card?
///
/// # Errors
/// [`ExecError::NotFound`] without lldpad; [`ExecError::Failed`] if it does not run or knows no such card;
/// [`ExecError::TimedOut`].
pub fn admin_status(nic: &str, timeout: Duration) -> Result<String, ExecError> {
    ask(&["get-lldp", "-i", nic, "adminStatus"], timeout)
}

/// `lldptool set-lldp -i NIC adminStatus=rx`: lldpad shall listen on this card, and not send. It keeps that over its own restarts.
///
/// # Errors
/// As of [`admin_status`].
pub fn listen(nic: &str, timeout: Duration) -> Result<(), ExecError> {
    ask(&["set-lldp", "-i", nic, "adminStatus=rx"], timeout).map(drop)
}

/// `lldptool get-tlv -n -i NIC`: what the neighbour tells.
///
/// # Errors
/// As of [`admin_status`].
pub fn neighbour(nic: &str, timeout: Duration) -> Result<String, ExecError> {
    ask(&["get-tlv", "-n", "-i", nic], timeout)
}

fn ask(args: &[&str], timeout: Duration) -> Result<String, ExecError> {
    let output: Output = Command::new(PROGRAM)
        .args(args)
        .die_with_parent()
        .stdout_limit(REPORT_LIMIT)
        .timeout(timeout)
        .run()?
        .check()?;
    // A neighbour's words need not be UTF-8.
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
