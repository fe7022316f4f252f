//! The verbs on simulated storage: what they answer, what they refuse and with which error.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod common;

use std::{path::Path, time::Duration};

use common::*;
use sim::storage::{SimJournal, StorageWorld};
use storage::{
    ConnectPool, CreateDomain, CreateVolume, DomainFilter, SpmRole, StorageError, StorageManager,
    VolumeStatus,
};
use storage_model::{
    Allocation, DomainClass, DomainMetadata, DomainRole, DomainStatus, DomainType, Legality,
    VolumeFormat, VolumeMetadata, VolumeRole,
    ports::{Files, UndoStep},
};
use uuid::Uuid;

const CHILD: Uuid = Uuid::from_u128(0x21);
const COPY: Uuid = Uuid::from_u128(0x11);

fn metadata(world: &StorageWorld, domain: Uuid, folder: &str) -> DomainMetadata {
    let path = format!("{folder}/{domain}/dom_md/metadata");
    DomainMetadata::parse(&world.read(Path::new(&path)).unwrap()).unwrap()
}

fn volume_file(image: Uuid, volume: Uuid) -> String {
    format!("{FOLDER}/{DOMAIN}/images/{image}/{volume}")
}

fn volume_metadata(world: &StorageWorld, image: Uuid, volume: Uuid) -> VolumeMetadata {
    let path = format!("{}.meta", volume_file(image, volume));
    VolumeMetadata::parse(&world.read(Path::new(&path)).unwrap()).unwrap()
}

// --- servers

#[test]
fn each_connection_has_its_own_result() {
    let world = world();
    let manager = manager(&world);
    let connection = |id: &str, path: &str| storage::ServerConnection {
        id: id.to_owned(),
        path: path.to_owned(),
    };
    let wanted = [
        connection("a", FOLDER),
        connection("b", "/nowhere"),
        connection("c", "relative"),
        connection("d", "/srv/data/"),
    ];
    let done = manager
        .connect_storage_server(DomainType::LocalFs, &wanted)
        .unwrap();
    assert_eq!(
        done.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c", "d"]
    );
    assert!(done[0].result.is_ok() && done[3].result.is_ok());
    for bad in &done[1..3] {
        let error = bad.result.as_ref().unwrap_err();
        assert!(
            matches!(error, StorageError::InvalidParameterException { .. }),
            "{error}"
        );
    }
    assert!(
        world
            .paths()
            .contains(&"/dc/mnt/_srv_data -> /srv/data".to_owned())
    );
    let gone = manager
        .disconnect_storage_server(DomainType::LocalFs, &wanted[..1])
        .unwrap();
    assert!(gone[0].result.is_ok());
    assert!(!world.paths().iter().any(|p| p.contains("_srv_data")));
    assert!(
        manager
            .disconnect_storage_server(DomainType::LocalFs, &wanted[..1])
            .is_ok()
    );
    assert!(
        manager
            .disconnect_storage_server(DomainType::LocalFs, &[])
            .unwrap()
            .is_empty()
    );
    assert!(
        manager
            .connect_storage_server(DomainType::LocalFs, &[])
            .is_err()
    );
    assert!(matches!(
        manager.connect_storage_server(DomainType::Nfs, &wanted),
        Err(StorageError::StorageServerActionError(_))
    ));
}

#[test]
fn a_read_only_folder_is_refused() {
    let world = world();
    let manager = manager(&world);
    world.set_read_only(true);
    assert!(matches!(
        connect(&manager, FOLDER),
        Err(StorageError::StorageServerAccessPermissionError(_))
    ));
}

// --- domains

#[test]
fn a_domain_tells_what_it_was_made_with() {
    let (_, manager) = ready();
    let info = manager.domain_info(DOMAIN).unwrap();
    assert_eq!(
        (info.domain_type, info.class),
        (DomainType::LocalFs, DomainClass::Data)
    );
    assert_eq!(
        (info.name.as_str(), info.role),
        ("local", DomainRole::Master)
    );
    assert_eq!((info.pools, info.version), (vec![POOL], 5));
    assert_eq!((info.block_size, info.alignment), (512, 1 << 20));
    assert_eq!(info.remote_path, FOLDER);
    let stats = manager.domain_stats(DOMAIN).unwrap();
    assert_eq!((stats.disk_total, stats.disk_free), (1 << 40, 1 << 39));
    manager.validate_domain(DOMAIN).unwrap();
    manager.set_domain_description(DOMAIN, "new name").unwrap();
    assert_eq!(manager.domain_info(DOMAIN).unwrap().name, "new name");
    assert!(matches!(
        manager.set_domain_description(DOMAIN, &"x".repeat(51)),
        Err(StorageError::StorageDomainDescriptionTooLongError)
    ));
    assert!(matches!(
        manager.set_domain_description(DOMAIN, "a\nb"),
        Err(StorageError::InvalidParameterException { .. })
    ));
    for verb in [
        manager.validate_domain(uuid(9)),
        manager.domain_info(uuid(9)).map(|_| ()),
    ] {
        assert_eq!(verb, Err(StorageError::StorageDomainDoesNotExist(uuid(9))));
    }
}

