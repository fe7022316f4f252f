//! `Host.*`. The shapes of its larger answers are in `host/`, one place per shape.

mod capabilities;
mod network;
#[cfg(test)]
mod network_tests;
mod setup;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use observe::network::counters::NetworkStatistics;
use schema::{
    CallContext, Done, HostApi, VdsmError,
    domain::DomainVitals,
    host::{
        Capabilities, DumpXmls, Echo, GetAllTasks, GetAllTasksInfo, GetAllTasksStatuses,
        GetAllVmStats, GetCapabilities, GetConnectedStoragePools, GetHardwareInfo, GetStats,
        GetStorageDomains, GetStorageRepoStats, GetVMFullList, GetVMList, HardwareInfo, HostStats,
        Ping, Ping2, SetLogLevel, VmListEntry,
    },
    redact::mask_xml,
    task::{TasksDetails, TasksInfo, TasksStatus},
    vm::{VmStats, VmSummary},
};
use storage::DomainFilter;
use uuid::Uuid;

use super::{Answer, task, vm_stats, words};
use crate::{agent::Agent, errors, logging, ports};

impl HostApi for Agent {
    fn ping(&self, _: &CallContext, _: Ping) -> Answer<Done> {
        // Old engines say by it that they still reach the agent.
        self.networks.confirm();
        Ok(Done)
    }

    fn ping2(&self, _: &CallContext, _: Ping2) -> Answer<Done> {
        Ok(Done)
    }

    fn echo(&self, _: &CallContext, p: Echo) -> Answer<String> {
        Ok(p.message)
    }

    fn get_capabilities(&self, cx: &CallContext, _: GetCapabilities) -> Answer<Capabilities> {
        // Not without networks: Engine would forget the host's cards and what is attached to them.
        let networks = self.networks.info().map_err(errors::network)?;
        let client = cx.local.map(|it| it.ip().to_canonical());
        let iface = client.and_then(|it| networks.owners.get(&it).cloned());
        let host = self.host.capabilities();
        Ok(capabilities::capabilities(host, networks, iface))
    }

    fn get_hardware_info(&self, _: &CallContext, _: GetHardwareInfo) -> Answer<HardwareInfo> {
        Ok(capabilities::hardware(self.host.hardware()))
    }

    fn get_stats(&self, _: &CallContext, _: GetStats) -> Answer<HostStats> {
        let sampled = self.host.stats();
        let sampled = sampled.ok_or_else(|| VdsmError::internal("the host cannot be sampled"))?;
        let vms = self.vms.counts();
        let domains = self.storage.repo_stats(&[]);
        let live = stats::Live {
            elapsed: self.host.elapsed(),
            unix: observe::clock::now_unix(),
            domains: domains
                .iter()
                .map(|(id, health)| (*id, words::vitals(health)))
                .collect(),
            vms: vms.total,
            active_vms: vms.active,
            network: ports::counted().unwrap_or_else(|error| {
                tracing::error!(%error, "statistics without networks");
                NetworkStatistics::default()
            }),
            down: self.reachable.down(),
            dirty: self.networks.is_dirty(),
        };
        Ok(stats::stats(sampled, live))
    }

    fn get_vm_list(&self, _: &CallContext, p: GetVMList) -> Answer<Vec<VmListEntry>> {
        let entry = |info: &vm::VmInfo| {
            if p.only_uuid {
                VmListEntry::Id(info.vm_id)
            } else {
                VmListEntry::Vm(words::summary(info))
            }
        };
        Ok(self.vms.list(&p.vm_list).iter().map(entry).collect())
    }

    fn get_vm_full_list(&self, _: &CallContext, p: GetVMFullList) -> Answer<Vec<VmSummary>> {
        Ok(self
            .vms
            .full_list(&p.vm_list)
            .iter()
            .map(words::summary)
            .collect())
    }

    fn get_all_vm_stats(&self, _: &CallContext, _: GetAllVmStats) -> Answer<Vec<VmStats>> {
        Ok(self
            .vms
            .all_stats()
            .into_iter()
            .map(vm_stats::stats)
            .collect())
    }

    fn dumpxmls(&self, _: &CallContext, p: DumpXmls) -> Answer<BTreeMap<Uuid, String>> {
        let xmls = self.vms.dump_xmls(&p.vm_list).map_err(errors::vm)?;
        // libvirt leaves out passwords, but not the files of cloud-init in our metadata. Engine does not read them.
        let masked = |(vm, xml): (Uuid, String)| (vm, mask_xml(&xml).into_owned());
        Ok(xmls.into_iter().map(masked).collect())
    }

    fn get_storage_domains(&self, _: &CallContext, p: GetStorageDomains) -> Answer<Vec<Uuid>> {
        let filter = DomainFilter {
            pool: p.pool_id,
            class: p.class.map(words::domain_class_of).transpose()?,
            domain_type: p.domain_type.map(words::domain_type_of),
            remote_path: p.remote_path,
        };
        self.storage
            .storage_domains(&filter)
            .map_err(errors::storage)
    }

    fn get_storage_repo_stats(
        &self,
        _: &CallContext,
        p: GetStorageRepoStats,
    ) -> Answer<BTreeMap<Uuid, DomainVitals>> {
        let stats = self.storage.repo_stats(&p.domains);
        Ok(stats
            .iter()
            .map(|(id, health)| (*id, words::vitals(health)))
            .collect())
    }

    fn get_connected_storage_pools(
        &self,
        _: &CallContext,
        _: GetConnectedStoragePools,
    ) -> Answer<Vec<Uuid>> {
        Ok(self.storage.connected_pools())
    }

    fn get_all_tasks(&self, _: &CallContext, _: GetAllTasks) -> Answer<TasksDetails> {
        let all = self.tasks.all().into_iter();
        Ok(all.map(|it| (it.status.id.0, task::details(it))).collect())
    }

    fn get_all_tasks_info(&self, _: &CallContext, _: GetAllTasksInfo) -> Answer<TasksInfo> {
        let all = self.tasks.infos(None).into_iter();
        Ok(all.map(|it| (it.id.0, task::info(it))).collect())
    }

    fn get_all_tasks_statuses(
        &self,
        _: &CallContext,
        _: GetAllTasksStatuses,
    ) -> Answer<TasksStatus> {
        let all = self.tasks.statuses(None);
        Ok(all.iter().map(|it| (it.id.0, task::status(it))).collect())
    }

    fn set_log_level(&self, _: &CallContext, p: SetLogLevel) -> Answer<Done> {
        let set = logging::set_level(p.level.as_str(), &p.name);
        set.map(|()| Done)
            .map_err(|error| VdsmError::internal(&format!("{error:#}")))
    }
}
