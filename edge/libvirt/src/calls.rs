//! Owns: [`Libvirt`].

use std::sync::mpsc;

use vm_model::ports::*;

use crate::{DomainCapabilitiesQuery, LibvirtConfig, NodeInfo, Versions};

/// A connection to libvirt that mends itself, with a deadline on every call.
#[derive(Debug)]
pub struct Libvirt(());

fn missing<T>() -> HypervisorResult<T> {
    Err(HypervisorError::Disconnected("not connected".into()))
}

impl Libvirt {
    /// Connects. Fails if the first connection cannot be made; later losses are mended in the background.
    pub fn connect(_config: LibvirtConfig) -> HypervisorResult<Self> {
        missing()
    }
    /// True while the connection stands. Never waits.
    pub fn is_alive(&self) -> bool {
        false
    }
    /// `virConnectGetCapabilities`: XML `<capabilities>` of the host.
    pub fn capabilities_xml(&self) -> HypervisorResult<String> {
        missing()
    }
    /// `virConnectGetDomainCapabilities`: XML `<domainCapabilities>`.
    pub fn domain_capabilities_xml(&self, _query: &DomainCapabilitiesQuery) -> HypervisorResult<String> {
        missing()
    }
    /// `virConnectGetCPUModelNames`.
    pub fn cpu_model_names(&self, _arch: &str) -> HypervisorResult<Vec<String>> {
        missing()
    }
    /// Versions of client library, daemon and hypervisor.
    pub fn versions(&self) -> HypervisorResult<Versions> {
        missing()
    }
    /// `virConnectGetHostname`.
    pub fn hostname(&self) -> HypervisorResult<String> {
        missing()
    }
    /// `virNodeGetInfo`.
    pub fn node_info(&self) -> HypervisorResult<NodeInfo> {
        missing()
    }
    /// `virNodeGetFreeMemory`, bytes.
    pub fn free_memory(&self) -> HypervisorResult<u64> {
        missing()
    }
}

impl Hypervisor for Libvirt {
    fn define(&self, _: &str) -> HypervisorResult<VmId> {
        missing()
    }
    fn start(&self, _: VmId, _: bool) -> HypervisorResult<()> {
        missing()
    }
    fn undefine(&self, _: VmId) -> HypervisorResult<()> {
        missing()
    }
    fn suspend(&self, _: VmId) -> HypervisorResult<()> {
        missing()
    }
    fn resume(&self, _: VmId) -> HypervisorResult<()> {
        missing()
    }
    fn shutdown(&self, _: VmId, _: GuestRequest) -> HypervisorResult<()> {
        missing()
    }
    fn reboot(&self, _: VmId, _: GuestRequest) -> HypervisorResult<()> {
        missing()
    }
    fn reset(&self, _: VmId) -> HypervisorResult<()> {
        missing()
    }
    fn destroy(&self, _: VmId, _: bool) -> HypervisorResult<()> {
        missing()
    }
    fn state(&self, _: VmId) -> HypervisorResult<DomainState> {
        missing()
    }
    fn list(&self) -> HypervisorResult<Vec<DomainSummary>> {
        missing()
    }
    fn xml(&self, _: VmId, _: XmlKind) -> HypervisorResult<String> {
        missing()
    }
    fn metadata(&self, _: VmId, _: &str) -> HypervisorResult<Option<String>> {
        missing()
    }
    fn set_metadata(&self, _: VmId, _: &str, _: &str, _: Option<&str>) -> HypervisorResult<()> {
        missing()
    }
    fn all_stats(&self) -> HypervisorResult<Vec<DomainStats>> {
        missing()
    }
    fn screenshot(&self, _: VmId) -> HypervisorResult<Screenshot> {
        missing()
    }
    fn events(&self) -> mpsc::Receiver<HypervisorEvent> {
        mpsc::channel().1
    }
}