#[test]
fn a_domain_that_cannot_be_is_refused_and_leaves_nothing() {
    let world = world();
    let manager = manager(&world);
    let ok = domain_request(DOMAIN, FOLDER);
    assert!(manager.create_domain(&ok).is_err(), "not connected");
    connect(&manager, FOLDER).unwrap();
    let refuse = |request: &CreateDomain| manager.create_domain(request).unwrap_err();
    let bad = |change: &dyn Fn(&mut CreateDomain)| {
        let mut request = ok.clone();
        change(&mut request);
        refuse(&request)
    };
    assert!(matches!(
        bad(&|r| r.domain_type = DomainType::Nfs),
        StorageError::StorageDomainTypeError(_)
    ));
    assert!(matches!(
        bad(&|r| r.version = 2),
        StorageError::UnsupportedDomainVersion(_)
    ));
    assert!(matches!(
        bad(&|r| r.version = 6),
        StorageError::UnsupportedDomainVersion(_)
    ));
    assert!(matches!(
        bad(&|r| r.block_size = 1024),
        StorageError::InvalidParameterException { .. }
    ));
    assert!(matches!(
        bad(&|r| r.max_hosts = 2001),
        StorageError::InvalidParameterException { .. }
    ));
    assert!(matches!(
        bad(&|r| r.remote_path += "/"),
        StorageError::StorageDomainIllegalRemotePath(_)
    ));
    assert!(matches!(
        bad(&|r| r.block_size = 4096),
        StorageError::StorageDomainBlockSizeMismatch {
            block_size: 4096,
            storage_block_size: 512
        }
    ));
    assert!(matches!(
        bad(&|r| r.name = "a\nb".to_owned()),
        StorageError::InvalidParameterException { .. }
    ));
    world.set_full(true);
    assert!(matches!(
        refuse(&ok),
        StorageError::StorageDomainTargetUnsupported(_)
    ));
    world.set_full(false);
    assert_eq!(stored(&world), ["/srv/data/"]);
    manager
        .create_domain(&CreateDomain {
            block_size: 0,
            ..ok.clone()
        })
        .unwrap();
    assert_eq!(
        refuse(&ok),
        StorageError::StorageDomainAlreadyExists(DOMAIN)
    );
    let second = domain_request(uuid(0xd9), FOLDER);
    assert!(matches!(
        refuse(&second),
        StorageError::StorageDomainNotEmpty(_)
    ));
}

#[test]
fn broken_metadata_has_its_own_errors() {
    let (world, manager) = ready();
    let path = format!("{FOLDER}/{DOMAIN}/dom_md/metadata");
    let whole = world.read(Path::new(&path)).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let with = |data: &[u8]| {
        world.scribble(&path, data);
        manager.domain_info(DOMAIN).unwrap_err()
    };
    let changed = text.replace("ROLE=Master", "ROLE=Regular");
    assert!(matches!(
        with(changed.as_bytes()),
        StorageError::MetaDataSealIsBroken { .. }
    ));
    assert!(matches!(
        with(&whole[..100]),
        StorageError::MetaDataGeneralError(_)
    ));
    assert!(matches!(with(b""), StorageError::MetaDataGeneralError(_)));
    let newer = text
        .split("_SHA")
        .next()
        .unwrap()
        .replace("VERSION=5", "VERSION=9");
    assert!(matches!(
        with(newer.as_bytes()),
        StorageError::UnsupportedDomainVersion(_)
    ));
    let foreign = text
        .split("_SHA")
        .next()
        .unwrap()
        .replace("0000000000d0", "0000000000dd");
    assert!(matches!(
        with(foreign.as_bytes()),
        StorageError::MetaDataValidationError(_)
    ));
    world.scribble(&path, &whole);
    world.remove_file(Path::new(&path)).unwrap();
    assert!(matches!(
        manager.domain_info(DOMAIN),
        Err(StorageError::StorageDomainMetadataNotFound { .. })
    ));
}

#[test]
fn only_domains_of_no_pool_are_formatted() {
    let (world, manager) = ready();
    assert_eq!(
        manager.format_domain(DOMAIN, true),
        Err(StorageError::CannotFormatStorageDomainInConnectedPool(
            DOMAIN
        ))
    );
    manager.spm_stop(POOL).unwrap();
    manager.disconnect_pool(POOL).unwrap();
    assert_eq!(
        manager.format_domain(DOMAIN, false),
        Err(StorageError::CannotFormatAttachedStorageDomain(DOMAIN))
    );
    let path = format!("{FOLDER}/{DOMAIN}/dom_md/metadata");
    world.scribble(&path, b"rubbish=1\n_SHA_CKSUM=0\n");
    manager.format_domain(DOMAIN, false).unwrap();
    assert_eq!(stored(&world), ["/srv/data/"]);
}

#[test]
fn domains_are_listed_by_what_is_asked() {
    let (_, manager) = ready();
    let list = |filter: DomainFilter| manager.storage_domains(&filter).unwrap();
    assert_eq!(list(DomainFilter::default()), [DOMAIN]);
    assert_eq!(
        list(DomainFilter {
            pool: Some(POOL),
            ..DomainFilter::default()
        }),
        [DOMAIN]
    );
    assert_eq!(
        list(DomainFilter {
            pool: Some(Uuid::nil()),
            ..DomainFilter::default()
        }),
        [DOMAIN]
    );
    let path = |p: &str| DomainFilter {
        remote_path: Some(p.to_owned()),
        ..DomainFilter::default()
    };
    assert_eq!(list(path("/srv/data/")), [DOMAIN]);
    assert!(list(path("/srv/else")).is_empty());
    assert!(
        list(DomainFilter {
            class: Some(DomainClass::Iso),
            ..DomainFilter::default()
        })
        .is_empty()
    );
    assert!(
        list(DomainFilter {
            domain_type: Some(DomainType::Nfs),
            ..DomainFilter::default()
        })
        .is_empty()
    );
    let unknown = DomainFilter {
        pool: Some(uuid(9)),
        ..DomainFilter::default()
    };
    assert_eq!(
        manager.storage_domains(&unknown),
        Err(StorageError::StoragePoolUnknown(uuid(9)))
    );
}

// --- pools

