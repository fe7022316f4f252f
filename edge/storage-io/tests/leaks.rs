//! Files, locks and programs leave no thread, no descriptor and no file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{fs, io::ErrorKind, path::Path, time::Duration};

use storage_io::{LocalFiles, LocalLock, QemuImgTool, SanlockConfig, SanlockLock};
use storage_model::ports::{ClusterLock, DomainLock, Files, QemuImg};
use uuid::Uuid;

#[test]
fn files_leave_nothing() {
    guard::isolated!(|| {
        let dir = tempfile::tempdir().unwrap();
        let files = LocalFiles::default();
        let path = dir.path().join("file");
        for _ in 0..20 {
            files.write_atomic(&path, b"data", 0o600).unwrap();
            files.read(&path).unwrap();
            files.read_delay(&path).unwrap();
            files.probe_block_size(dir.path()).unwrap();
            files.allocate(&path, 0, 1 << 20, &mut |_| true).unwrap();
            let stopped = files.zero(&path, &mut |_| false).unwrap_err();
            assert_eq!(stopped.kind(), ErrorKind::Interrupted);
            assert_eq!(
                files.create(&path, 1, 0o600).unwrap_err().kind(),
                ErrorKind::AlreadyExists
            );
            files.hard_link(&path, &dir.path().join("link")).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    });
}

#[test]
fn locks_and_programs_leave_nothing() {
    guard::isolated!(|| {
        let dir = tempfile::tempdir().unwrap();
        let domain = DomainLock {
            domain: Uuid::from_u128(1),
            ids_path: dir.path().join("ids"),
            leases_path: dir.path().join("leases"),
            resource: "SDM".into(),
            resource_offset: 1 << 20,
            block_size: 512,
            alignment: 1 << 20,
        };
        let lock = LocalLock::new(dir.path().join("locks")).unwrap();
        lock.initialize(&domain).unwrap();
        lock.acquire_host_id(&domain, 1).unwrap();
        lock.acquire(&domain, 1).unwrap();
        drop(lock);
        let config = SanlockConfig {
            timeout: Duration::from_secs(5),
            ..SanlockConfig::default()
        };
        let sanlock = SanlockLock::new(config);
        let _ = sanlock.probe();
        let _ = sanlock.inquire(&domain);
        drop(sanlock);
        let _ = QemuImgTool::default().info(Path::new("/no/such"), Some("raw"));
    });
}
