//! Volumes: made, stacked, shared, resized, deleted.

use std::path::Path;

use sim::storage::SimJournal;
use storage::{CreateVolume, StorageError, VolumeStatus};
use storage_model::{
    Allocation, Legality, VolumeFormat, VolumeRole,
    ports::{Files, UndoStep},
};
use uuid::Uuid;

use crate::{CHILD, COPY, common::*, volume_file, volume_metadata};

#[test]
fn a_raw_volume_is_what_was_asked_for() {
    let (world, manager) = ready();
    let request = CreateVolume {
        capacity: 64 * MIB - 100,
        ..raw(IMAGE, VOLUME)
    };
    manager.check_create_volume(&request).unwrap();
    create(&world, &manager, &request);
    let info = readable(&manager, id(IMAGE, VOLUME));
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
    let info = readable(&manager, id(IMAGE, CHILD));
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
        readable(&manager, id(IMAGE, CHILD)).status,
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
    let info = readable(&manager, id(IMAGE, VOLUME));
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
    assert_eq!(readable(&manager, id(IMAGE, CHILD)).capacity, 256 * MIB);
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