#[test]
fn a_pool_lives_and_dies() {
    let (world, manager) = ready();
    assert_eq!(manager.connected_pools(), [POOL]);
    let info = manager.pool_info(POOL).unwrap();
    assert_eq!(
        (info.name.as_str(), info.master_version),
        ("No Description", 1)
    );
    assert_eq!((info.version, info.domain_type), (5, DomainType::LocalFs));
    assert_eq!(info.domains.len(), 1);
    let health = info.domains[0].health.as_ref().unwrap();
    assert_eq!(
        (health.error.as_ref(), health.version, health.acquired),
        (None, 5, true)
    );
    let status = manager.spm_status(POOL).unwrap();
    assert_eq!((status.role, status.spm_id), (SpmRole::Spm, 1));
    let paths = world.paths();
    let home = format!("/dc/mnt/_srv_data/{DOMAIN}");
    assert!(paths.contains(&format!("/dc/{POOL}/{DOMAIN} -> {home}")));
    assert!(paths.contains(&format!("/dc/{POOL}/mastersd -> {home}")));
    for dir in ["vms", "tasks"] {
        assert!(paths.contains(&format!("{FOLDER}/{DOMAIN}/master/{dir}/")));
    }
    assert_eq!(
        manager.check_spm_start(POOL, None),
        Err(StorageError::IsSpm(POOL))
    );
    assert_eq!(
        manager.disconnect_pool(POOL),
        Err(StorageError::IsSpm(POOL))
    );
    assert_eq!(
        manager.destroy_pool(POOL, 7),
        Err(StorageError::HostIdMismatch(POOL))
    );
    manager.destroy_pool(POOL, 1).unwrap();
    assert!(manager.connected_pools().is_empty());
    let md = metadata(&world, DOMAIN, FOLDER);
    assert_eq!(
        (md.pools(), md.role()),
        (Ok(Vec::new()), Ok(DomainRole::Regular))
    );
    assert!(
        !world
            .paths()
            .iter()
            .any(|p| p.starts_with(&format!("/dc/{POOL}")))
    );
    manager.format_domain(DOMAIN, false).unwrap();
}

#[test]
fn a_pool_whose_map_is_on_storage() {
    let world = world();
    let manager = manager(&world);
    connect(&manager, FOLDER).unwrap();
    manager
        .create_domain(&domain_request(DOMAIN, FOLDER))
        .unwrap();
    manager.create_pool(&pool_request(&[DOMAIN])).unwrap();
    let request = ConnectPool {
        domains: None,
        ..connect_request(&[(DOMAIN, DomainStatus::Active)])
    };
    let wrong = ConnectPool {
        master_version: 2,
        ..request.clone()
    };
    let error = manager.connect_pool(&wrong).unwrap_err();
    assert_eq!(
        error,
        StorageError::StoragePoolWrongMaster {
            pool: POOL,
            domain: DOMAIN
        }
    );
    assert!(manager.connected_pools().is_empty());
    manager.connect_pool(&request).unwrap();
    assert_eq!(manager.pool_info(POOL).unwrap().name, "pool");
    manager.spm_start(POOL, Some(5)).unwrap();
    assert_eq!(metadata(&world, DOMAIN, FOLDER).spm(), Ok((1, 0)));
    let status = manager.spm_status(POOL).unwrap();
    assert_eq!((status.spm_id, status.lver), (1, 0));
    manager.spm_stop(POOL).unwrap();
    assert_eq!(metadata(&world, DOMAIN, FOLDER).spm(), Ok((-1, 0)));
    // the engine takes the map over, and cannot give it back
    manager
        .connect_pool(&connect_request(&[(DOMAIN, DomainStatus::Active)]))
        .unwrap();
    assert!(matches!(
        manager.connect_pool(&request),
        Err(StorageError::StoragePoolConnected(_))
    ));
}

#[test]
fn only_one_pool_and_only_its_master() {
    let (_, manager) = ready();
    let other = ConnectPool {
        pool: uuid(1),
        ..connect_request(&[(DOMAIN, DomainStatus::Active)])
    };
    assert_eq!(
        manager.connect_pool(&other),
        Err(StorageError::CannotConnectMultiplePools(POOL))
    );
    let host = ConnectPool {
        host_id: 2,
        ..connect_request(&[(DOMAIN, DomainStatus::Active)])
    };
    assert!(matches!(
        manager.connect_pool(&host),
        Err(StorageError::StoragePoolConnected(_))
    ));
    let inactive = connect_request(&[(DOMAIN, DomainStatus::Attached)]);
    assert_eq!(
        manager.connect_pool(&inactive),
        Err(StorageError::StoragePoolWrongMaster {
            pool: POOL,
            domain: DOMAIN
        })
    );
    assert_eq!(
        manager.spm_status(POOL).unwrap().role,
        SpmRole::Spm,
        "still as before"
    );
    let missing = connect_request(&[(uuid(5), DomainStatus::Active)]);
    assert_eq!(
        manager.connect_pool(&missing),
        Err(StorageError::StoragePoolMasterNotFound {
            pool: POOL,
            master: uuid(5)
        })
    );
    for bad in [0, -1, 2001] {
        let request = ConnectPool {
            host_id: bad,
            ..connect_request(&[(DOMAIN, DomainStatus::Active)])
        };
        assert!(matches!(
            manager.connect_pool(&request),
            Err(StorageError::InvalidParameterException { .. })
        ));
    }
}

#[test]
fn the_lease_of_another_host_is_respected() {
    let (world, manager) = ready();
    manager.spm_stop(POOL).unwrap();
    manager.spm_stop(POOL).unwrap();
    world.other_host_owns(DOMAIN, Some(7));
    assert_eq!(manager.spm_status(POOL).unwrap().spm_id, 7);
    assert!(matches!(
        manager.spm_start(POOL, None),
        Err(StorageError::AcquireLockFailure { .. })
    ));
    assert_eq!(manager.spm_status(POOL).unwrap().role, SpmRole::Free);
    world.other_host_owns(DOMAIN, None);
    manager.spm_start(POOL, None).unwrap();
    assert!(matches!(
        manager.check_spm_start(POOL, Some(1)),
        Err(StorageError::UnsupportedDomainVersion(_))
    ));
}

