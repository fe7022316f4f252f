//! Owns: what a connection tells of the host.

use std::mem::MaybeUninit;

use super::{
    c_opt, c_ptr, c_string, check,
    conn::{Conn, client_version},
    copy_str,
    failure::{Failure, SysResult},
    take_str,
};
use crate::host::{DomainCapabilitiesQuery, NodeInfo, Version, Versions};

impl Conn {
    /// `virConnectGetCapabilities`.
    pub(crate) fn capabilities(&self) -> SysResult<String> {
        // SAFETY: the connection is open; the answer is ours.
        unsafe { take_str(virt_sys::virConnectGetCapabilities(self.ptr())) }
    }

    /// `virConnectGetHostname`.
    pub(crate) fn hostname(&self) -> SysResult<String> {
        // SAFETY: the connection is open; the answer is ours.
        unsafe { take_str(virt_sys::virConnectGetHostname(self.ptr())) }
    }

    /// `virConnectGetDomainCapabilities`.
    pub(crate) fn domain_capabilities(&self, query: &DomainCapabilitiesQuery) -> SysResult<String> {
        let emulator = c_opt(query.emulator.as_deref())?;
        let arch = c_opt(query.arch.as_deref())?;
        let machine = c_opt(query.machine.as_deref())?;
        let virt_type = c_opt(query.virt_type.as_deref())?;
        // SAFETY: the connection is open; each string is NULL or NUL-terminated and lives through the call; the
        // answer is ours.
        unsafe {
            take_str(virt_sys::virConnectGetDomainCapabilities(
                self.ptr(),
                c_ptr(emulator.as_ref()),
                c_ptr(arch.as_ref()),
                c_ptr(machine.as_ref()),
                c_ptr(virt_type.as_ref()),
                0,
            ))
        }
    }

    /// `virConnectGetCPUModelNames`.
    pub(crate) fn cpu_model_names(&self, arch: &str) -> SysResult<Vec<String>> {
        let arch = c_string(arch)?;
        let mut models = std::ptr::null_mut();
        // SAFETY: the connection is open, `arch` lives through the call, `models` receives an array of ours.
        let count = check(unsafe {
            virt_sys::virConnectGetCPUModelNames(self.ptr(), arch.as_ptr(), &raw mut models, 0)
        })?;
        let mut names = Vec::with_capacity(count.unsigned_abs() as usize);
        for index in 0..count.unsigned_abs() as usize {
            // SAFETY: the array holds `count` strings, each of them ours and taken once.
            names.push(unsafe { take_str(*models.add(index)) }?);
        }
        // SAFETY: the array itself is from malloc (or NULL) and ours.
        unsafe { libc::free(models.cast()) };
        Ok(names)
    }

    /// Client library, daemon, hypervisor.
    pub(crate) fn versions(&self) -> SysResult<Versions> {
        let (mut daemon, mut hypervisor) = (0, 0);
        // SAFETY: the connection is open; the number is written to a place of ours.
        check(unsafe { virt_sys::virConnectGetLibVersion(self.ptr(), &raw mut daemon) })?;
        // SAFETY: as above.
        check(unsafe { virt_sys::virConnectGetVersion(self.ptr(), &raw mut hypervisor) })?;
        Ok(Versions {
            client: Version(client_version()?),
            daemon: Version(daemon),
            hypervisor: Version(hypervisor),
        })
    }

    /// `virNodeGetInfo`.
    pub(crate) fn node_info(&self) -> SysResult<NodeInfo> {
        let mut info = MaybeUninit::<virt_sys::virNodeInfo>::zeroed();
        // SAFETY: the connection is open; the struct is of the right type and ours.
        check(unsafe { virt_sys::virNodeGetInfo(self.ptr(), info.as_mut_ptr()) })?;
        // SAFETY: plain numbers, for which zeroes are valid even where libvirt wrote nothing.
        let info = unsafe { info.assume_init() };
        // SAFETY: libvirt ends the model with NUL within its 32 bytes.
        let model = unsafe { copy_str(info.model.as_ptr()) };
        Ok(NodeInfo {
            model,
            memory_kib: info.memory,
            cpus: info.cpus,
            mhz: info.mhz,
            numa_nodes: info.nodes,
            sockets: info.sockets,
            cores: info.cores,
            threads: info.threads,
        })
    }

    /// `virNodeGetFreeMemory`, bytes.
    pub(crate) fn free_memory(&self) -> SysResult<u64> {
        // SAFETY: the connection is open.
        let free = unsafe { virt_sys::virNodeGetFreeMemory(self.ptr()) };
        if free == 0 {
            Err(Failure::last())
        } else {
            Ok(free)
        }
    }
}
