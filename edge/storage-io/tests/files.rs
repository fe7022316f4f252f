//! The port `Files` on a real file system, and on one that hangs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here is a failed test"
)]

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use storage_io::{FilesConfig, LocalFiles};
use storage_model::ports::{FileKind, Files};

fn files() -> LocalFiles {
    LocalFiles::default()
}

fn names(dir: &Path) -> Vec<String> {
    files().list(dir).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn reading_and_replacing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metadata");
    assert_eq!(files().read(&path).unwrap_err().kind(), ErrorKind::NotFound);
    for size in [0, 1, 511, 512, 4095, 4096, 4097, 8192, 100_000, 1 << 20] {
        let data: Vec<u8> = (0_u8..=250).cycle().take(size).collect();
        files().write_atomic(&path, &data, 0o644).unwrap();
        assert!(files().read(&path).unwrap() == data, "{size}");
    }
    assert_eq!(mode(&path), 0o644);
    fs::write(&path, vec![0; (1 << 20) + 1]).unwrap();
    assert_eq!(
        files().read(&path).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
    assert_eq!(names(dir.path()), ["metadata"], "no temporary file is left");
}

#[test]
fn a_planted_temporary_file_or_link_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metadata");
    let victim = dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, dir.path().join("metadata.new")).unwrap();
    files().write_atomic(&path, b"new", 0o600).unwrap();
    fs::write(dir.path().join("metadata.new"), "older").unwrap();
    files().write_atomic(&path, b"newer", 0o600).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"newer");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    let link = dir.path().join("link");
    symlink(&victim, &link).unwrap();
    assert_eq!(
        files().create(&link, 10, 0o600).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert!(files().truncate(&link, 0).is_err());
    assert!(files().zero(&link, &mut |_| true).is_err());
    assert!(files().allocate(&link, 0, 4096, &mut |_| true).is_err());
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn creating_sizes_and_modes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("volume");
    files().create(&path, 1 << 30, 0o666).unwrap();
    let stat = files().stat(&path).unwrap();
    assert_eq!(
        (stat.size, stat.allocated, stat.is_dir, stat.mode),
        (1 << 30, 0, false, 0o666)
    );
    assert_eq!(
        files().create(&path, 1, 0o600).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    files().truncate(&path, 4096).unwrap();
    assert_eq!(files().stat(&path).unwrap().size, 4096);
    files().set_mode(&path, 0o640).unwrap();
    assert_eq!(mode(&path), 0o640);
    let sub = dir.path().join("sub");
    files().make_dir(&sub, 0o777).unwrap();
    assert_eq!(mode(&sub), 0o777, "no umask");
    assert_eq!(
        files().make_dir(&sub, 0o777).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    assert!(files().stat(&sub).unwrap().is_dir);
    files().check_access(&sub).unwrap();
    assert!(files().check_access(&dir.path().join("none")).is_err());
}

#[test]
fn allocating_keeps_content_and_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("volume");
    let data = vec![7; 10_000];
    fs::write(&path, &data).unwrap();
    let mut seen = Vec::new();
    let length = (3 << 27) - 10_000;
    let result = files().allocate(&path, 10_000, length, &mut |done| {
        seen.push(done);
        done < 2 << 27
    });
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert_eq!(seen, [1 << 27, 2 << 27]);
    files().truncate(&path, 10_000).unwrap();
    files().allocate(&path, 0, 64 << 20, &mut |_| true).unwrap();
    let stat = files().stat(&path).unwrap();
    assert!(
        stat.size == 64 << 20 && stat.allocated >= 64 << 20,
        "{stat:?}"
    );
    assert!(fs::read(&path).unwrap()[..10_000] == data[..]);
    files()
        .allocate(&path, 0, 0, &mut |_| panic!("nothing to do"))
        .unwrap();
    assert!(files().allocate(&path, u64::MAX, 2, &mut |_| true).is_err());
}

#[test]
fn zeroing_overwrites_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("volume");
    let size = (40 << 20) + 777;
    fs::write(&path, vec![7; size]).unwrap();
    let mut seen = Vec::new();
    files()
        .zero(&path, &mut |done| {
            seen.push(done);
            true
        })
        .unwrap();
    assert_eq!(seen, [16 << 20, 32 << 20, size as u64]);
    let content = fs::read(&path).unwrap();
    assert!(content.len() == size && content.iter().all(|byte| *byte == 0));
    assert!(
        fs::metadata(&path).unwrap().blocks() * 512 >= 40 << 20,
        "written, not punched"
    );
}

