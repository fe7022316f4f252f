//! libvirt as the VMs see it, with the networks of their displays: a display that listens on a network of the host
//! (`<listen type='network' network='vdsm-NAME'/>`) needs a network of that name in libvirt. As upstream does
//! (`virt/displaynetwork.py`), it is made when the first VM that wants it is defined, and removed with the last.
//!
//! Who wants it is not kept here: libvirt's own domains say it. A VM that goes while another comes may lose its network
//! for the moment between the two; so both happen under one lock.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Receiver},
};

use libvirt::{Libvirt, NETWORK_PREFIX, NetworkDevice};
use net_model::{Config, NetName};
use vm_model::{
    ports::{
        DomainState, DomainStats, DomainSummary, GuestRequest, Hypervisor, HypervisorError,
        HypervisorEvent, HypervisorResult, Screenshot, VmId, XmlKind,
    },
    xml::{Document, Element},
};

/// Tells the networks that are set up.
pub(crate) type Running = Box<dyn Fn() -> Option<Config> + Send + Sync>;

/// libvirt, with networks for displays.
pub(crate) struct WithDisplays {
    libvirt: Arc<Libvirt>,
    running: Running,
    turn: Mutex<()>,
}

impl WithDisplays {
    /// On this connection.
    pub(crate) fn new(libvirt: Arc<Libvirt>, running: Running) -> Self {
        Self {
            libvirt,
            running,
            turn: Mutex::default(),
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what is missing. A network that this host does not have is left to libvirt, which may know it.
    fn make(&self, wanted: &BTreeSet<String>) -> HypervisorResult<()> {
        let config = (self.running)().unwrap_or_default();
        for name in wanted {
            let Some(device) = device(&config, name) else {
                tracing::warn!(network = %name, "a display wants a network that is not set up");
                continue;
            };
            self.libvirt.ensure_network(name, &device)?;
        }
        Ok(())
    }

    /// Removes those that no VM wants any more. That it cannot be known is no reason to fail: they stay.
    fn release(&self, of: &BTreeSet<String>) {
        if of.is_empty() {
            return;
        }
        let unwanted = self.wanted().map(|wanted| {
            let unwanted = of.difference(&wanted);
            unwanted.cloned().collect::<Vec<_>>()
        });
        let removed = unwanted.and_then(|it| {
            let each = it.iter().map(|name| self.libvirt.remove_network(name));
            each.collect::<Result<Vec<_>, _>>()
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "networks of displays stay in libvirt");
        }
    }

    /// By any VM, running or defined.
    fn wanted(&self) -> HypervisorResult<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for domain in self.libvirt.list()? {
            match self.libvirt.xml(domain.id, XmlKind::Live) {
                Ok(xml) => all.extend(displays(&xml)),
                // Gone meanwhile.
                Err(HypervisorError::NoDomain(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}

/// Networks of the host on which the displays of a domain listen.
fn displays(xml: &str) -> BTreeSet<String> {
    let Ok(document) = Document::parse(xml) else {
        return BTreeSet::new();
    };
    let devices = document.root.child("devices");
    let displays = devices.into_iter().flat_map(|it| it.all("graphics"));
    let listens = displays.flat_map(|it| it.all("listen"));
    let on_network = |it: &&Element| it.attribute("type") == Some("network");
    let names = listens
        .filter(on_network)
        .filter_map(|it| it.attribute("network")?.strip_prefix(NETWORK_PREFIX));
    names.map(str::to_owned).collect()
}

fn device(config: &Config, name: &str) -> Option<NetworkDevice> {
    let name = NetName::new(name).ok()?;
    let network = config.networks.get(&name)?;
    let top = network.top(&name).ok()?.to_string();
    Some(if network.bridge.is_some() {
        NetworkDevice::Bridge(top)
    } else {
        NetworkDevice::Interface(top)
    })
}

impl Hypervisor for WithDisplays {
    fn define(&self, xml: &str) -> HypervisorResult<VmId> {
        let wanted = displays(xml);
        if wanted.is_empty() {
            return self.libvirt.define(xml);
        }
        let _turn = self.turn();
        self.make(&wanted)?;
        let defined = self.libvirt.define(xml);
        if defined.is_err() {
            self.release(&wanted);
        }
        defined
    }

    fn undefine(&self, id: VmId) -> HypervisorResult<()> {
        let xml = self.libvirt.xml(id, XmlKind::Inactive);
        let wanted = xml.as_deref().map(displays).unwrap_or_default();
        let _turn = self.turn();
        self.libvirt.undefine(id)?;
        self.release(&wanted);
        Ok(())
    }

    fn start(&self, id: VmId, paused: bool) -> HypervisorResult<()> {
        self.libvirt.start(id, paused)
    }

    fn suspend(&self, id: VmId) -> HypervisorResult<()> {
        self.libvirt.suspend(id)
    }

    fn resume(&self, id: VmId) -> HypervisorResult<()> {
        self.libvirt.resume(id)
    }

    fn shutdown(&self, id: VmId, how: GuestRequest) -> HypervisorResult<()> {
        self.libvirt.shutdown(id, how)
    }

    fn reboot(&self, id: VmId, how: GuestRequest) -> HypervisorResult<()> {
        self.libvirt.reboot(id, how)
    }

    fn reset(&self, id: VmId) -> HypervisorResult<()> {
        self.libvirt.reset(id)
    }

    fn destroy(&self, id: VmId, graceful: bool) -> HypervisorResult<()> {
        self.libvirt.destroy(id, graceful)
    }

    fn state(&self, id: VmId) -> HypervisorResult<DomainState> {
        self.libvirt.state(id)
    }

    fn list(&self) -> HypervisorResult<Vec<DomainSummary>> {
        self.libvirt.list()
    }

    fn xml(&self, id: VmId, kind: XmlKind) -> HypervisorResult<String> {
        self.libvirt.xml(id, kind)
    }

    fn metadata(&self, id: VmId, uri: &str) -> HypervisorResult<Option<String>> {
        self.libvirt.metadata(id, uri)
    }

    fn set_metadata(
        &self,
        id: VmId,
        prefix: &str,
        uri: &str,
        xml: Option<&str>,
    ) -> HypervisorResult<()> {
        self.libvirt.set_metadata(id, prefix, uri, xml)
    }

    fn all_stats(&self) -> HypervisorResult<Vec<DomainStats>> {
        self.libvirt.all_stats()
    }

    fn screenshot(&self, id: VmId) -> HypervisorResult<Screenshot> {
        self.libvirt.screenshot(id)
    }

    fn events(&self) -> Receiver<HypervisorEvent> {
        self.libvirt.events()
    }
}

#[cfg(test)]
mod tests {
    use libvirt::LibvirtConfig;
    use net_model::{Base, BridgeConfig, IfName, Network};
    use uuid::Uuid;

    use super::*;

    fn config(name: &str) -> Config {
        let network = Network {
            base: Some(Base::Nic(IfName::new("eth0").unwrap())),
            bridge: Some(BridgeConfig::default()),
            ..Network::default()
        };
        Config {
            networks: [(NetName::new(name).unwrap(), network)].into(),
            ..Config::default()
        }
    }

    fn domain(id: VmId, network: &str) -> String {
        format!(
            "<domain type='test'><name>{id}</name><uuid>{id}</uuid><memory>8192</memory><os><type>hvm</type></os>\
             <devices><graphics type='vnc'><listen type='network' network='vdsm-{network}'/></graphics></devices>\
             </domain>"
        )
    }

    #[test]
    fn a_display_has_its_network_as_long_as_somebody_wants_it() {
        let libvirt = Arc::new(Libvirt::connect(LibvirtConfig::new("test:///default")).unwrap());
        // The driver's state is shared by all tests of this process; a bridge's name has 15 bytes.
        let name = format!("d{}", &Uuid::new_v4().simple().to_string()[..12]);
        let set_up = config(&name);
        let all = WithDisplays::new(libvirt.clone(), Box::new(move || Some(set_up.clone())));
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        let there = || libvirt.networks().unwrap().get(&name).cloned();
        assert_eq!(there(), None);
        all.define(&domain(one, &name)).unwrap();
        let device = there().and_then(|it| it.device);
        assert_eq!(device, Some(NetworkDevice::Bridge(name.clone())));
        all.define(&domain(other, &name)).unwrap();
        all.undefine(one).unwrap();
        assert!(there().is_some(), "the other still wants it");
        all.undefine(other).unwrap();
        assert_eq!(there(), None);
        // What is not set up is left to libvirt.
        all.define(&domain(one, "elsewhere")).unwrap();
        assert!(!libvirt.networks().unwrap().contains_key("elsewhere"));
        all.undefine(one).unwrap();
    }

    #[test]
    fn only_networks_of_ours_count() {
        let xml = "<domain><devices><graphics type='vnc'><listen type='address' address='::'/></graphics>\
                   <graphics type='spice'><listen type='network' network='default'/>\
                   <listen type='network' network='vdsm-a'/></graphics></devices></domain>";
        assert_eq!(displays(xml), BTreeSet::from(["a".to_owned()]));
        assert!(displays("<domain/>").is_empty() && displays("<").is_empty());
    }
}
