//! Steps that storage tests share: from nothing to an active domain, and a task to its end.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Agent, Serving, session::Session, wait_for};

/// No id.
pub const NONE: &str = "00000000-0000-0000-0000-000000000000";

/// Ids of a pool with one active local-directory domain.
pub struct Storage {
    /// The pool.
    pub pool: String,
    /// Its master domain.
    pub domain: String,
    /// Folder of the domain's connection.
    pub path: String,
}

/// A new id.
pub fn id() -> String {
    Uuid::new_v4().to_string()
}

impl Storage {
    /// Ids for storage in the agent's folder; nothing is done yet.
    pub fn plan(agent: &Agent) -> Self {
        Self::at(agent.path("disks").display().to_string())
    }

    /// Ids for storage in a folder of the caller's choice; nothing is done yet.
    pub fn at(path: String) -> Self {
        Self {
            pool: id(),
            domain: id(),
            path,
        }
    }

    /// Connects, creates domain and pool, becomes SPM, activates.
    pub fn build(agent: &Agent) -> Self {
        Self::plan(agent).built(agent)
    }

    /// The same beneath the folder of a session.
    pub fn build_in(session: &Session) -> Self {
        let path = session.path("disks");
        super::session::shared_dir(&path);
        Self::at(path.display().to_string()).built(session)
    }

    /// Does all steps.
    pub fn built(self, agent: &impl Serving) -> Self {
        self.connect_server(agent);
        self.create_domain(agent);
        self.create_pool(agent);
        self.reconnect(agent);
        agent.ok("StorageDomain.activate", self.ids());
        self
    }

    /// `storagedomainID` and `storagepoolID`.
    pub fn ids(&self) -> Value {
        json!({"storagedomainID": self.domain, "storagepoolID": self.pool})
    }

    /// `StoragePool.connectStorageServer`, which must succeed.
    pub fn connect_server(&self, agent: &impl Serving) {
        let answer = agent.ok("StoragePool.connectStorageServer", self.server());
        assert_eq!(answer, json!([{"id": "c1", "status": 0}]));
    }

    /// Parameters of (dis)connecting the server.
    pub fn server(&self) -> Value {
        json!({"storagepoolID": self.pool, "domainType": 4,
               "connectionParams": [{"id": "c1", "connection": self.path}]})
    }

    /// `StorageDomain.create`.
    pub fn create_domain(&self, agent: &impl Serving) {
        agent.ok("StorageDomain.create", self.new_domain());
    }

    /// Parameters of `StorageDomain.create`.
    pub fn new_domain(&self) -> Value {
        json!({"storagedomainID": self.domain, "domainType": 4, "typeArgs": self.path,
               "name": "local1", "domainClass": 1, "version": "5"})
    }

    /// `StoragePool.create`.
    pub fn create_pool(&self, agent: &impl Serving) {
        agent.ok(
            "StoragePool.create",
            json!({
                "storagepoolID": self.pool, "name": "pool1", "masterSdUUID": self.domain,
                "masterVersion": 1, "domainList": [self.domain], "lockRenewalIntervalSec": 5,
                "leaseTimeSec": 60, "ioOpTimeoutSec": 10, "leaseRetries": 3,
            }),
        );
    }

    /// Parameters of `StoragePool.connect`.
    pub fn connection(&self) -> Value {
        json!({"storagepoolID": self.pool, "hostID": 1, "scsiKey": self.pool,
               "masterSdUUID": self.domain, "masterVersion": 1,
               "domainDict": {self.domain.clone(): "active"}})
    }

    /// `StoragePool.connect`.
    pub fn connect_pool(&self, agent: &impl Serving) {
        agent.ok("StoragePool.connect", self.connection());
    }

    /// What Engine does after a restart of the agent: connects folder and pool, makes it SPM.
    pub fn reconnect(&self, agent: &impl Serving) {
        self.connect_server(agent);
        self.connect_pool(agent);
        self.start_spm(agent);
    }

    /// A path in the domain.
    pub fn inside(&self, sub: &str) -> std::path::PathBuf {
        std::path::Path::new(&self.path)
            .join(&self.domain)
            .join(sub)
    }

    /// Names of files and folders of all images, hidden ones too, sorted.
    pub fn image_files(&self) -> Vec<String> {
        names_beneath(&self.inside("images"))
    }

    /// `StoragePool.spmStart`, until this host is SPM.
    pub fn start_spm(&self, agent: &impl Serving) {
        let task = agent.ok("StoragePool.spmStart", json!({
            "storagepoolID": self.pool, "prevID": -1, "prevLver": "-1", "enableScsiFencing": "false",
        }));
        finish(agent, &task);
        wait_for("the SPM role", || {
            let status = agent.ok(
                "StoragePool.getSpmStatus",
                json!({"storagepoolID": self.pool}),
            );
            (status["spmStatus"] == "SPM").then_some(())
        });
    }

    /// Parameters of `Volume.create`: `size` bytes, format 4 (cow) or 5 (raw), allocation 1 or 2.
    pub fn new_volume(
        &self,
        image: &str,
        volume: &str,
        size: u64,
        format: u8,
        allocation: u8,
    ) -> Value {
        json!({"volumeID": volume, "storagepoolID": self.pool, "storagedomainID": self.domain,
               "imageID": image, "size": size.to_string(), "volFormat": format,
               "preallocate": allocation, "diskType": "DATA", "desc": "d1",
               "srcImgUUID": NONE, "srcVolUUID": NONE})
    }

    /// Ids of a volume.
    pub fn volume(&self, image: &str, volume: &str) -> Value {
        json!({"volumeID": volume, "storagepoolID": self.pool, "storagedomainID": self.domain,
               "imageID": image})
    }

    /// Creates a volume through its task.
    pub fn create_volume(
        &self,
        agent: &impl Serving,
        size: u64,
        format: u8,
        allocation: u8,
    ) -> (String, String) {
        let (image, volume) = (id(), id());
        let new = self.new_volume(&image, &volume, size, format, allocation);
        finish(agent, &agent.ok("Volume.create", new));
        (image, volume)
    }
}

/// Paths beneath a folder, relative to it, sorted.
pub fn names_beneath(folder: &std::path::Path) -> Vec<String> {
    fn walk(folder: &std::path::Path, root: &std::path::Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.strip_prefix(root).unwrap().display().to_string());
            if path.is_dir() && !path.is_symlink() {
                walk(&path, root, names);
            }
        }
    }
    let mut names = Vec::new();
    walk(folder, folder, &mut names);
    names.sort();
    names
}

/// Waits for a task, which must succeed, and clears it.
pub fn finish(agent: &impl Serving, task: &Value) {
    let status = ended(agent, task);
    assert_eq!(
        (&status["taskResult"], &status["code"]),
        (&json!("success"), &json!(0)),
        "{status}"
    );
    agent.ok("Task.clear", json!({"taskID": task}));
}

/// Waits for the end of a task, however it ends.
pub fn ended(agent: &impl Serving, task: &Value) -> Value {
    wait_for("a task", || {
        let status = agent.ok("Task.getStatus", json!({"taskID": task}));
        (status["taskState"] == "finished").then_some(status)
    })
}
