//! A client's own side: one client, one process (`vdsm-dhcp`), from its start to its death.
//!
//! It needs no care at its end: what it brought is remembered before it is done, and whoever stops it, or comes after
//! it, goes by that. So it dies by any signal, at any instruction.

use std::{
    fs::{self, File},
    io,
    net::Ipv6Addr,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use net_model::{Cidr, DhcpClient, Family, IfName, MAIN_TABLE};
use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};

use super::{
    dhcp_error,
    folder::{Folder, Key, Remembered},
    kernel::{Kernel, advertised},
    lease::{Advertised, Brought, Lease, check},
};
use crate::{ApplyError, ResolvConf};

/// How long the kernel may take to answer.
const KERNEL: Duration = Duration::from_secs(20);
/// How long another client may take to write name servers.
const NAMESERVERS: Duration = Duration::from_secs(20);

/// One client at work.
#[derive(Debug)]
pub struct Session {
    folder: Folder,
    key: Key,
    client: DhcpClient,
    resolv: ResolvConf,
    interface: Interface,
    state: Mutex<State>,
    _lock: File,
}

/// The interface as a client knows it. If it becomes another one the client is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: IfName,
    /// Its index.
    pub index: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
}

#[derive(Debug, Default)]
struct State {
    lease: Option<Lease>,
    advertised: Advertised,
    remembered: Remembered,
}

impl Session {
    /// Takes the place of the client of this interface and family. Nothing, if none is wanted or one is there.
    ///
    /// # Errors
    /// No such interface; the folder cannot be used.
    pub fn begin(
        folder: &Path,
        link: &IfName,
        family: Family,
        resolv: ResolvConf,
    ) -> Result<Option<Self>, ApplyError> {
        let failed = |error: io::Error| dhcp_error(link, &error);
        let key = Key {
            link: link.clone(),
            family,
        };
        let folder = Folder::open(folder).map_err(failed)?;
        let Some(lock) = folder.lock(&key, Duration::ZERO).map_err(failed)? else {
            return Ok(None);
        };
        folder.enlist(&key).map_err(failed)?;
        let Some(wanted) = folder.wanted(&key).map_err(failed)? else {
            return Ok(None);
        };
        let interface = Interface::find(link).map_err(failed)?;
        let remembered = folder.remembered(&key).map_err(failed)?;
        Ok(Some(Self {
            folder,
            key,
            client: wanted.client,
            resolv,
            interface,
            state: Mutex::new(State {
                remembered,
                ..State::default()
            }),
            _lock: lock,
        }))
    }

    /// What is asked of this client.
    pub fn client(&self) -> &DhcpClient {
        &self.client
    }

