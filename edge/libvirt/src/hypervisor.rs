//! Owns: the port [`Hypervisor`] on [`Libvirt`]: which of libvirt's functions and flags each of its calls means.

use std::{
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use vm_model::ports::{
    DomainState, DomainStats, DomainSummary, GuestRequest, Hypervisor, HypervisorError,
    HypervisorEvent, HypervisorResult, Screenshot, VmId, XmlKind,
};

use crate::{
    Libvirt,
    calls::Call,
    errors::Asked,
    gate::Class,
    stats::Collector,
    sys::{conn::Conn, domain::Domain, failure::SysResult, stream},
};

/// What is sampled of each domain.
const STATS: u32 = virt_sys::VIR_DOMAIN_STATS_STATE
    | virt_sys::VIR_DOMAIN_STATS_CPU_TOTAL
    | virt_sys::VIR_DOMAIN_STATS_BALLOON
    | virt_sys::VIR_DOMAIN_STATS_VCPU
    | virt_sys::VIR_DOMAIN_STATS_INTERFACE
    | virt_sys::VIR_DOMAIN_STATS_BLOCK;

/// The groups that libvirt tells without asking QEMU, so that no domain can hold them up (of CPU time libvirt 9 asks
/// QEMU too, for the time spent polling).
const STATS_WITHOUT_QEMU: u32 =
    virt_sys::VIR_DOMAIN_STATS_STATE | virt_sys::VIR_DOMAIN_STATS_INTERFACE;

/// Running domains only; those whose monitor is taken are told of without asking it.
const STATS_FLAGS: u32 = virt_sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_RUNNING
    | virt_sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;

/// Sets of flags for undefine, best first: nothing of the domain shall stay behind; drivers know fewer of them.
const UNDEFINE: [u32; 3] = [
    virt_sys::VIR_DOMAIN_UNDEFINE_NVRAM | UNDEFINE_METADATA,
    UNDEFINE_METADATA,
    0,
];

const UNDEFINE_METADATA: u32 = virt_sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | virt_sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | virt_sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;

impl Libvirt {
    fn on_domain<T: Send + 'static>(
        &self,
        call: Call,
        id: VmId,
        act: impl FnOnce(&Domain<'_>) -> SysResult<T> + Send + 'static,
    ) -> HypervisorResult<T> {
        self.call(call, move |conn| act(&conn.lookup(id)?))
    }

    fn query_domain<T: Send + 'static>(
        &self,
        what: &'static str,
        id: VmId,
        act: impl FnOnce(&Domain<'_>) -> SysResult<T> + Send + 'static,
    ) -> HypervisorResult<T> {
        self.on_domain(
            Call::domain(what, id, Class::Query, self.config().deadlines.query),
            id,
            act,
        )
    }

    fn command(
        &self,
        what: &'static str,
        id: VmId,
        act: impl FnOnce(&Domain<'_>) -> SysResult<()> + Send + 'static,
    ) -> HypervisorResult<()> {
        self.on_domain(
            Call::domain(what, id, Class::Command, self.config().deadlines.command),
            id,
            act,
        )
    }

    fn guest_request(&self, what: &'static str, id: VmId, how: GuestRequest) -> Call {
        let deadlines = &self.config().deadlines;
        match how {
            GuestRequest::Agent => Call::domain(what, id, Class::Agent, deadlines.agent),
            GuestRequest::Acpi => Call::domain(what, id, Class::Command, deadlines.command),
        }
    }

    fn stats_attempt(
        &self,
        groups: u32,
        class: Class,
        deadline: Duration,
    ) -> HypervisorResult<Vec<DomainStats>> {
        let call = Call {
            asked: Call::host("statistics", deadline).asked,
            class,
        };
        self.call(call, move |conn| sample(conn, groups))
    }
}

fn sample(conn: &Conn, groups: u32) -> SysResult<Vec<DomainStats>> {
    let records = conn.domain_stats(groups, STATS_FLAGS)?;
    let mut samples = Vec::new();
    for record in records.iter() {
        let mut collector = Collector::new(record.id()?);
        for (field, value) in record.params() {
            collector.feed(field, value);
        }
        let stats = collector.finish();
        // The resident size comes with every sample for which QEMU could be asked. Without it the sample is a part
        // only: because of a domain that hangs, if its monitor is taken.
        if stats.balloon.rss.is_some() || record.monitor_is_free() {
            samples.push(stats);
        }
    }
    Ok(samples)
}

fn list(conn: &Conn) -> SysResult<Vec<DomainSummary>> {
    // One call for all, with states; no flag chooses, so domains at rest are there too.
    let records = conn.domain_stats(virt_sys::VIR_DOMAIN_STATS_STATE, 0)?;
    let mut domains = Vec::new();
    for record in records.iter() {
        let mut collector = Collector::new(record.id()?);
        for (field, value) in record.params() {
            collector.feed(field, value);
        }
        let stats = collector.finish();
        if let Some(state) = stats.state {
            domains.push(DomainSummary {
                id: stats.id,
                name: record.name(),
                state,
            });
        }
    }
    Ok(domains)
}

fn undefine(domain: &Domain<'_>) -> SysResult<()> {
    let mut answer = Ok(());
    for flags in UNDEFINE {
        answer = domain.undefine(flags);
        match &answer {
            Err(failure) if failure.code == virt_sys::VIR_ERR_INVALID_ARG => {}
            _ => break,
        }
    }
    answer
}

fn set_metadata(domain: &Domain<'_>, prefix: &str, uri: &str, xml: Option<&str>) -> SysResult<()> {
    let flags = || -> SysResult<u32> {
        let live = if domain.is_active()? {
            virt_sys::VIR_DOMAIN_AFFECT_LIVE
        } else {
            0
        };
        let config = if domain.is_persistent()? {
            virt_sys::VIR_DOMAIN_AFFECT_CONFIG
        } else {
            0
        };
        Ok(live | config)
    };
    match domain.set_metadata(prefix, uri, xml, flags()?) {
        // It started or stopped, or was defined or undefined, between the question and the act.
        Err(failure) if failure.code == virt_sys::VIR_ERR_OPERATION_INVALID => {
            domain.set_metadata(prefix, uri, xml, flags()?)
        }
        answer => answer,
    }
}

#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods themselves are for one lifetime of a domain"
)]
impl Hypervisor for Libvirt {
    fn define(&self, xml: &str) -> HypervisorResult<VmId> {
        let call = Call::host("define", self.config().deadlines.command);
        let call = Call {
            asked: Asked {
                xml: true,
                ..call.asked
            },
            ..call
        };
        let (xml, validate) = (xml.to_owned(), self.config().validate_xml);
        self.call(call, move |conn| conn.define(&xml, validate)?.id())
    }

