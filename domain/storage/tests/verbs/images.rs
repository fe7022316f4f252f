//! Images: prepared, torn down, deleted, dumped.

use std::path::Path;

use sim::storage::SimJournal;
use storage::{StorageError, StorageManager, VolumeReport, VolumeStatus};
use storage_model::{Legality, VolumeFormat, ports::Files};
use uuid::Uuid;

use crate::{CHILD, common::*, volume_file, volume_metadata};

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
    let manager = crate::common::manager(&world);
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
        Ok(VolumeReport::Broken(StorageError::InvalidMetadata(_)))
    ));
    world.scribble(&path, b"NONE=\nEOF\n");
    assert_eq!(
        manager.volume_info(id(IMAGE, VOLUME)),
        Ok(VolumeReport::Broken(StorageError::MetadataCleared))
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

#[test]
fn what_was_to_be_overwritten_is_overwritten_by_the_next_process() {
    let (world, manager) = ready();
    create(&world, &manager, &raw(IMAGE, VOLUME));
    let file = volume_file(IMAGE, VOLUME);
    world.scribble(&file, b"secret");
    let witness = Path::new("/srv/data/witness");
    world.hard_link(Path::new(&file), witness).unwrap();
    manager
        .delete_image(POOL, DOMAIN, IMAGE, true, false)
        .unwrap();
    drop(manager);
    let manager = crate::common::manager(&world);
    assert_eq!(manager.recover().purged_images, [(DOMAIN, IMAGE)]);
    assert!(world.read(witness).unwrap().is_empty());
    check_consistent(&world);
}
