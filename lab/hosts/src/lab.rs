//! The world of one test: its folder, hosts, disks, networks, and that nothing of it stays.
//!
//! Everything lies beneath `run/<pid>.<start time>/<number>/` in the lab's folder. A process that is killed leaves its
//! folder behind (its QEMUs die with it); the next lab finds that the owner is gone and clears it away: nobody holds the
//! lock `run/<pid>.<start time>.lock` any more. (Its number alone does not tell: it may be of another PID namespace.)

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use exec::Process;
use rustix::fs::{FlockOperation, flock};

use crate::{
    Disk, Host, HostBuilder, Image, LabError, Layer, Network, Result, evidence, image::lab_dir,
    shell, tidy,
};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The lock that tells others that this process lives, while one of its labs does.
static LIFE: Mutex<Option<File>> = Mutex::new(None);

/// How long what was ended may take to vanish from the table of processes.
const VANISH: Duration = Duration::from_secs(15);

/// One test's hosts, disks and networks. All of it ends when this is dropped.
#[derive(Debug)]
pub struct Lab {
    name: String,
    image: Image,
    dir: PathBuf,
    hosts: Mutex<Vec<Host>>,
}

impl Lab {
    /// A world for the test of this name, with the image that was built last. Nothing runs yet.
    pub fn start(name: &str) -> Result<Self> {
        let image = Image::current()?;
        let run = lab_dir().join("run");
        clear_dead(&run);
        let dir = own_folder(&run)?;
        Ok(Self {
            name: name.to_owned(),
            image,
            dir,
            hosts: Mutex::new(Vec::new()),
        })
    }

    /// The test's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The image that hosts start from.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The folder for what the test needs on the machine that runs the lab; goes with the lab.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Host 1, 2, ... of this lab, to be started.
    pub fn host(&self, number: u8) -> HostBuilder<'_> {
        HostBuilder::new(self, number)
    }

    /// The layer with the installed product, as `make lab-check` made it; `LAB_LAYER` names another one (of a package by hand).
    pub fn installed(&self) -> Result<Layer> {
        let other = env::var("LAB_LAYER");
        Layer::named(&self.image, other.as_deref().unwrap_or("installed"))
    }

    /// A new, empty disk of this many MiB (sparse), for one host or several. Its name is its serial number.
    pub fn disk(&self, name: &str, mib: u64) -> Result<Disk> {
        Disk::create(&self.dir, name, mib)
    }

    /// A new network.
    pub fn network(&self) -> Result<Network> {
        Network::start()
    }

    pub(crate) fn host_dir(&self, number: u8) -> Result<PathBuf> {
        let dir = self.dir.join(format!("lab{number}"));
        fs::create_dir(&dir).map_err(LabError::file("make", &dir))?;
        Ok(dir)
    }

    pub(crate) fn remember(&self, host: &Host) {
        self.hosts().push(host.clone());
    }

    fn hosts(&self) -> std::sync::MutexGuard<'_, Vec<Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collects what tells why a test failed: the folder it is in now.
    pub fn collect(&self) -> PathBuf {
        let to = evidence_of(&self.name);
        let _ = fs::remove_dir_all(&to);
        for host in self.hosts().iter() {
            evidence::collect(host, &to.join(host.name()));
        }
        to
    }

    /// Ends all, and fails if a process is left that has to do with this lab.
    pub fn finish(self) -> Result<()> {
        self.keep_commands();
        self.end();
        let deadline = Instant::now() + VANISH;
        let mut left = related(&self.dir);
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            left = related(&self.dir);
        }
        if left.is_empty() {
            return Ok(());
        }
        let mut what = String::new();
        for (process, line) in &left {
            let _ = write!(what, "\n  process {}: {line}", process.pid);
            process.terminate(Duration::ZERO);
        }
        Err(LabError::Leak { what })
    }

    /// What was run on each host and how long it took, for who looks for the slow: in the folder that `LAB_COMMANDS` names.
    fn keep_commands(&self) {
        let Some(folder) = env::var_os("LAB_COMMANDS").map(PathBuf::from) else {
            return;
        };
        for host in self.hosts().iter() {
            let to = folder.join(format!("{}-{}.log", self.name, host.name()));
            let _ = fs::copy(host.dir().join(shell::COMMANDS), to);
        }
    }

    fn end(&self) {
        for host in self.hosts().drain(..) {
            host.pull_power();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end();
        for (process, _) in related(&self.dir) {
            process.terminate(Duration::ZERO);
        }
        let _ = fs::remove_dir_all(&self.dir);
        if let Some(own) = self.dir.parent() {
            let mut life = LIFE.lock().unwrap_or_else(PoisonError::into_inner);
            // Only if no other lab of this process is there.
            if fs::remove_dir(own).is_ok() {
                let _ = fs::remove_file(lock_of(own));
                *life = None;
            }
        }
    }
}

/// A new folder in that of this process, whose lock is then held.
fn own_folder(run: &Path) -> Result<PathBuf> {
    let pid = std::process::id().cast_signed();
    let start = Process::find(pid).map_or(0, |own| own.start_time);
    let dir = run.join(format!("{pid}.{start}"));
    fs::create_dir_all(run).map_err(LabError::file("make", run))?;
    let mut life = LIFE.lock().unwrap_or_else(PoisonError::into_inner);
    if life.is_none() {
        let path = lock_of(&dir);
        let lock = File::create(&path).map_err(LabError::file("make", &path))?;
        let locked = flock(&lock, FlockOperation::NonBlockingLockExclusive);
        locked.map_err(|errno| LabError::file("lock", &path)(errno.into()))?;
        *life = Some(lock);
    }
    let dir = dir.join(NUMBER.fetch_add(1, Ordering::SeqCst).to_string());
    fs::create_dir_all(&dir).map_err(LabError::file("make", &dir))?;
    Ok(dir)
}

