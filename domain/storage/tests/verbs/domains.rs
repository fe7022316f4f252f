//! Connecting folders; making, naming, formatting and listing domains.

use std::path::Path;

use storage::{CreateDomain, DomainFilter, StorageError};
use storage_model::{DomainClass, DomainRole, DomainType, ports::Files};
use uuid::Uuid;

use crate::common::*;

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
fn a_folder_of_someone_else_is_refused_or_made_ours() {
    let denied = Err(StorageError::StorageServerAccessPermissionError(
        FOLDER.into(),
    ));
    let world = world();
    world.set_foreign(FOLDER);
    world.allow_roots(&["/srv"]);
    // nobody shall help
    assert_eq!(connect(&manager(&world), FOLDER), denied);
    assert!(world.helper_asked().is_empty());
    let manager = manager_with_helper(&world);
    // the helper refuses: elsewhere, or the root itself
    for roots in [&["/elsewhere"][..], &[], &[FOLDER]] {
        world.allow_roots(roots);
        assert_eq!(connect(&manager, FOLDER), denied, "{roots:?}");
    }
    assert_eq!(world.helper_asked().len(), 3, "once each");
    // it did it, though nobody heard of it
    world.allow_roots(&["/srv"]);
    world.helper_dies_after_the_act();
    assert_eq!(connect(&manager, FOLDER), Ok(()));
    // and what is ours is not asked for
    assert_eq!(connect(&manager, FOLDER), Ok(()));
    assert_eq!(world.helper_asked().len(), 4);
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
    assert!(matches!(refuse(&ok), StorageError::NoSpaceLeftOnDomain(_)));
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
