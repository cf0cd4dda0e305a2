//! The report of a made-up run with attacks, whole.

use std::path::Path;

use kd_core::record::Record;
use serde_json::Value;

use crate::{Report, Verdict, fixture as training, results_table, write_report};

use super::fixture;

struct Written {
    report: Report,
    json: Value,
    markdown: String,
    html: String,
}

/// Writes the report of `records` in `folder`.
fn write_in(folder: &Path, records: &[Record]) -> Written {
    let lines = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
    std::fs::write(folder.join("metrics.jsonl"), lines.collect::<String>()).unwrap();
    let report = write_report(folder).unwrap();
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let json = serde_json::from_str(&text("report.json")).unwrap();
    Written { report, json, markdown: text("report.md"), html: text("report.html") }
}

fn write(records: &[Record]) -> Written {
    write_in(tempfile::tempdir().unwrap().path(), records)
}

const TITLES: [&str; 7] = [
    "What defensive distillation defends against",
    "Robust accuracy",
    "Transfer: made against one model, tested on another",
    "Accuracy against radius",
    "Logits and gradients",
    "Audit for gradient masking",
    "Pictures",
];

#[test]
fn every_section_is_there_and_always_the_same() {
    let (first, second) = (write(&fixture::records(2)), write(&fixture::records(2)));
    assert_eq!((&first.html, &first.markdown), (&second.html, &second.markdown));
    crate::tests::assert_well_formed(&first.html);
    for title in TITLES {
        assert!(first.html.contains(&format!("<h2>{title}</h2>")), "{title}");
    }
    assert!(!first.html.contains("NaN") && !first.html.contains("<script"));
    assert!(first.html.len() < 1_000_000);
    assert!(first.html.contains(">labels, on images of pgd</td>"));
    assert!(first.markdown.contains("\u{2717} FAIL") && first.html.contains("\u{2713} PASS"));
}

#[test]
fn a_run_without_attacks_shows_nothing_of_this() {
    let written = write(&training::records(1, 3, false));
    assert!(written.report.adversarial.is_none() && written.json.get("adversarial").is_none());
    for title in TITLES {
        assert!(!written.html.contains(title) && !written.markdown.contains(title), "{title}");
    }
    assert!(!written.html.contains(".pictures"), "nor its style");
}

#[test]
fn attacks_need_no_training_records() {
    let mut records = fixture::records(1);
    records.retain(|record| !matches!(record, Record::Final(_)));
    let Written { report, html, .. } = write(&records);
    assert!(report.models.is_empty() && report.claims.is_empty());
    assert_eq!(report.adversarial.unwrap().models.len(), 4);
    crate::tests::assert_well_formed(&html);
    assert!(!html.contains(TITLES[0]), "nothing is known to be distilled");
}

#[test]
fn the_papers_number_stands_beside_each_distilled_model() {
    let Written { report, json, html, markdown } = write(&fixture::records(1));
    let answers: Vec<_> =
        report.claims.iter().map(|c| (c.id.as_str(), c.model.model.as_str(), c.verdict)).collect();
    let expected = [
        ("defensive/mnist/fgsm/defended", "student-t1", Verdict::Better),
        ("defensive/mnist/fgsm/defended", "student-t100", Verdict::Reproduced),
        ("defensive/mnist/pgd/defended", "student-t1", Verdict::Reproduced),
        ("defensive/mnist/pgd/defended", "student-t100", Verdict::Reproduced),
    ];
    assert_eq!(answers, expected);
    // 993 right before; 85 / 2 = 42 fooled with the student, and 260 more.
    assert!((report.claims[1].ours.mean - (993.0 - 42.0 - 260.0) / 993.0).abs() < 1e-12);
    assert_eq!(json["claims"][1]["selection"], "last");
    let table = results_table(&report);
    assert!(table.contains("| defensive/mnist/pgd/defended, student-t100 |"), "{table}");
    for text in [&html, &markdown, &table] {
        assert!(text.contains("65.00\u{2013}70.00"), "{text}");
    }
}

