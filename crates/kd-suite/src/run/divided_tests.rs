use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use kd_core::{Error, Lease, Result};
use kd_train::Outcome;

use super::super::testing::{spec, timeless};
use super::super::{State, Tasks};
use crate::{Setting, Size, divide, run, run_task};

/// The records of the run in one piece.
fn want(seeds: u64) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().unwrap();
    run(spec(seeds), &Setting::new(folder.path())).unwrap();
    timeless(folder.path())
}

/// A run that is divided, with the tasks of at most so many seconds.
fn divided(out: &Path, seeds: u64, seconds: f64) -> (Setting, Tasks) {
    let setting = Setting::new(out);
    let tasks = divide(spec(seeds), &setting, Size { seconds, students: None }).unwrap();
    (setting, tasks)
}

fn task(setting: &Setting, seeds: u64, number: usize) -> Result<Outcome> {
    run_task(spec(seeds), setting, number)
}

#[test]
fn tasks_leave_the_records_of_a_run_in_one_piece() {
    let folder = tempfile::tempdir().unwrap();
    let (setting, tasks) = divided(folder.path(), 2, 0.0);
    assert_eq!(tasks.tasks.len(), tasks.units.len() + 1, "each unit is a task");
    // The order within a stage does not matter: seeds backwards.
    let mut order: Vec<usize> = (0..tasks.tasks.len()).collect();
    order.sort_by_key(|&number| (tasks.tasks[number].stage, std::cmp::Reverse(number)));
    for number in order {
        assert_eq!(task(&setting, 2, number).unwrap(), Outcome::Finished);
    }
    assert_eq!(timeless(folder.path()), want(2));
    let states = tasks.states(folder.path()).unwrap();
    assert!(states.iter().all(|state| *state == State::Done));
    assert!(
        !fs::read_dir(folder.path().join("units"))
            .unwrap()
            .flatten()
            .any(|entry| { entry.file_name().to_string_lossy().ends_with("-state") })
    );
    // Once more, all of it is done.
    task(&setting, 2, 0).unwrap();
    run(spec(2), &setting).unwrap();
    assert_eq!(timeless(folder.path()), want(2));
}

#[test]
fn students_come_after_teachers_and_attacks_after_both() {
    let folder = tempfile::tempdir().unwrap();
    let (_, tasks) = divided(folder.path(), 2, 1e9);
    let place = |name: &str| tasks.units.iter().position(|unit| unit.name.ends_with(name)).unwrap();
    let needs = |name: &str| &tasks.units[place(name)].needs;
    assert!(needs("teacher-seed1").is_empty());
    assert_eq!(*needs("students-seed1"), [place("teacher-seed1")]);
    assert_eq!(
        *needs("pgd-teacher-teacher-eps0.1-seed0"),
        [place("-teacher-seed0"), place("students-seed0")]
    );
    assert_eq!(needs("worst-case-teacher-teacher-seed0").len(), 1 + 3, "its training, its attacks");
    let stages: Vec<usize> = tasks.tasks.iter().map(|task| task.stage).collect();
    assert_eq!(stages, [0, 1, 2, 3, 4], "what is short is bundled");
}

#[test]
fn a_stopped_task_goes_on_and_the_rest_can_be_done_here() {
    let folder = tempfile::tempdir().unwrap();
    let (mut setting, tasks) = divided(folder.path(), 1, 1e9);
    setting.stop.store(true, Ordering::Relaxed);
    assert_eq!(task(&setting, 1, 0).unwrap(), Outcome::Interrupted);
    assert_eq!(tasks.states(folder.path()).unwrap()[0], State::Queued { epoch: None });
    assert_eq!(run(spec(1), &setting).unwrap().0, Outcome::Interrupted);
    setting.stop = Default::default();
    task(&setting, 1, 0).unwrap();
    assert_eq!(run(spec(1), &setting).unwrap().0, Outcome::Finished);
    assert_eq!(timeless(folder.path()), want(1));
}

#[test]
fn what_lacks_something_says_so_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (setting, tasks) = divided(folder.path(), 1, 1e9);
    let error = task(&setting, 1, 1).unwrap_err().to_string();
    assert!(
        error.contains("students-seed0 needs 0000-teacher-seed0, which is not done"),
        "{error}"
    );
    let state = &tasks.states(folder.path()).unwrap()[1];
    assert!(matches!(state, State::Queued { .. }), "nothing is wrong with it: {state:?}");
    let error = task(&setting, 1, tasks.tasks.len() - 1).unwrap_err().to_string();
    assert!(error.contains("not done: 0000-teacher-seed0, 0001-students-seed0"), "{error}");
    assert!(task(&setting, 1, 99).unwrap_err().to_string().contains("there is no 99"));
}

