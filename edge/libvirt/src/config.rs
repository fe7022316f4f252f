//! Owns: what a caller chooses about the connection. Plain data, no states.
//!
//! Looked at by `link` (how to connect), `pool` (bounds) and `calls` (deadlines).

use std::{fmt, time::Duration};

use zeroize::Zeroizing;

/// How to reach libvirt and how long to wait for it.
#[derive(Debug, Clone)]
pub struct LibvirtConfig {
    /// Connection URI: `qemu:///system`, `qemu:///session?socket=PATH`, `qemu:///embed?root=DIR`, `test:///default`.
    pub uri: String,
    /// Name and password for SASL (`virConnectOpenAuth`); `None` opens without (`virConnectOpen`).
    pub credentials: Option<Credentials>,
    /// How long the first connection may take. Later attempts are made in the background and take their time.
    pub connect_timeout: Duration,
    /// Keepalive interval in seconds; the connection counts as lost when the daemon left
    /// `keepalive_count` messages unanswered. 0 turns it off.
    pub keepalive_interval: u32,
    /// Unanswered keepalive messages after which the connection counts as lost.
    pub keepalive_count: u32,
    /// First pause between attempts to reconnect; doubles up to `reconnect_max`.
    pub reconnect_min: Duration,
    /// Longest pause between attempts to reconnect.
    pub reconnect_max: Duration,
    /// How long each kind of call is waited for.
    pub deadlines: Deadlines,
    /// Calls that may run at the same time, apart from those that hang.
    pub workers: usize,
    /// Calls that may hang at the same time, each of them keeping a thread. When there are as many, further calls
    /// are refused at once (destroy is not). Each keeps a worker of libvirtd as well, of which it has 20 (`max_workers`).
    pub max_hanging: usize,
    /// Let libvirt check the XML against its schema on define (`VIR_DOMAIN_DEFINE_VALIDATE`).
    pub validate_xml: bool,
    /// Largest screenshot that is accepted, bytes.
    pub max_screenshot: usize,
    /// Events that wait for a receiver that does not read; when there are more, they are dropped and the receiver
    /// gets [`vm_model::ports::HypervisorEvent::Reconnected`] as soon as it has room: re-read everything.
    pub event_queue: usize,
}

impl LibvirtConfig {
    /// Defaults for `uri`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            credentials: None,
            connect_timeout: Duration::from_secs(10),
            keepalive_interval: 5,
            keepalive_count: 3,
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
            deadlines: Deadlines::default(),
            workers: 8,
            max_hanging: 16,
            validate_xml: false,
            max_screenshot: 64 << 20,
            event_queue: 1024,
        }
    }
}

/// How long each kind of call is waited for. When the time is over the caller gets
/// [`vm_model::ports::HypervisorError::TimedOut`]; what was asked may still happen.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// What libvirt knows by itself: state, list, XML, metadata, capabilities.
    pub query: Duration,
    /// Commands to a domain: define, suspend, resume, reset, set metadata, ACPI requests.
    pub command: Duration,
    /// Start: QEMU must come up.
    pub start: Duration,
    /// Destroy. libvirt itself may take 30 seconds for a QEMU that hangs in another call.
    pub destroy: Duration,
    /// Requests to the guest agent.
    pub agent: Duration,
    /// A picture of the console, from the request to the last byte.
    pub screenshot: Duration,
    /// Bulk statistics, all attempts together.
    pub stats: Duration,
    /// One attempt at bulk statistics. A domain that hangs catches the first attempt that meets it; the next one
    /// passes it by.
    pub stats_attempt: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            query: Duration::from_secs(10),
            command: Duration::from_mins(1),
            start: Duration::from_mins(2),
            destroy: Duration::from_mins(1),
            agent: Duration::from_mins(1),
            screenshot: Duration::from_secs(20),
            stats: Duration::from_secs(10),
            stats_attempt: Duration::from_secs(2),
        }
    }
}

/// Name and password for SASL. The password is wiped from memory when dropped and never printed.
#[derive(Clone)]
pub struct Credentials {
    /// The name (upstream's agent: `vdsm@ovirt`).
    pub user: String,
    password: Zeroizing<String>,
}

impl Credentials {
    /// Joins name and password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: Zeroizing::new(password.into()),
        }
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
