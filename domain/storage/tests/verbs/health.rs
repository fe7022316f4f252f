//! Monitors.

use std::time::Duration;

use sim::storage::StorageWorld;
use storage::StorageError;
use storage_model::ports::HostLease;
use uuid::Uuid;

use crate::common::*;

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

#[test]
fn leases_of_hosts_are_told_of_monitored_domains_only() {
    let world = StorageWorld::new(&["/dc", "/run", FOLDER]);
    let manager = manager_every(&world, Duration::from_millis(5));
    connect(&manager, FOLDER).unwrap();
    manager
        .create_domain(&domain_request(DOMAIN, FOLDER))
        .unwrap();
    world.other_host_owns(DOMAIN, Some(2));
    assert_eq!(manager.host_lease(DOMAIN, 2), HostLease::Unavailable);
    let changes = manager.domain_state_changes();
    manager.start_monitoring_domain(DOMAIN, 1).unwrap();
    assert!(changes.recv_timeout(Duration::from_mins(1)).unwrap().valid);
    assert_eq!(manager.host_lease(DOMAIN, 2), HostLease::Live);
    assert_eq!(manager.host_lease(DOMAIN, 3), HostLease::Free);
    assert_eq!(manager.host_lease(DOMAIN, -1), HostLease::Unavailable);
    manager.stop_monitoring_domain(DOMAIN).unwrap();
    assert_eq!(manager.host_lease(DOMAIN, 2), HostLease::Unavailable);
}