#[test]
fn what_only_the_spm_may_is_refused_to_others() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    manager.spm_stop(POOL).unwrap();
    let journal = SimJournal::new(&world);
    let refused = Err(StorageError::SpmStatusError(POOL));
    assert_eq!(manager.check_create_volume(&raw(IMAGE, CHILD)), refused);
    assert_eq!(
        manager
            .create_volume(&raw(IMAGE, CHILD), &journal)
            .map(|_| ()),
        refused
    );
    assert_eq!(manager.check_spm_task(POOL, DOMAIN), refused);
    assert_eq!(
        manager
            .delete_image(POOL, DOMAIN, IMAGE, false, false)
            .map(|_| ()),
        refused
    );
    assert_eq!(manager.attach_domain(DOMAIN, POOL), refused);
    assert_eq!(manager.activate_domain(DOMAIN, POOL), refused);
    assert_eq!(manager.detach_domain(DOMAIN, POOL, false), refused);
    assert_eq!(
        manager.set_volume_legality(POOL, id(IMAGE, VOLUME), Legality::Illegal),
        refused
    );
    assert_eq!(manager.set_domain_description(DOMAIN, "x"), refused);
    assert_eq!(manager.destroy_pool(POOL, 1), refused);
    assert!(journal.undo_order().is_empty());
    check_consistent(&world);
}

#[test]
fn domains_join_and_leave() {
    const OTHER: Uuid = Uuid::from_u128(0xd1);
    let world = StorageWorld::new(&["/dc", "/run", FOLDER, "/srv/other"]);
    let manager = manager(&world);
    connect(&manager, FOLDER).unwrap();
    connect(&manager, "/srv/other").unwrap();
    manager
        .create_domain(&domain_request(DOMAIN, FOLDER))
        .unwrap();
    manager
        .create_domain(&domain_request(OTHER, "/srv/other"))
        .unwrap();
    manager.create_pool(&pool_request(&[DOMAIN])).unwrap();
    take_over(&manager);
    manager.attach_domain(OTHER, POOL).unwrap();
    manager.attach_domain(OTHER, POOL).unwrap();
    assert_eq!(
        metadata(&world, OTHER, "/srv/other").pools(),
        Ok(vec![POOL])
    );
    manager.activate_domain(OTHER, POOL).unwrap();
    manager.activate_domain(OTHER, POOL).unwrap();
    settle(&manager);
    assert_eq!(manager.repo_stats(&[]).len(), 2);
    assert_eq!(
        manager.detach_domain(OTHER, POOL, false),
        Err(StorageError::StorageDomainIllegalStateError {
            domain: OTHER,
            expected: "Attached".to_owned(),
            actual: "Active".to_owned(),
        })
    );
    manager
        .deactivate_domain(OTHER, POOL, Uuid::nil(), 0)
        .unwrap();
    assert_eq!(manager.repo_stats(&[]).len(), 1);
    manager
        .deactivate_domain(DOMAIN, POOL, Uuid::nil(), 0)
        .unwrap();
    assert_eq!(manager.repo_stats(&[]).len(), 1, "the master stays");
    assert!(matches!(
        manager.deactivate_domain(DOMAIN, POOL, OTHER, 2),
        Err(StorageError::UnsupportedOperation { .. })
    ));
    manager.detach_domain(OTHER, POOL, false).unwrap();
    assert_eq!(
        metadata(&world, OTHER, "/srv/other").pools(),
        Ok(Vec::new())
    );
    assert_eq!(
        manager.detach_domain(OTHER, POOL, false),
        Err(StorageError::StorageDomainNotMemberOfPool {
            pool: POOL,
            domain: OTHER
        })
    );
    assert_eq!(
        manager.detach_domain(DOMAIN, POOL, true),
        Err(StorageError::CannotDetachMasterStorageDomain(DOMAIN))
    );
    manager.attach_domain(OTHER, POOL).unwrap();
    manager.detach_domain(OTHER, Uuid::nil(), true).unwrap();
    assert_eq!(
        metadata(&world, OTHER, "/srv/other").pools(),
        Ok(Vec::new())
    );
    manager.format_domain(OTHER, true).unwrap_err();
    manager.detach_domain(OTHER, POOL, true).unwrap();
    manager.format_domain(OTHER, false).unwrap();
}

// --- health

#[test]
fn a_domain_that_hangs_delays_no_other() {
    const OTHER: Uuid = Uuid::from_u128(0xd1);
    let world = StorageWorld::new(&["/dc", "/run", FOLDER, "/srv/other"]);
    let manager = manager_every(&world, Duration::from_millis(5));
    for (domain, folder) in [(DOMAIN, FOLDER), (OTHER, "/srv/other")] {
        connect(&manager, folder).unwrap();
        manager
            .create_domain(&domain_request(domain, folder))
            .unwrap();
    }
    let changes = manager.domain_state_changes();
    for domain in [DOMAIN, OTHER] {
        manager.start_monitoring_domain(domain, 1).unwrap();
    }
    settle(&manager);
    let wait = || changes.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(wait().valid && wait().valid);
    world.hang("/srv/other", Duration::from_millis(300));
    let sick = wait();
    assert_eq!((sick.domain, sick.valid), (OTHER, false));
    let stats = manager.repo_stats(&[]);
    assert!(matches!(
        stats[1].1.error,
        Some(StorageError::StorageDomainAccessError { .. })
    ));
    assert!(
        stats[0].1.error.is_none() && stats[0].1.last_check < 0.25,
        "{stats:?}"
    );
    assert!(manager.domain_info(DOMAIN).is_ok());
    world.unhang();
    let well = wait();
    assert_eq!((well.domain, well.valid), (OTHER, true));
    manager.stop_monitoring_domain(OTHER).unwrap();
    manager.stop_monitoring_domain(OTHER).unwrap();
    assert_eq!(manager.repo_stats(&[]).len(), 1);
    assert!(manager.repo_stats(&[OTHER]).is_empty());
}

