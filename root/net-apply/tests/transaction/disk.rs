//! The files: cut off after every act, on a full and on a read-only file system.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use net_apply::{ChangeError, store::Set};
use net_model::netconf::{
    Netconf,
    generations::{KEEP, store},
};
use privileged::{NetworkSet, Refusal};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::world::{Host, after, before};

fn netconf(config: &net_model::Config) -> Netconf {
    Netconf::default().updated(config)
}

fn put(folder: &Path, netconf: &Netconf) {
    for kind in ["nets", "bonds", "devices"] {
        fs::create_dir_all(folder.join(kind)).unwrap();
    }
    for (path, bytes) in netconf.files() {
        fs::write(folder.join(path), bytes).unwrap();
    }
}

/// The ways in which a set may be there.
fn worlds(dir: &Path, old: &Netconf) -> Vec<(&'static str, std::path::PathBuf)> {
    let link = |name: &str| {
        let folder = dir.join(name);
        fs::create_dir_all(&folder).unwrap();
        folder.join("netconf")
    };
    let plain = link("plain");
    put(&plain, old);
    let theirs = link("theirs");
    put(&theirs.with_file_name("netconf.Xy3_ab"), old);
    symlink("netconf.Xy3_ab", &theirs).unwrap();
    let absolute = link("absolute");
    let target = absolute.with_file_name("netconf.Zz");
    put(&target, old);
    symlink(target, &absolute).unwrap();
    let ours = link("ours");
    for generation in 1..KEEP + 3 {
        put(
            &ours.with_file_name(format!("netconf.g{generation:07}")),
            old,
        );
    }
    symlink(format!("netconf.g{:07}", KEEP + 2), &ours).unwrap();
    vec![
        ("plain", plain),
        ("theirs", theirs),
        ("absolute", absolute),
        ("ours", ours),
        ("none", link("none")),
    ]
}

#[test]
fn cut_off_after_any_act_the_set_is_the_old_or_the_new_one() {
    let (old, new) = (netconf(&before()), netconf(&after()));
    let count = {
        let dir = tempfile::tempdir().unwrap();
        let all = worlds(dir.path(), &old).into_iter();
        all.map(|(_, link)| store(&observe::netconf::listing(&link).unwrap(), &new, KEEP).len())
            .max()
            .unwrap()
    };
    assert!(count > 15, "{count}");
    for cut in 0..=count {
        let dir = tempfile::tempdir().unwrap();
        for (name, link) in worlds(dir.path(), &old) {
            let set = Set::open(&link).unwrap();
            let acts = store(&set.listing().unwrap(), &new, KEEP);
            for act in acts.iter().take(cut) {
                set.act(act).unwrap();
            }
            let found = observe::netconf::read(&link).unwrap();
            let what = format!(
                "{name} cut after {cut}: {:?}",
                acts.get(cut.wrapping_sub(1))
            );
            let is_old = found.netconf == old || name == "none" && !found.there;
            assert!(is_old || found.netconf == new, "{what}");
            assert!(found.problems.is_empty(), "{what}: {:?}", found.problems);
            if cut >= acts.len() {
                assert_eq!(found.netconf, new, "{what}");
            }
            // The next store leaves nothing of it.
            let prepared = set.prepare(&new, &|_| ()).unwrap();
            set.commit(&prepared, &|_| ()).unwrap();
            let found = observe::netconf::read(&link).unwrap();
            assert!(found.netconf == new && found.problems.is_empty(), "{what}");
            let listing = set.listing().unwrap();
            let known: BTreeSet<String> = listing
                .generations()
                .into_iter()
                .map(|(_, name)| name)
                .chain(["netconf".to_owned()])
                .collect();
            assert_eq!(listing.names, known, "{what}: strays");
            assert!(known.len() <= KEEP + 2, "{what}: {known:?}");
        }
    }
}

#[test]
fn everybody_may_read_and_no_link_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("staging/netconf");
    let set = Set::open(&link).unwrap();
    let prepared = set.prepare(&netconf(&after()), &|_| ()).unwrap();
    set.commit(&prepared, &|_| ()).unwrap();
    let mode = |path: &str| {
        let data = fs::metadata(link.join(path)).unwrap();
        data.permissions().mode() & 0o777
    };
    assert_eq!(mode("."), 0o755);
    assert_eq!(mode("nets"), 0o755);
    assert_eq!(mode("nets/ovirtmgmt"), 0o644);
    symlink(dir.path().join("staging"), dir.path().join("elsewhere")).unwrap();
    Set::open(&dir.path().join("elsewhere/netconf")).unwrap_err();
}

