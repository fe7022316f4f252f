//! Owns: libvirt's numbers of domain states as the port's type. Pure.

use vm_model::ports::DomainRunState;

/// `virDomainState`; a number of a later libvirt is "no state".
pub(crate) fn run_state(number: i32) -> DomainRunState {
    match number.unsigned_abs() {
        virt_sys::VIR_DOMAIN_RUNNING => DomainRunState::Running,
        virt_sys::VIR_DOMAIN_BLOCKED => DomainRunState::Blocked,
        virt_sys::VIR_DOMAIN_PAUSED => DomainRunState::Paused,
        virt_sys::VIR_DOMAIN_SHUTDOWN => DomainRunState::Shutdown,
        virt_sys::VIR_DOMAIN_SHUTOFF => DomainRunState::Shutoff,
        virt_sys::VIR_DOMAIN_CRASHED => DomainRunState::Crashed,
        virt_sys::VIR_DOMAIN_PMSUSPENDED => DomainRunState::PmSuspended,
        _ => DomainRunState::NoState,
    }
}
