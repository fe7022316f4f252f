//! A manager over the simulated world: connected, SPM, one domain; and what must be true of its storage.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "shared by tests; a test that panics has failed"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use sim::storage::{SimJournal, StorageWorld};
use storage::{
    ConnectPool, CreateDomain, CreatePool, CreateVolume, Ports, Result, ServerConnection, Settings,
    StorageManager, VolumeId, VolumeInfo,
};
use storage_model::{
    Allocation, DomainClass, DomainMetadata, DomainStatus, DomainType, LeaseParams, VolumeFormat,
    VolumeMetadata, VolumeRole,
    ports::{Files, Ownership},
};
use uuid::Uuid;

pub(crate) const REPO: &str = "/dc";
pub(crate) const FOLDER: &str = "/srv/data";
pub(crate) const MIB: u64 = 1024 * 1024;

pub(crate) const DOMAIN: Uuid = Uuid::from_u128(0xd0);
pub(crate) const POOL: Uuid = Uuid::from_u128(0xb0);
pub(crate) const IMAGE: Uuid = Uuid::from_u128(0x10);
pub(crate) const VOLUME: Uuid = Uuid::from_u128(0x20);

pub(crate) fn id(image: Uuid, volume: Uuid) -> VolumeId {
    VolumeId {
        domain: DOMAIN,
        image,
        volume,
    }
}

pub(crate) fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub(crate) fn world() -> StorageWorld {
    StorageWorld::new(&["/dc", "/run", FOLDER])
}

/// A manager whose monitors check once and then rest, so that calls can be counted.
pub(crate) fn manager(world: &StorageWorld) -> StorageManager {
    manager_every(world, Duration::from_hours(1))
}

pub(crate) fn manager_every(world: &StorageWorld, interval: Duration) -> StorageManager {
    open(world, interval, false)
}

/// A manager that may ask the root helper.
pub(crate) fn manager_with_helper(world: &StorageWorld) -> StorageManager {
    open(world, Duration::from_hours(1), true)
}

fn open(world: &StorageWorld, interval: Duration, helper: bool) -> StorageManager {
    let ports = Ports {
        files: Arc::new(world.clone()),
        qemu: Arc::new(world.clone()),
        lock: Arc::new(world.clone()),
        clock: Arc::new(world.clone()),
        ownership: helper.then(|| Arc::new(world.clone()) as Arc<dyn Ownership>),
    };
    let settings = Settings {
        repository: REPO.into(),
        run_dir: "/run/storage".into(),
        maximum_domains_in_pool: 100,
        monitor_interval: interval,
        lock_timeout: Duration::from_secs(10),
    };
    StorageManager::open(ports, settings).unwrap()
}

pub(crate) fn connect(manager: &StorageManager, folder: &str) -> Result<()> {
    let connection = ServerConnection {
        id: "c1".to_owned(),
        path: folder.to_owned(),
    };
    let mut statuses = manager.connect_storage_server(DomainType::LocalFs, &[connection])?;
    statuses.remove(0).result
}

pub(crate) fn domain_request(domain: Uuid, folder: &str) -> CreateDomain {
    CreateDomain {
        domain,
        domain_type: DomainType::LocalFs,
        class: DomainClass::Data,
        name: "local".to_owned(),
        remote_path: folder.to_owned(),
        version: 5,
        block_size: 512,
        max_hosts: 250,
    }
}

pub(crate) fn pool_request(domains: &[Uuid]) -> CreatePool {
    CreatePool {
        pool: POOL,
        name: "pool".to_owned(),
        master: domains[0],
        master_version: 1,
        domains: domains.to_vec(),
        lease: LeaseParams::default(),
    }
}

pub(crate) fn connect_request(domains: &[(Uuid, DomainStatus)]) -> ConnectPool {
    ConnectPool {
        pool: POOL,
        host_id: 1,
        master: domains[0].0,
        master_version: 1,
        domains: Some(domains.to_vec()),
    }
}

/// What is told of a volume whose metadata can be read.
pub(crate) fn readable(manager: &StorageManager, volume: VolumeId) -> VolumeInfo {
    manager.volume_info(volume).unwrap().readable().unwrap()
}

