//! The same on a real file system with the real `qemu-img` and the single-host lock.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics has failed"
)]

mod common;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use common::{DOMAIN, IMAGE, MIB, POOL, VOLUME, connect, id, readable, uuid};
use sim::storage::{SimJournal, StorageWorld};
use storage::{CreateVolume, Ports, Settings, StorageError, StorageManager};
use storage_io::{FilesConfig, LocalFiles, LocalLock, QemuImgTool};
use storage_model::{
    Allocation, DomainStatus, VolumeFormat, VolumeRole,
    ports::{CreateImage, QemuImg, QemuImgError, WallClock},
};
use uuid::Uuid;

struct Clock;

impl WallClock for Clock {
    fn now(&self) -> u64 {
        1_700_000_000
    }
}

struct Machine {
    dir: tempfile::TempDir,
    journal_world: StorageWorld,
}

impl Machine {
    /// `None`, told aloud, where there is no `qemu-img`.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let probe = CreateImage {
            path: dir.path().join("probe"),
            format: "raw".to_owned(),
            size: 4096,
            backing: None,
            compat: None,
        };
        if let Err(QemuImgError::Broken { why, .. }) = QemuImgTool::default().create(&probe) {
            eprintln!("skipped: no qemu-img: {why}");
            return None;
        }
        Some(Self {
            dir,
            journal_world: StorageWorld::new(&[]),
        })
    }

    fn folder(&self) -> String {
        self.dir.path().join("data").to_str().unwrap().to_owned()
    }

    fn manager(&self) -> StorageManager {
        let repository = self.dir.path().join("dc");
        let config = FilesConfig {
            timeout: Duration::from_secs(20),
            mount_dirs: vec![repository.join("mnt")],
            ..FilesConfig::default()
        };
        let ports = Ports {
            files: Arc::new(LocalFiles::new(config)),
            qemu: Arc::new(QemuImgTool::new(Duration::from_secs(20))),
            lock: Arc::new(LocalLock::new(self.dir.path().join("locks")).unwrap()),
            clock: Arc::new(Clock),
            ownership: None,
        };
        let settings = Settings {
            repository,
            run_dir: self.dir.path().join("run"),
            maximum_domains_in_pool: 100,
            monitor_interval: Duration::from_millis(50),
            lock_timeout: Duration::from_secs(10),
        };
        StorageManager::open(ports, settings).unwrap()
    }

    fn take_over(&self, manager: &StorageManager) {
        connect(manager, &self.folder()).unwrap();
        let domains = [(DOMAIN, DomainStatus::Active)];
        manager
            .connect_pool(&common::connect_request(&domains))
            .unwrap();
        common::settle(manager);
        manager.spm_start(POOL, None).unwrap();
    }

    fn ready(&self) -> StorageManager {
        let manager = self.manager();
        connect(&manager, &self.folder()).unwrap();
        let request = common::domain_request(DOMAIN, &self.folder());
        let request = storage::CreateDomain {
            block_size: 0,
            ..request
        };
        manager.create_domain(&request).unwrap();
        manager
            .create_pool(&common::pool_request(&[DOMAIN]))
            .unwrap();
        self.take_over(&manager);
        manager
    }

    fn create(&self, manager: &StorageManager, request: &CreateVolume) {
        manager
            .create_volume(request, &SimJournal::new(&self.journal_world))
            .unwrap();
    }

    fn domain(&self) -> PathBuf {
        Path::new(&self.folder()).join(DOMAIN.to_string())
    }

    fn image(&self) -> PathBuf {
        self.domain().join("images").join(IMAGE.to_string())
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_domain_looks_as_upstream_makes_it() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let manager = machine.ready();
    let domain = machine.domain();
    assert_eq!(names(&domain), ["dom_md", "images", "master"]);
    let dom_md = domain.join("dom_md");
    assert_eq!(
        names(&dom_md),
        ["ids", "inbox", "leases", "metadata", "outbox"]
    );
    assert_eq!(
        (mode(&dom_md), mode(&domain.join("images"))),
        (0o775, 0o755)
    );
    for (name, size) in [
        ("ids", 0),
        ("inbox", 16 * MIB),
        ("leases", 0),
        ("outbox", 16 * MIB),
    ] {
        let file = dom_md.join(name);
        assert_eq!(
            (mode(&file), fs::metadata(&file).unwrap().len()),
            (0o660, size),
            "{name}"
        );
    }
    assert_eq!(mode(&dom_md.join("metadata")), 0o644);
    assert_eq!(
        manager.domain_info(DOMAIN).unwrap().remote_path,
        machine.folder()
    );
    let stats = manager.domain_stats(DOMAIN).unwrap();
    assert!(stats.disk_free > 0 && stats.disk_free <= stats.disk_total);
    let health = &manager.repo_stats(&[])[0].1;
    assert!(
        health.error.is_none() && health.read_delay > 0.0,
        "{health:?}"
    );
    manager.destroy_pool(POOL, 1).unwrap();
    manager.format_domain(DOMAIN, false).unwrap();
    assert!(names(Path::new(&machine.folder())).is_empty());
}