    /// Its interface.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// How long what an earlier client left still holds; nothing if it left nothing, or for ever.
    pub fn left(&self) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let until = state.remembered.until?;
        let now = observe::clock::monotonic().as_secs();
        Some(Duration::from_secs(until.saturating_sub(now)))
    }

    /// A lease came, or came again.
    ///
    /// # Errors
    /// It is none that an interface may have; the kernel refuses a part (the others are done).
    pub fn bound(&self, lease: Lease) -> Result<(), ApplyError> {
        if let Err(why) = check(&lease) {
            let why = format!("the lease {} is refused: {why}", lease.address);
            return Err(ApplyError::Dhcp {
                link: self.key.link.to_string(),
                why,
            });
        }
        self.change(|state| {
            let for_ever = lease.valid == u32::MAX;
            let end = observe::clock::monotonic().as_secs() + u64::from(lease.valid);
            state.remembered.until = (!for_ever).then_some(end);
            state.lease = Some(lease);
        })
    }

    /// The lease is over.
    ///
    /// # Errors
    /// As [`Session::bound`].
    pub fn lost(&self) -> Result<(), ApplyError> {
        self.change(|state| {
            state.remembered.until = None;
            state.lease = None;
        })
    }

    /// Routers of the link say something else than before.
    ///
    /// # Errors
    /// As [`Session::bound`].
    pub fn advertised(&self, advertised: Advertised) -> Result<(), ApplyError> {
        let now = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = now.advertised.prefixes.difference(&advertised.prefixes);
        let gone: Vec<Cidr> = gone.copied().collect();
        drop(now);
        self.change(|state| state.advertised = advertised)?;
        self.abandon(&gone)
    }

    /// The kernel keeps addresses of a prefix that is gone for up to two hours, and would speak from them: without
    /// the rules, by the wrong way.
    fn abandon(&self, prefixes: &[Cidr]) -> Result<(), ApplyError> {
        if prefixes.is_empty() || self.client.table == MAIN_TABLE {
            return Ok(());
        }
        let link = &self.key.link;
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = state.lease.as_ref().map(|it| it.address);
        let (now, _) =
            observe::network::network(KERNEL, &[]).map_err(|error| dhcp_error(link, &error))?;
        let mut addresses = now
            .links
            .get(link)
            .map_or_else(Vec::new, |it| advertised(it, self.key.family));
        addresses.retain(|it| {
            Some(*it) != lease && prefixes.iter().any(|prefix| prefix.contains(it.ip()))
        });
        let brought = Brought {
            addresses,
            ..Brought::default()
        };
        Kernel::of(link, KERNEL)
            .and_then(|mut kernel| kernel.take_away(&brought))
            .map_err(|error| dhcp_error(link, &error))
    }

    fn change(&self, what: impl FnOnce(&mut State)) -> Result<(), ApplyError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // An earlier client's lease that this one has not yet got again stays as long as it holds.
        let inherited = state.lease.is_none() && state.remembered.until.is_some();
        what(&mut state);
        let link = &self.key.link;
        let mut new = Brought::by(state.lease.as_ref(), &state.advertised, &self.client, link);
        if inherited && state.lease.is_none() && state.remembered.until.is_some() {
            new = state.remembered.brought.and(&new);
        }
        let old = state.remembered.brought.clone();
        let result = self.carry_out(&mut state, &old, &new);
        tracing::info!(
            %link,
            addresses = ?new.addresses,
            routes = new.routes.len(),
            rules = new.rules.len(),
            "the client's part of the network is in place"
        );
        result
    }

    /// Remember both, change the kernel, remember the new.
    fn carry_out(&self, state: &mut State, old: &Brought, new: &Brought) -> Result<(), ApplyError> {
        let link = &self.key.link;
        state.remembered.brought = old.and(new);
        match self.remember(state) {
            // What is there is remembered already: a full disk is no reason to let a renewed lease run out.
            Err(error) if state.remembered.brought == *old => {
                tracing::warn!(%error, "how long the lease holds is not remembered");
            }
            other => other?,
        }
        let mut kernel = Kernel::of(link, KERNEL).map_err(|error| dhcp_error(link, &error))?;
        // First: an address that goes could take a newer one of its network along.
        let mut result = kernel.take_away(&old.without(new));
        if let Some(lease) = &state.lease {
            result = result.and(kernel.lease(lease));
        }
        result = result.and(kernel.bring(new));
        if result.is_ok() {
            state.remembered.brought = new.clone();
            match self.remember(state) {
                Err(error) if *new == *old => tracing::debug!(%error, "not remembered, either"),
                other => other?,
            }
        }
        let gone = old.without(new).nameservers;
        let names = self.nameservers(&new.nameservers, &gone);
        result.map_err(|error| dhcp_error(link, &error))?;
        names.map_err(|error| dhcp_error(link, &error))
    }

    fn remember(&self, state: &State) -> Result<(), ApplyError> {
        let done = self.folder.remember(&self.key, &state.remembered);
        done.map_err(|error| dhcp_error(&self.key.link, &error))
    }

    /// Ours, behind those of the interface's other client if that comes first (IPv4 does).
    fn nameservers(
        &self,
        ours: &[net_model::Nameserver],
        gone: &[net_model::Nameserver],
    ) -> io::Result<()> {
        if ours.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let Some(_lock) = self.folder.lock_nameservers(NAMESERVERS)? else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        let mut all = Vec::new();
        for family in Family::ALL {
            let key = Key {
                family,
                ..self.key.clone()
            };
            let theirs = self.folder.remembered(&key)?.brought.nameservers;
            let part = if family == self.key.family {
                ours
            } else {
                &theirs
            };
            all.extend(part.iter().filter(|it| !gone.contains(it)).cloned());
        }
        if all.is_empty() {
            self.resolv.forget(gone).map(|_| ())
        } else {
            self.resolv.write(&all).map(|_| ())
        }
    }
}

impl Interface {
    /// The interface of this name, in this thread's namespace.
    ///
    /// # Errors
    /// There is none, or it has no Ethernet address.
    pub fn find(name: &IfName) -> io::Result<Self> {
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        let index = name_to_index(&any, name.as_str())?;
        let text = fs::read_to_string(format!("/sys/class/net/{name}/address"))?;
        let mac = mac(text.trim()).ok_or_else(|| {
            io::Error::other(format!("{name} has no Ethernet address: {}", text.trim()))
        })?;
        Ok(Self {
            name: name.clone(),
            index,
            mac,
        })
    }

    /// Is it still the same?
    pub fn is_there(&self) -> bool {
        Self::find(&self.name).is_ok_and(|now| now == *self)
    }

    /// Its own IPv6 address on the link, if it has a checked one.
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        let text = fs::read_to_string("/proc/net/if_inet6").ok()?;
        text.lines().find_map(|line| link_local(line, &self.name))
    }
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    bytes?.try_into().ok()
}

/// A line of `/proc/net/if_inet6`: address, index, prefix, scope, flags (hexadecimal), name.
fn link_local(line: &str, name: &IfName) -> Option<Ipv6Addr> {
    /// `IFA_F_TENTATIVE`, `IFA_F_DADFAILED`: not to be used.
    const UNCHECKED: u8 = 0x40 | 0x08;
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [address, _, _, _, flags, device] = fields.as_slice() else {
        return None;
    };
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let address: Ipv6Addr = u128::from_str_radix(address, 16).ok()?.into();
    let usable = flags & UNCHECKED == 0 && address.is_unicast_link_local();
    (usable && *device == name.as_str()).then_some(address)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let name = IfName::new("eth0").expect("a name");
        let line = "fe800000000000000000000000000001 02 40 20 80     eth0";
        assert_eq!(link_local(line, &name), "fe80::1".parse().ok());
        for (from, to) in [("eth0", "eth1"), (" 80 ", " c0 "), ("fe80", "2001")] {
            assert_eq!(link_local(&line.replace(from, to), &name), None, "{to}");
        }
        assert_eq!(mac("02:00:00:00:0a:ff"), Some([2, 0, 0, 0, 10, 255]));
        assert_eq!(mac("02:00:00:00:0a"), None);
        assert_eq!(mac(""), None);
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in "\\PC{0,80}") {
            let name = IfName::new("eth0").expect("a name");
            let _ = (link_local(&line, &name), mac(&line));
        }
    }
}