/// Waits until every monitor has made its first check.
pub(crate) fn settle(manager: &StorageManager) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while manager
        .repo_stats(&[])
        .iter()
        .any(|(_, health)| !health.actual)
    {
        assert!(Instant::now() < deadline, "a monitor does not check");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Connected and SPM on storage that is there.
pub(crate) fn take_over(manager: &StorageManager) {
    connect(manager, FOLDER).unwrap();
    manager
        .connect_pool(&connect_request(&[(DOMAIN, DomainStatus::Active)]))
        .unwrap();
    settle(manager);
    manager.spm_start(POOL, None).unwrap();
}

/// A world with one domain, and a manager that is its SPM.
pub(crate) fn ready() -> (StorageWorld, StorageManager) {
    let world = world();
    let manager = manager(&world);
    connect(&manager, FOLDER).unwrap();
    manager
        .create_domain(&domain_request(DOMAIN, FOLDER))
        .unwrap();
    manager.create_pool(&pool_request(&[DOMAIN])).unwrap();
    take_over(&manager);
    (world, manager)
}

pub(crate) fn volume_request(
    id: VolumeId,
    format: VolumeFormat,
    allocation: Allocation,
) -> CreateVolume {
    CreateVolume {
        pool: POOL,
        id,
        capacity: 64 * MIB,
        format,
        allocation,
        disk_type: "DATA".to_owned(),
        description: "{\"DiskAlias\":\"d1\"}".to_owned(),
        source_image: Uuid::nil(),
        source_volume: Uuid::nil(),
        initial_size: None,
        legal: true,
        sequence: 1,
        add_bitmaps: false,
        bitmap: None,
    }
}

pub(crate) fn raw(image: Uuid, volume: Uuid) -> CreateVolume {
    volume_request(id(image, volume), VolumeFormat::Raw, Allocation::Sparse)
}

/// A qcow2 volume on top of another.
pub(crate) fn on_top(image: Uuid, volume: Uuid, parent_image: Uuid, parent: Uuid) -> CreateVolume {
    CreateVolume {
        source_image: parent_image,
        source_volume: parent,
        ..volume_request(id(image, volume), VolumeFormat::Cow, Allocation::Sparse)
    }
}

pub(crate) fn create(world: &StorageWorld, manager: &StorageManager, request: &CreateVolume) {
    manager
        .create_volume(request, &SimJournal::new(world))
        .unwrap();
}

/// What is stored in the folder of the domain.
pub(crate) fn stored(world: &StorageWorld) -> Vec<String> {
    world
        .paths()
        .into_iter()
        .filter(|p| p.starts_with(FOLDER))
        .collect()
}

/// Fails if something is orphaned, half done or not true.
pub(crate) fn check_consistent(world: &StorageWorld) {
    let paths = world.paths();
    for bad in [
        "/.building",
        "/.dying",
        "_remove_me_",
        ".new",
        ".creating_pool",
    ] {
        assert!(
            !paths.iter().any(|p| p.contains(bad)),
            "{bad} in {paths:#?}"
        );
    }
    for path in paths.iter().filter(|p| p.ends_with("dom_md/metadata")) {
        DomainMetadata::parse(&world.read(Path::new(path)).unwrap()).unwrap();
    }
    let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in paths.iter().filter(|p| p.contains("/images/")) {
        if let Some(dir) = path.strip_suffix('/') {
            if !dir.ends_with("/images") {
                images.entry(dir.to_owned()).or_default();
            }
        } else {
            let (dir, name) = path.rsplit_once('/').unwrap();
            images
                .entry(dir.to_owned())
                .or_default()
                .insert(name.to_owned());
        }
    }
    for (dir, names) in &images {
        assert!(!names.is_empty(), "{dir} is empty");
        check_image(world, dir, names);
    }
}

fn check_image(world: &StorageWorld, dir: &str, names: &BTreeSet<String>) {
    let mut volumes = BTreeMap::new();
    for name in names {
        match name.strip_suffix(".meta") {
            Some(volume) => {
                assert!(names.contains(volume), "{dir}/{name} has no volume");
                let data = world.read(Path::new(&format!("{dir}/{name}"))).unwrap();
                volumes.insert(volume.to_owned(), VolumeMetadata::parse(&data).unwrap());
            }
            None => assert!(
                names.contains(&format!("{name}.meta")),
                "{dir}/{name} is halfbaked"
            ),
        }
    }
    for (name, md) in &volumes {
        assert!(
            md.parent.is_nil() || volumes.contains_key(&md.parent.to_string()),
            "{name}"
        );
        let has_child = volumes
            .values()
            .any(|other| other.parent.to_string() == *name);
        let right = match md.role {
            VolumeRole::Leaf => !has_child,
            VolumeRole::Internal => has_child,
            VolumeRole::Shared => true,
        };
        assert!(right, "{dir}/{name} is {}, child: {has_child}", md.role);
        let size = world
            .stat(Path::new(&format!("{dir}/{name}")))
            .unwrap()
            .size;
        assert!(
            md.format != VolumeFormat::Raw || size == md.capacity,
            "{name}: {size}"
        );
    }
}