#[test]
fn volumes_are_files_that_qemu_reads() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let manager = machine.ready();
    machine.create(&manager, &common::raw(IMAGE, VOLUME));
    machine.create(&manager, &common::on_top(IMAGE, uuid(0x21), IMAGE, VOLUME));
    machine.create(
        &manager,
        &common::on_top(IMAGE, uuid(0x22), IMAGE, uuid(0x21)),
    );
    let top = id(IMAGE, uuid(0x22));
    let info = manager.qemu_image_info(top).unwrap();
    assert_eq!(
        (info.format.as_str(), info.virtual_size),
        ("qcow2", 64 * MIB)
    );
    assert_eq!(info.backing_file, Some(uuid(0x21).to_string()));
    // measuring follows the chain: the relative names lead somewhere
    let measured = manager
        .measure_volume(top, VolumeFormat::Raw, true, None)
        .unwrap();
    assert_eq!(measured.fully_allocated, 64 * MIB);
    let prepared = manager.prepare_image(POOL, top, false).unwrap();
    assert_eq!(prepared.volumes.len(), 3);
    assert!(fs::metadata(&prepared.path).unwrap().is_file());
    for name in names(&machine.image()) {
        let path = machine.image().join(&name);
        let meta = path.extension().is_some_and(|e| e == "meta");
        let expected = if meta { 0o644 } else { 0o660 };
        assert_eq!(mode(&path), expected, "{name}");
    }
    let resized = manager.update_volume_size(POOL, top, 128 * MIB).unwrap();
    assert_eq!(
        (resized, readable(&manager, top).capacity),
        (128 * MIB, 128 * MIB)
    );
    manager.teardown_image(DOMAIN, IMAGE).unwrap();
    let journal = SimJournal::new(&machine.journal_world);
    manager
        .delete_volumes(
            POOL,
            DOMAIN,
            IMAGE,
            &[uuid(0x22), uuid(0x21)],
            true,
            false,
            &journal,
        )
        .unwrap();
    assert_eq!(readable(&manager, id(IMAGE, VOLUME)).role, VolumeRole::Leaf);
    let purge = manager
        .delete_image(POOL, DOMAIN, IMAGE, true, false)
        .unwrap();
    manager.purge_image(&purge, &journal).unwrap();
    assert!(names(&machine.domain().join("images")).is_empty());
}

