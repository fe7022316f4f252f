//! Layers: states of a host that tests start from within seconds, kept as a disk and a memory snapshot.
//!
//! ```text
//! <image>/layers/pristine/                 the image, booted
//! <image>/layers/installed-<hash>/         what a recipe makes of a pristine host
//!     recipe/                              its files, and recipe/provision.sh which is run among them
//!     lab1-<key>/disk.qcow2 memory         for host 1; the key stands for shape, devices, QEMU
//! <image>/layers/installed -> installed-<hash>   the one that tests take
//! ```
//!
//! A snapshot is made when a host first asks for it, in `new-*` beside it, and renamed when whole.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Image, LabError, Result, Shape,
    host::{BOOT, Config, Host, Origin},
    image::{QEMU, accelerator},
    plan::{DEVICES, TRANSFER},
    shell,
    testing::note,
    tidy,
};

/// How long a recipe may take.
const PROVISION: Duration = Duration::from_mins(10);

/// The script of a recipe.
const SCRIPT: &str = "provision.sh";

/// A layer.
#[derive(Debug, Clone)]
pub struct Layer {
    image: Image,
    dir: PathBuf,
}

impl Layer {
    /// The image, booted.
    pub fn pristine(image: &Image) -> Self {
        Self {
            image: image.clone(),
            dir: image.dir().join("layers/pristine"),
        }
    }

    /// The one that was last made under this name.
    pub fn named(image: &Image, name: &str) -> Result<Self> {
        let link = image.dir().join("layers").join(name);
        let dir = link.canonicalize().map_err(|_| {
            LabError::Wrong(format!(
                "there is no layer {name} of the current image: `make lab-check` or `vdsm-lab layer` makes it"
            ))
        })?;
        Ok(Self {
            image: image.clone(),
            dir,
        })
    }

    /// What `script` (bash, run as root in the folder of these files) makes of a pristine host. The same files and script
    /// are the same layer. The snapshot is made when first asked for.
    pub fn make(image: &Image, name: &str, files: &[PathBuf], script: &str) -> Result<Self> {
        let layers = image.dir().join("layers");
        let key = recipe_key(files, script)?;
        let dir = layers.join(format!("{name}-{key:016x}"));
        let layer = Self {
            image: image.clone(),
            dir,
        };
        layer.write_recipe(files, script)?;
        let link = layers.join(format!("{name}.new"));
        let _ = fs::remove_file(&link);
        let target = layer.dir.file_name().unwrap_or_default();
        symlink(target, &link).map_err(LabError::file("link", &link))?;
        fs::rename(&link, layers.join(name)).map_err(LabError::file("rename", &link))?;
        forget_older(&layers, name, &layer.dir);
        Ok(layer)
    }

    fn write_recipe(&self, files: &[PathBuf], script: &str) -> Result<()> {
        let recipe = self.recipe();
        if recipe.is_dir() {
            return Ok(());
        }
        let new = self.dir.join("recipe.new");
        let _ = fs::remove_dir_all(&new);
        fs::create_dir_all(&new).map_err(LabError::file("make", &new))?;
        for file in files {
            let to = new.join(file.file_name().unwrap_or_default());
            fs::copy(file, &to).map_err(LabError::file("copy", file))?;
        }
        let path = new.join(SCRIPT);
        fs::write(&path, script).map_err(LabError::file("write", &path))?;
        fs::rename(&new, &recipe).map_err(LabError::file("rename", &new))
    }

