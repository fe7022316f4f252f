//! Owns: connections. Opened by [`Conn::open`], closed when dropped.
//!
//! Closing asks the daemon and so may block: a living connection is closed on a thread of its own that is waited for
//! a moment only.

use std::{
    ptr::NonNull,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::Builder,
    time::Duration,
};

use libc::{c_char, c_int, c_uint, c_void};
use virt_sys::{_virConnect, _virConnectAuth, _virConnectCredential, virConnectPtr};

use super::{
    c_string,
    callbacks::{self, Sink},
    check,
    event_loop::EventLoop,
    failure::{Failure, SysResult},
};
use crate::config::Credentials;

/// How long the closing of a connection is waited for.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// An open connection.
pub(crate) struct Conn {
    /// `None` only within `drop`.
    open: Option<Open>,
}

/// What must be undone at the end: registered callbacks, the connection itself, then the use of the event loop.
struct Open {
    ptr: NonNull<_virConnect>,
    callbacks: Mutex<Callbacks>,
    _event_loop: EventLoop,
}

#[derive(Default)]
struct Callbacks {
    domain_events: Vec<c_int>,
    network_event: Option<c_int>,
    close: bool,
}

// SAFETY: a virConnect is reference-counted and locked inside libvirt, whose API is documented to be thread-safe:
// one connection may be used by many threads at once, and closed by any of them. Errors are kept per thread.
unsafe impl Send for Open {}
// SAFETY: as above.
unsafe impl Sync for Open {}

impl Conn {
    /// Opens `uri`. `keepalive` is interval in seconds and count; drivers without it go on without it.
    pub(crate) fn open(
        uri: &str,
        credentials: Option<&Credentials>,
        keepalive: (u32, u32),
    ) -> SysResult<Self> {
        let event_loop = EventLoop::start()?;
        let name = c_string(uri)?;
        let ptr = match credentials {
            // SAFETY: `name` is a NUL-terminated string that lives through the call.
            None => unsafe { virt_sys::virConnectOpen(name.as_ptr()) },
            Some(credentials) => open_auth(&name, credentials),
        };
        let ptr = NonNull::new(ptr).ok_or_else(Failure::last)?;
        let conn = Self {
            open: Some(Open {
                ptr,
                callbacks: Mutex::default(),
                _event_loop: event_loop,
            }),
        };
        let (interval, count) = keepalive;
        if interval > 0 {
            let interval = c_int::try_from(interval).unwrap_or(c_int::MAX);
            // SAFETY: the connection is open. Failure means that the driver has no keepalive (`test:`), which is
            // no reason to do without the connection.
            let _ = unsafe { virt_sys::virConnectSetKeepAlive(conn.ptr(), interval, count) };
        }
        Ok(conn)
    }

    /// The pointer, valid while `self` lives.
    pub(super) fn ptr(&self) -> virConnectPtr {
        self.open
            .as_ref()
            .map_or(std::ptr::null_mut(), |open| open.ptr.as_ptr())
    }

    /// True while the connection stands. Local: asks nobody.
    pub(crate) fn is_alive(&self) -> bool {
        // SAFETY: the connection is open.
        unsafe { virt_sys::virConnectIsAlive(self.ptr()) == 1 }
    }

    /// Sends the networks' events to `sink`. False where the driver has none.
    pub(crate) fn subscribe_networks(&self, sink: &Arc<dyn Sink>) -> bool {
        let Some(open) = &self.open else {
            return false;
        };
        let mut registered = open
            .callbacks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (event, function) = callbacks::network_event();
        let opaque = callbacks::opaque(sink);
        // SAFETY: the connection is open; function and opaque belong together (see `callbacks`), and a NULL network
        // stands for all. libvirt frees the opaque when the callback is removed, and does not take it if it fails.
        let number = unsafe {
            virt_sys::virConnectNetworkEventRegisterAny(
                self.ptr(),
                std::ptr::null_mut(),
                event,
                function,
                opaque,
                Some(callbacks::free_opaque),
            )
        };
        if number < 0 {
            callbacks::free_opaque(opaque);
            return false;
        }
        registered.network_event = Some(number);
        true
    }

    /// Sends the domains' events, and the end of the connection, to `sink`.
    pub(crate) fn subscribe(&self, sink: &Arc<dyn Sink>) -> SysResult<()> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let mut registered = open
            .callbacks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let opaque = callbacks::opaque(sink);
        let (closed, free) = (callbacks::closed, callbacks::free_opaque);
        // SAFETY: function and opaque belong together (see `callbacks`); libvirt frees the opaque when the callback
        // is removed. It does not take the opaque if it fails.
        let answer = unsafe {
            virt_sys::virConnectRegisterCloseCallback(self.ptr(), Some(closed), opaque, Some(free))
        };
        if answer < 0 {
            // Drivers in this process cannot be lost.
            callbacks::free_opaque(opaque);
        } else {
            registered.close = true;
        }
        for (event, function) in callbacks::domain_events() {
            let opaque = callbacks::opaque(sink);
            // SAFETY: as above; a NULL domain stands for all domains.
            let number = unsafe {
                virt_sys::virConnectDomainEventRegisterAny(
                    self.ptr(),
                    std::ptr::null_mut(),
                    event,
                    function,
                    opaque,
                    Some(free),
                )
            };
            if number < 0 {
                let failure = Failure::last();
                callbacks::free_opaque(opaque);
                return Err(failure);
            }
            registered.domain_events.push(number);
        }
        Ok(())
    }
}

