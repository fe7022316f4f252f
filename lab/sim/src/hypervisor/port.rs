//! The port [`Hypervisor`] over the world of domains, for one process with its faults.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use vm_model::{
    metadata::VM_URI,
    ports::{
        DomainRunState, DomainState, DomainStats, DomainSummary, GuestRequest, Hypervisor,
        HypervisorError, HypervisorEvent, HypervisorResult, LifecycleEvent, Screenshot, VmId,
        XmlKind,
    },
};

use super::{SimHypervisor, World, reason};
use crate::process::{Gate, Process, lock};

/// How long a call on a domain that hangs takes.
const HANG: Duration = Duration::from_millis(300);

pub(super) struct Port {
    pub(super) hypervisor: Arc<SimHypervisor>,
    pub(super) process: Arc<Process>,
}

impl Port {
    /// A call with its faults.
    fn call<T>(
        &self,
        name: &'static str,
        effect: impl FnOnce(&mut World) -> HypervisorResult<T>,
    ) -> HypervisorResult<T> {
        let refuse = |gate: Gate| match gate {
            Gate::Go(fault) => Ok(fault),
            Gate::Fail(message) => Err(HypervisorError::Other { code: 1, message }),
            Gate::TimedOut(deadline) => Err(HypervisorError::TimedOut {
                what: name.to_owned(),
                deadline,
            }),
            Gate::Dead => Err(HypervisorError::Disconnected(
                "the process is dead".to_owned(),
            )),
        };
        let fault = refuse(self.process.enter(name))?;
        let result = effect(&mut lock(&self.hypervisor.world));
        refuse(self.process.leave(fault))?;
        result
    }

    /// A call that needs QEMU to answer.
    fn ask_qemu<T>(
        &self,
        name: &'static str,
        id: VmId,
        effect: impl FnOnce(&mut World) -> HypervisorResult<T>,
    ) -> HypervisorResult<T> {
        let hangs = lock(&self.hypervisor.world)
            .domains
            .get(&id)
            .is_some_and(|d| d.hangs);
        if hangs {
            std::thread::sleep(HANG);
            let what = format!("{name} of {id}");
            return Err(HypervisorError::TimedOut {
                what,
                deadline: HANG,
            });
        }
        self.call(name, effect)
    }
}

impl Hypervisor for Port {
    fn define(&self, xml: &str) -> HypervisorResult<VmId> {
        self.call("define", |world| world.define(xml))
    }

    fn start(&self, id: VmId, paused: bool) -> HypervisorResult<()> {
        self.call("start", |world| world.start(id, paused))
    }

    fn undefine(&self, id: VmId) -> HypervisorResult<()> {
        self.call("undefine", |world| world.undefine(id))
    }

    fn suspend(&self, id: VmId) -> HypervisorResult<()> {
        self.ask_qemu("suspend", id, |world| {
            if world.active(id)?.state.state != DomainRunState::Paused {
                world.set_state(id, DomainRunState::Paused, reason::PAUSED_USER);
                world.lifecycle(id, LifecycleEvent::Suspended, 0);
            }
            Ok(())
        })
    }

    fn resume(&self, id: VmId) -> HypervisorResult<()> {
        self.ask_qemu("resume", id, |world| {
            if world.active(id)?.state.state == DomainRunState::Running {
                let why = "domain is already running".to_owned();
                return Err(HypervisorError::InvalidState(why));
            }
            world.set_state(id, DomainRunState::Running, reason::RUNNING_UNPAUSED);
            world.lifecycle(id, LifecycleEvent::Resumed, 0);
            Ok(())
        })
    }

    fn shutdown(&self, id: VmId, how: GuestRequest) -> HypervisorResult<()> {
        self.ask_qemu("shutdown", id, |world| world.ask(id, how, false))
    }

    fn reboot(&self, id: VmId, how: GuestRequest) -> HypervisorResult<()> {
        self.ask_qemu("reboot", id, |world| world.ask(id, how, true))
    }

    fn reset(&self, id: VmId) -> HypervisorResult<()> {
        self.ask_qemu("reset", id, |world| {
            world.active(id)?;
            world.emit(&HypervisorEvent::Reboot { id });
            Ok(())
        })
    }

    fn destroy(&self, id: VmId, graceful: bool) -> HypervisorResult<()> {
        self.call("destroy", |world| world.destroy(id, graceful))
    }

    fn state(&self, id: VmId) -> HypervisorResult<DomainState> {
        self.call("state", |world| Ok(world.domain(id)?.state))
    }

    fn list(&self) -> HypervisorResult<Vec<DomainSummary>> {
        self.call("list", |world| Ok(world.summaries()))
    }

    fn xml(&self, id: VmId, kind: XmlKind) -> HypervisorResult<String> {
        self.call("xml", |world| {
            let domain = world.domain(id)?;
            let xml = match kind {
                XmlKind::Live => domain.live.as_ref().or(domain.defined.as_ref()),
                XmlKind::Inactive => domain.defined.as_ref().or(domain.live.as_ref()),
            };
            xml.map(ToString::to_string)
                .ok_or(HypervisorError::NoDomain(id))
        })
    }

    fn metadata(&self, id: VmId, uri: &str) -> HypervisorResult<Option<String>> {
        self.call("metadata", |world| {
            let domain = world.domain(id)?;
            let xml = domain.live.as_ref().or(domain.defined.as_ref());
            let known = xml.filter(|xml| uri == VM_URI && xml.has_metadata());
            Ok(known.map(|xml| xml.metadata().to_libvirt()))
        })
    }

    fn set_metadata(
        &self,
        id: VmId,
        _prefix: &str,
        _uri: &str,
        xml: Option<&str>,
    ) -> HypervisorResult<()> {
        self.ask_qemu("set_metadata", id, |world| world.set_metadata(id, xml))
    }

    fn all_stats(&self) -> HypervisorResult<Vec<DomainStats>> {
        self.call("all_stats", |world| Ok(world.stats()))
    }

    fn screenshot(&self, id: VmId) -> HypervisorResult<Screenshot> {
        self.ask_qemu("screenshot", id, |world| {
            world.active(id)?;
            let data = b"P6\n1 1\n255\n\0\0\0".to_vec();
            Ok(Screenshot {
                mime: "image/x-portable-pixmap".to_owned(),
                data,
            })
        })
    }

    fn events(&self) -> mpsc::Receiver<HypervisorEvent> {
        let (listener, events) = mpsc::channel();
        lock(&self.hypervisor.world)
            .listeners
            .push((Arc::clone(&self.process), listener));
        events
    }
}
