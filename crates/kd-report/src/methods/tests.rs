//! Made-up methods, as `kd run` leaves them.

use kd_core::record::{
    CandidateRecord, Compute, EpochRecord, Evaluation, FinalRecord, ModelId, Objective, Record,
    RunRecord, Trained,
};
use serde_json::json;

use super::Methods;
use crate::fixture::{distill, objective};
use crate::paired::Told;
use crate::tests::{Written, assert_well_formed, write};

const N_TEST: usize = 10_000;

/// A student: its name, its objective, images of which it learns in each of two epochs, and the test
/// images that it has right with each seed.
type Student = (&'static str, Objective, u64, [usize; 3]);

fn students() -> [Student; 6] {
    let other = |kind: &str| objective(json!({ "kind": kind, "beta": 2.0 }));
    [
        ("labels", Objective::default(), 1000, [6000, 6010, 5990]),
        ("smooth", other("label-smoothing"), 1000, [6005, 6000, 6010]),
        ("kd-cold", distill(0.5, 1.0), 1000, [6150, 6100, 6200]),
        ("kd", distill(0.9, 4.0), 1000, [6100, 6110, 6090]),
        ("dkd", other("dkd"), 1000, [6200, 6212, 6188]),
        ("views", other("mlkd"), 2000, [6300, 6310, 6290]),
    ]
}

fn records(n_seeds: usize) -> Vec<Record> {
    let run = RunRecord { suite: "referee".into(), seeds: n_seeds as u64, ..RunRecord::default() };
    let mut records = vec![Record::Run(run)];
    for place in 1..=2 {
        records.push(Record::Candidate(Box::new(CandidateRecord {
            seed: 1_000_000,
            id: ModelId::new("methods", "dkd"),
            cohort: "methods-choice".into(),
            candidate: place,
            most: 3,
            loss: objective(json!({ "kind": "dkd", "beta": place as f64 })),
            n_epochs: 1,
            n_holdout: 500,
            holdout_top1: Some(0.1 * place as f64),
            chosen: place == 2,
            ..CandidateRecord::default()
        })));
    }
    records.push(Record::Epoch(EpochRecord {
        seed: 1_000_000,
        id: ModelId::new("methods-choice", "dkd-1"),
        ..EpochRecord::default()
    }));
    for seed in 0..n_seeds {
        students().iter().for_each(|student| records.extend(trained(student, seed)));
    }
    records
}

fn trained((name, loss, n_images, correct): &Student, seed: usize) -> Vec<Record> {
    let (id, top1) = (ModelId::new("methods", *name), correct[seed] as f64 / N_TEST as f64);
    let taught = !["labels", "smooth"].contains(name);
    let epoch = |epoch: u64| {
        Record::Epoch(EpochRecord {
            seed: seed as u64,
            id: id.clone(),
            epoch,
            test_top1: Some(top1 - 0.1 * (2 - epoch) as f64),
            ..EpochRecord::default()
        })
    };
    let last = FinalRecord {
        seed: seed as u64,
        id: id.clone(),
        how: Trained { loss: loss.clone(), taught, n_epochs: 2, ..Trained::default() },
        last: Evaluation { total: N_TEST, correct: correct[seed], top1, ..Evaluation::default() },
        // Held-out images like another temperature best than the test images do.
        holdout_top1: Some(if *name == "kd" { 0.7 } else { 0.6 }),
        compute: Some(Compute {
            student_passes: 2 * n_images,
            teacher_asked: if taught { 2 * n_images } else { 0 },
            ..Compute::default()
        }),
        ..FinalRecord::default()
    };
    vec![epoch(1), epoch(2), Record::Final(last.into())]
}

fn methods(records: &[Record]) -> Methods {
    let mut all = write(records).report.methods;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn methods_stand_beside_tuned_distillation_and_labels_alone() {
    let methods = methods(&records(3));
    assert_eq!((&*methods.labels, methods.kd.as_deref()), ("labels", Some("kd")));
    let names: Vec<_> = methods.methods.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["views", "dkd", "kd-cold", "kd", "smooth", "labels"]);
    let of = |name: &str| methods.methods.iter().find(|one| one.name == name).unwrap();
    let (dkd, kd) = (of("dkd"), of("kd"));
    // By seed 100, 102 and 98 images: mean 100. What is left of all accuracies has a sum of squares of 5881 2/3 images,
    // over 10 degrees of freedom, and a difference twice that variance.
    let over_kd = dkd.over_kd.unwrap();
    assert!(
        (over_kd.paired.mean - 0.01).abs() < 1e-12
            && (over_kd.paired.std - 1e-4 * (2.0f64 * 588.166_666_666_7).sqrt()).abs() < 1e-12
    );
    assert_eq!((over_kd.told, dkd.n_candidates, kd.n_candidates), (Told::Better, 2, 1));
    assert!(kd.over_kd.is_none() && kd.over_labels.unwrap().told == Told::Better);
    assert_eq!(of("labels").over_kd.unwrap().told, Told::Worse);
    // 5, -10 and 20 images.
    assert_eq!(of("smooth").over_labels.unwrap().told, Told::Open);
    assert_eq!((of("views").cost, dkd.cost), (Some(2.0), Some(1.0)));
    assert_eq!((dkd.rank.place, dkd.rank.range), (2, [2, 2]));
    assert!(methods.least_told.unwrap() > 0.0);
}

#[test]
fn the_report_says_first_whether_anything_beats_tuned_distillation() {
    let Written { report, html, markdown, .. } = write(&records(3));
    assert_well_formed(&html);
    assert!(report.unfinished.is_empty(), "candidates are no models that are still to end");
    let lead = "Of 1 method, 1 (`dkd`) beats tuned distillation (`kd`, 61.00 ± 0.10 percent; labels alone \
                60.00 ± 0.10) at equal compute here; the largest difference is that of `dkd`: +1.00 points, 95 % \
                interval +0.56 to +1.44, p";
    assert!(report.methods[0].summary.starts_with(lead) && markdown.contains(lead), "{markdown}");
    assert!(markdown.contains("`views` (2.00 times as many, +2.00 points)"));
    assert!(html.contains("test accuracy against compute") && html.contains("<svg"));
    let budget =
        "1 student had several objectives to choose from, 2 each of the 3 that were allowed";
    assert!(markdown.contains(budget) && markdown.contains("\u{2713} chosen"), "{markdown}");
    for words in ["\u{25b2} better", "\u{25bc} worse", "\u{2248} cannot be told"] {
        assert!(markdown.contains(words) && html.contains(words), "{words}");
    }
}

#[test]
fn what_is_not_a_comparison_of_methods_has_no_such_section() {
    assert!(write(&records(1)).report.methods.is_empty(), "one seed");
    let only = |names: &[&str]| {
        let mut records = records(2);
        records.retain(|record| match record {
            Record::Final(last) => names.contains(&&*last.id.model),
            _ => true,
        });
        write(&records).report.methods
    };
    assert!(
        only(&["labels", "smooth", "kd", "kd-cold"]).is_empty(),
        "one objective with a teacher"
    );
    assert!(only(&["smooth", "kd", "dkd"]).is_empty(), "no student of labels alone");
    let without_kd = only(&["labels", "dkd", "views"]);
    assert!(without_kd[0].kd.is_none() && without_kd[0].methods[1].over_kd.is_none());
}
