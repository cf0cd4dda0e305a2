//! The report of made-up runs, whole.

use std::path::Path;

use kd_core::record::{EpochRecord, Evaluation, FinalRecord, ModelId, Record, Trained};
use serde_json::{Value, json};

use crate::{Claims, Report, Verdict, fixture, results_table, write_report};

pub(crate) struct Written {
    pub(crate) report: Report,
    pub(crate) json: String,
    pub(crate) markdown: String,
    pub(crate) html: String,
}

pub(crate) fn write(records: &[Record]) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let lines = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
    std::fs::write(folder.path().join("metrics.jsonl"), lines.collect::<String>()).unwrap();
    std::fs::write(folder.path().join("spec.toml"), "suite = \"<mnist>\"\n").unwrap();
    let report = write_report(folder.path()).unwrap();
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (json, markdown) = (text("report.json"), text("report.md"));
    Written { report, json, markdown, html: text("report.html") }
}

/// Every tag is closed, in order.
pub(crate) fn assert_well_formed(html: &str) {
    let mut open = Vec::new();
    for piece in html.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').unwrap();
        let name = tag.split([' ', '\n', '/']).next().unwrap();
        match tag {
            _ if tag.ends_with('/') || ["!DOCTYPE", "meta", "img"].contains(&name) => {}
            _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(&tag[1..])),
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn a_full_report_is_complete_small_and_always_the_same() {
    let records = fixture::records(3, 65, false);
    let (first, second) = (write(&records), write(&records));
    assert_eq!(first.json, second.json);
    assert_eq!(first.markdown, second.markdown);
    assert_eq!(first.html, second.html);
    assert_well_formed(&first.html);
    assert!(first.html.len() < 1_000_000 && !first.html.contains("<script"));
    assert!(first.html.contains("suite = &quot;&lt;mnist&gt;&quot;"), "the spec is shown");
    for title in [
        "numbers and ours",
        "course of training",
        "By class",
        "Epochs to an accuracy",
        "errors by class",
    ] {
        assert!(first.html.contains(title), "{title}");
    }
    assert!(!first.html.contains("not complete") && !first.html.contains("NaN"));
}

#[test]
fn every_number_beside_the_paper_has_a_claim() {
    let Written { report, .. } = write(&fixture::records(2, 4, false));
    let claims = Claims::load().unwrap();
    for result in &report.claims {
        let claim = claims.all().iter().find(|claim| claim.id == result.id).unwrap();
        assert_eq!(claim.measure, result.measure);
        assert_ne!(result.verdict, Verdict::None, "{}", result.id);
    }
    // 14 accuracies and a best temperature in both selections; three error counts of the last epoch.
    assert_eq!(report.claims.len(), 2 * 15 + 3);
    assert_eq!(results_table(&report).lines().count(), 2 + 18);
    let omitted = report.models.iter().filter(|m| m.id.training == "omit3" && m.is_baseline());
    assert!(omitted.clone().count() == 1 && omitted.clone().all(|m| m.last.mean <= 0.8990));
}

#[test]
fn synthetic_data_never_get_a_verdict() {
    let Written { report, html, markdown, json } = write(&fixture::records(1, 4, true));
    assert!(report.claims.iter().all(|c| c.verdict == Verdict::None && c.difference.is_none()));
    assert!(html.contains("<h1>SYNTHETIC: mnist") && markdown.starts_with("# SYNTHETIC: mnist"));
    assert!(!html.contains("reproduced</span>") && !json.contains("\"reproduced\""));
    assert!(markdown.contains("(n = 1)") && !markdown.contains("± 0.00"));
}

#[test]
fn other_images_than_the_papers_never_get_a_verdict() {
    let none = |records: &[Record]| {
        write(records).report.claims.iter().all(|claim| claim.verdict == Verdict::None)
    };
    let mut records = fixture::records(1, 2, false);
    let Record::Run(run) = &mut records[0] else { unreachable!() };
    run.data[0].sha256.replace_range(..1, "c");
    assert!(none(&records), "a changed file");
    let mut records = fixture::records(1, 2, false);
    for record in &mut records {
        if let Record::Final(last) = record {
            last.last.total += 1;
            last.last.confusion[3][3] += 1;
        }
    }
    assert!(none(&records), "another number of test images");
}

/// The made-up run as one of the CIFAR-10 suite: teacher, baseline and Table 2.
fn cifar10() -> Vec<Record> {
    let test_batch = "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b";
    let mut records = fixture::records(2, 21, false);
    records.retain(|record| match record {
        Record::Epoch(e) => ["teacher", "student30"].contains(&&*e.id.training),
        Record::Final(f) => ["teacher", "student30"].contains(&&*f.id.training),
        Record::Run(_) | Record::Done { .. } => true,
        _ => false,
    });
    for record in &mut records {
        match record {
            Record::Run(run) => {
                run.suite = "cifar10".into();
                run.data.truncate(1);
                run.data[0].sha256 = test_batch.into();
            }
            Record::Final(last) => {
                let claim = last.how.claim.take();
                last.how.claim = claim.map(|id| match id.strip_prefix("mnist/student30") {
                    Some(rest) => format!("cifar10/resnet18{rest}"),
                    None => "cifar10/resnet101/baseline".into(),
                });
            }
            _ => {}
        }
    }
    records
}

#[test]
fn table_2_stands_beside_the_paper_with_its_time() {
    let Written { report, html, markdown, json } = write(&cifar10());
    assert_eq!(report.claims.len(), 2 * 11, "two baselines and nine cells, best and last");
    assert!(report.claims.iter().all(|claim| claim.verdict != Verdict::None));
    for title in ["paper", "ours, best epoch", "ours, best epoch \u{2212} paper, points"] {
        assert!(html.contains(title), "{title}");
    }
    for text in [&html, &markdown] {
        assert!(text.contains("23 min 14 s on cpu") && text.contains("took 290 GPU hours"));
    }
    assert!(json.contains("\"paper_gpu_hours\": 290.0"));
    assert!(html.contains("T = 10") && !html.contains("Epochs to an accuracy"));
}

#[test]
fn models_that_answer_nothing_are_listed_with_their_accuracies() {
    let mut records = cifar10();
    for record in &mut records {
        if let Record::Final(last) = record {
            last.how.claim = None;
        }
    }
    let Record::Run(run) = &mut records[0] else { unreachable!() };
    (run.suite, run.preset) = ("own".into(), "quick".into());
    let Written { report, html, markdown, .. } = write(&records);
    for text in [&html, &markdown] {
        assert!(!text.to_lowercase().contains("paper"), "an own suite has no paper");
    }
    assert!(html.contains("last epoch \u{2212} baseline, points"));
    let table = results_table(&report);
    assert!(table.contains("| model | best epoch | last epoch | \u{2212} baseline |"), "{table}");
    assert!(table.contains("student30/alpha0.5-t5") && !table.contains("verdict"), "{table}");
}

#[test]
fn a_single_class_and_a_single_epoch_are_told() {
    let mut records = cifar10();
    let told = write(&records).html.contains("All test images are of one class");
    assert!(!told, "ten classes");
    for record in &mut records {
        if let Record::Final(last) = record {
            let only = last.last.confusion[0].clone();
            last.last.confusion = vec![vec![0; 10]; 10];
            last.last.confusion[0] = only;
            last.how.n_epochs = 1;
        }
    }
    let Written { html, .. } = write(&records);
    assert!(html.contains("All test images are of one class") && html.contains(" 1 epoch,"));
}

#[test]
fn the_settings_of_each_training_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let lines = fixture::records(1, 1, false);
    let lines = lines.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
    std::fs::write(folder.path().join("metrics.jsonl"), lines.collect::<String>()).unwrap();
    let spec = "[[training]]\nname = \"t\"\nmodel = { kind = \"mlp\", hidden = [8, 9] }\n\
                plan = { n_epochs = 2, batch_size = 64, learning_rate = 1e-4, eval_every = 1, \
                optimizer = { kind = \"adam\", beta1 = 0.9 } }\nteacher = { training = \"big\" }\n";
    std::fs::write(folder.path().join("spec.toml"), spec).unwrap();
    write_report(folder.path()).unwrap();
    let markdown = std::fs::read_to_string(folder.path().join("report.md")).unwrap();
    let row = "| t | big | mlp (hidden 8 × 9) | 2 | 64 | 0.0001 | adam (beta1 0.9) | \
               eval every 1 |";
    assert!(markdown.contains(row), "{markdown}");
}