impl Open {
    fn close(self) {
        let registered = self
            .callbacks
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let conn = self.ptr.as_ptr();
        for number in registered.domain_events {
            // SAFETY: the connection is open and the number is that of a callback registered on it. Its failure
            // (connection lost) leaves the callback removed on our side.
            let _ = unsafe { virt_sys::virConnectDomainEventDeregisterAny(conn, number) };
        }
        if let Some(number) = registered.network_event {
            // SAFETY: as above.
            let _ = unsafe { virt_sys::virConnectNetworkEventDeregisterAny(conn, number) };
        }
        if registered.close {
            // SAFETY: this very function was registered on this connection.
            let _ = unsafe {
                virt_sys::virConnectUnregisterCloseCallback(conn, Some(callbacks::closed))
            };
        }
        // SAFETY: the reference from opening, given up once, here.
        unsafe { virt_sys::virConnectClose(conn) };
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let alive = self.is_alive();
        let Some(open) = self.open.take() else { return };
        if !alive {
            // Nobody is there who could keep us waiting.
            return open.close();
        }
        let (done, wait) = mpsc::sync_channel::<()>(1);
        let closing = Builder::new().name("libvirt-close".into()).spawn(move || {
            open.close();
            drop(done);
        });
        match closing {
            // An answer never comes: the channel's end is the sign.
            Ok(_) => drop(wait.recv_timeout(CLOSE_WAIT)),
            // The connection is lost with the closure; libvirt keeps it open.
            Err(error) => tracing::error!(%error, "no thread to close a connection to libvirt"),
        }
    }
}

fn open_auth(name: &std::ffi::CStr, credentials: &Credentials) -> virConnectPtr {
    let mut kinds = [
        virt_sys::VIR_CRED_AUTHNAME.cast_signed(),
        virt_sys::VIR_CRED_PASSPHRASE.cast_signed(),
    ];
    let mut auth = _virConnectAuth {
        credtype: kinds.as_mut_ptr(),
        ncredtype: kinds.len() as c_uint,
        cb: Some(answer_credentials),
        cbdata: std::ptr::from_ref(credentials).cast_mut().cast(),
    };
    // SAFETY: all pointers live through the call, and libvirt uses them only within it.
    unsafe { virt_sys::virConnectOpenAuth(name.as_ptr(), &raw mut auth, 0) }
}

/// Fills in name and password; called by libvirt within `virConnectOpenAuth`.
extern "C" fn answer_credentials(
    asked: *mut _virConnectCredential,
    count: c_uint,
    data: *mut c_void,
) -> c_int {
    if asked.is_null() || data.is_null() {
        return -1;
    }
    // SAFETY: `data` is the reference that `open_auth` put there, shared and living through its call.
    let credentials = unsafe { &*data.cast::<Credentials>() };
    // SAFETY: libvirt hands an array of `count` credentials, ours for the time of this call.
    let asked = unsafe { std::slice::from_raw_parts_mut(asked, count as usize) };
    for item in asked {
        let text = match item.type_.unsigned_abs() {
            virt_sys::VIR_CRED_AUTHNAME => credentials.user.as_str(),
            virt_sys::VIR_CRED_PASSPHRASE => credentials.password(),
            _ => return -1,
        };
        let Some(copy) = malloc_copy(text.as_bytes()) else {
            return -1;
        };
        item.result = copy;
        item.resultlen = text.len() as c_uint;
    }
    0
}

/// A NUL-terminated copy from malloc, as libvirt frees it itself.
fn malloc_copy(bytes: &[u8]) -> Option<*mut c_char> {
    // SAFETY: malloc of a size above zero; its answer is checked.
    let copy = NonNull::new(unsafe { libc::malloc(bytes.len() + 1) }.cast::<u8>())?;
    // SAFETY: `copy` has room for all bytes and the NUL, and is not part of `bytes`.
    unsafe {
        copy.as_ptr()
            .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        copy.as_ptr().add(bytes.len()).write(0);
    }
    Some(copy.as_ptr().cast())
}

/// Version of the client library, as libvirt counts.
pub(crate) fn client_version() -> SysResult<u64> {
    let mut version = 0;
    // SAFETY: writes to the place given; a NULL type asks for nothing more.
    check(unsafe {
        virt_sys::virGetVersion(&raw mut version, std::ptr::null(), std::ptr::null_mut())
    })?;
    Ok(version)
}