#[test]
fn preallocated_volumes_have_their_blocks() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let manager = machine.ready();
    for (n, format) in [(0x31, VolumeFormat::Raw), (0x32, VolumeFormat::Cow)] {
        let volume = id(IMAGE, uuid(n));
        let request = CreateVolume {
            capacity: 8 * MIB,
            ..common::volume_request(volume, format, Allocation::Preallocated)
        };
        machine.create(&manager, &request);
        let size = manager.volume_size(volume).unwrap();
        assert!(size.truesize >= 7 * MIB, "{format}: {size:?}");
        assert_eq!(
            manager.qemu_image_info(volume).unwrap().virtual_size,
            8 * MIB
        );
    }
    let raw = id(IMAGE, uuid(0x31));
    let journal = SimJournal::new(&machine.journal_world);
    manager
        .extend_volume_size(POOL, raw, 12 * MIB, &journal)
        .unwrap();
    let info = readable(&manager, raw);
    assert_eq!((info.capacity, info.size.apparent), (12 * MIB, 12 * MIB));
    assert!(info.size.truesize >= 11 * MIB);
}

#[test]
fn a_template_is_shared_by_hard_links() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let manager = machine.ready();
    machine.create(&manager, &common::raw(IMAGE, VOLUME));
    let copy = uuid(0x11);
    let journal = SimJournal::new(&machine.journal_world);
    let request = common::on_top(copy, uuid(0x21), IMAGE, VOLUME);
    manager.create_volume(&request, &journal).unwrap();
    let template = machine.image().join(VOLUME.to_string());
    assert_eq!(fs::metadata(&template).unwrap().nlink(), 2);
    fs::write(&template, vec![b'x'; 8192]).unwrap();
    for step in journal.undo_order() {
        manager.undo(&step).unwrap();
    }
    assert_eq!(fs::metadata(&template).unwrap().nlink(), 1);
    assert!(
        !machine
            .domain()
            .join("images")
            .join(copy.to_string())
            .exists()
    );
    machine.create(&manager, &request);
    let purge = manager
        .delete_image(POOL, DOMAIN, copy, true, false)
        .unwrap();
    manager.purge_image(&purge, &journal).unwrap();
    assert_eq!(
        fs::read(&template).unwrap()[0],
        b'x',
        "the template was not overwritten"
    );
}

#[test]
fn the_next_process_finds_its_images() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let first = machine.ready();
    machine.create(&first, &common::raw(IMAGE, VOLUME));
    let before = first.prepare_image(POOL, id(IMAGE, VOLUME), false).unwrap();
    let removed = first.delete_image(POOL, DOMAIN, IMAGE, false, false);
    assert!(removed.is_ok());
    fs::rename(
        machine
            .domain()
            .join("images")
            .join(format!("_remove_me_{IMAGE}")),
        machine.image(),
    )
    .unwrap();
    fs::create_dir(
        machine
            .domain()
            .join("images")
            .join(format!("_remove_me_{}", uuid(9))),
    )
    .unwrap();
    fs::write(machine.image().join("x.meta.new"), b"half").unwrap();
    first.shutdown();
    drop(first);
    let second = machine.manager();
    let found = second.recover();
    assert_eq!(found.purged_images, [(DOMAIN, uuid(9))]);
    assert!(!machine.image().join("x.meta.new").exists());
    let after = second
        .prepare_image(Uuid::nil(), id(IMAGE, VOLUME), false)
        .unwrap();
    assert_eq!(after.info_path, before.info_path);
    second.teardown_image(DOMAIN, IMAGE).unwrap();
    machine.take_over(&second);
    assert_eq!(second.spm_status(POOL).unwrap().spm_id, 1);
}

#[test]
fn a_folder_that_is_a_file_or_is_gone_is_refused() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let manager = machine.manager();
    let file = machine.dir.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [file.to_str().unwrap(), "/no/such/folder"] {
        assert!(matches!(
            connect(&manager, path),
            Err(StorageError::InvalidParameterException { .. })
        ));
    }
    connect(&manager, &machine.folder()).unwrap();
    fs::remove_dir(machine.folder()).unwrap();
    let request = common::domain_request(DOMAIN, &machine.folder());
    assert!(manager.create_domain(&request).is_err());
    fs::create_dir(machine.folder()).unwrap();
    assert!(names(Path::new(&machine.folder())).is_empty());
}
