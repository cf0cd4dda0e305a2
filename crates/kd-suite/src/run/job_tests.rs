use std::fs;

use kd_core::record::{AttackRecord, FinalRecord, Record};
use kd_core::{Error, Result};
use kd_train::Outcome;

use super::super::testing::{spec, timeless};
use super::*;
use crate::{Setting, run};

fn words(job: &Job<'_>) -> String {
    match job {
        Job::Choice(training) => training.choice_name(),
        Job::Training(training) => training.name.clone(),
        Job::Evaluation(section, source) => format!("{} {source}", section.name),
        Job::Census(_, source) => format!("census {source}"),
        Job::Attack(section, source, spec) => {
            format!("{} {} {source}", section.name, spec.as_dyn().eps().unwrap())
        }
        Job::Pictures(section, source) => format!("pictures {} {source}", section.name),
        Job::Audit(_, source) => format!("audit {source}"),
        Job::WorstCase(source) => format!("worst case {source}"),
    }
}

#[test]
fn jobs_come_in_the_order_of_the_file() {
    let spec = spec(1);
    let (teacher, student) = ("teacher/teacher", "students/alpha0.5-t4");
    let want = [
        "teacher".to_owned(),
        "students".into(),
        "seen students/alpha0.5-t1".into(),
        "seen students/alpha0.5-t4".into(),
        format!("census {teacher}"),
        format!("fgsm 0.1 {teacher}"),
        format!("fgsm 0.2 {teacher}"),
        format!("pictures fgsm {teacher}"),
        format!("fgsm 0.1 {student}"),
        format!("fgsm 0.2 {student}"),
        format!("pictures fgsm {student}"),
        format!("pgd 0.1 {teacher}"),
        format!("audit {teacher}"),
        format!("worst case {teacher}"),
        format!("worst case {student}"),
    ];
    assert_eq!(jobs(&spec).iter().map(words).collect::<Vec<_>>(), want);
}

#[test]
fn a_record_belongs_to_one_job_and_seed() {
    let spec = spec(2);
    let jobs = jobs(&spec);
    let whose = |record: &Record, seed| {
        let own = jobs.iter().filter(|job| job.is_recorded_by(record, seed));
        own.map(words).collect::<Vec<_>>()
    };
    let attack = Record::Attack(AttackRecord {
        seed: 1,
        id: ModelId::new("teacher", "teacher"),
        attack: "fgsm".into(),
        eps: Some(f64::from(0.2_f32)),
        ..AttackRecord::default()
    });
    assert_eq!(whose(&attack, 1), ["fgsm 0.2 teacher/teacher"]);
    assert!(whose(&attack, 0).is_empty());
    let ended = |model: &str| {
        let (training, model) = ("students".into(), model.into());
        Record::Final(Box::new(FinalRecord {
            id: ModelId { training, model },
            ..FinalRecord::default()
        }))
    };
    assert!(whose(&ended("alpha0.5-t1"), 0).is_empty(), "the last student is not done");
    assert_eq!(whose(&ended("alpha0.5-t4"), 0), ["students"]);
}

#[test]
fn costs_are_passes_of_images() {
    let spec = spec(1);
    let costs: Vec<_> = jobs(&spec).iter().map(|job| job.passes(784).map(|c| (c.1, c.2))).collect();
    let fgsm = [Some((6, 1)), Some((6, 1)), Some((1, 1))];
    let want = [
        &[None, None, None, None, Some((4, 1))][..],
        &fgsm,
        &fgsm,
        &[Some((6, 2)), Some((4, 14 * 2 + 1)), None, None],
    ];
    assert_eq!(costs, want.concat());
}

