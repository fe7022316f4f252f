//! Killed at every call of every operation, and between: the next process leaves no orphan and tells no lie.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod common;

use common::*;
use sim::storage::{Fault, SimJournal, StorageWorld};
use storage::{CreateVolume, Result, StorageManager};
use storage_model::{Allocation, VolumeFormat, ports::UndoStep};
use uuid::Uuid;

/// What is done before, and what is killed.
struct Operation {
    name: &'static str,
    prepare: fn(&StorageWorld, &StorageManager),
    run: fn(&StorageManager, &SimJournal) -> Result<()>,
    /// After a kill: is it taken back (or was it finished), or is it always finished once it was begun?
    ends: Ends,
}

#[derive(PartialEq)]
enum Ends {
    AsBefore,
    Forward,
    Either,
}

fn nothing(_: &StorageWorld, _: &StorageManager) {}

fn one_volume(world: &StorageWorld, manager: &StorageManager) {
    create(world, manager, &raw(IMAGE, VOLUME));
}

fn chain(world: &StorageWorld, manager: &StorageManager) {
    one_volume(world, manager);
    create(world, manager, &on_top(IMAGE, uuid(0x21), IMAGE, VOLUME));
}

fn make(request: CreateVolume) -> impl Fn(&StorageManager, &SimJournal) -> Result<()> {
    move |manager, journal| manager.create_volume(&request, journal).map(|_| ())
}

const OPERATIONS: [Operation; 10] = [
    Operation {
        name: "raw sparse",
        prepare: nothing,
        run: |m, j| make(raw(IMAGE, VOLUME))(m, j),
        ends: Ends::AsBefore,
    },
    Operation {
        name: "raw preallocated",
        prepare: nothing,
        run: |m, j| {
            let request = CreateVolume {
                allocation: Allocation::Preallocated,
                ..raw(IMAGE, VOLUME)
            };
            make(request)(m, j)
        },
        ends: Ends::AsBefore,
    },
    Operation {
        name: "qcow2 in an image that is there",
        prepare: one_volume,
        run: |m, j| {
            let request =
                volume_request(id(IMAGE, uuid(0x22)), VolumeFormat::Cow, Allocation::Sparse);
            make(request)(m, j)
        },
        ends: Ends::AsBefore,
    },
    Operation {
        name: "snapshot",
        prepare: one_volume,
        run: |m, j| make(on_top(IMAGE, uuid(0x21), IMAGE, VOLUME))(m, j),
        ends: Ends::AsBefore,
    },
    Operation {
        name: "from a template",
        prepare: one_volume,
        run: |m, j| make(on_top(uuid(0x11), uuid(0x21), IMAGE, VOLUME))(m, j),
        ends: Ends::AsBefore,
    },
    Operation {
        name: "delete a leaf",
        prepare: chain,
        run: |m, j| m.delete_volumes(POOL, DOMAIN, IMAGE, &[uuid(0x21)], true, false, j),
        ends: Ends::Forward,
    },
    Operation {
        name: "delete an image",
        prepare: chain,
        run: |m, j| {
            let purge = m.delete_image(POOL, DOMAIN, IMAGE, true, false)?;
            m.purge_image(&purge, j)
        },
        ends: Ends::Forward,
    },
    Operation {
        name: "extend",
        prepare: one_volume,
        run: |m, j| m.extend_volume_size(POOL, id(IMAGE, VOLUME), 128 * MIB, j),
        ends: Ends::Either,
    },
    Operation {
        name: "describe",
        prepare: one_volume,
        run: |m, _| m.set_volume_description(POOL, id(IMAGE, VOLUME), "other"),
        ends: Ends::Either,
    },
    Operation {
        name: "name the domain",
        prepare: nothing,
        run: |m, _| m.set_domain_description(DOMAIN, "other"),
        ends: Ends::Either,
    },
];

/// Begins a new process on what the killed one left.
fn next_process(world: &StorageWorld, steps: &[UndoStep]) -> StorageManager {
    world.restart();
    let manager = manager(world);
    // the tasks' undo steps may come before or after: with both, they are between
    manager.recover();
    for step in steps {
        manager
            .undo(step)
            .unwrap_or_else(|e| panic!("{step:?}: {e}"));
    }
    assert_eq!(manager.recover(), storage::Recovery::default());
    manager
}