// --- volumes

#[test]
fn a_raw_volume_is_what_was_asked_for() {
    let (world, manager) = ready();
    let request = CreateVolume {
        capacity: 64 * MIB - 100,
        ..raw(IMAGE, VOLUME)
    };
    manager.check_create_volume(&request).unwrap();
    create(&world, &manager, &request);
    let info = manager.volume_info(id(IMAGE, VOLUME)).unwrap();
    assert_eq!(
        (info.capacity, info.size.apparent, info.size.truesize),
        (64 * MIB, 64 * MIB, 4096)
    );
    assert_eq!(
        (info.format, info.allocation),
        (VolumeFormat::Raw, Allocation::Sparse)
    );
    assert_eq!(
        (info.role, info.legality),
        (VolumeRole::Leaf, Legality::Legal)
    );
    assert_eq!((info.status, info.lease), (VolumeStatus::Ok, None));
    assert_eq!(
        (info.ctime, info.sequence, info.generation),
        (1_700_000_000, 1, 0)
    );
    assert_eq!(info.id, id(IMAGE, VOLUME));
    assert_eq!(manager.volume_size(id(IMAGE, VOLUME)).unwrap(), info.size);
    let mode = world
        .stat(Path::new(&volume_file(IMAGE, VOLUME)))
        .unwrap()
        .mode;
    assert_eq!(mode, 0o660);
    assert_eq!(manager.domain_images(DOMAIN).unwrap(), [IMAGE]);
    assert_eq!(
        manager.domain_volumes(DOMAIN, Uuid::nil()).unwrap(),
        [VOLUME]
    );
    assert!(manager.domain_volumes(DOMAIN, uuid(3)).unwrap().is_empty());
    let again = manager.create_volume(&request, &SimJournal::new(&world));
    assert_eq!(again, Err(StorageError::VolumeAlreadyExists(VOLUME)));
    check_consistent(&world);
}

#[test]
fn preallocation_tells_how_far_it_is_and_stops_on_request() {
    let (world, manager) = ready();
    let before = stored(&world);
    let request = CreateVolume {
        allocation: Allocation::Preallocated,
        ..raw(IMAGE, VOLUME)
    };
    let journal = SimJournal::new(&world).cancelled_at(40);
    let stopped = manager.create_volume(&request, &journal);
    assert_eq!(stopped, Err(StorageError::ActionStopped));
    assert!(
        (40..60).contains(&journal.percent()),
        "{}",
        journal.percent()
    );
    for step in journal.undo_order() {
        manager.undo(&step).unwrap();
    }
    assert_eq!(stored(&world), before);
    let journal = SimJournal::new(&world);
    manager.create_volume(&request, &journal).unwrap();
    assert_eq!(journal.percent(), 100);
    assert_eq!(
        manager.volume_size(id(IMAGE, VOLUME)).unwrap().truesize,
        64 * MIB
    );
}

#[test]
fn undoing_a_finished_creation_takes_it_away() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    let before = stored(&world);
    let journal = SimJournal::new(&world);
    manager
        .create_volume(&on_top(IMAGE, CHILD, IMAGE, VOLUME), &journal)
        .unwrap();
    for _ in 0..2 {
        for step in journal.undo_order() {
            manager.undo(&step).unwrap();
        }
        assert_eq!(stored(&world), before);
        check_consistent(&world);
    }
    let unknown = UndoStep {
        name: "format_everything".to_owned(),
        args: Vec::new(),
    };
    assert!(matches!(
        manager.undo(&unknown),
        Err(StorageError::InvalidRecovery(_))
    ));
}

#[test]
fn a_volume_that_cannot_be_is_refused_and_leaves_nothing() {
    let (world, manager) = ready();
    let before = stored(&world);
    let ok = raw(IMAGE, VOLUME);
    let bad = |change: &dyn Fn(&mut CreateVolume)| {
        let mut request = ok.clone();
        change(&mut request);
        let journal = SimJournal::new(&world);
        let error = manager.create_volume(&request, &journal).unwrap_err();
        for step in journal.undo_order() {
            manager.undo(&step).unwrap();
        }
        assert_eq!(stored(&world), before, "{error}");
        error
    };
    assert!(matches!(
        bad(&|r| r.disk_type = "SYSTEM".into()),
        StorageError::InvalidParameterException { .. }
    ));
    assert!(matches!(
        bad(&|r| r.format = VolumeFormat::Unknown),
        StorageError::IncorrectFormat(_)
    ));
    assert!(matches!(
        bad(&|r| r.allocation = Allocation::Unknown),
        StorageError::IncorrectType(_)
    ));
    assert!(matches!(
        bad(&|r| r.capacity = 0),
        StorageError::InvalidParameterException { .. }
    ));
    assert!(matches!(
        bad(&|r| r.capacity = u64::MAX),
        StorageError::InvalidParameterException { .. }
    ));
    assert!(matches!(
        bad(&|r| r.source_volume = CHILD),
        StorageError::IncorrectFormat(_)
    ));
    assert!(matches!(
        bad(&|r| r.id.image = Uuid::nil()),
        StorageError::InvalidParameterException { .. }
    ));
    assert!(matches!(
        bad(&|r| r.id.volume = Uuid::nil()),
        StorageError::InvalidParameterException { .. }
    ));
    assert!(matches!(
        bad(&|r| r.initial_size = Some(1)),
        StorageError::InvalidParameterException { .. }
    ));
    assert!(matches!(
        bad(&|r| r.bitmap = Some(CHILD)),
        StorageError::UnsupportedOperation { .. }
    ));
    assert!(matches!(
        bad(&|r| r.pool = uuid(1)),
        StorageError::StoragePoolUnknown(_)
    ));
    assert!(matches!(
        bad(&|r| r.id.domain = uuid(1)),
        StorageError::StorageDomainDoesNotExist(_)
    ));
    let orphan = bad(&|r| {
        r.format = VolumeFormat::Cow;
        r.source_volume = CHILD;
    });
    assert_eq!(orphan, StorageError::VolumeDoesNotExist(CHILD));
    assert!(matches!(
        bad(&|r| r.description = "a\nCAP=1".into()),
        StorageError::InvalidParameterException { .. }
    ));
    world.set_full(true);
    assert!(matches!(bad(&|_| ()), StorageError::NoSpaceLeftOnDomain(_)));
}

