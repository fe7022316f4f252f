//! Owns: libvirt's networks of ours (`vdsm-NAME`): one picture of all, and making and removing them.
//!
//! libvirt has no call that answers the XML of all networks (TODO 29), so the picture is kept: made once by a list and a
//! look at each, then kept true by libvirt's own events, which name what changed; only that is looked at again, by the
//! next who asks. States of the picture: none (no connection for events yet, or a new one) → whole → some names stale →
//! whole ... A network that goes away between list and look is not there. Where a driver tells no events every question
//! makes a new picture.
//!
//! Upstream's names and shapes: `virt/libvirtnetwork.py`. It makes such a network when the first VM that shows its display
//! on it starts, and removes it with the last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use vm_model::{
    ports::{HypervisorError, HypervisorResult},
    xml::{Document, Element},
};

use crate::{
    Libvirt,
    calls::Call,
    sys::{
        conn::Conn,
        failure::SysResult,
        network::{Network, present},
    },
};

/// What the names of our networks begin with in libvirt.
pub const PREFIX: &str = "vdsm-";

/// Longest name of a network, bytes: it is the name of a file of libvirt's, with prefix and `.xml`.
const LONGEST_NAME: usize = 240;

/// What a network of libvirt leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkDevice {
    /// A bridge (`<forward mode='bridge'/><bridge name='...'/>`).
    Bridge(String),
    /// An interface without a bridge (`<forward mode='passthrough'><interface dev='...'/></forward>`).
    Interface(String),
}

impl NetworkDevice {
    /// The interface.
    pub fn name(&self) -> &str {
        match self {
            Self::Bridge(name) | Self::Interface(name) => name,
        }
    }

    /// Is it a bridge?
    pub fn is_bridge(&self) -> bool {
        matches!(self, Self::Bridge(_))
    }
}

/// A network as libvirt has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibvirtNetwork {
    /// What it leads to; nothing, if the XML names neither.
    pub device: Option<NetworkDevice>,
    /// Does it run?
    pub active: bool,
    /// Does it outlive its end?
    pub persistent: bool,
    /// Is it started with libvirt?
    pub autostart: bool,
    /// As `virsh net-dumpxml` shows it.
    pub xml: String,
}

/// All networks of ours at one time, by name without [`PREFIX`].
pub type NetworkSnapshot = BTreeMap<String, LibvirtNetwork>;

/// Was there anything to do?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkOutcome {
    /// It was so already.
    Identity,
    /// It is so now.
    Changed,
}

/// The picture, and what of it is not true any more.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    state: Mutex<State>,
    /// Held by the one who looks; others wait for what he sees.
    looking: Mutex<()>,
}

/// A picture, and the names in libvirt that it is wrong about.
type Stale = (Arc<NetworkSnapshot>, BTreeSet<String>);

#[derive(Debug, Default)]
struct State {
    snapshot: Option<Arc<NetworkSnapshot>>,
    /// Names in libvirt, looked at again before the next answer.
    stale: BTreeSet<String>,
    /// libvirt tells what changes.
    told: bool,
    /// Counts the connections for events.
    age: u64,
}

impl Picture {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection for events; `told`: it tells of networks. What was seen before may have changed unheard.
    pub(crate) fn renew(&self, told: bool) {
        let mut state = self.lock();
        *state = State {
            told,
            age: state.age + 1,
            ..State::default()
        };
    }

    /// libvirt says that something became of a network. Does not block.
    pub(crate) fn changed(&self, name: String) {
        if name.starts_with(PREFIX) {
            self.lock().stale.insert(name);
        }
    }

    /// The picture, if it is true.
    fn fresh(&self) -> Option<Arc<NetworkSnapshot>> {
        let state = self.lock();
        let fresh = state.told && state.stale.is_empty();
        state.snapshot.clone().filter(|_| fresh)
    }

    /// What has to be looked at: the picture so far and stale names, or nothing: all. And for whom it is.
    fn take(&self) -> (u64, Option<Stale>) {
        let mut state = self.lock();
        let stale = std::mem::take(&mut state.stale);
        let snapshot = state.snapshot.take().filter(|_| state.told);
        (state.age, snapshot.map(|it| (it, stale)))
    }

    /// What became stale while it was looked at stays so. A picture from before a new connection is none.
    fn put(&self, age: u64, snapshot: &Arc<NetworkSnapshot>) {
        let mut state = self.lock();
        if state.age == age {
            state.snapshot = Some(Arc::clone(snapshot));
        }
    }
}