    /// Its name: no other layer of this image has it.
    pub fn name(&self) -> String {
        let name = self.dir.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn recipe(&self) -> PathBuf {
        self.dir.join("recipe")
    }

    /// Makes the snapshot of this host now, if it is missing.
    pub fn prepare(&self, number: u8, shape: Shape) -> Result<()> {
        self.origin(number, shape).map(drop)
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// The disk from which a host of this layer boots.
    pub(crate) fn cold_disk(&self, number: u8, shape: Shape) -> Result<PathBuf> {
        if !self.recipe().is_dir() {
            return Ok(self.image.root());
        }
        match self.origin(number, shape)? {
            Origin::Cold(disk) | Origin::Warm { disk, .. } => Ok(disk),
        }
    }

    /// The snapshot, made now if it is missing.
    pub(crate) fn origin(&self, number: u8, shape: Shape) -> Result<Origin> {
        let dir = self.dir.join(format!(
            "lab{number}-{:016x}",
            key(number, shape, accelerator())
        ));
        let origin = Origin::Warm {
            disk: dir.join("disk.qcow2"),
            memory: dir.join("memory"),
        };
        if dir.is_dir() {
            tidy::mark(&dir);
            return Ok(origin);
        }
        fs::create_dir_all(&self.dir).map_err(LabError::file("make", &self.dir))?;
        let _lock = self.lock(number)?;
        // Someone else may have been faster.
        if !dir.is_dir() {
            self.snapshot(&dir, number, shape)?;
        }
        tidy::mark(&dir);
        Ok(origin)
    }

    /// One maker for each host at a time, over all processes.
    fn lock(&self, number: u8) -> Result<File> {
        let path = self.dir.join(format!("lock-{number}"));
        let lock = File::create(&path).map_err(LabError::file("open", &path))?;
        let locked = rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive);
        locked.map_err(|errno| LabError::file("lock", &path)(errno.into()))?;
        Ok(lock)
    }

    fn snapshot(&self, dir: &Path, number: u8, shape: Shape) -> Result<()> {
        let new = self.dir.join(format!("new-{number}"));
        let _ = fs::remove_dir_all(&new);
        fs::create_dir_all(&new).map_err(LabError::file("make", &new))?;
        let made = self.make_snapshot(&new, number, shape);
        let finished = made.and_then(|()| {
            for scratch in [
                "qmp",
                shell::SOCKET,
                shell::LOG,
                shell::COMMANDS,
                "qemu.log",
                TRANSFER,
            ] {
                let _ = fs::remove_file(new.join(scratch));
            }
            let disk = new.join("disk.qcow2");
            fs::rename(new.join("root.qcow2"), &disk).map_err(LabError::file("rename", &disk))?;
            fs::rename(&new, dir).map_err(LabError::file("rename", &new))
        });
        if finished.is_err() {
            let _ = fs::remove_dir_all(&new);
        }
        finished
    }

    fn make_snapshot(&self, new: &Path, number: u8, shape: Shape) -> Result<()> {
        let started = std::time::Instant::now();
        note(&format!("lab{number}: making the snapshot {}", self.name()));
        let recipe = self.recipe();
        let origin = if recipe.is_dir() {
            Self::pristine(&self.image).origin(number, shape)?
        } else {
            Origin::Cold(self.image.root())
        };
        let host = Host::new(
            Config {
                number,
                dir: new.to_owned(),
                image: self.image.clone(),
                shape,
                origin,
                kernel_args: Vec::new(),
                ready_within: BOOT,
                stays: false,
            },
            Vec::new(),
            Vec::new(),
        );
        host.start()?;
        if recipe.is_dir() {
            provision(&host, &recipe)?;
        }
        host.save(&new.join("memory"))?;
        note(&format!(
            "lab{number}: the snapshot is made after {:.1} s",
            started.elapsed().as_secs_f64()
        ));
        Ok(())
    }
}

/// Takes away earlier layers of this name: each package that was ever tested would keep some hundred megabytes. One that
/// was used within the last hours stays, since another run may be at it.
fn forget_older(layers: &Path, name: &str, keep: &Path) {
    let Ok(entries) = fs::read_dir(layers) else {
        return;
    };
    let older = |file: &str| {
        let key = file
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'));
        key.is_some_and(|key| key.len() == 16 && key.chars().all(|c| c.is_ascii_hexdigit()))
    };
    for entry in entries.filter_map(std::result::Result::ok) {
        let layer = entry.path();
        if older(&entry.file_name().to_string_lossy()) && layer != keep && !tidy::in_use(&layer) {
            let _ = fs::remove_dir_all(layer);
        }
    }
}

/// Copies the recipe in and runs it.
fn provision(host: &Host, recipe: &Path) -> Result<()> {
    let entries = fs::read_dir(recipe).map_err(LabError::file("read", recipe))?;
    for entry in entries {
        let entry = entry.map_err(LabError::file("read", recipe))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        host.put(entry.path(), &format!("/var/lib/lab/recipe/{name}"))?;
    }
    let script = format!("cd /var/lib/lab/recipe && bash -e ./{SCRIPT}");
    host.check_for(&script, PROVISION)?;
    host.check("rm -rf /var/lib/lab/recipe").map(drop)
}

/// Two recipes with the same key are the same. For a cache: no secret hangs on it.
fn recipe_key(files: &[PathBuf], script: &str) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    script.hash(&mut hasher);
    for file in files {
        file.file_name().hash(&mut hasher);
        let bytes = fs::read(file).map_err(LabError::file("read", file))?;
        bytes.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// What a memory snapshot fits: the same devices of the same QEMU.
fn key(number: u8, shape: Shape, accelerator: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (DEVICES, number, shape, accelerator).hash(&mut hasher);
    if let Some(data) = qemu_file() {
        use std::os::unix::fs::MetadataExt as _;
        (data.size(), data.mtime()).hash(&mut hasher);
    }
    hasher.finish()
}

fn qemu_file() -> Option<fs::Metadata> {
    let path = exec::command::find(QEMU)?;
    let data: io::Result<fs::Metadata> = path.metadata();
    data.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_its_files_and_its_script() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.deb");
        fs::write(&file, "one").unwrap();
        let first = recipe_key(std::slice::from_ref(&file), "true").unwrap();
        assert_eq!(
            first,
            recipe_key(std::slice::from_ref(&file), "true").unwrap()
        );
        assert_ne!(
            first,
            recipe_key(std::slice::from_ref(&file), "false").unwrap()
        );
        fs::write(&file, "two").unwrap();
        assert_ne!(first, recipe_key(&[file], "true").unwrap());
    }

    #[test]
    fn earlier_layers_of_the_same_name_go() {
        let dir = tempfile::tempdir().unwrap();
        let keep = dir.path().join("installed-00000000000000aa");
        let old = dir.path().join("installed-00000000000000bb");
        let used = dir.path().join("installed-00000000000000cc");
        let other = dir.path().join("installed-too-00000000000000bb");
        for layer in [&keep, &old, &used.join("lab1-00"), &other] {
            fs::create_dir_all(layer).unwrap();
        }
        tidy::mark(&used.join("lab1-00"));
        forget_older(dir.path(), "installed", &keep);
        assert!(keep.exists() && other.exists());
        assert!(used.exists(), "another run is at it");
        assert!(!old.exists());
    }

    #[test]
    fn a_snapshot_fits_one_host_and_shape() {
        let shape = Shape::default();
        let more = Shape {
            memory_mib: 4096,
            ..shape
        };
        assert_eq!(key(1, shape, "tcg"), key(1, shape, "tcg"));
        assert_ne!(key(1, shape, "tcg"), key(2, shape, "tcg"));
        assert_ne!(key(1, shape, "tcg"), key(1, more, "tcg"));
        assert_ne!(key(1, shape, "tcg"), key(1, shape, "kvm"));
    }
}