#[test]
fn snapshots_stand_on_each_other() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    create(&world, &manager, &on_top(IMAGE, CHILD, Uuid::nil(), VOLUME));
    assert_eq!(
        volume_metadata(&world, IMAGE, VOLUME).role,
        VolumeRole::Internal
    );
    let info = manager.volume_info(id(IMAGE, CHILD)).unwrap();
    assert_eq!((info.parent, info.role), (VOLUME, VolumeRole::Leaf));
    let qemu = manager.qemu_image_info(id(IMAGE, CHILD)).unwrap();
    assert_eq!(qemu.backing_file, Some(VOLUME.to_string()));
    assert_eq!(qemu.compat.as_deref(), Some("1.1"));
    let small = CreateVolume {
        capacity: MIB,
        ..on_top(IMAGE, uuid(0x23), IMAGE, CHILD)
    };
    assert!(matches!(
        manager.create_volume(&small, &SimJournal::new(&world)),
        Err(StorageError::InvalidParameterException { .. })
    ));
    manager
        .set_volume_legality(POOL, id(IMAGE, CHILD), Legality::Illegal)
        .unwrap();
    assert_eq!(
        manager.volume_info(id(IMAGE, CHILD)).unwrap().status,
        VolumeStatus::Illegal
    );
    let request = on_top(IMAGE, uuid(0x24), IMAGE, CHILD);
    assert_eq!(
        manager.create_volume(&request, &SimJournal::new(&world)),
        Err(StorageError::CreateIllegalVolumeSnapshotError(CHILD))
    );
    let measured = manager.measure_volume(id(IMAGE, CHILD), VolumeFormat::Cow, true, Some(VOLUME));
    assert!(measured.is_ok());
    let wrong = manager.measure_volume(id(IMAGE, CHILD), VolumeFormat::Cow, true, Some(uuid(1)));
    assert!(matches!(
        wrong,
        Err(StorageError::UnsupportedOperation { .. })
    ));
    check_consistent(&world);
}

#[test]
fn templates_are_shared_and_protected() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    create(&world, &manager, &on_top(COPY, CHILD, IMAGE, VOLUME));
    assert_eq!(
        volume_metadata(&world, IMAGE, VOLUME).role,
        VolumeRole::Shared
    );
    assert_eq!(volume_metadata(&world, COPY, VOLUME).image, IMAGE);
    assert_eq!(
        manager.domain_volumes(DOMAIN, COPY).unwrap(),
        [VOLUME, CHILD]
    );
    let prepared = manager.prepare_image(POOL, id(COPY, CHILD), false).unwrap();
    let order: Vec<_> = prepared.volumes.iter().map(|v| v.id.volume).collect();
    assert_eq!(order, [VOLUME, CHILD]);
    assert!(matches!(
        manager.delete_image(POOL, DOMAIN, IMAGE, false, false),
        Err(StorageError::CannotDeleteSharedVolume(_))
    ));
    let journal = SimJournal::new(&world);
    assert!(matches!(
        manager.delete_volumes(POOL, DOMAIN, IMAGE, &[VOLUME], false, false, &journal),
        Err(StorageError::CannotDeleteSharedVolume(_))
    ));
    assert_eq!(
        manager.extend_volume_size(POOL, id(IMAGE, VOLUME), 128 * MIB, &journal),
        Err(StorageError::VolumeNonWritable(VOLUME))
    );
    let grandchild = on_top(uuid(0x12), uuid(0x25), COPY, CHILD);
    assert_eq!(
        manager.create_volume(&grandchild, &journal),
        Err(StorageError::VolumeNonShareable(id(COPY, CHILD)))
    );
    // the copy goes with its content overwritten, the template's content stays
    world.scribble(&volume_file(IMAGE, VOLUME), b"template");
    let purge = manager
        .delete_image(POOL, DOMAIN, COPY, true, false)
        .unwrap();
    manager.purge_image(&purge, &journal).unwrap();
    assert_eq!(
        world.read(Path::new(&volume_file(IMAGE, VOLUME))).unwrap(),
        b"template"
    );
    let purge = manager
        .delete_image(POOL, DOMAIN, IMAGE, false, false)
        .unwrap();
    manager.purge_image(&purge, &journal).unwrap();
    assert!(manager.domain_images(DOMAIN).unwrap().is_empty());
}

#[test]
fn volumes_are_deleted_from_the_top() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    create(&world, &manager, &on_top(IMAGE, CHILD, IMAGE, VOLUME));
    let journal = SimJournal::new(&world);
    let delete = |volumes: &[Uuid]| {
        manager.delete_volumes(POOL, DOMAIN, IMAGE, volumes, false, false, &journal)
    };
    assert_eq!(
        delete(&[VOLUME]),
        Err(StorageError::VolumeImageHasChildren(id(IMAGE, VOLUME)))
    );
    assert!(journal.undo_order().is_empty());
    delete(&[CHILD]).unwrap();
    assert_eq!(
        volume_metadata(&world, IMAGE, VOLUME).role,
        VolumeRole::Leaf
    );
    assert_eq!(
        delete(&[CHILD]),
        Err(StorageError::VolumeDoesNotExist(CHILD))
    );
    assert_eq!(journal.percent(), 100);
    check_consistent(&world);
}

