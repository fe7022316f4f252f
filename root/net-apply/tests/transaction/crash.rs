//! A process killed at every point of a change, of its undoing, of a restoration, and of the recovery after that.

use std::{
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use net_model::Config;

use crate::world::{Fuse, Host, after, before, soon};

const CHILD: &str = "VDSM_TRANSACTION_CHILD";

/// Not a test by itself: what a killed process does.
#[test]
fn child() {
    let Ok(text) = std::env::var(CHILD) else {
        return;
    };
    let mut words = text.splitn(3, ' ');
    let (deed, points, dir) = (
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap(),
    );
    let host = Host::open(Path::new(dir), Some(Fuse::new(points.parse().unwrap())));
    match deed {
        "confirm" => drop(host.begin(&after(), true).unwrap().confirm().unwrap()),
        "undo" => host.begin(&after(), true).unwrap().undo().unwrap(),
        "recover" => drop(host.all.recover(soon()).unwrap()),
        "restore" => drop(host.all.restore(true, soon()).unwrap()),
        other => panic!("{other}"),
    }
}

/// Runs a deed in a process that dies at a point; false: it came to its end.
fn dies(deed: &str, dir: &Path, point: usize) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a test starts what it kills")]
    let status: ExitStatus = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--test-threads=1"])
        .env(CHILD, format!("{deed} {point} {}", dir.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    if status.success() {
        return false;
    }
    assert_eq!(
        status.signal(),
        Some(9),
        "{deed} at {point} fails by itself"
    );
    true
}

fn each_point(deed: &str, every: usize, mut check: impl FnMut(&Path, usize)) -> usize {
    let world = crate::world::scratch();
    for point in (1..2000).step_by(every) {
        let dir = world.path().join(point.to_string());
        Host::with(&dir, &before());
        if !dies(deed, &dir, point) {
            return point;
        }
        check(&dir, point);
        std::fs::remove_dir_all(&dir).unwrap();
    }
    panic!("it never ends");
}

/// The next start: one or the other, whole; and changes are possible.
fn assert_recovers(dir: &Path, what: &str) -> bool {
    let host = Host::open(dir, None);
    host.all.recover(soon()).unwrap();
    let made = host.assert_whole(&before(), &after(), what);
    let lasts = if made { after() } else { before() };
    assert!(host.holds(&lasts), "{what}: others are not told so");
    let next = if made { before() } else { after() };
    host.begin(&next, true).unwrap().confirm().unwrap();
    let host = Host::open(dir, None);
    assert!(
        host.is(&next, &Config::default()),
        "{what}: the next change"
    );
    assert_eq!(
        host.stored(privileged::NetworkSet::Persistent),
        next,
        "{what}"
    );
    made
}

#[test]
fn killed_anywhere_in_a_change_it_is_made_or_it_is_not() {
    let mut outcomes = Vec::new();
    let points = each_point("confirm", 1, |dir, point| {
        outcomes.push(assert_recovers(dir, &format!("killed at {point}")));
    });
    assert!(points > 60, "{points} points are too few to be all");
    assert!(outcomes.contains(&true) && outcomes.contains(&false));
    // Once made, made: the point of no return is one point.
    assert!(outcomes.is_sorted(), "{outcomes:?}");
}

#[test]
fn killed_while_undoing_it_is_undone() {
    each_point("undo", 3, |dir, point| {
        let made = assert_recovers(dir, &format!("killed at {point}"));
        assert!(!made, "killed at {point}");
    });
}

#[test]
fn killed_while_recovering_it_recovers() {
    each_point("confirm", 23, |dir, point| {
        for again in (1..).step_by(5) {
            if !dies("recover", dir, again) {
                break;
            }
        }
        assert_recovers(dir, &format!("killed at {point} and again"));
    });
}

#[test]
fn killed_while_restoring_the_next_restoration_converges() {
    let world = crate::world::scratch();
    for point in (1..2000).step_by(3) {
        let dir = world.path().join(point.to_string());
        // What was set up last and is not safe goes; what is safe and not there comes.
        let host = Host::with(&dir, &before());
        host.begin(&after(), true).unwrap().confirm().unwrap();
        let host = Host::open(&dir, None);
        host.begin(&before(), false).unwrap().confirm().unwrap();
        let died = dies("restore", &dir, point);
        let host = Host::open(&dir, None);
        let restored = host.all.restore(!died, soon()).unwrap();
        assert!(restored.is_whole(), "{point}: {restored:?}");
        assert!(host.is(&after(), &before()), "killed at {point}");
        assert_eq!(host.stored(privileged::NetworkSet::Running), after());
        if !died {
            assert!(point > 30, "{point} points are too few to be all");
            return;
        }
    }
    panic!("it never ends");
}