/// A host whose files and journal are on a small file system.
fn small(dir: &Path) -> Host {
    mount("tmpfs", dir, "tmpfs", MountFlags::empty(), Some(c"size=3m")).unwrap();
    Host::with(dir, &before())
}

/// Leaves so many bytes.
fn fill(dir: &Path, leave: u64) {
    use std::io::Write as _;
    let mut file = fs::File::create(dir.join("filler")).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    let size = file.metadata().unwrap().len();
    file.set_len(size.saturating_sub(leave)).unwrap();
}

/// Can this process mount at all?
fn may_mount(dir: &Path) -> bool {
    let may = mount("tmpfs", dir, "tmpfs", MountFlags::empty(), None)
        .and_then(|()| unmount(dir, UnmountFlags::empty()));
    if let Err(error) = may {
        println!("skipped: cannot mount a tmpfs: {error}");
    }
    may.is_ok()
}

#[test]
fn a_full_disk_changes_nothing() {
    guard::isolated!(|| {
        let dir = tempfile::tempdir().unwrap();
        if !may_mount(dir.path()) {
            return;
        }
        let mut outcomes = BTreeSet::new();
        for pages in 0..40 {
            let host = small(dir.path());
            let pending = host.begin(&after(), true).unwrap();
            // The model's own file is on this disk, too.
            host.model
                .unsaved
                .store(true, std::sync::atomic::Ordering::SeqCst);
            fill(dir.path(), pages * 4096);
            let done = pending.confirm();
            outcomes.insert(done.is_ok());
            if let Err(error) = &done {
                let Refusal::Network { message, .. } = error.refusal() else {
                    panic!("{pages}: {error:?}");
                };
                assert!(message.contains("No space left"), "{message}");
            }
            let made = host.assert_whole(&before(), &after(), &format!("{pages} pages"));
            assert_eq!(made, done.is_ok());
            drop(host);
            unmount(dir.path(), UnmountFlags::empty()).unwrap();
        }
        assert_eq!(outcomes.len(), 2, "some fit, some do not");
        // And without room for the journal nothing begins.
        let host = small(dir.path());
        host.model
            .unsaved
            .store(true, std::sync::atomic::Ordering::SeqCst);
        fill(dir.path(), 0);
        let error = host.begin(&after(), true).unwrap_err();
        assert!(
            matches!(error, ChangeError::Journal(_) | ChangeError::Tables(_)),
            "{error:?}"
        );
        assert!(!host.assert_whole(&before(), &after(), "no journal"));
        let error = host.all.persist();
        assert!(error.is_ok(), "nothing to store");
        drop(host);
        unmount(dir.path(), UnmountFlags::empty()).unwrap();
    });
}

#[test]
fn a_disk_that_becomes_read_only_undoes() {
    guard::isolated!(|| {
        let dir = tempfile::tempdir().unwrap();
        if !may_mount(dir.path()) {
            return;
        }
        let host = small(dir.path());
        let pending = host.begin(&after(), true).unwrap();
        host.model
            .unsaved
            .store(true, std::sync::atomic::Ordering::SeqCst);
        mount_remount(dir.path(), MountFlags::RDONLY, c"").unwrap();
        let error = pending.confirm().unwrap_err();
        let Refusal::Network { message, .. } = error.refusal() else {
            panic!("{error:?}");
        };
        assert!(message.contains("Read-only file system"), "{message}");
        assert!(host.is(&before(), &after()));
        assert_eq!(host.stored(NetworkSet::Running), before());
        // No change begins, and none is forgotten.
        host.begin(&after(), true).unwrap_err();
        mount_remount(dir.path(), MountFlags::empty(), c"").unwrap();
        host.all.recover(crate::world::soon()).unwrap().unwrap();
        assert!(!host.assert_whole(&before(), &after(), "writable again"));
        drop(host);
        unmount(dir.path(), UnmountFlags::empty()).unwrap();
    });
}
