//! Pools, their master and members, the SPM.

use sim::storage::{SimJournal, StorageWorld};
use storage::{ConnectPool, SpmRole, StorageError};
use storage_model::{DomainRole, DomainStatus, DomainType, Legality};
use uuid::Uuid;

use crate::{CHILD, common::*, metadata};

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
