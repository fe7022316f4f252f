//! Owns: [`Libvirt`] and how one call goes: is the connection up → a slot of the domain (`gate`) → a thread (`pool`) →
//! a connection (`link`) → libvirt (`sys`) → the answer, or an error by `errors`. Each call ends at its deadline.
//!
//! The calls themselves: `hypervisor` (the port) and, for the host, below.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;
use vm_model::ports::{HypervisorError, HypervisorResult, VmId};

use crate::{
    DomainCapabilitiesQuery, LibvirtConfig, NodeInfo, Versions,
    errors::Asked,
    gate::{Class, Gate, NoSlot},
    link::{Connections, Link, NoConnection},
    pool::{NoAnswer, Pool},
    sys::{
        conn::Conn,
        failure::{Failure, SysResult},
    },
};

/// A connection to libvirt that mends itself, with a deadline on every call.
///
/// May be used from many threads. Dropping it closes the connection and ends its threads, except those whose call
/// hangs: they end when libvirt answers.
pub struct Libvirt {
    // Dropped in this order: no call starts any more, threads end, connections are closed.
    pool: Pool,
    link: Link,
    gate: Arc<Gate>,
}

impl std::fmt::Debug for Libvirt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Libvirt")
            .field("uri", &self.link.config().uri)
            .finish_non_exhaustive()
    }
}

/// One kind of call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) asked: Asked,
    pub(crate) class: Class,
}

impl Call {
    /// About the connection as a whole.
    pub(crate) fn host(what: &'static str, deadline: Duration) -> Self {
        Self {
            asked: Asked {
                what,
                id: None,
                deadline,
                agent: false,
                xml: false,
            },
            class: Class::Query,
        }
    }

    /// About a domain.
    pub(crate) fn domain(what: &'static str, id: VmId, class: Class, deadline: Duration) -> Self {
        let agent = class == Class::Agent;
        Self {
            asked: Asked {
                what,
                id: Some(id),
                deadline,
                agent,
                xml: false,
            },
            class,
        }
    }

    /// The slot it needs: calls about the host need none, except statistics.
    fn key(&self) -> Option<(VmId, Class)> {
        match (self.asked.id, self.class) {
            (Some(id), class) => Some((id, class)),
            (None, Class::Stats) => Some((Uuid::nil(), Class::Stats)),
            (None, _) => None,
        }
    }
}

enum Failed {
    /// libvirt's error; whether the connection stood after it.
    Call(Failure, bool),
    NoConnection(NoConnection),
}

fn on_connection<T>(
    connections: &Connections,
    act: impl FnOnce(&Conn) -> SysResult<T>,
) -> Result<T, Failed> {
    let borrowed = connections.take().map_err(Failed::NoConnection)?;
    let Some(conn) = borrowed.conn() else {
        return Err(Failed::NoConnection(NoConnection::Down(
            "given back".into(),
        )));
    };
    act(conn).map_err(|failure| {
        let alive = conn.is_alive();
        if !alive {
            borrowed.suspect();
        }
        Failed::Call(failure, alive)
    })
}

impl Libvirt {
    /// Connects. Fails if the first connection cannot be made (`TimedOut` when it takes longer than
    /// `connect_timeout`); a later loss is mended in the background: calls answer `Disconnected` meanwhile, and
    /// receivers of events get `Reconnected` afterwards.
    pub fn connect(config: LibvirtConfig) -> HypervisorResult<Self> {
        let pool = Pool::new(config.workers, config.max_hanging);
        let asked = Call::host("connect", config.connect_timeout).asked;
        match Link::connect(config) {
            Some(Ok(link)) => Ok(Self {
                pool,
                link,
                gate: Arc::default(),
            }),
            Some(Err(failure)) => Err(HypervisorError::Disconnected(failure.message)),
            None => Err(asked.timed_out()),
        }
    }