#[test]
fn a_failure_is_kept_until_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let (setting, tasks) = divided(folder.path(), 1, 1e9);
    task(&setting, 1, 0).unwrap();
    let weights = folder.path().join("checkpoints/teacher-seed0/teacher");
    let aside = folder.path().join("aside");
    fs::rename(&weights, &aside).unwrap();
    let error = task(&setting, 1, 1).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    let state = &tasks.states(folder.path()).unwrap()[1];
    assert!(matches!(state, State::Failed { reason } if *reason == error.to_string()), "{state:?}");
    let error = task(&setting, 1, 2).unwrap_err().to_string();
    assert!(error.contains("students-seed0, which failed: "), "{error}");
    fs::rename(&aside, &weights).unwrap();
    run(spec(1), &setting).unwrap();
    assert_eq!(timeless(folder.path()), want(1));
}

#[test]
fn a_run_is_in_one_piece_or_divided_and_tasks_do_not_meet_it() {
    let folder = tempfile::tempdir().unwrap();
    let (setting, tasks) = divided(folder.path(), 1, 1e9);
    let unit = folder.path().join("units").join(&tasks.units[0].name);
    let lease = Lease::take(&unit, || ()).unwrap();
    assert!(matches!(run(spec(1), &setting), Err(Error::Busy { .. })), "a task is at work");
    let again = Setting { restart: true, ..setting.clone() };
    assert!(matches!(run(spec(1), &again), Err(Error::Busy { .. })), "nothing is removed below it");
    assert!(folder.path().join("tasks.json").exists());
    drop(lease);
    let lease = Lease::take(&folder.path().join("run"), || ()).unwrap();
    assert!(matches!(task(&setting, 1, 0), Err(Error::Busy { .. })), "all of it is somebody's");
    drop(lease);
    fs::remove_file(folder.path().join("tasks.json")).unwrap();
    let error = task(&setting, 1, 0).unwrap_err().to_string();
    assert!(error.contains("is not divided"), "{error}");
    run(spec(1), &setting).unwrap();
    let error = divide(spec(1), &setting, Size::default()).unwrap_err().to_string();
    assert!(error.contains("in one piece") && error.contains("--restart"), "{error}");
    let error = run_task(spec(2), &setting, 0).unwrap_err().to_string();
    assert!(error.contains("another run"), "{error}");
}

#[test]
fn many_processes_that_do_everything_do_each_unit_once() {
    let folder = tempfile::tempdir().unwrap();
    let (setting, tasks) = divided(folder.path(), 2, 0.0);
    let (setting, last) = (&setting, tasks.tasks.len() - 1);
    for stage in 0..4 {
        let numbers: Vec<usize> = (0..last).filter(|&n| tasks.tasks[n].stage == stage).collect();
        std::thread::scope(|scope| {
            for mine in [numbers.clone(), numbers.into_iter().rev().collect()] {
                let each = move |n| assert_eq!(task(setting, 2, n).unwrap(), Outcome::Finished);
                scope.spawn(move || mine.into_iter().for_each(each));
            }
        });
    }
    task(setting, 2, last).unwrap();
    assert_eq!(timeless(folder.path()), want(2));
}

#[test]
fn the_students_of_a_cohort_may_be_trained_apart() {
    let folder = tempfile::tempdir().unwrap();
    let setting = Setting::new(folder.path());
    let tasks = divide(spec(1), &setting, Size { seconds: 0.0, students: Some(1) }).unwrap();
    let names: Vec<&str> = tasks.units.iter().map(|unit| &*unit.name).take(4).collect();
    let parts = ["0001-students-seed0-from1", "0002-students-seed0-from2"];
    assert_eq!(
        names,
        ["0000-teacher-seed0", parts[0], parts[1], "0003-seen-students-alpha0.5-t1-seed0"]
    );
    assert_eq!(tasks.units[3].needs, [1, 2]);
    for number in [0, 2, 1] {
        task(&setting, 1, number).unwrap();
    }
    run(spec(1), &setting).unwrap();
    assert_eq!(timeless(folder.path()), want(1));
    let none = divide(spec(1), &setting, Size { seconds: 0.0, students: Some(0) }).unwrap_err();
    assert!(none.to_string().contains("students"), "{none}");
}