fn lock_of(own: &Path) -> PathBuf {
    own.with_extension(format!(
        "{}.lock",
        own.extension().unwrap_or_default().to_string_lossy()
    ))
}

/// Does the process live whose folder this is?
fn is_owned(dir: &Path) -> bool {
    File::open(lock_of(dir)).is_ok_and(|lock| {
        // Let go of with the file, at once.
        flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err()
    })
}

/// Takes away what killed runs left, in the lab's folder (every [`Lab::start`] does so, too), and what nobody has used for
/// days.
pub fn clear() {
    clear_dead(&lab_dir().join("run"));
    tidy::tidy();
}

/// Takes away what killed labs left.
pub(crate) fn clear_dead(run: &Path) {
    let Ok(entries) = fs::read_dir(run) else {
        return;
    };
    for entry in entries.filter_map(std::result::Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if names_an_owner(&name) && !is_owned(&entry.path()) {
            for (process, _) in related(&entry.path()) {
                process.terminate(Duration::ZERO);
            }
            let _ = fs::remove_dir_all(entry.path());
            let _ = fs::remove_file(lock_of(&entry.path()));
        }
    }
}

/// Is it `<pid>.<start time>`?
fn names_an_owner(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    name.split_once('.')
        .is_some_and(|(pid, start)| number(pid) && number(start))
}

/// Processes (not this one) that were told of this folder or of something in it, or are in it, with their command lines.
pub(crate) fn related(dir: &Path) -> Vec<(Process, String)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id().cast_signed();
    let text = dir.display().to_string();
    entries
        .filter_map(std::result::Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let process = Process::find(pid)?;
            let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
            let within =
                || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
            let related = (mentions(&line, &text) || within()) && process.is_alive();
            related.then(|| (process, line.trim().to_owned()))
        })
        .collect()
}

/// Is this folder, and not one whose name only begins alike, in the text?
fn mentions(line: &str, dir: &str) -> bool {
    line.match_indices(dir).any(|(at, _)| {
        let next = line
            .get(at + dir.len()..)
            .and_then(|rest| rest.chars().next());
        !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
    })
}

/// Where evidence of the test of this name goes: `target/lab` of the build that the running program is of, else of the
/// folder it runs in.
pub fn evidence_of(test: &str) -> PathBuf {
    // Cargo's own files in that folder. The first is not there if somebody else made the folder.
    let marks = ["CACHEDIR.TAG", ".rustc_info.json"];
    let program = env::current_exe().unwrap_or_default();
    let target = program
        .ancestors()
        .find(|dir| marks.iter().any(|mark| dir.join(mark).is_file()));
    target.unwrap_or(Path::new("target")).join("lab").join(test)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn owners_are_read_from_folders() {
        assert!(names_an_owner("12.345"));
        for other in ["", "12", "a.b", "12.", ".5", "12.345.lock"] {
            assert!(!names_an_owner(other), "{other}");
        }
        assert_eq!(lock_of(Path::new("/r/1.2")), Path::new("/r/1.2.lock"));
    }

    #[test]
    fn a_folder_is_not_taken_for_its_neighbour() {
        assert!(mentions(
            "qemu -qmp unix:/l/run/1.2/0/lab1/qmp",
            "/l/run/1.2/0"
        ));
        assert!(mentions("tail /l/run/1.2/0", "/l/run/1.2/0"));
        assert!(!mentions("tail /l/run/1.2/01", "/l/run/1.2/0"));
        assert!(!mentions("tail /l/run/1.23", "/l/run/1.2"));
    }

    #[test]
    fn dead_owners_are_cleared_and_living_stay() {
        let run = tempfile::tempdir().unwrap();
        let dead = run.path().join("999999999.1");
        // Of another PID namespace: there is no such process here, and yet it lives.
        let alive = run.path().join("999999998.1");
        let strange = run.path().join("notes");
        for dir in [&dead, &alive, &strange] {
            fs::create_dir_all(dir.join("0")).unwrap();
        }
        fs::write(lock_of(&dead), "").unwrap();
        let life = File::create(lock_of(&alive)).unwrap();
        flock(&life, FlockOperation::NonBlockingLockExclusive).unwrap();
        clear_dead(run.path());
        assert!(!dead.exists() && !lock_of(&dead).exists());
        assert!(alive.exists() && strange.exists());
        drop(life);
        clear_dead(run.path());
        assert!(!alive.exists());
    }

    #[test]
    fn a_process_that_knows_the_folder_is_found() {
        let dir = tempfile::tempdir().unwrap();
        assert!(related(dir.path()).is_empty());
        let log = dir.path().join("log");
        fs::write(&log, "").unwrap();
        let mut child =
            crate::keeper::spawn(exec::Command::new("tail").arg("-f").arg(&log)).unwrap();
        // A program that has only just begun has no command line yet.
        let deadline = std::time::Instant::now() + Duration::from_mins(1);
        let mut found = Vec::new();
        while found.is_empty() && std::time::Instant::now() < deadline {
            found = related(dir.path());
        }
        assert_eq!(
            found.first().map(|(process, _)| process.pid),
            Some(child.pid())
        );
        child.end(Duration::ZERO);
    }

    proptest! {
        #[test]
        fn any_name_is_read_without_panic(text in "\\PC{0,60}") {
            let _ = names_an_owner(&text);
            let _ = mentions(&text, "/x");
        }
    }
}