#[test]
fn a_run_goes_on_where_its_records_end() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    let (outcome, _) = run(spec(1), &Setting::new(&whole)).unwrap();
    assert_eq!(outcome, Outcome::Finished);
    let want = timeless(&whole);
    let count = |event: &str| want.iter().filter(|record| record["event"] == event).count();
    assert_eq!((count("final"), count("census"), count("audit")), (3, 1, 1));
    let seen: Vec<_> = want.iter().filter(|r| r["event"] == "evaluation").collect();
    assert_eq!((seen.len(), seen[0]["evaluation"]["total"].as_u64()), (2, Some(60)));
    assert_eq!((count("attack"), count("pictures")), (5 + 1, 2), "five and a worst case");

    // As a process leaves it that was stopped at once, and one that was killed after a job.
    let stopped = Setting::new(&cut);
    stopped.stop.store(true, Ordering::Relaxed);
    assert_eq!(run(spec(1), &stopped).unwrap().0, Outcome::Interrupted);
    assert_eq!(run(spec(1), &Setting::new(&cut)).unwrap().0, Outcome::Finished);
    assert_eq!(timeless(&cut), want);
    let metrics = cut.join("metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    let census = text.find("{\"event\":\"census\"").unwrap();
    fs::write(&metrics, &text[..census]).unwrap();
    assert_eq!(run(spec(1), &Setting::new(&cut)).unwrap().0, Outcome::Finished);
    assert_eq!(timeless(&cut), want);
    assert!(!cut.join("attack-state").exists());
}

#[test]
fn a_folder_holds_one_run() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut stopped = Setting::new(&out);
    stopped.stop.store(true, Ordering::Relaxed);
    run(spec(2), &stopped)?;
    let leftover = out.join("checkpoints/.tmp123");
    fs::write(&leftover, "torn").unwrap();
    let error = run(spec(1), &stopped).unwrap_err();
    assert!(matches!(&error, Error::Config { field, .. } if field == "out"), "{error}");
    run(spec(2), &stopped)?;
    assert!(!leftover.exists(), "what a killed process left is swept away");
    stopped.out = folder.path().join("other");
    run(spec(1), &stopped).map(drop)
}

#[test]
fn a_run_ends_with_its_seeds_before_it_goes_on_with_more() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let setting = Setting::new(folder.path().join("out"));
    setting.stop.store(true, Ordering::Relaxed);
    run(spec(1), &setting)?;
    let (outcome, report) = run(spec(2), &setting)?;
    assert_eq!((outcome, report.seeds), (kd_train::Outcome::Interrupted, 1));
    setting.stop.store(false, Ordering::Relaxed);
    let (outcome, report) = run(spec(2), &setting)?;
    assert_eq!((outcome, report.seeds), (kd_train::Outcome::Finished, 2));
    assert!(report.models.iter().all(|model| model.last.n == 2), "{:?}", report.models);
    Ok(())
}

#[test]
fn a_run_does_not_go_on_without_what_it_kept() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let (out, file) = (folder.path().join("out"), folder.path().join("out/mine.txt"));
    let mut setting = Setting::new(&out);
    run(spec(1), &setting)?;
    let (records, weights) =
        (timeless(&out), out.join("checkpoints/students-seed0/alpha0.5-t1/model.safetensors"));
    let bytes = fs::read(&weights).unwrap();
    fs::write(&file, "mine").unwrap();
    fs::remove_file(&weights).unwrap();
    let error = run(spec(1), &setting).unwrap_err();
    assert!(matches!(&error, Error::Missing { path, .. } if *path == weights), "{error}");
    assert!(error.to_string().contains("--restart"), "{error}");

    setting.restart = true;
    run(spec(1), &setting)?;
    assert_eq!((timeless(&out), fs::read(&weights).unwrap()), (records, bytes));
    assert_eq!(fs::read_to_string(file).unwrap(), "mine", "only what a run wrote is removed");
    Ok(())
}

#[test]
fn a_training_does_not_begin_again_beside_its_own_records() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let setting = Setting::new(&out);
    run(spec(1), &setting)?;
    // As after an epoch of the students: their state is there, and no model is done.
    let metrics = out.join("metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    let at = |event: &str| text.find(event).unwrap();
    let end = at("{\"event\":\"final\",\"seed\":0,\"training\":\"students\"");
    fs::write(&metrics, &text[..end]).unwrap();
    let error = run(spec(1), &setting).unwrap_err();
    assert!(error.to_string().contains("students-seed0-state"), "{error}");
    Ok(())
}