    pub(crate) fn config(&self) -> &LibvirtConfig {
        self.link.config()
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Makes one call, within its deadline.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        call: Call,
        act: impl FnOnce(&Conn) -> SysResult<T> + Send + 'static,
    ) -> HypervisorResult<T> {
        let asked = call.asked;
        self.link.status().map_err(HypervisorError::Disconnected)?;
        let until = Instant::now() + asked.deadline;
        let slot = call
            .key()
            .map(|key| self.gate.enter(key, until))
            .transpose()
            .map_err(|no| match no {
                NoSlot::Hanging => asked.refused("an earlier call hangs"),
                NoSlot::Late => asked.refused("earlier calls took too long"),
            })?;
        let watch = slot.as_ref().map(crate::gate::Slot::watch);
        let connections = self.link.connections();
        let answer = self.pool.run(
            until,
            matches!(call.class, Class::Terminate | Class::Kill),
            move || {
                let answer = on_connection(&connections, act);
                drop(slot);
                answer
            },
        );
        match answer {
            Ok(answer) => answer.map_err(|failed| match failed {
                Failed::Call(failure, alive) => asked.failed(failure, alive),
                Failed::NoConnection(NoConnection::Down(why)) => HypervisorError::Disconnected(why),
                Failed::NoConnection(NoConnection::Refused(failure)) => {
                    HypervisorError::Disconnected(failure.message)
                }
            }),
            Err(NoAnswer::Hanging) => {
                if let Some(watch) = watch {
                    watch.give_up();
                }
                tracing::warn!(what = asked.what, domain = ?asked.id, deadline = ?asked.deadline, "a call to libvirt hangs");
                Err(asked.timed_out())
            }
            Err(NoAnswer::Crowded) => Err(asked.refused("too many calls hang")),
            Err(NoAnswer::Late) => Err(asked.refused("too many calls are under way")),
            Err(NoAnswer::Broken) => {
                Err(asked.failed(Failure::internal("the call did not run to its end"), true))
            }
        }
    }

    fn query<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl FnOnce(&Conn) -> SysResult<T> + Send + 'static,
    ) -> HypervisorResult<T> {
        self.call(Call::host(what, self.config().deadlines.query), act)
    }

    /// True while the connection stands, as far as is known by now. Never waits.
    pub fn is_alive(&self) -> bool {
        self.link.is_alive()
    }

    /// XML `<capabilities>` of the host (`virConnectGetCapabilities`).
    pub fn capabilities_xml(&self) -> HypervisorResult<String> {
        self.query("host capabilities", Conn::capabilities)
    }

    /// XML `<domainCapabilities>` (`virConnectGetDomainCapabilities`). Combinations that the host does not have are
    /// `Other`.
    pub fn domain_capabilities_xml(
        &self,
        query: &DomainCapabilitiesQuery,
    ) -> HypervisorResult<String> {
        let query = query.clone();
        self.query("domain capabilities", move |conn| {
            conn.domain_capabilities(&query)
        })
    }

    /// CPU models that libvirt knows for an architecture (`virConnectGetCPUModelNames`).
    pub fn cpu_model_names(&self, arch: &str) -> HypervisorResult<Vec<String>> {
        let arch = arch.to_owned();
        self.query("CPU model names", move |conn| conn.cpu_model_names(&arch))
    }

    /// Versions of client library, daemon and hypervisor.
    pub fn versions(&self) -> HypervisorResult<Versions> {
        self.query("versions", Conn::versions)
    }

    /// Name of the host that runs the hypervisor (`virConnectGetHostname`).
    pub fn hostname(&self) -> HypervisorResult<String> {
        self.query("host name", Conn::hostname)
    }

    /// CPUs and memory of the host (`virNodeGetInfo`).
    pub fn node_info(&self) -> HypervisorResult<NodeInfo> {
        self.query("host information", Conn::node_info)
    }

    /// Free memory of the host in bytes (`virNodeGetFreeMemory`).
    pub fn free_memory(&self) -> HypervisorResult<u64> {
        self.query("free memory", Conn::free_memory)
    }
}