    fn start(&self, id: VmId, paused: bool) -> HypervisorResult<()> {
        let call = Call::domain("start", id, Class::Command, self.config().deadlines.start);
        self.on_domain(call, id, move |domain| domain.start(paused))
    }

    fn undefine(&self, id: VmId) -> HypervisorResult<()> {
        self.query_domain("undefine", id, undefine)
    }

    fn suspend(&self, id: VmId) -> HypervisorResult<()> {
        self.command("suspend", id, |domain| domain.suspend())
    }

    fn resume(&self, id: VmId) -> HypervisorResult<()> {
        self.command("resume", id, |domain| domain.resume())
    }

    fn shutdown(&self, id: VmId, how: GuestRequest) -> HypervisorResult<()> {
        let flags = match how {
            GuestRequest::Agent => virt_sys::VIR_DOMAIN_SHUTDOWN_GUEST_AGENT,
            GuestRequest::Acpi => virt_sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN,
        };
        self.on_domain(self.guest_request("shutdown", id, how), id, move |domain| {
            domain.shutdown(flags)
        })
    }

    fn reboot(&self, id: VmId, how: GuestRequest) -> HypervisorResult<()> {
        let flags = match how {
            GuestRequest::Agent => virt_sys::VIR_DOMAIN_REBOOT_GUEST_AGENT,
            GuestRequest::Acpi => virt_sys::VIR_DOMAIN_REBOOT_ACPI_POWER_BTN,
        };
        self.on_domain(self.guest_request("reboot", id, how), id, move |domain| {
            domain.reboot(flags)
        })
    }