#[test]
fn sizes_grow() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    let journal = SimJournal::new(&world);
    let extend = |size| manager.extend_volume_size(POOL, id(IMAGE, VOLUME), size, &journal);
    extend(100 * MIB + 1).unwrap();
    let info = manager.volume_info(id(IMAGE, VOLUME)).unwrap();
    assert_eq!(
        (info.capacity, info.size.apparent),
        (100 * MIB + 4096, 100 * MIB + 4096)
    );
    assert!(matches!(
        extend(MIB),
        Err(StorageError::VolumeResizeValueError(_))
    ));
    create(
        &world,
        &manager,
        &on_top(IMAGE, CHILD, IMAGE, VOLUME).into_larger(),
    );
    let update = |volume, size| manager.update_volume_size(POOL, id(IMAGE, volume), size);
    assert_eq!(update(CHILD, 256 * MIB), Ok(256 * MIB));
    assert_eq!(
        manager.volume_info(id(IMAGE, CHILD)).unwrap().capacity,
        256 * MIB
    );
    assert!(matches!(
        update(CHILD, MIB),
        Err(StorageError::VolumeResizeValueError(_))
    ));
    assert_eq!(
        update(VOLUME, 256 * MIB),
        Err(StorageError::VolumeNonWritable(VOLUME))
    );
    manager.set_volume_size(id(IMAGE, CHILD), 5).unwrap();
    assert_eq!(volume_metadata(&world, IMAGE, CHILD).capacity, 4096);
    manager
        .prepare_image(POOL, id(IMAGE, CHILD), false)
        .unwrap();
    assert_eq!(
        volume_metadata(&world, IMAGE, CHILD).capacity,
        256 * MIB,
        "repaired"
    );
    manager
        .set_volume_description(POOL, id(IMAGE, CHILD), &"x".repeat(300))
        .unwrap();
    assert_eq!(volume_metadata(&world, IMAGE, CHILD).description.len(), 210);
    manager.refresh_volume(id(IMAGE, CHILD)).unwrap();
}

trait Larger {
    fn into_larger(self) -> CreateVolume;
}

impl Larger for CreateVolume {
    fn into_larger(mut self) -> CreateVolume {
        self.capacity = 128 * MIB;
        self
    }
}

#[test]
fn undoing_a_link_never_takes_the_template_itself() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    let before = stored(&world);
    let args = [("sdUUID", DOMAIN), ("imgUUID", IMAGE), ("volUUID", VOLUME)];
    let args = args
        .map(|(name, id)| (name.to_owned(), id.to_string()))
        .to_vec();
    manager
        .undo(&UndoStep {
            name: "shareVolumeRollback".to_owned(),
            args,
        })
        .unwrap();
    assert_eq!(stored(&world), before);
}

// --- images

#[test]
fn an_image_is_prepared_and_taken_back() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    create(&world, &manager, &on_top(IMAGE, CHILD, IMAGE, VOLUME));
    let prepared = manager
        .prepare_image(POOL, id(IMAGE, CHILD), false)
        .unwrap();
    let dir = format!("/dc/mnt/_srv_data/{DOMAIN}/images/{IMAGE}");
    assert_eq!(prepared.path, Path::new(&format!("{dir}/{CHILD}")));
    assert_eq!(
        (prepared.info_path.clone(), prepared.format),
        (prepared.path, VolumeFormat::Cow)
    );
    assert_eq!(
        prepared.volumes[0].path,
        Path::new(&format!("{dir}/{VOLUME}"))
    );
    assert!(prepared.volumes.iter().all(|v| v.lease.is_none()));
    let link = format!("/run/storage/{DOMAIN}/{IMAGE}");
    assert!(world.paths().contains(&format!("{link} -> {dir}")));
    // after a restart no pool is connected, but VMs run
    drop(manager);
    let manager = common::manager(&world);
    assert_eq!(
        manager.prepare_image(POOL, id(IMAGE, CHILD), false),
        Err(StorageError::StoragePoolUnknown(POOL))
    );
    let again = manager
        .prepare_image(Uuid::nil(), id(IMAGE, CHILD), false)
        .unwrap();
    assert_eq!(again.path, Path::new(&format!("{link}/{CHILD}")));
    assert_eq!(again.info_path, prepared.info_path);
    manager.teardown_image(DOMAIN, IMAGE).unwrap();
    manager.teardown_image(DOMAIN, IMAGE).unwrap();
    manager.teardown_image(uuid(9), IMAGE).unwrap();
    assert!(!world.paths().iter().any(|p| p.starts_with(&link)));
}

#[test]
fn an_image_that_cannot_be_used_is_not_prepared() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    create(&world, &manager, &on_top(IMAGE, CHILD, IMAGE, VOLUME));
    let prepare = |leaf, illegal| manager.prepare_image(POOL, id(IMAGE, leaf), illegal);
    assert_eq!(
        prepare(uuid(9), false),
        Err(StorageError::VolumeDoesNotExist(uuid(9)))
    );
    let elsewhere = manager.prepare_image(POOL, id(uuid(8), CHILD), false);
    assert_eq!(elsewhere, Err(StorageError::VolumeDoesNotExist(CHILD)));
    manager
        .set_volume_legality(POOL, id(IMAGE, VOLUME), Legality::Illegal)
        .unwrap();
    assert_eq!(
        prepare(CHILD, false),
        Err(StorageError::PrepareIllegalVolumeError(VOLUME))
    );
    prepare(CHILD, true).unwrap();
    let file = volume_file(IMAGE, VOLUME);
    world.remove_file(Path::new(&file)).unwrap();
    assert_eq!(
        prepare(CHILD, true),
        Err(StorageError::VolumeDoesNotExist(VOLUME))
    );
    world
        .remove_file(Path::new(&format!("{file}.meta")))
        .unwrap();
    assert_eq!(
        prepare(CHILD, true),
        Err(StorageError::ImageIsNotLegalChain(IMAGE))
    );
}

