//! Owns: the functions that libvirt calls. Each turns its arguments into plain data and hands them to a [`Sink`];
//! none of them blocks, calls back into libvirt for more than a field, or lets a panic out.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use libc::{c_char, c_int, c_longlong, c_void};
use virt_sys::{
    virConnectDomainEventGenericCallback as Generic,
    virConnectNetworkEventGenericCallback as NetworkGeneric, virConnectPtr,
    virDomainEventGraphicsAddress, virDomainEventGraphicsSubject, virDomainPtr, virNetworkPtr,
};
use vm_model::ports::{HypervisorEvent, LifecycleEvent, VmId};

use super::{copy_str, domain::uuid_of, network::name_of};

/// Where events go. Called on the event loop's thread: must not block.
pub(crate) trait Sink: Send + Sync {
    /// Something happened to a domain.
    fn event(&self, event: HypervisorEvent);
    /// Something happened to a network of that name.
    fn network(&self, name: String);
    /// The connection is gone; `reason` is a `virConnectCloseReason`.
    fn closed(&self, reason: i32);
}

/// What libvirt carries for a callback: freed by [`free_opaque`], exactly once, when the callback is removed.
type Opaque = Arc<dyn Sink>;

/// A pointer for libvirt that keeps `sink` alive.
pub(super) fn opaque(sink: &Arc<dyn Sink>) -> *mut c_void {
    Box::into_raw(Box::new(Arc::clone(sink))).cast()
}

/// Frees what [`opaque`] made.
pub(super) extern "C" fn free_opaque(opaque: *mut c_void) {
    if !opaque.is_null() {
        // SAFETY: made by `opaque`; libvirt calls this once, after the last callback with this pointer.
        let sink = unsafe { Box::from_raw(opaque.cast::<Opaque>()) };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(sink)));
    }
}

fn guarded(what: &'static str, opaque: *mut c_void, act: impl FnOnce(&dyn Sink)) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: every callback of this file is registered with a pointer from `opaque`, which lives until
        // `free_opaque` is called, and libvirt does that only when no callback runs.
        if let Some(sink) = unsafe { opaque.cast::<Opaque>().as_ref() } {
            act(sink.as_ref());
        }
    }));
    if outcome.is_err() {
        tracing::error!(what, "a callback for libvirt panicked");
    }
}

fn with_domain(
    what: &'static str,
    domain: virDomainPtr,
    opaque: *mut c_void,
    act: impl FnOnce(VmId) -> Option<HypervisorEvent>,
) {
    guarded(what, opaque, |sink| {
        // SAFETY: libvirt lends the domain for the time of the callback.
        let event = unsafe { uuid_of(domain) }.ok().and_then(act);
        if let Some(event) = event {
            sink.event(event);
        }
    });
}

pub(super) extern "C" fn closed(_conn: virConnectPtr, reason: c_int, opaque: *mut c_void) {
    guarded("close", opaque, |sink| sink.closed(reason));
}

extern "C" fn lifecycle(
    _conn: virConnectPtr,
    domain: virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    with_domain("lifecycle", domain, opaque, |id| {
        lifecycle_event(event).map(|event| HypervisorEvent::Lifecycle { id, event, detail })
    });
    0
}

extern "C" fn network_lifecycle(
    _conn: virConnectPtr,
    network: virNetworkPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) {
    guarded("network", opaque, |sink| {
        // SAFETY: libvirt lends the network for the time of the callback.
        sink.network(unsafe { name_of(network) });
    });
}

/// The event of networks that is listened to, with its function, as [`domain_events`].
pub(super) fn network_event() -> (c_int, NetworkGeneric) {
    let event = virt_sys::VIR_NETWORK_EVENT_ID_LIFECYCLE.cast_signed();
    let function = network_lifecycle as *const ();
    // SAFETY: `NetworkGeneric` is a function pointer or NULL, and `function` is one; libvirt casts it back to
    // `virConnectNetworkEventLifecycleCallback`, whose shape it has, before it calls it.
    (event, unsafe {
        std::mem::transmute::<*const (), NetworkGeneric>(function)
    })
}

extern "C" fn reboot(_conn: virConnectPtr, domain: virDomainPtr, opaque: *mut c_void) {
    with_domain("reboot", domain, opaque, |id| {
        Some(HypervisorEvent::Reboot { id })
    });
}