impl Libvirt {
    /// All networks of ours. From memory, if nothing has changed.
    ///
    /// # Errors
    /// libvirt could not be asked for what is not known.
    pub fn networks(&self) -> HypervisorResult<Arc<NetworkSnapshot>> {
        let picture = self.link().picture();
        if !self.is_alive() {
            return Err(HypervisorError::Disconnected("connection lost".to_owned()));
        }
        if let Some(fresh) = picture.fresh() {
            return Ok(fresh);
        }
        let _looking = picture
            .looking
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(fresh) = picture.fresh() {
            return Ok(fresh);
        }
        let call = Call::host("networks", self.config().deadlines.query);
        let (age, known) = picture.take();
        let found = match known {
            None => self.call(call, all),
            Some((before, stale)) => self.call(call, move |conn| some(conn, &before, &stale)),
        };
        // After a failure there is no picture, and the next look is at all.
        let found = Arc::new(found?);
        picture.put(age, &found);
        Ok(found)
    }

    /// Sees to it that libvirt has the network `vdsm-NAME` leading to `device`, running, and started with libvirt. One that
    /// leads elsewhere is made anew.
    ///
    /// # Errors
    /// [`HypervisorError::BadXml`] for a name that cannot be one; what libvirt refuses. It may be there half made; the next
    /// call goes on from there.
    pub fn ensure_network(
        &self,
        name: &str,
        device: &NetworkDevice,
    ) -> HypervisorResult<NetworkOutcome> {
        let name = full_name(name)?;
        let (stale, device) = (name.clone(), device.clone());
        let call = Call::host("make a network", self.config().deadlines.command);
        let outcome = self.call(call, move |conn| ensure(conn, &name, &device));
        self.link().picture().changed(stale);
        outcome
    }

    /// Sees to it that libvirt has no network `vdsm-NAME`.
    ///
    /// # Errors
    /// As of [`Self::ensure_network`].
    pub fn remove_network(&self, name: &str) -> HypervisorResult<NetworkOutcome> {
        let name = full_name(name)?;
        let stale = name.clone();
        let call = Call::host("remove a network", self.config().deadlines.command);
        let outcome = self.call(call, move |conn| remove(conn, &name));
        self.link().picture().changed(stale);
        outcome
    }
}

fn full_name(name: &str) -> HypervisorResult<String> {
    let strange = |it: char| it == '/' || it.is_control();
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(strange) {
        let why = format!("{name:?} is no name of a network");
        return Err(HypervisorError::BadXml(why));
    }
    Ok(format!("{PREFIX}{name}"))
}

fn all(conn: &Conn) -> SysResult<NetworkSnapshot> {
    let mut found = NetworkSnapshot::new();
    for network in conn.networks()? {
        let name = network.name();
        if let Some(short) = name.strip_prefix(PREFIX)
            && let Some(seen) = present(look(&network))?
        {
            found.insert(short.to_owned(), seen);
        }
    }
    Ok(found)
}

fn some(
    conn: &Conn,
    before: &NetworkSnapshot,
    stale: &BTreeSet<String>,
) -> SysResult<NetworkSnapshot> {
    let mut found = before.clone();
    for name in stale {
        let Some(short) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let network = conn.network(name)?;
        let seen = network.map(|it| present(look(&it))).transpose()?.flatten();
        match seen {
            Some(seen) => found.insert(short.to_owned(), seen),
            None => found.remove(short),
        };
    }
    Ok(found)
}

fn look(network: &Network<'_>) -> SysResult<LibvirtNetwork> {
    let xml = network.xml()?;
    let persistent = network.is_persistent()?;
    Ok(LibvirtNetwork {
        device: device(&xml),
        active: network.is_active()?,
        persistent,
        autostart: persistent && network.autostart()?,
        xml,
    })
}

/// As upstream reads it: an interface before a bridge.
fn device(xml: &str) -> Option<NetworkDevice> {
    let root = Document::parse(xml).ok()?.root;
    let interface = root.child("forward").and_then(|it| it.child("interface"));
    if let Some(name) = interface.and_then(|it| it.attribute("dev")) {
        return Some(NetworkDevice::Interface(name.to_owned()));
    }
    let bridge = root.child("bridge")?.attribute("name")?;
    Some(NetworkDevice::Bridge(bridge.to_owned()))
}