#[test]
fn a_chain_that_bites_its_tail_ends() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    create(&world, &manager, &on_top(IMAGE, CHILD, IMAGE, VOLUME));
    let path = format!("{}.meta", volume_file(IMAGE, VOLUME));
    let mut md = volume_metadata(&world, IMAGE, VOLUME);
    md.parent = CHILD;
    world.scribble(&path, &md.to_bytes(5).unwrap());
    assert_eq!(
        manager.prepare_image(POOL, id(IMAGE, CHILD), false),
        Err(StorageError::ImageIsNotLegalChain(IMAGE))
    );
}

#[test]
fn a_deleted_image_is_out_of_sight_at_once() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    assert!(matches!(
        manager.delete_image(POOL, DOMAIN, IMAGE, false, true),
        Err(StorageError::DiscardIsNotSupported { .. })
    ));
    let purge = manager
        .delete_image(POOL, DOMAIN, IMAGE, false, false)
        .unwrap();
    assert!(manager.domain_images(DOMAIN).unwrap().is_empty());
    assert!(
        manager
            .domain_volumes(DOMAIN, Uuid::nil())
            .unwrap()
            .is_empty()
    );
    let dump = manager.dump_domain(DOMAIN).unwrap();
    assert_eq!(dump.volumes[0].status, VolumeStatus::Removed);
    assert_eq!(
        manager.delete_image(POOL, DOMAIN, IMAGE, false, false),
        Err(StorageError::ImageDoesNotExistInSD {
            image: IMAGE,
            domain: DOMAIN
        })
    );
    // the same image can be made again while the old one waits
    create(&world, &manager, &raw(IMAGE, VOLUME));
    let journal = SimJournal::new(&world);
    manager.purge_image(&purge, &journal).unwrap();
    manager.purge_image(&purge, &journal).unwrap();
    assert_eq!(manager.domain_images(DOMAIN).unwrap(), [IMAGE]);
    check_consistent(&world);
}

#[test]
fn a_dump_tells_of_broken_volumes_too() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    create(&world, &manager, &raw(uuid(0x11), CHILD));
    let path = format!("{}.meta", volume_file(IMAGE, VOLUME));
    world.scribble(&path, b"CAP=banana\nFORMAT=RAW\nEOF\n");
    let dump = manager.dump_domain(DOMAIN).unwrap();
    let status: Vec<_> = dump.volumes.iter().map(|v| v.status).collect();
    assert_eq!(status, [VolumeStatus::Invalid, VolumeStatus::Ok]);
    assert_eq!(dump.volumes[0].metadata.format, Some(VolumeFormat::Raw));
    assert_eq!(dump.volumes[0].image, IMAGE.to_string());
    assert!(matches!(
        manager.volume_info(id(IMAGE, VOLUME)),
        Err(StorageError::InvalidMetadata(_))
    ));
    world.scribble(&path, b"NONE=\nEOF\n");
    assert_eq!(
        manager.volume_info(id(IMAGE, VOLUME)),
        Err(StorageError::MetadataCleared)
    );
    manager
        .delete_volumes(
            POOL,
            DOMAIN,
            IMAGE,
            &[VOLUME],
            false,
            false,
            &SimJournal::new(&world),
        )
        .unwrap();
}

#[test]
fn a_full_or_read_only_domain_says_so_and_keeps_what_it_has() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    let before = stored(&world);
    world.set_full(true);
    assert_eq!(
        manager.set_volume_description(POOL, id(IMAGE, VOLUME), "x"),
        Err(StorageError::NoSpaceLeftOnDomain(DOMAIN))
    );
    assert_eq!(
        manager.set_domain_description(DOMAIN, "x"),
        Err(StorageError::NoSpaceLeftOnDomain(DOMAIN))
    );
    world.set_full(false);
    world.set_read_only(true);
    assert!(matches!(
        manager.delete_image(POOL, DOMAIN, IMAGE, false, false),
        Err(StorageError::ImageDeleteError { .. })
    ));
    assert!(matches!(
        manager.set_domain_description(DOMAIN, "x"),
        Err(StorageError::MiscFileWriteException { .. })
    ));
    world.set_read_only(false);
    assert_eq!(stored(&world), before);
    assert_eq!(manager.domain_info(DOMAIN).unwrap().name, "local");
}

#[test]
fn data_without_metadata_is_told_and_kept() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    world
        .remove_file(Path::new(&format!("{}.meta", volume_file(IMAGE, VOLUME))))
        .unwrap();
    let found = manager.recover();
    assert_eq!(found.halfbaked.len(), 1);
    assert!(stored(&world).contains(&volume_file(IMAGE, VOLUME)));
}

#[test]
fn two_managers_of_verbs_at_once_leave_sound_storage() {
    let (world, manager) = ready();
    let manager: &StorageManager = &manager;
    std::thread::scope(|scope| {
        for n in 0..4_u128 {
            let world = &world;
            scope.spawn(move || {
                for round in 0..10 {
                    let image = uuid(0x100 + n);
                    create(world, manager, &raw(image, uuid(0x200 + n)));
                    create(
                        world,
                        manager,
                        &on_top(image, uuid(0x300 + n), image, uuid(0x200 + n)),
                    );
                    manager
                        .set_domain_description(DOMAIN, &format!("{n}.{round}"))
                        .unwrap();
                    let purge = manager
                        .delete_image(POOL, DOMAIN, image, false, false)
                        .unwrap();
                    manager
                        .purge_image(&purge, &SimJournal::new(world))
                        .unwrap();
                }
            });
        }
    });
    assert!(manager.domain_images(DOMAIN).unwrap().is_empty());
    check_consistent(&world);
}
