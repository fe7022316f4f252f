//! What the cache keeps no longer: snapshots and images that nobody has used for days. A snapshot is marked as used (the
//! time of its file `used`) whenever a host starts from it; snapshots of earlier devices, packages and QEMUs never are again.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{Image, image::lab_dir, testing::note};

/// Days after which a snapshot that nobody used goes; and an image that is not the current one.
const DAYS: f64 = 4.0;

const MARK: &str = "used";

/// Marks a snapshot, or an image, as used now.
pub(crate) fn mark(dir: &Path) {
    // A mark that cannot be made costs a snapshot that is made anew, some day.
    let _ = fs::write(dir.join(MARK), "now\n");
}

/// Takes away what nobody has used for days.
pub(crate) fn tidy() {
    let Ok(current) = Image::current() else {
        return;
    };
    mark(current.dir());
    let now = observe::clock::now_unix_f64();
    for image in folders(&lab_dir().join("images")) {
        if image != current.dir() && !name(&image).starts_with("new.") {
            forget_if_old(&image, now);
        }
    }
    for layer in folders(&current.dir().join("layers")) {
        for snapshot in folders(&layer) {
            if name(&snapshot).starts_with("lab") {
                forget_if_old(&snapshot, now);
            }
        }
        let snapshots = folders(&layer);
        if snapshots.iter().all(|dir| !name(dir).starts_with("lab")) {
            forget_if_old(&layer, now);
        }
    }
}

/// Was one of this layer's snapshots used within the last two hours?
pub(crate) fn in_use(layer: &Path) -> bool {
    let now = observe::clock::now_unix_f64();
    let mut marks = folders(layer)
        .into_iter()
        .filter(|snapshot| snapshot.join(MARK).exists());
    marks.any(|snapshot| now - last_used(&snapshot) < 7200.0)
}

fn forget_if_old(dir: &Path, now: f64) {
    let seconds = now - last_used(dir);
    if seconds > DAYS * 86_400.0 {
        note(&format!("{} is not used any more", dir.display()));
        let _ = fs::remove_dir_all(dir);
    }
}

/// When it was marked, else when it was made; seconds since 1970.
#[expect(
    clippy::cast_precision_loss,
    reason = "seconds of this era are exact in an f64"
)]
fn last_used(dir: &Path) -> f64 {
    let data = fs::metadata(dir.join(MARK)).or_else(|_| fs::metadata(dir));
    // What cannot be looked at stays.
    data.map_or(f64::INFINITY, |data| data.mtime() as f64)
}

/// The folders in a folder, links to folders aside.
fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let paths = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let kind = entry.file_type().ok()?;
        kind.is_dir().then(|| entry.path())
    });
    paths.collect()
}

fn name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_used_for_days_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let [old, used] = ["old", "used"].map(|name| dir.path().join(name));
        for folder in [&old, &used] {
            fs::create_dir(folder).unwrap();
        }
        let made = last_used(&old);
        let later = made + (DAYS + 1.0) * 86_400.0;
        forget_if_old(&old, made + 60.0);
        assert!(old.exists(), "it is new");
        forget_if_old(&old, later);
        assert!(!old.exists());
        mark(&used);
        forget_if_old(&used, last_used(&used) + 60.0);
        assert!(used.exists());
        assert_eq!(folders(dir.path()), [used]);
        assert!(
            last_used(&old).is_infinite(),
            "what is not there is not old"
        );
    }
}