#[test]
fn other_data_or_another_number_of_images_gets_no_verdict() {
    let none = |records: &[Record]| {
        let claims = write(records).report.claims;
        claims.len() == 4 && claims.iter().all(|c| c.verdict == Verdict::None)
    };
    let mut records = fixture::records(1);
    let Record::Run(run) = &mut records[0] else { unreachable!() };
    run.synthetic = true;
    assert!(none(&records), "synthetic");
    let mut records = fixture::records(1);
    for record in &mut records {
        if let Record::Attack(attack) = record {
            attack.total = 1200;
        }
    }
    assert!(none(&records), "another number of images");
}

#[test]
fn an_own_suite_does_not_speak_of_the_paper() {
    let mut records = fixture::records(1);
    for record in &mut records {
        match record {
            Record::Run(run) => (run.suite, run.preset) = ("own".into(), "quick".into()),
            Record::Final(last) => last.how.claim = None,
            _ => {}
        }
    }
    let Written { html, markdown, .. } = write(&records);
    for text in [html, markdown] {
        assert!(text.contains("What defensive distillation") && !text.contains("paper "));
        assert!(!text.contains("paper's"));
    }
}

#[test]
fn json_has_the_figures_of_every_model() {
    let json = write(&fixture::records(2)).json;
    let models = json["adversarial"]["models"].as_array().unwrap();
    assert_eq!(models.len(), 4);
    let student = &models[2];
    assert_eq!(student["name"], "student-t100");
    assert_eq!(student["temperature"], 100.0);
    let attacks = student["attacks"].as_array().unwrap();
    let worst = attacks.last().unwrap();
    assert_eq!((&worst["attack"], &worst["main"]), (&"worst-case".into(), &true.into()));
    let robust = &worst["robust_accuracy"];
    assert_eq!(robust["values"], serde_json::json!([0.002, 0.003]));
    assert_eq!(robust["n"], 2);
    assert!(robust["interval"][0].as_f64().unwrap() > 0.0);
    let transfer = &attacks[0]["transfer"][0];
    assert_eq!(transfer["model"], "teacher");
    assert!(transfer["transfer_rate"]["mean"].as_f64().unwrap() > 0.4);
    assert_eq!(student["census"]["zero_gradients"]["mean"], 0.913);
    assert_eq!(student["audits"][1]["verdict"], "masked");
    assert_eq!(student["pictures"][0]["labels"][0], serde_json::json!([7, 3]));
    assert_eq!(json["adversarial"]["conclusions"].as_array().unwrap().len(), 1);
}

#[test]
fn pictures_are_embedded_and_linked_or_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pictures")).unwrap();
    let file = "pictures/student-t100-0-pgd.png";
    std::fs::write(folder.path().join(file), b"\x89PNG\r\n\x1a\n and more").unwrap();
    let Written { html, markdown, .. } = write_in(folder.path(), &fixture::records(2));
    crate::tests::assert_well_formed(&html);
    assert_eq!(html.matches("<img src=\"data:image/png;base64,iVBORw0KGgo").count(), 1);
    assert!(html.contains("<li>7 \u{2192} 3</li>"));
    assert!(markdown.contains(&format!("](<{file}>)")));
    assert!(html.contains("pictures/teacher-0-pgd.png is missing"));
    assert!(!html.contains("-1-pgd.png"), "the first seed only");
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "</td><script>alert(1)</script>|`\"";
    let mut records = fixture::records(1);
    for record in &mut records {
        match record {
            Record::Attack(attack) => {
                attack.attack += hostile;
                attack.id.model += hostile;
            }
            Record::Audit(audit) => audit.words += hostile,
            Record::Pictures(pictures) => pictures.file += hostile,
            _ => {}
        }
    }
    let Written { html, markdown, .. } = write(&records);
    crate::tests::assert_well_formed(&html);
    assert!(!html.contains("<script") && !markdown.contains("<script"));
}
