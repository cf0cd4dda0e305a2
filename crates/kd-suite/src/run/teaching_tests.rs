//! Ways of teaching, each as a suite.

use std::path::Path;

use kd_core::record::{self, EpochRecord, FinalRecord, Record};
use kd_core::{Error, Result};

use super::run;
use crate::Setting;
use crate::suite::{Suite, resolve};

const SUITE: &str = r#"
    suite = "tiny"
    data = { kind = "synthetic-digits", n_train = 90, n_test = 40 }
    plan = { n_epochs = 2, batch_size = 20, learning_rate = 0.01 }

    [[training]]
    name = "teacher"
    model = "mlp-8"
    student = [{ name = "teacher", loss = { kind = "labels" } }]

    [[training]]
    name = "students"
    model = "mlp-6"
    teacher = "teacher"
"#;

const SOFT: &str =
    r#"student = [{ name = "kd", loss = { kind = "distill", alpha = 1, temperature = 4 } }]"#;

/// The records of the suite with `rest` in its second training.
fn records(rest: &str, out: &Path) -> Result<Vec<Record>> {
    let suite = Suite::parse("suite", &format!("{SUITE}{rest}"))?;
    run(resolve(&suite, "quick", false, 1)?, &Setting::new(out))?;
    Ok(record::read(&out.join("metrics.jsonl")).unwrap())
}

fn last(records: &[Record], model: &str) -> FinalRecord {
    let last = |record: &Record| match record {
        Record::Final(last) if last.id.model == model => Some((**last).clone()),
        _ => None,
    };
    records.iter().find_map(last).unwrap()
}

fn epochs(records: &[Record], model: &str) -> Vec<EpochRecord> {
    let epoch = |record: &Record| match record {
        Record::Epoch(epoch) if epoch.id.model == model => Some(epoch.clone()),
        _ => None,
    };
    records.iter().filter_map(epoch).collect()
}

fn refused(rest: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let error = records(rest, folder.path()).unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_student_learns_from_a_part_of_the_images() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(&format!("n_train = 25\n{SOFT}"), folder.path()).unwrap();
    assert_eq!(last(&records, "kd").how.n_train, 25);
    assert_eq!(last(&records, "teacher").how.n_train, 90);
}

#[test]
fn a_student_learns_from_images_without_labels() {
    let folder = tempfile::tempdir().unwrap();
    let transfer =
        r#"transfer = { kind = "synthetic-digits", n_train = 50, n_test = 1, seed = 7 }"#;
    let other = records(&format!("{transfer}\n{SOFT}"), &folder.path().join("other")).unwrap();
    assert_eq!(last(&other, "kd").how.n_train, 50);
    let own = records(SOFT, &folder.path().join("own")).unwrap();
    let [other, own] = [other, own].map(|all| epochs(&all, "kd")[0].train_loss.to_bits());
    assert_ne!(other, own, "other images");
}

#[test]
fn images_without_labels_are_not_asked_for_them() {
    let transfer = r#"transfer = { kind = "synthetic-digits", n_train = 50, n_test = 1 }"#;
    let hard = SOFT.replace("alpha = 1", "alpha = 0.5");
    assert!(refused(&format!("{transfer}\n{hard}")).contains("`kd` of `students` looks at labels"));
    assert!(refused(&format!("{transfer}\nomit_class = 3\n{SOFT}")).contains("no labels"));
    let objects = r#"transfer = { kind = "synthetic-objects", n_train = 50, n_test = 1 }"#;
    assert!(refused(&format!("{objects}\n{SOFT}")).contains("its images are [3, 32, 32]"));
}

#[test]
fn students_that_teach_each_other_begin_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mutual = r#"student = [
        { name = "labels", loss = { kind = "labels" } },
        { name = "a", loss = { kind = "mutual" } },
        { name = "b", loss = { kind = "mutual" } },
    ]"#;
    let all = records(mutual, folder.path()).unwrap();
    let losses = ["a", "b"].map(|model| epochs(&all, model)[0].train_loss.to_bits());
    assert_ne!(losses[0], losses[1], "equal networks would have equal losses");
    assert!(!last(&all, "a").how.is_distilled(), "there is no teacher");
    let alone = r#"student = [{ name = "a", loss = { kind = "mutual" } }]"#;
    assert!(refused(alone).contains("learns from other students"));
}
