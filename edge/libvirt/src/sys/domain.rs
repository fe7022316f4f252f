//! Owns: domains. A [`Domain`] is a reference on libvirt's object, given back when dropped; it cannot outlive its
//! connection.

use std::{marker::PhantomData, ptr::NonNull};

use libc::{c_int, c_uint};
use uuid::Uuid;
use virt_sys::{_virDomain, virDomainPtr};
use vm_model::ports::DomainState;

use super::{
    c_opt, c_ptr, c_string, check,
    conn::Conn,
    failure::{Failure, SysResult},
    take_str,
};
use crate::states::run_state;

/// A domain of a connection.
pub(crate) struct Domain<'c> {
    ptr: NonNull<_virDomain>,
    _conn: PhantomData<&'c Conn>,
}

impl Drop for Domain<'_> {
    fn drop(&mut self) {
        // SAFETY: the one reference that this handle owns, given back once.
        unsafe { virt_sys::virDomainFree(self.ptr.as_ptr()) };
    }
}

/// UUID of a domain.
///
/// # Safety
/// `domain` is NULL or a domain that lives through this call.
pub(super) unsafe fn uuid_of(domain: virDomainPtr) -> SysResult<Uuid> {
    let mut bytes = [0_u8; 16];
    // SAFETY: libvirt checks for NULL and writes 16 bytes (VIR_UUID_BUFLEN).
    check(unsafe { virt_sys::virDomainGetUUID(domain, bytes.as_mut_ptr()) })?;
    Ok(Uuid::from_bytes(bytes))
}

/// The handle of a domain that libvirt gave us from `conn`; NULL is the failure of the call that gave it.
fn own(_conn: &Conn, ptr: virDomainPtr) -> SysResult<Domain<'_>> {
    let ptr = NonNull::new(ptr).ok_or_else(Failure::last)?;
    Ok(Domain {
        ptr,
        _conn: PhantomData,
    })
}

impl Conn {
    /// The domain with that UUID.
    pub(crate) fn lookup(&self, id: Uuid) -> SysResult<Domain<'_>> {
        // SAFETY: the connection is open; 16 bytes (VIR_UUID_BUFLEN) live through the call.
        own(self, unsafe {
            virt_sys::virDomainLookupByUUID(self.ptr(), id.as_bytes().as_ptr())
        })
    }

    /// Defines a persistent domain.
    pub(crate) fn define(&self, xml: &str, validate: bool) -> SysResult<Domain<'_>> {
        let xml = c_string(xml)?;
        let flags = if validate {
            virt_sys::VIR_DOMAIN_DEFINE_VALIDATE
        } else {
            0
        };
        // SAFETY: the connection is open; the XML lives through the call.
        own(self, unsafe {
            virt_sys::virDomainDefineXMLFlags(self.ptr(), xml.as_ptr(), flags)
        })
    }
}