#[test]
fn the_report_says_what_the_preset_is() {
    let folder = tempfile::tempdir().unwrap();
    let lines = fixture::records(1, 1, false);
    let lines = lines.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
    std::fs::write(folder.path().join("metrics.jsonl"), lines.collect::<String>()).unwrap();
    std::fs::write(folder.path().join("spec.toml"), "about = \"small & quick\"\n").unwrap();
    write_report(folder.path()).unwrap();
    let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(html.contains("<p>small &amp; quick</p>"));
}

#[test]
fn a_run_that_goes_on_says_so() {
    let mut records = fixture::records(1, 4, false);
    records.pop();
    let epoch = EpochRecord { seed: 2, id: ModelId::new("teacher", ""), ..EpochRecord::default() };
    records.push(Record::Epoch(epoch));
    let Written { report, html, .. } = write(&records);
    assert_eq!((report.wall_seconds, report.unfinished), (None, vec!["teacher (seed 2)".into()]));
    assert!(html.contains("not complete. Still open: teacher (seed 2)."));
    let nothing = write(&records[..1]);
    assert_well_formed(&nothing.html);
    assert!(!nothing.html.contains("<svg") && !nothing.html.contains("<table"));
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "</td><script>alert(1)</script>|`\"";
    let mut records = fixture::records(1, 3, false);
    for record in &mut records {
        match record {
            Record::Run(run) => run.suite = hostile.into(),
            Record::Epoch(epoch) => epoch.id.training += hostile,
            Record::Final(last) => last.id.training += hostile,
            Record::Correction(correction) => correction.id.training += hostile,
            _ => {}
        }
    }
    let Written { html, markdown, .. } = write(&records);
    assert_well_formed(&html);
    assert!(!html.contains("<script") && !markdown.contains("<script"));
}