#[test]
fn links() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a"), "a").unwrap();
    fs::write(at("b"), "b").unwrap();
    files().symlink(Path::new("a"), &at("link")).unwrap();
    files().symlink(Path::new("b"), &at("link")).unwrap();
    assert_eq!(files().read_link(&at("link")).unwrap(), Path::new("b"));
    assert_eq!(files().read(&at("link")).unwrap(), b"b");
    assert_eq!(files().kind(&at("link")).unwrap(), FileKind::Symlink);
    assert_eq!(files().kind(&at("a")).unwrap(), FileKind::File);
    assert_eq!(files().kind(dir.path()).unwrap(), FileKind::Dir);
    assert_eq!(
        files().kind(Path::new("/dev/null")).unwrap(),
        FileKind::Other
    );
    files().hard_link(&at("a"), &at("hard")).unwrap();
    files().hard_link(&at("a"), &at("hard")).unwrap();
    assert_eq!(
        fs::metadata(at("a")).unwrap().nlink(),
        2,
        "the same link again leaves nothing"
    );
    files().hard_link(&at("b"), &at("hard")).unwrap();
    assert_eq!(fs::read(at("hard")).unwrap(), b"b");
    files().rename(&at("hard"), &at("renamed")).unwrap();
    files().remove_file(&at("link")).unwrap();
    assert!(at("b").exists(), "the link goes, not its target");
    assert_eq!(names(dir.path()), ["a", "b", "renamed"]);
    fs::create_dir(at("sub")).unwrap();
    fs::write(at("sub/x"), "").unwrap();
    assert!(files().remove_dir(&at("sub")).is_err());
    files().remove_file(&at("sub/x")).unwrap();
    files().remove_dir(&at("sub")).unwrap();
}

#[test]
fn space_delay_and_block_size() {
    let dir = tempfile::tempdir().unwrap();
    let space = files().space(dir.path()).unwrap();
    assert!(space.total > 0 && space.free <= space.total);
    let block = files().probe_block_size(dir.path()).unwrap();
    assert!(matches!(block, 1 | 512 | 4096), "{block}");
    assert!(names(dir.path()).is_empty());
    let path = dir.path().join("metadata");
    fs::write(&path, vec![1; 4096]).unwrap();
    let delay = files().read_delay(&path).unwrap();
    assert!(delay > 0.0 && delay < 10.0, "{delay}");
    println!("block size {block}, delay {delay:.6} s");
    assert!(files().read_delay(&dir.path().join("none")).is_err());
    assert_eq!(
        files()
            .probe_block_size(Path::new("/proc"))
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
}

/// A pipe that nobody writes to hangs an open for ever, as a dead NFS server does.
struct Hanging {
    dir: tempfile::TempDir,
}

impl Hanging {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for root in ["dead", "alive"] {
            fs::create_dir(dir.path().join(root)).unwrap();
            fs::write(dir.path().join(root).join("file"), "here").unwrap();
        }
        let mode = rustix::fs::Mode::RWXU;
        let kind = rustix::fs::FileType::Fifo;
        let pipe = dir.path().join("dead/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn files(&self) -> LocalFiles {
        LocalFiles::new(FilesConfig {
            timeout: Duration::from_millis(200),
            hung_limit: 2,
            mount_dirs: vec![self.dir.path().to_owned()],
        })
    }

    /// Lets the hung opens go on: opening for both wakes whoever waits for a writer.
    fn heal(&self) {
        drop(
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.path("dead/pipe"))
                .unwrap(),
        );
    }
}

#[test]
fn a_hanging_root_blocks_only_itself_and_heals() {
    let world = Hanging::new();
    let files = world.files();
    let dead = world.path("dead/pipe");
    for hung in 1..=2 {
        assert_eq!(files.read(&dead).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(files.hung(&dead), hung);
    }
    let refused = files.read(&world.path("dead/file")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TimedOut);
    assert_eq!(files.hung(&dead), 2, "it is not even tried");
    assert_eq!(files.read(&world.path("alive/file")).unwrap(), b"here");
    let deadline = Instant::now() + Duration::from_mins(1);
    while files.hung(&dead) > 0 {
        // More than once: after a refused direct open a cached one is tried.
        world.heal();
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(files.read(&world.path("dead/file")).unwrap(), b"here");
}

#[test]
fn dropping_the_files_does_not_wait_for_what_hangs() {
    let world = Hanging::new();
    let files = world.files();
    assert!(files.read(&world.path("dead/pipe")).is_err());
    let started = Instant::now();
    drop(files);
    assert!(started.elapsed() < Duration::from_secs(30));
    for _ in 0..20 {
        world.heal();
        thread::sleep(Duration::from_millis(5));
    }
}