extern "C" fn rtc_change(
    _conn: virConnectPtr,
    domain: virDomainPtr,
    offset: c_longlong,
    opaque: *mut c_void,
) {
    with_domain("rtc change", domain, opaque, |id| {
        Some(HypervisorEvent::RtcChange { id, offset })
    });
}

extern "C" fn watchdog(
    _conn: virConnectPtr,
    domain: virDomainPtr,
    action: c_int,
    opaque: *mut c_void,
) {
    with_domain("watchdog", domain, opaque, |id| {
        Some(HypervisorEvent::Watchdog { id, action })
    });
}

extern "C" fn io_error(
    _conn: virConnectPtr,
    domain: virDomainPtr,
    path: *const c_char,
    alias: *const c_char,
    action: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    with_domain("I/O error", domain, opaque, |id| {
        // SAFETY: libvirt lends NUL-terminated strings (or NULL) for the time of the callback.
        let (path, alias, reason) = unsafe { (copy_str(path), copy_str(alias), copy_str(reason)) };
        Some(HypervisorEvent::IoError {
            id,
            path,
            alias,
            action,
            reason,
        })
    });
}

extern "C" fn graphics(
    _conn: virConnectPtr,
    domain: virDomainPtr,
    phase: c_int,
    _local: *const virDomainEventGraphicsAddress,
    remote: *const virDomainEventGraphicsAddress,
    _scheme: *const c_char,
    _subject: *const virDomainEventGraphicsSubject,
    opaque: *mut c_void,
) {
    with_domain("graphics", domain, opaque, |id| {
        // SAFETY: NULL, or an address with NUL-terminated strings, lent for the time of the callback.
        let remote =
            unsafe { remote.as_ref().map(|remote| copy_str(remote.node)) }.unwrap_or_default();
        Some(HypervisorEvent::Graphics { id, phase, remote })
    });
}

fn lifecycle_event(event: c_int) -> Option<LifecycleEvent> {
    Some(match u32::try_from(event).ok()? {
        virt_sys::VIR_DOMAIN_EVENT_DEFINED => LifecycleEvent::Defined,
        virt_sys::VIR_DOMAIN_EVENT_UNDEFINED => LifecycleEvent::Undefined,
        virt_sys::VIR_DOMAIN_EVENT_STARTED => LifecycleEvent::Started,
        virt_sys::VIR_DOMAIN_EVENT_SUSPENDED => LifecycleEvent::Suspended,
        virt_sys::VIR_DOMAIN_EVENT_RESUMED => LifecycleEvent::Resumed,
        virt_sys::VIR_DOMAIN_EVENT_STOPPED => LifecycleEvent::Stopped,
        virt_sys::VIR_DOMAIN_EVENT_SHUTDOWN => LifecycleEvent::Shutdown,
        virt_sys::VIR_DOMAIN_EVENT_PMSUSPENDED => LifecycleEvent::PmSuspended,
        virt_sys::VIR_DOMAIN_EVENT_CRASHED => LifecycleEvent::Crashed,
        _ => return None,
    })
}

/// The events that are listened to, with their functions in the shape that registration wants: libvirt's
/// registration takes every callback as the generic type and casts it back to the type that belongs to the event's
/// number. The pairs are those of libvirt-domain.h.
pub(super) fn domain_events() -> [(c_int, Generic); 6] {
    let functions: [(u32, *const ()); 6] = [
        (
            virt_sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE,
            lifecycle as *const (),
        ),
        (virt_sys::VIR_DOMAIN_EVENT_ID_REBOOT, reboot as *const ()),
        (
            virt_sys::VIR_DOMAIN_EVENT_ID_RTC_CHANGE,
            rtc_change as *const (),
        ),
        (
            virt_sys::VIR_DOMAIN_EVENT_ID_WATCHDOG,
            watchdog as *const (),
        ),
        (
            virt_sys::VIR_DOMAIN_EVENT_ID_GRAPHICS,
            graphics as *const (),
        ),
        (
            virt_sys::VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON,
            io_error as *const (),
        ),
    ];
    functions.map(|(event, function)| {
        // SAFETY: `Generic` is a function pointer or NULL, and `function` is one. It is called through its own type
        // only, since libvirt casts it back by the event's number, which stands beside it above.
        (event.cast_signed(), unsafe {
            std::mem::transmute::<*const (), Generic>(function)
        })
    })
}