#[test]
fn missing_metrics_and_unknown_claims_are_clear_errors() {
    let missing = write_report(Path::new("no/such/run")).unwrap_err();
    assert!(missing.to_string().contains("metrics.jsonl: not found"));
    let folder = tempfile::tempdir().unwrap();
    let how = Trained { claim: Some("mnist/techer".into()), ..Trained::default() };
    let last = FinalRecord { how, ..FinalRecord::default() };
    let records = [fixture::records(1, 1, false).swap_remove(0), Record::Final(last.into())];
    let lines = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
    std::fs::write(folder.path().join("metrics.jsonl"), lines.collect::<String>()).unwrap();
    let unknown = write_report(folder.path()).unwrap_err();
    assert_eq!(unknown.to_string(), "`claim`: `mnist/techer` is no id in claims.toml");
}

/// Two seeds of a teacher: 9375 and 8750 of 10,000 right; expected values by hand. The spread of two seeds has
/// one degree of freedom, where Student's distribution is Cauchy's: the p-value is `1 - 2 atan(t) / pi`, twice
/// that for two results.
#[test]
fn json_of_a_small_run() {
    let mut records = vec![fixture::records(2, 1, false).swap_remove(0)];
    for (seed, correct) in [(1, 9375), (2, 8750)] {
        let top1 = correct as f64 / 10_000.0;
        let wrong = 10_000 - correct;
        let last = Evaluation {
            total: 10_000,
            correct,
            top1,
            top5: 1.0,
            nll: 0.5,
            ece: 0.25,
            confusion: vec![vec![0, wrong], vec![0, correct]],
            ..Evaluation::default()
        };
        let base = EpochRecord { seed, id: ModelId::new("t", ""), ..EpochRecord::default() };
        for (epoch, test_top1) in [(1, Some(0.5)), (2, None), (3, Some(0.25 + 0.37 * seed as f64))]
        {
            records.push(Record::Epoch(EpochRecord { epoch, test_top1, ..base.clone() }));
        }
        records.push(Record::Final(Box::new(FinalRecord {
            seed,
            id: ModelId::new("t", ""),
            how: Trained { claim: Some("mnist/teacher".into()), ..Trained::default() },
            last,
            best_top1: 0.9937,
            best_epoch: 3,
            ..FinalRecord::default()
        })));
    }
    let written = write(&records);
    let mut got: Value = serde_json::from_str(&written.json).unwrap();
    round(&mut got);
    let golden: Value = serde_json::from_str(include_str!("golden.json")).unwrap();
    assert_eq!(got, golden);
}

/// Rounds every number that is not whole to nine decimals.
fn round(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(round),
        Value::Object(values) => values.values_mut().for_each(round),
        Value::Number(number) if number.is_f64() => {
            *value = json!((number.as_f64().unwrap() * 1e9).round() / 1e9);
        }
        _ => {}
    }
}