impl Domain<'_> {
    /// The pointer, valid while `self` lives.
    pub(super) fn ptr(&self) -> virDomainPtr {
        self.ptr.as_ptr()
    }

    /// Calls a function of libvirt that takes the domain and flags and answers -1 on failure.
    fn with_flags(
        &self,
        function: unsafe extern "C" fn(virDomainPtr, c_uint) -> c_int,
        flags: c_uint,
    ) -> SysResult<()> {
        // SAFETY: the domain lives; all functions passed below have exactly this contract.
        check(unsafe { function(self.ptr(), flags) }).map(drop)
    }

    /// Its UUID.
    pub(crate) fn id(&self) -> SysResult<Uuid> {
        // SAFETY: the domain lives.
        unsafe { uuid_of(self.ptr()) }
    }

    /// Starts it.
    pub(crate) fn start(&self, paused: bool) -> SysResult<()> {
        self.with_flags(
            virt_sys::virDomainCreateWithFlags,
            if paused {
                virt_sys::VIR_DOMAIN_START_PAUSED
            } else {
                0
            },
        )
    }

    /// Removes its definition; `flags` are `virDomainUndefineFlagsValues`.
    pub(crate) fn undefine(&self, flags: u32) -> SysResult<()> {
        self.with_flags(virt_sys::virDomainUndefineFlags, flags)
    }

    /// Stops its CPUs.
    pub(crate) fn suspend(&self) -> SysResult<()> {
        // SAFETY: the domain lives.
        check(unsafe { virt_sys::virDomainSuspend(self.ptr()) }).map(drop)
    }

    /// Lets its CPUs run.
    pub(crate) fn resume(&self) -> SysResult<()> {
        // SAFETY: the domain lives.
        check(unsafe { virt_sys::virDomainResume(self.ptr()) }).map(drop)
    }

    /// Asks for shutdown; `flags` are `virDomainShutdownFlagValues`.
    pub(crate) fn shutdown(&self, flags: u32) -> SysResult<()> {
        self.with_flags(virt_sys::virDomainShutdownFlags, flags)
    }

    /// Asks for restart; `flags` are `virDomainRebootFlagValues`.
    pub(crate) fn reboot(&self, flags: u32) -> SysResult<()> {
        self.with_flags(virt_sys::virDomainReboot, flags)
    }

    /// Presses reset.
    pub(crate) fn reset(&self) -> SysResult<()> {
        self.with_flags(virt_sys::virDomainReset, 0)
    }

    /// Ends it; `flags` are `virDomainDestroyFlagsValues`.
    pub(crate) fn destroy(&self, flags: u32) -> SysResult<()> {
        self.with_flags(virt_sys::virDomainDestroyFlags, flags)
    }

    /// What it does.
    pub(crate) fn state(&self) -> SysResult<DomainState> {
        let (mut state, mut reason) = (0, 0);
        // SAFETY: the domain lives; both numbers are ours.
        check(unsafe {
            virt_sys::virDomainGetState(self.ptr(), &raw mut state, &raw mut reason, 0)
        })?;
        Ok(DomainState {
            state: run_state(state),
            reason,
        })
    }

    /// Its XML; `flags` are `virDomainXMLFlags`.
    pub(crate) fn xml(&self, flags: u32) -> SysResult<String> {
        // SAFETY: the domain lives; the answer is ours.
        unsafe { take_str(virt_sys::virDomainGetXMLDesc(self.ptr(), flags)) }
    }

    /// True while it runs (or is paused).
    pub(crate) fn is_active(&self) -> SysResult<bool> {
        // SAFETY: the domain lives.
        check(unsafe { virt_sys::virDomainIsActive(self.ptr()) }).map(|answer| answer == 1)
    }

    /// True where it has a definition that outlives it.
    pub(crate) fn is_persistent(&self) -> SysResult<bool> {
        // SAFETY: the domain lives.
        check(unsafe { virt_sys::virDomainIsPersistent(self.ptr()) }).map(|answer| answer == 1)
    }

    /// The element kept under `uri` in its metadata.
    pub(crate) fn metadata(&self, uri: &str) -> SysResult<Option<String>> {
        let uri = c_string(uri)?;
        let kind = virt_sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
        let flags = virt_sys::VIR_DOMAIN_AFFECT_CURRENT;
        // SAFETY: the domain lives, so does `uri`; the answer is ours.
        match unsafe {
            take_str(virt_sys::virDomainGetMetadata(
                self.ptr(),
                kind,
                uri.as_ptr(),
                flags,
            ))
        } {
            Ok(xml) => Ok(Some(xml)),
            Err(failure) if failure.code == virt_sys::VIR_ERR_NO_DOMAIN_METADATA => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Sets or removes the element kept under `uri`; `flags` are `virDomainModificationImpact`.
    pub(crate) fn set_metadata(
        &self,
        prefix: &str,
        uri: &str,
        xml: Option<&str>,
        flags: u32,
    ) -> SysResult<()> {
        let (prefix, uri, xml) = (c_string(prefix)?, c_string(uri)?, c_opt(xml)?);
        let kind = virt_sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
        // SAFETY: the domain lives, so do the strings; a NULL element removes.
        check(unsafe {
            virt_sys::virDomainSetMetadata(
                self.ptr(),
                kind,
                c_ptr(xml.as_ref()),
                prefix.as_ptr(),
                uri.as_ptr(),
                flags,
            )
        })
        .map(drop)
    }
}
