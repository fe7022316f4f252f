//! `StoragePool.*`.

use schema::{
    CallContext, Done, StoragePoolApi, Str, VdsmError,
    domain::DomainType,
    pool::{
        Connect, ConnectStorageServer, ConnectionParams, ConnectionStatus, Create, Destroy,
        Disconnect, DisconnectStorageServer, GetInfo, GetSpmStatus, PoolDomain, PoolFullInfo,
        PoolInfo, PoolStatus, SpmStart, SpmStatus, SpmStop,
    },
};
use storage::{ConnectPool, CreatePool, ServerConnection};
use storage_model::LeaseParams;
use uuid::Uuid;

use super::{Answer, words};
use crate::{agent::Agent, errors};

impl StoragePoolApi for Agent {
    fn pool_connect(&self, _: &CallContext, p: Connect) -> Answer<Done> {
        let domains = p.domains.map(|domains| {
            domains
                .into_iter()
                .map(|(id, status)| (id, words::domain_status_of(status)))
                .collect()
        });
        let request = ConnectPool {
            pool: p.pool_id,
            host_id: p.host_id.into(),
            master: p.master_id,
            master_version: p.master_version.into(),
            domains,
        };
        self.storage
            .connect_pool(&request)
            .map_err(errors::storage)?;
        for (vm_id, why) in self.vms.prepare_recovered() {
            tracing::warn!(%vm_id, why, "a volume of a running VM cannot be prepared");
        }
        Ok(Done)
    }

    fn pool_disconnect(&self, _: &CallContext, p: Disconnect) -> Answer<Done> {
        self.storage
            .disconnect_pool(p.pool_id)
            .map(|()| Done)
            .map_err(errors::storage)
    }

    fn pool_create(&self, _: &CallContext, p: Create) -> Answer<Done> {
        let request = CreatePool {
            pool: p.pool_id,
            name: p.name,
            master: p.master_id,
            master_version: p.master_version.into(),
            domains: p.domains,
            lease: lease([
                p.lock_renewal_seconds,
                p.lease_seconds,
                p.io_timeout_seconds,
                p.lease_retries,
            ]),
        };
        self.storage
            .create_pool(&request)
            .map(|()| Done)
            .map_err(errors::storage)
    }

    fn pool_destroy(&self, _: &CallContext, p: Destroy) -> Answer<Done> {
        let destroyed = self.storage.destroy_pool(p.pool_id, p.host_id.into());
        destroyed.map(|()| Done).map_err(errors::storage)
    }

    fn pool_get_info(&self, _: &CallContext, p: GetInfo) -> Answer<PoolFullInfo> {
        let info = self.storage.pool_info(p.pool_id).map_err(errors::storage)?;
        Ok(pool_info(&info))
    }

    fn spm_start(&self, cx: &CallContext, p: SpmStart) -> Answer<Uuid> {
        let version = version(p.domain_version)?;
        self.storage
            .check_spm_start(p.pool_id, version)
            .map_err(errors::storage)?;
        let storage = self.storage.clone();
        self.submit("spmStart", cx, move |_| {
            storage.spm_start(p.pool_id, version)
        })
    }

    fn spm_stop(&self, _: &CallContext, p: SpmStop) -> Answer<Done> {
        self.storage
            .spm_stop(p.pool_id)
            .map(|()| Done)
            .map_err(errors::storage)
    }

    fn get_spm_status(&self, _: &CallContext, p: GetSpmStatus) -> Answer<SpmStatus> {
        let status = self
            .storage
            .spm_status(p.pool_id)
            .map_err(errors::storage)?;
        Ok(SpmStatus {
            role: words::spm_role(status.role),
            lease_version: status.lver,
            host_id: small(status.spm_id),
        })
    }

