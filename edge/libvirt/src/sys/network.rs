//! Owns: networks. A [`Network`] is a reference on libvirt's object, given back when dropped; it cannot outlive its
//! connection.

use std::{marker::PhantomData, ptr::NonNull};

use libc::c_int;
use virt_sys::{_virNetwork, virNetworkPtr};

use super::{
    c_string, check,
    conn::Conn,
    copy_str,
    failure::{Failure, SysResult},
    take_str,
};

/// A network of a connection.
pub(crate) struct Network<'c> {
    ptr: NonNull<_virNetwork>,
    _conn: PhantomData<&'c Conn>,
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        // SAFETY: the one reference that this handle owns, given back once.
        unsafe { virt_sys::virNetworkFree(self.ptr.as_ptr()) };
    }
}

/// Name of a network.
///
/// # Safety
/// `network` is a network that lives through this call.
pub(super) unsafe fn name_of(network: virNetworkPtr) -> String {
    // SAFETY: the name belongs to the network, which lives.
    unsafe { copy_str(virt_sys::virNetworkGetName(network)) }
}

fn own(_conn: &Conn, ptr: virNetworkPtr) -> SysResult<Network<'_>> {
    let ptr = NonNull::new(ptr).ok_or_else(Failure::last)?;
    Ok(Network {
        ptr,
        _conn: PhantomData,
    })
}

impl Conn {
    /// All networks, running or not.
    pub(crate) fn networks(&self) -> SysResult<Vec<Network<'_>>> {
        let mut list = std::ptr::null_mut();
        // SAFETY: the connection is open; the list's pointer is written to a place of ours.
        let count =
            check(unsafe { virt_sys::virConnectListAllNetworks(self.ptr(), &raw mut list, 0) })?;
        let mut networks = Vec::with_capacity(count.unsigned_abs() as usize);
        for place in 0..count.unsigned_abs() as usize {
            // SAFETY: the array holds `count` references, each of them ours and taken once.
            networks.extend(own(self, unsafe { *list.add(place) }));
        }
        // SAFETY: the array itself is from malloc (or NULL) and ours.
        unsafe { libc::free(list.cast()) };
        Ok(networks)
    }

    /// The network of that name; nothing if there is none.
    pub(crate) fn network(&self, name: &str) -> SysResult<Option<Network<'_>>> {
        let name = c_string(name)?;
        // SAFETY: the connection is open; the name lives through the call.
        let found = own(self, unsafe {
            virt_sys::virNetworkLookupByName(self.ptr(), name.as_ptr())
        });
        present(found)
    }

    /// Defines a persistent network.
    pub(crate) fn define_network(&self, xml: &str) -> SysResult<Network<'_>> {
        let xml = c_string(xml)?;
        // SAFETY: the connection is open; the XML lives through the call.
        own(self, unsafe {
            virt_sys::virNetworkDefineXML(self.ptr(), xml.as_ptr())
        })
    }
}

/// Nothing, if the network is gone.
pub(crate) fn present<T>(answer: SysResult<T>) -> SysResult<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.code == virt_sys::VIR_ERR_NO_NETWORK => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl Network<'_> {
    /// Its name.
    pub(crate) fn name(&self) -> String {
        // SAFETY: the network lives.
        unsafe { name_of(self.ptr.as_ptr()) }
    }

    /// Its XML, as `virsh net-dumpxml` shows it.
    pub(crate) fn xml(&self) -> SysResult<String> {
        // SAFETY: the network lives; the answer is ours.
        unsafe { take_str(virt_sys::virNetworkGetXMLDesc(self.ptr.as_ptr(), 0)) }
    }

    /// Does it run?
    pub(crate) fn is_active(&self) -> SysResult<bool> {
        // SAFETY: the network lives.
        check(unsafe { virt_sys::virNetworkIsActive(self.ptr.as_ptr()) }).map(|it| it == 1)
    }

    /// Has it a definition that outlives it?
    pub(crate) fn is_persistent(&self) -> SysResult<bool> {
        // SAFETY: the network lives.
        check(unsafe { virt_sys::virNetworkIsPersistent(self.ptr.as_ptr()) }).map(|it| it == 1)
    }

    /// Is it started with libvirt? Transient ones are not.
    pub(crate) fn autostart(&self) -> SysResult<bool> {
        let mut autostart: c_int = 0;
        // SAFETY: the network lives; the number is ours.
        check(unsafe { virt_sys::virNetworkGetAutostart(self.ptr.as_ptr(), &raw mut autostart) })?;
        Ok(autostart != 0)
    }

    /// Starts it with libvirt from now on.
    pub(crate) fn set_autostart(&self) -> SysResult<()> {
        // SAFETY: the network lives.
        check(unsafe { virt_sys::virNetworkSetAutostart(self.ptr.as_ptr(), 1) }).map(drop)
    }

    /// Starts it.
    pub(crate) fn start(&self) -> SysResult<()> {
        // SAFETY: the network lives.
        check(unsafe { virt_sys::virNetworkCreate(self.ptr.as_ptr()) }).map(drop)
    }

    /// Ends it.
    pub(crate) fn destroy(&self) -> SysResult<()> {
        // SAFETY: the network lives.
        check(unsafe { virt_sys::virNetworkDestroy(self.ptr.as_ptr()) }).map(drop)
    }

    /// Removes its definition.
    pub(crate) fn undefine(&self) -> SysResult<()> {
        // SAFETY: the network lives.
        check(unsafe { virt_sys::virNetworkUndefine(self.ptr.as_ptr()) }).map(drop)
    }
}
