use std::path::Path;
use std::sync::atomic::Ordering;

use kd_core::record::{self, EpochRecord, FinalRecord};
use kd_train::Outcome;

use super::super::job::{Job, jobs};
use super::super::testing::timeless;
use super::*;
use crate::suite::{CHOICE_SEED, Spec, Suite, resolve};
use crate::{Setting, run};

const SUITE: &str = r#"
    suite = "tiny"
    data = { kind = "synthetic-digits", n_train = 90, n_test = 40 }
    holdout = 30
    plan = { n_epochs = 2, batch_size = 20, learning_rate = 0.01, eval_every_steps = 2 }

    [[training]]
    name = "teacher"
    model = "mlp-8"
    student = [{ name = "teacher", loss = { kind = "labels" } }]

    [[training]]
    name = "methods"
    model = "mlp-6"
    teacher = "teacher"
    choose = { n_epochs = 1, n_candidates = 3 }
    student = [
        { name = "labels", loss = { kind = "labels" } },
        { name = "kd", losses = [
            { kind = "distill", alpha = 1, temperature = 20 },
            { kind = "distill", alpha = 0.5, temperature = 4 },
        ] },
        { name = "dkd", losses = [
            { kind = "dkd", beta = 1, warmup = 1 },
            { kind = "dkd", beta = 8, warmup = 1 },
            { kind = "dkd", beta = 2, warmup = 1 },
        ] },
    ]
"#;

fn spec(text: &str) -> Spec {
    resolve(&Suite::parse("suite", text).unwrap(), "quick", false, 2).unwrap()
}

fn finished(text: &str, out: &Path) -> Vec<Record> {
    assert_eq!(run(spec(text), &Setting::new(out)).unwrap().0, Outcome::Finished);
    record::read(&out.join("metrics.jsonl")).unwrap()
}

fn candidates(records: &[Record]) -> Vec<CandidateRecord> {
    let candidate = |record: &Record| match record {
        Record::Candidate(candidate) => Some((**candidate).clone()),
        _ => None,
    };
    records.iter().filter_map(candidate).collect()
}

fn finals(records: &[Record]) -> Vec<FinalRecord> {
    let last = |record: &Record| match record {
        Record::Final(last) => Some((**last).clone()),
        _ => None,
    };
    records.iter().filter_map(last).collect()
}

/// The epochs of the short training.
fn epochs(records: &[Record]) -> Vec<EpochRecord> {
    let epoch = |record: &Record| match record {
        Record::Epoch(epoch) if epoch.id.training == "methods-choice" => Some(epoch.clone()),
        _ => None,
    };
    records.iter().filter_map(epoch).collect()
}

#[test]
fn objectives_are_chosen_once_before_their_training() {
    let spec = spec(SUITE);
    let jobs = jobs(&spec);
    let names: Vec<_> =
        jobs.iter().map(|job| (matches!(job, Job::Choice(_)), job.is_of(1))).collect();
    assert_eq!(names, [(false, true), (true, false), (false, true)]);
    let choice = spec.training[1].choice().unwrap();
    let names: Vec<_> = choice.student.iter().map(|student| student.name.as_str()).collect();
    assert_eq!(names, ["kd-1", "kd-2", "dkd-1", "dkd-2", "dkd-3"]);
    assert_eq!((choice.plan.n_epochs, choice.plan.eval_every_steps), (1, None));
    assert!(spec.training[0].choice().is_none());
}

#[test]
fn every_seed_trains_with_what_the_held_out_images_choose() {
    let folder = tempfile::tempdir().unwrap();
    let records = finished(SUITE, folder.path());
    let (all, ended) = (candidates(&records), finals(&records));
    assert_eq!((all.len(), ended.len()), (5, 2 * 4));
    for name in ["kd", "dkd"] {
        let own: Vec<_> = all.iter().filter(|candidate| candidate.id.model == name).collect();
        let chosen: Vec<_> = own.iter().filter(|candidate| candidate.chosen).collect();
        let [chosen] = chosen[..] else { panic!("{name}: not one is chosen") };
        let top1 = |candidate: &CandidateRecord| candidate.holdout_top1.unwrap();
        let best = own.iter().map(|candidate| top1(candidate)).fold(0.0, f64::max);
        assert!(top1(chosen).total_cmp(&best).is_eq(), "{name}");
        assert!((chosen.seed, chosen.n_holdout, chosen.most) == (CHOICE_SEED, 30, 3), "{name}");
        let trained = ended.iter().filter(|last| last.id.model == name);
        assert!(
            trained.clone().count() == 2
                && trained.clone().all(|last| last.how.loss == chosen.loss)
        );
    }
    // 60 images are left to learn from.
    let cost =
        |name: &str| ended.iter().find(|last| last.id.model == name).unwrap().compute.unwrap();
    assert_eq!((cost("labels").student_passes, cost("labels").teacher_asked), (120, 0));
    assert_eq!((cost("dkd").student_passes, cost("dkd").teacher_asked), (120, 120));
    assert!(all.iter().all(|candidate| candidate.compute.student_passes == 60));
    assert!(!folder.path().join("checkpoints/methods-choice-seed1000000").exists());
}

