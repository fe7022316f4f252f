//! Waiting: what is waited for, what is told meanwhile, and how it ends.

use serde_json::{Value, json};

use super::{BAD_TASK, GOOD_TASK, LONG_TASK, World, ran};
use crate::wait::Starts;

fn run(world: &World, args: &[&str]) -> super::Ran {
    world.run(&[&["--timeout", "60"], args].concat())
}

#[test]
fn a_verb_that_starts_a_task_is_followed_to_its_end() {
    let world = World::new();
    let start = ["--wait", "StoragePool", "spmStart", "storagepoolID=p"];
    let ran = run(
        &world,
        &[
            &start[..],
            &["prevID=-1", "prevLver=-1", "enableScsiFencing=false"],
        ]
        .concat(),
    );
    assert_eq!(ran.code, 0, "{}", ran.errors);
    let answer: Value = serde_json::from_str(&ran.output).unwrap();
    assert_eq!(answer["taskID"], GOOD_TASK);
    assert_eq!(answer["taskResult"], "success");
    assert_eq!(
        ran.errors,
        format!(
            "task {GOOD_TASK}: running: running job 1 of 1\n\
             task {GOOD_TASK}: finished: 1 jobs completed successfully\n"
        )
    );
}

#[test]
fn a_task_that_failed_ends_with_5() {
    let world = World::new();
    let ran = run(
        &world,
        &[
            "Task",
            "getStatus",
            &format!("taskID={BAD_TASK}"),
            "--wait=600",
        ],
    );
    assert_eq!((ran.code, ran.output.as_str()), (5, ""));
    let expected = format!(
        "vdsm-client: task {BAD_TASK} failed and was undone (code=201, message=Volume does not exist)\n"
    );
    assert!(ran.errors.ends_with(&expected), "{}", ran.errors);
}

#[test]
fn a_task_that_takes_too_long_ends_with_4_and_says_how_to_follow_it() {
    let world = World::new();
    let ran = run(
        &world,
        &[
            "--wait=0.3",
            "Task",
            "getStatus",
            &format!("taskID={LONG_TASK}"),
        ],
    );
    assert_eq!((ran.code, ran.output.as_str()), (4, ""));
    let port = world.address.port();
    let last = format!(
        "vdsm-client: waiting (task {LONG_TASK} goes on) timed out after 0.3 seconds\n\
         Follow it: vdsm-client --host 127.0.0.1 --port {port} --insecure --timeout 60 --wait Task getStatus \
         taskID={LONG_TASK}\n"
    );
    assert!(ran.errors.ends_with(&last), "{}", ran.errors);
}

#[test]
fn jobs_are_followed_with_their_progress() {
    let world = World::new();
    let ids = |ids: &[&str]| format!("job_ids={}", json!(ids));
    let one = run(&world, &["--wait", "Host", "getJobs", &ids(&[GOOD_TASK])]);
    assert_eq!(one.code, 0, "{}", one.errors);
    assert_eq!(
        one.errors,
        format!("job {GOOD_TASK}: running: copy 40%\njob {GOOD_TASK}: done: copy 100%\n")
    );
    let answer: Value = serde_json::from_str(&one.output).unwrap();
    assert_eq!(answer[GOOD_TASK]["status"], "done");
    let two = run(
        &world,
        &["--wait", "Host", "getJobs", &ids(&[GOOD_TASK, BAD_TASK])],
    );
    assert_eq!(two.code, 5);
    let failed = format!("vdsm-client: job {BAD_TASK} failed (code=260, message=disk is full)\n");
    assert!(two.errors.ends_with(&failed), "{}", two.errors);
    let gone = run(&world, &["--wait", "Host", "getJobs", &ids(&[LONG_TASK])]);
    assert_eq!(gone.code, 5);
    assert!(
        gone.errors.contains("is not known to the agent"),
        "{}",
        gone.errors
    );
}

#[test]
fn what_cannot_be_waited_for_is_wrong_usage() {
    let nothing = ran(&["--wait", "Host", "ping2"], "");
    assert_eq!(nothing.code, 2);
    assert!(
        nothing.errors.contains("neither a task nor a job"),
        "{}",
        nothing.errors
    );
    let world = World::new();
    let unnamed = run(&world, &["--wait", "Task", "getStatus"]);
    assert_eq!(unnamed.code, 2);
    assert!(
        unnamed.errors.contains("needs the parameter taskID"),
        "{}",
        unnamed.errors
    );
}

#[test]
fn declarations_tell_what_a_verb_starts() {
    let starts = |method| schema::find(method).and_then(Starts::by);
    assert_eq!(starts("Volume.create"), Some(Starts::Task));
    assert_eq!(starts("Image.delete"), Some(Starts::Task));
    assert_eq!(starts("Task.getStatus"), Some(Starts::AsksTask));
    assert_eq!(starts("Host.getVMList"), None);
    assert_eq!(starts("LVMVolumeGroup.create"), None);
    assert_eq!(starts("SDM.copy_data"), Some(Starts::Job));
    assert_eq!(starts("VM.seal"), Some(Starts::Job));
}