    fn connect_storage_server(
        &self,
        _: &CallContext,
        p: ConnectStorageServer,
    ) -> Answer<Vec<ConnectionStatus>> {
        if p.domain_type == DomainType::Iscsi
            && let Err(error) = self.needs_iscsi()
        {
            tracing::warn!(code = error.code, "{}", error.message);
            let failed = |it: ConnectionParams| ConnectionStatus {
                id: it.id,
                status: error.code,
            };
            return Ok(p.connections.into_iter().map(failed).collect());
        }
        let servers = p.connections.into_iter().map(server).collect::<Vec<_>>();
        let domain_type = words::domain_type_of(p.domain_type);
        let answers = self.storage.connect_storage_server(domain_type, &servers);
        Ok(statuses(answers.map_err(errors::storage)?))
    }

    fn disconnect_storage_server(
        &self,
        _: &CallContext,
        p: DisconnectStorageServer,
    ) -> Answer<Vec<ConnectionStatus>> {
        let servers = p.connections.into_iter().map(server).collect::<Vec<_>>();
        let domain_type = words::domain_type_of(p.domain_type);
        let answers = self
            .storage
            .disconnect_storage_server(domain_type, &servers);
        Ok(statuses(answers.map_err(errors::storage)?))
    }
}

fn server(params: ConnectionParams) -> ServerConnection {
    ServerConnection {
        id: params.id,
        path: params.connection.unwrap_or_default(),
    }
}

fn statuses(answers: Vec<storage::ConnectionStatus>) -> Vec<ConnectionStatus> {
    let status = |answer: storage::ConnectionStatus| ConnectionStatus {
        id: answer.id,
        status: answer.result.err().map_or(0, |error| {
            let error = errors::storage(error);
            tracing::warn!(code = error.code, "{}", error.message);
            error.code
        }),
    };
    answers.into_iter().map(status).collect()
}

/// The lease of the pool as Engine wants it; zero is what is not told.
fn lease(given: [Option<i32>; 4]) -> LeaseParams {
    let [renewal_interval, lease_time, io_timeout, retries] =
        given.map(|it| it.and_then(|it| u32::try_from(it).ok()).unwrap_or(0));
    LeaseParams {
        renewal_interval,
        lease_time,
        io_timeout,
        retries,
    }
    .or_default()
}

/// `domVersion`: -1 and nothing mean that no upgrade is asked for.
fn version(given: Option<Str<i32>>) -> Result<Option<u32>, VdsmError> {
    match given.map(|Str(it)| it) {
        None | Some(-1) => Ok(None),
        Some(version) => u32::try_from(version).map(Some).map_err(|_| {
            errors::storage(storage::StorageError::UnsupportedDomainVersion(
                version.to_string(),
            ))
        }),
    }
}

fn pool_info(info: &storage::PoolInfo) -> PoolFullInfo {
    let domains: Vec<String> = info
        .domains
        .iter()
        .map(|it| format!("{}:{}", it.domain, it.status.as_str()))
        .collect();
    PoolFullInfo {
        info: PoolInfo {
            name: info.name.clone(),
            domain_type: words::domain_type(info.domain_type),
            domains: domains.join(","),
            master_uuid: info.master,
            master_ver: small(info.master_version),
            lver: info.lver,
            spm_id: small(info.spm_id),
            isoprefix: String::new(),
            pool_status: PoolStatus::Connected,
            version: Str(i32::try_from(info.version).unwrap_or(-1)),
        },
        dominfo: info
            .domains
            .iter()
            .map(|it| (it.domain, pool_domain(it)))
            .collect(),
    }
}

fn pool_domain(domain: &storage::PoolDomain) -> PoolDomain {
    let health = domain.health.as_ref();
    let space = health.and_then(|it| it.space);
    PoolDomain {
        status: words::domain_status(domain.status),
        alerts: Vec::new(),
        isoprefix: String::new(),
        version: health.map(|it| small(it.version)),
        disktotal: space.map(|it| Str(it.disk_total)),
        diskfree: space.map(|it| Str(it.disk_free)),
    }
}

fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(-1)
}