/// Its cohort is given none; and other ones change no bit of what is recorded of it.
#[test]
fn test_images_have_no_say() {
    let folder = tempfile::tempdir().unwrap();
    let one = finished(SUITE, &folder.path().join("one"));
    let other = SUITE.replace("n_test = 40", "n_test = 77, seed = 0");
    let other = finished(&other, &folder.path().join("other"));
    let timeless = |records: &[Record]| {
        let all = candidates(records).into_iter();
        all.map(|candidate| CandidateRecord { seconds: 0.0, ..candidate }).collect::<Vec<_>>()
    };
    assert_eq!(timeless(&one), timeless(&other));
    assert_ne!(finals(&one)[0].last.total, finals(&other)[0].last.total);
    let epochs = [epochs(&one), epochs(&other)].concat();
    assert_eq!(epochs.len(), 2 * 5);
    assert!(epochs.iter().all(|epoch| epoch.test_top1.is_none() && epoch.holdout_top1.is_some()));
}

#[test]
fn a_choice_goes_on_where_it_was_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    finished(SUITE, &whole);
    let want = timeless(&whole);
    finished(SUITE, &cut);
    let metrics = cut.join("metrics.jsonl");
    let text = std::fs::read_to_string(&metrics).unwrap();
    for event in ["candidate", "final\",\"seed\":0,\"training\":\"methods"] {
        // As a process leaves it that was killed before this record and its training's models.
        let end = text.find(&format!("{{\"event\":\"{event}")).unwrap();
        std::fs::write(&metrics, &text[..end]).unwrap();
        let error = run(spec(SUITE), &Setting::new(&cut)).unwrap_err().to_string();
        assert!(error.contains("-state") && error.contains("--restart"), "{event}: {error}");
    }
    let begin = text.find("{\"event\":\"epoch\",\"seed\":1000000").unwrap();
    std::fs::write(&metrics, &text[..begin]).unwrap();
    let stopped = Setting::new(&cut);
    stopped.stop.store(true, Ordering::Relaxed);
    assert_eq!(run(spec(SUITE), &stopped).unwrap().0, Outcome::Interrupted);
    assert!(cut.join("checkpoints/methods-choice-seed1000000-state").exists());
    finished(SUITE, &cut);
    assert_eq!(timeless(&cut), want);
}

#[test]
fn the_most_accurate_is_chosen_then_the_likeliest_then_the_first() {
    let candidate = |holdout_top1, holdout_nll| CandidateRecord {
        holdout_top1: Some(holdout_top1),
        holdout_nll: Some(holdout_nll),
        ..CandidateRecord::default()
    };
    let is_other = |mut first: CandidateRecord, mut other: CandidateRecord| {
        let second = other.clone();
        *better(&mut first, &mut other) == second
    };
    assert!(is_other(candidate(0.5, 1.0), candidate(0.6, 2.0)));
    assert!(!is_other(candidate(0.6, 2.0), candidate(0.5, 1.0)));
    assert!(is_other(candidate(0.5, 1.0), candidate(0.5, 0.9)));
    assert!(!is_other(
        CandidateRecord { candidate: 1, ..candidate(0.5, 1.0) },
        candidate(0.5, 1.0)
    ));
}

#[test]
fn a_candidate_that_diverges_is_not_chosen_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let one = SUITE.replace("beta = 8", "beta = 1e60");
    let records = finished(&one, &folder.path().join("one"));
    let diverged: Vec<_> =
        candidates(&records).into_iter().filter(|one| one.holdout_top1.is_none()).collect();
    assert_eq!((diverged.len(), diverged[0].candidate, diverged[0].chosen), (1, 2, false));
    assert_eq!(epochs(&records).len(), 4, "it has no epoch");
    let all = ["beta = 1,", "beta = 2,"]
        .into_iter()
        .fold(one, |text, beta| text.replace(beta, "beta = 1e60,"));
    let error = run(spec(&all), &Setting::new(folder.path().join("all"))).unwrap_err().to_string();
    assert!(error.contains("no candidate of `dkd` has a finite loss"), "{error}");
}

#[test]
fn what_cannot_be_chosen_is_refused() {
    let refused = |old: &str, new: &str| {
        assert!(SUITE.contains(old), "{old}");
        let suite = Suite::parse("suite", &SUITE.replacen(old, new, 1));
        suite.and_then(|suite| resolve(&suite, "quick", false, 1)).unwrap_err().to_string()
    };
    let choose = "choose = { n_epochs = 1, n_candidates = 3 }\n";
    for (old, new, words) in [
        ("holdout = 30\n", "", "candidates are compared on held-out images: give `holdout`"),
        (choose, "", "`dkd` of `methods` has 3 `losses`; say how one is chosen"),
        ("n_candidates = 3", "n_candidates = 2", "`dkd` of `methods` has 3 candidates, more than"),
        ("n_candidates = 3", "n_candidates = 3, seed = 1", "unknown field `seed`"),
        ("choose = { n_epochs = 1", "choose = { n_epochs = 0", "`n_epochs`"),
        ("\"kd\", losses", "\"kd\", loss = { kind = \"labels\" }, losses", "give one of them"),
        (", loss = { kind = \"labels\" } }", " }", "`teacher` of `teacher` has no `loss`"),
        ("beta = 8", "beta = -8", "`beta`"),
        ("name = \"teacher\"", "name = \"methods-choice\"", "two trainings `methods-choice`"),
    ] {
        let error = refused(old, new);
        assert!(error.contains(words) && !error.contains('\n'), "{new}: {error}");
    }
    let alone = SUITE.replace("losses = [", "loss = { kind = \"labels\" }, x = [");
    assert!(Suite::parse("suite", &alone).is_err());
    let text = spec(SUITE).to_toml().unwrap();
    assert!(text.contains("[training.choose]") && text.contains("seed = 1000000"), "{text}");
}