fn calls_of(operation: &Operation) -> (u64, Vec<String>) {
    let (world, manager) = ready();
    (operation.prepare)(&world, &manager);
    let before = world.calls();
    (operation.run)(&manager, &SimJournal::new(&world)).unwrap();
    let calls = world.calls() - before;
    check_consistent(&world);
    (calls, stored(&world))
}

fn kill_at(operation: &Operation, call: u64, fault: Fault, after: &[String]) {
    let (world, manager) = ready();
    (operation.prepare)(&world, &manager);
    let before = stored(&world);
    let journal = SimJournal::new(&world);
    world.fault_in(call, fault);
    let result = (operation.run)(&manager, &journal);
    assert!(world.is_dead(), "{}: no call {call}", operation.name);
    drop(manager);
    let manager = next_process(&world, &journal.undo_order());
    let what = format!(
        "{} killed at call {call} ({fault:?}), {result:?}",
        operation.name
    );
    check_consistent(&world);
    let now = stored(&world);
    match operation.ends {
        Ends::AsBefore => assert_eq!(now, before, "{what}"),
        Ends::Forward if !journal.undo_order().is_empty() => assert_eq!(now, after, "{what}"),
        Ends::Forward | Ends::Either => assert!(now == before || now == after, "{what}: {now:#?}"),
    }
    // the same can be asked again
    take_over(&manager);
    if now != after || operation.ends == Ends::Either {
        (operation.run)(&manager, &SimJournal::new(&world))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    check_consistent(&world);
    assert_eq!(stored(&world), after, "{what}");
}

#[test]
fn killed_at_every_call() {
    for operation in &OPERATIONS {
        let (calls, after) = calls_of(operation);
        assert!(calls > 3, "{} has {calls} calls", operation.name);
        for call in 1..=calls {
            for fault in [Fault::Kill, Fault::KillHalfway] {
                kill_at(operation, call, fault, &after);
            }
        }
    }
}

#[test]
fn killed_again_while_undoing() {
    let operation = &OPERATIONS[4];
    let (calls, _) = calls_of(operation);
    for call in 1..=calls {
        for again in 1..40 {
            let (world, manager) = ready();
            (operation.prepare)(&world, &manager);
            let before = stored(&world);
            let journal = SimJournal::new(&world);
            world.fault_in(call, Fault::KillHalfway);
            let _ = (operation.run)(&manager, &journal);
            drop(manager);
            world.restart();
            let manager = common::manager(&world);
            world.fault_in(again, Fault::Kill);
            for step in journal.undo_order() {
                let _ = manager.undo(&step);
            }
            let undone = !world.is_dead();
            drop(manager);
            next_process(&world, &journal.undo_order());
            check_consistent(&world);
            assert_eq!(stored(&world), before, "killed at {call}, again at {again}");
            if undone {
                break;
            }
        }
    }
}

#[test]
fn a_failed_call_is_undone_by_the_same_process() {
    for operation in OPERATIONS.iter().filter(|o| o.ends == Ends::AsBefore) {
        let (calls, after) = calls_of(operation);
        for call in 1..=calls {
            let (world, manager) = ready();
            (operation.prepare)(&world, &manager);
            let before = stored(&world);
            let journal = SimJournal::new(&world);
            world.fault_in(call, Fault::Error(std::io::ErrorKind::StorageFull));
            let result = (operation.run)(&manager, &journal);
            if result.is_ok() {
                assert_eq!(stored(&world), after, "{}: call {call}", operation.name);
                continue;
            }
            for step in journal.undo_order() {
                manager.undo(&step).unwrap();
            }
            check_consistent(&world);
            assert_eq!(stored(&world), before, "{}: call {call}", operation.name);
        }
    }
}

#[test]
fn a_domain_is_created_whole_or_not_at_all() {
    let all = |world: &StorageWorld, manager: &StorageManager| {
        connect(manager, FOLDER).unwrap();
        let before = world.calls();
        let done = manager.create_domain(&domain_request(DOMAIN, FOLDER));
        (done, world.calls() - before)
    };
    let whole = world();
    let (done, calls) = all(&whole, &manager(&whole));
    done.unwrap();
    for call in 1..=calls {
        for fault in [Fault::Kill, Fault::KillHalfway] {
            let world = world();
            let first = manager(&world);
            connect(&first, FOLDER).unwrap();
            world.fault_in(call, fault);
            let done = first.create_domain(&domain_request(DOMAIN, FOLDER));
            assert!(world.is_dead() && done.is_err());
            drop(first);
            let leftovers = world.paths().iter().any(|p| p.contains(".building"));
            world.restart();
            let second = manager(&world);
            let found = second.recover();
            assert_eq!(found.removed_domains.is_empty(), !leftovers, "{found:?}");
            check_consistent(&world);
            match second.domain_info(DOMAIN) {
                Ok(_) => assert_eq!(stored(&world), stored(&whole)),
                Err(_) => second
                    .create_domain(&domain_request(DOMAIN, FOLDER))
                    .unwrap(),
            }
            assert_eq!(stored(&world), stored(&whole), "killed at {call}");
        }
    }
}

#[test]
fn formatting_is_finished() {
    let fresh = || {
        let world = world();
        let manager = manager(&world);
        connect(&manager, FOLDER).unwrap();
        manager
            .create_domain(&domain_request(DOMAIN, FOLDER))
            .unwrap();
        (world, manager)
    };
    let (whole, first) = fresh();
    let before = whole.calls();
    first.format_domain(DOMAIN, false).unwrap();
    assert_eq!(stored(&whole), ["/srv/data/"]);
    for call in 1..=whole.calls() - before {
        let (world, first) = fresh();
        world.fault_in(call, Fault::Kill);
        assert!(first.format_domain(DOMAIN, false).is_err());
        drop(first);
        let second = next_process(&world, &[]);
        check_consistent(&world);
        if second.domain_info(DOMAIN).is_ok() {
            second.format_domain(DOMAIN, false).unwrap();
        }
        assert_eq!(stored(&world), ["/srv/data/"]);
    }
}

const OTHER: Uuid = Uuid::from_u128(0xd1);
const OTHER_FOLDER: &str = "/srv/other";

fn two_domains() -> (StorageWorld, StorageManager) {
    let world = StorageWorld::new(&["/dc", "/run", FOLDER, OTHER_FOLDER]);
    let manager = manager(&world);
    for (domain, folder) in [(DOMAIN, FOLDER), (OTHER, OTHER_FOLDER)] {
        connect(&manager, folder).unwrap();
        manager
            .create_domain(&domain_request(domain, folder))
            .unwrap();
    }
    (world, manager)
}

#[test]
fn a_pool_is_created_whole_or_not_at_all() {
    let (whole, first) = two_domains();
    let before = whole.calls();
    first.create_pool(&pool_request(&[DOMAIN, OTHER])).unwrap();
    for call in 1..=whole.calls() - before {
        for fault in [Fault::Kill, Fault::KillHalfway] {
            let (world, first) = two_domains();
            world.fault_in(call, fault);
            let done = first.create_pool(&pool_request(&[DOMAIN, OTHER]));
            assert!(world.is_dead(), "no call {call}: {done:?}");
            drop(first);
            let second = next_process(&world, &[]);
            check_consistent(&world);
            let pools = [DOMAIN, OTHER].map(|d| second.domain_info(d).unwrap().pools);
            assert_eq!(pools[0], pools[1], "killed at {call}");
            if pools[0].is_empty() {
                second.create_pool(&pool_request(&[DOMAIN, OTHER])).unwrap();
            }
            assert_eq!(stored(&world), stored(&whole));
        }
    }
}

#[test]
fn recovery_itself_can_be_killed() {
    let (world, manager) = ready();
    chain(&world, &manager);
    manager
        .delete_image(POOL, DOMAIN, IMAGE, false, false)
        .unwrap();
    drop(manager);
    for call in 1..30 {
        world.restart();
        let manager = common::manager(&world);
        world.fault_in(call, Fault::Kill);
        let _ = manager.recover();
        if !world.is_dead() {
            break;
        }
    }
    next_process(&world, &[]);
    check_consistent(&world);
}