fn definition(name: &str, device: &NetworkDevice) -> String {
    let forward = Element::new("forward");
    let root = Element::new("network").with_child(Element::with_text("name", name));
    let root = match device {
        NetworkDevice::Bridge(bridge) => root
            .with_child(forward.with_attribute("mode", "bridge"))
            .with_child(Element::new("bridge").with_attribute("name", bridge)),
        NetworkDevice::Interface(dev) => {
            let interface = Element::new("interface").with_attribute("dev", dev);
            let forward = forward.with_attribute("mode", "passthrough");
            root.with_child(forward.with_child(interface))
        }
    };
    root.to_string()
}

fn ensure(conn: &Conn, name: &str, wanted: &NetworkDevice) -> SysResult<NetworkOutcome> {
    let mut outcome = NetworkOutcome::Identity;
    let mut there = conn.network(name)?;
    if let Some(network) = &there {
        let is = device(&network.xml()?);
        if is.as_ref() != Some(wanted) || !network.is_persistent()? {
            take_away(network)?;
            there = None;
        }
    }
    let network = if let Some(network) = there {
        network
    } else {
        outcome = NetworkOutcome::Changed;
        conn.define_network(&definition(name, wanted))?
    };
    if !network.is_active()? {
        outcome = NetworkOutcome::Changed;
        network.start()?;
    }
    if !network.autostart()? {
        outcome = NetworkOutcome::Changed;
        network.set_autostart()?;
    }
    Ok(outcome)
}

fn remove(conn: &Conn, name: &str) -> SysResult<NetworkOutcome> {
    match conn.network(name)? {
        None => Ok(NetworkOutcome::Identity),
        Some(network) => take_away(&network).map(|()| NetworkOutcome::Changed),
    }
}

/// Ended and undefined; that it goes away by itself meanwhile is what was wanted.
fn take_away(network: &Network<'_>) -> SysResult<()> {
    let persistent = present(network.is_persistent())?.unwrap_or(false);
    if present(network.is_active())?.unwrap_or(false) {
        present(network.destroy())?;
    }
    if persistent {
        present(network.undefine())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn definitions_are_upstreams() {
        let bridge = NetworkDevice::Bridge("red".into());
        let xml = definition("vdsm-red", &bridge);
        assert_eq!(
            xml,
            "<network><name>vdsm-red</name><forward mode=\"bridge\"/><bridge name=\"red\"/></network>"
        );
        assert_eq!(device(&xml), Some(bridge));
        let interface = NetworkDevice::Interface("eth0".into());
        let xml = definition("vdsm-red", &interface);
        assert_eq!(
            xml,
            "<network><name>vdsm-red</name><forward mode=\"passthrough\"><interface dev=\"eth0\"/></forward></network>"
        );
        assert_eq!(device(&xml), Some(interface));
    }

    #[test]
    fn strange_names_are_refused() {
        for name in ["", "a/b", "a\nb", "a\0", &"a".repeat(241)] {
            assert!(full_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "a&b<c>\"'", "\u{e4}", ".."] {
            assert_eq!(full_name(name), Ok(format!("vdsm-{name}")));
        }
    }

    #[test]
    fn a_picture_is_true_until_something_is_told() {
        let picture = Picture::default();
        let empty = Arc::new(NetworkSnapshot::new());
        let look = || {
            let (age, known) = picture.take();
            picture.put(age, &empty);
            known.map(|(_, stale)| stale.len())
        };
        look();
        assert_eq!(picture.fresh(), None, "nobody tells");
        picture.renew(true);
        assert_eq!((picture.fresh(), look()), (None, None));
        assert!(picture.fresh().is_some());
        picture.changed("default".into());
        assert!(picture.fresh().is_some(), "not ours");
        picture.changed("vdsm-a".into());
        assert_eq!(picture.fresh(), None);
        assert_eq!(look(), Some(1));
        assert!(picture.fresh().is_some());
        // It changes again while it is looked at.
        let (age, _) = picture.take();
        picture.changed("vdsm-a".into());
        picture.put(age, &empty);
        assert_eq!(picture.fresh(), None);
        // A new connection while it is looked at.
        let (age, _) = picture.take();
        picture.renew(true);
        picture.put(age, &empty);
        assert_eq!(picture.fresh(), None);
    }

    proptest! {
        #[test]
        fn any_xml_is_survived(xml in "(?s).{0,200}") {
            let _ = device(&xml);
        }

        #[test]
        fn any_name_is_read_back(name in "\\PC{1,20}") {
            let wanted = NetworkDevice::Bridge(name.clone());
            prop_assert_eq!(device(&definition(&name, &wanted)), Some(wanted));
        }
    }
}