    fn reset(&self, id: VmId) -> HypervisorResult<()> {
        self.command("reset", id, |domain| domain.reset())
    }

    /// libvirt 9 sends SIGTERM and waits up to ten seconds before it fails (or, not graceful, sends SIGKILL); all that
    /// time it keeps the domain locked, so that questions about it, the list and statistics wait.
    fn destroy(&self, id: VmId, graceful: bool) -> HypervisorResult<()> {
        let (class, flags) = if graceful {
            (Class::Terminate, virt_sys::VIR_DOMAIN_DESTROY_GRACEFUL)
        } else {
            (Class::Kill, 0)
        };
        let call = Call::domain("destroy", id, class, self.config().deadlines.destroy);
        self.on_domain(call, id, move |domain| domain.destroy(flags))
    }

    fn state(&self, id: VmId) -> HypervisorResult<DomainState> {
        self.query_domain("state", id, |domain| domain.state())
    }

    fn list(&self) -> HypervisorResult<Vec<DomainSummary>> {
        self.call(Call::host("list", self.config().deadlines.query), list)
    }

    fn xml(&self, id: VmId, kind: XmlKind) -> HypervisorResult<String> {
        let flags = match kind {
            XmlKind::Live => 0,
            XmlKind::Inactive => virt_sys::VIR_DOMAIN_XML_INACTIVE,
        };
        self.query_domain("XML", id, move |domain| domain.xml(flags))
    }

    fn metadata(&self, id: VmId, uri: &str) -> HypervisorResult<Option<String>> {
        let uri = uri.to_owned();
        self.query_domain("metadata", id, move |domain| domain.metadata(&uri))
    }

    fn set_metadata(
        &self,
        id: VmId,
        prefix: &str,
        uri: &str,
        xml: Option<&str>,
    ) -> HypervisorResult<()> {
        let (prefix, uri, xml) = (prefix.to_owned(), uri.to_owned(), xml.map(str::to_owned));
        self.command("set metadata", id, move |domain| {
            set_metadata(domain, &prefix, &uri, xml.as_deref())
        })
    }

    /// Several attempts: a domain that hangs catches the first one that asks it, and is passed by afterwards. When
    /// too many attempts are caught, the figures that need no QEMU are told instead.
    fn all_stats(&self) -> HypervisorResult<Vec<DomainStats>> {
        let deadlines = &self.config().deadlines;
        let until = Instant::now() + deadlines.stats;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let attempt = left.min(deadlines.stats_attempt);
            let began = Instant::now();
            match self.stats_attempt(STATS, Class::Stats, attempt) {
                Err(HypervisorError::TimedOut { .. }) => {}
                answer => return answer,
            }
            let refused = began.elapsed() < attempt;
            let left = until.saturating_duration_since(Instant::now());
            if refused || left < deadlines.stats_attempt / 2 {
                tracing::warn!(
                    "bulk statistics hang: telling only what libvirt knows without QEMU"
                );
                let rest = left.max(deadlines.stats_attempt);
                return self.stats_attempt(STATS_WITHOUT_QEMU, Class::Query, rest);
            }
        }
    }

    fn screenshot(&self, id: VmId) -> HypervisorResult<Screenshot> {
        let deadline = self.config().deadlines.screenshot;
        let (limit, until) = (self.config().max_screenshot, Instant::now() + deadline);
        let call = Call::domain("screenshot", id, Class::Command, deadline);
        self.call(call, move |conn| {
            stream::screenshot(conn, &conn.lookup(id)?, limit, until)
        })
    }

    fn events(&self) -> Receiver<HypervisorEvent> {
        self.link().events().subscribe()
    }
}
