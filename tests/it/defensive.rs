//! A suite that attacks its models, through the program: every record, interrupted, bad references.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Results, Running, end, finals, folder_of, kd_run, records, refused, settings_are_refused,
    succeed,
};

const SUITE: &str = include_str!("tiny-defensive.toml");

fn folder() -> TempDir {
    folder_of(SUITE)
}

/// `attack training/model` of each record, with the radius where there are several.
fn names(records: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let name = |r: &Value| {
        let eps = r["eps"].as_f64().map_or(String::new(), |eps| format!(" {eps}"));
        format!("{}{eps} {}/{}", text(&r["attack"]), text(&r["training"]), text(&r["model"]))
    };
    records.iter().map(name).collect()
}

#[test]
fn a_suite_attacks_what_it_trains() {
    let folder = folder();
    let out = folder.path().join("out");
    succeed(&mut kd_run(folder.path(), "out"));

    let attacks = records(&out, "attack");
    let names = names(&attacks);
    let fgsm = |model: &str| ["0.1", "0.05", "0.2"].map(|eps| format!("fgsm {eps} {model}"));
    let models = ["teacher/teacher", "students/t1", "students/t100", "control/pgd"];
    assert_eq!(names[..12], models.map(fgsm).concat());
    let others = ["teacher/teacher", "papernot/t100", "control/fgsm-rs", "control/pgd"];
    assert_eq!(names[12..16], others.map(|model| format!("pgd 0.1 {model}")));
    let others = ["teacher/teacher", "papernot/t100"].map(|model| format!("square 0.1 {model}"));
    assert_eq!(names[16..18], others);
    assert_eq!(names[18], "deepfool teacher/teacher");
    let worst = ["teacher/teacher", "papernot/t100"].map(|m| format!("worst-case 0.1 {m}"));
    assert_eq!(names[19..], worst);

    // The teacher classifies all images correctly that were chosen so; curves have no transfer.
    let totals: Vec<_> = attacks.iter().map(|r| r["total"].as_u64().unwrap()).collect();
    assert_eq!((&totals[..2], totals[12], totals[19]), (&[40, 40][..], 110, 30));
    assert_eq!(attacks[0]["correct"], 40);
    let transfer = |i: usize| {
        let to = attacks[i]["transfer"].as_array().unwrap();
        to.iter().map(|to| to["training"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        [transfer(0), transfer(1), transfer(3)],
        [vec!["students"], vec![], vec!["teacher", "students"]]
    );
    assert_eq!(attacks[3]["transfer"][0]["correct"], 40);
    let robust = |i: usize| attacks[i]["robust"].as_u64().unwrap();
    assert!(robust(1) >= robust(0) && robust(0) >= robust(2), "more with a smaller radius");
    assert!(robust(19) <= robust(16), "the worst of all attacks is no better than one of them");

    assert_eq!(records(&out, "census").len(), 4);
    let audits = records(&out, "audit");
    assert_eq!(audits.len(), 2);
    assert!(audits.iter().all(|audit| audit["words"].as_str().unwrap().len() > 20));
    let pictures = records(&out, "pictures");
    assert_eq!(pictures.len(), 4);
    for picture in &pictures {
        assert_eq!(picture["labels"].as_array().unwrap().len(), 2);
        assert!(fs::metadata(out.join(picture["file"].as_str().unwrap())).unwrap().len() > 100);
    }
    let perturbed = finals(&out).into_iter().filter(|last| !last["perturb"].is_null());
    assert_eq!(
        perturbed.map(|last| last["perturb"]["kind"].clone()).collect::<Vec<_>>(),
        ["fgsm", "pgd"]
    );
    assert!(!out.join("attack-state.json").exists());
}

#[test]
fn a_preset_attacks_less() {
    let folder = folder();
    succeed(kd_run(folder.path(), "out").args(["--preset", "few"]));
    let out = folder.path().join("out");
    let attacks = records(&out, "attack");
    assert!(attacks.iter().all(|attack| attack["total"] == 7));
    let names = names(&attacks);
    assert!(names.iter().all(|name| !name.contains("control") && !name.contains("papernot")));
    assert!(names.contains(&"square 0.1 teacher/teacher".to_owned()), "{names:?}");
    assert!(records(&out, "audit").is_empty());
    assert_eq!(records(&out, "census").len(), 3);
}

#[test]
fn stopped_and_killed_among_attacks_the_results_are_the_same() {
    let folder = folder();
    let at = folder.path();
    succeed(&mut kd_run(at, "whole"));
    let whole = Results::of(&at.join("whole"));
    let n_attacks = || match at.join("out/metrics.jsonl").exists() {
        true => fs::read_to_string(at.join("out/metrics.jsonl"))
            .unwrap()
            .matches("\"event\":\"attack\"")
            .count(),
        false => 0,
    };
    for n in [1, 6, 11] {
        let mut run = Running::start(kd_run(at, "out").args(["--threads", "1"]));
        run.wait_until(|| n_attacks() >= n);
        match n {
            6 => assert!(run.kill_after(std::time::Duration::ZERO)),
            _ => assert_eq!(run.terminate().code, Some(75)),
        }
    }
    succeed(kd_run(at, "out").args(["--threads", "1"]));
    let mut resumed = Results::of(&at.join("out"));
    let mut whole = whole;
    // The first line says how many threads there were.
    resumed.metrics.remove(0);
    whole.metrics.remove(0);
    resumed.assert_same(&whole);
    let again = succeed(kd_run(at, "out").args(["--threads", "1"]));
    assert!(again.stderr.contains("finished before"), "{}", again.stderr);
}

/// What is replaced in the suite, by what, and what the message must say.
const BAD_SETTINGS: [(&str, &str, &str); 28] = [
    ("n_images = 40\ncor", "n_image = 40\ncor", "unknown field `n_image`, expected one of `name`"),
    ("n_images = 40\ncor", "n_images = 0\ncor", "`n_images`: must be at least 1"),
    ("eps = 0.1 }\nmodels", "eps = -0.1 }\nmodels", "`eps`"),
    ("eps = 0.1 }\nmodels", "epsilon = 0.1 }\nmodels", "unknown field `epsilon`, expected one of"),
    ("\"fgsm\", eps = 0.1 }", "\"fgsn\", eps = 0.1 }", "unknown variant `fgsn`"),
    (
        "[census]\nmodels = [\"teacher\"",
        "[census]\nmodels = [\"tutor\"",
        "`tutor` is none of the models teacher/teacher, students/t1",
    ),
    (
        "models = [\"teacher\", \"students\", \"control",
        "models = [\"teacher\", \"students/t7\", \"control",
        "`students/t7` is none of",
    ),
    (
        "models = [\"teacher\", \"papernot\", \"control\"]",
        "models = []",
        "`attack.models`: name at least one",
    ),
    (
        "\"papernot\", \"control\"]",
        "\"papernot\", \"papernot/t100\"]",
        "`papernot/t100` is named twice",
    ),
    ("transfer_to = [\"teacher\"", "transfer_to = [\"x\"", "`attack.transfer_to`: `x`"),
    ("correct_by = \"teacher\"", "correct_by = \"students\"", "`students` has several models"),
    ("curve = [0.05", "curve = [-0.05", "`eps`"),
    ("curve = [0.05", "curve = [0.2", "0.2 is given twice"),
    ("n_candidates = 3 }", "n_candidates = 3 }\ncurve = [0.1]", "`deepfool` has no radius"),
    ("name = \"pgd\"\nattack", "name = \"fgsm\"\nattack", "two of them are called `fgsm`"),
    ("name = \"pgd\"\nattack", "name = \"worst-case\"\nattack", "`worst-case`"),
    ("name = \"pgd\"\nattack", "name = \"../pgd\"\nattack", "`../pgd`"),
    ("eps = 0.1, random_start", "eps = 2, random_start", "`eps`"),
    ("eps = 0.1, step_size = 0.05", "eps = 0.1, step = 0.05", "unknown field `step`"),
    ("init = \"teacher\"", "init = \"control\"", "`control` is none of the models"),
    ("init = \"teacher\"", "init = \"students\"", "`students` has several models"),
    (
        "hidden = [24] }\nteacher = \"teacher\"\ninit",
        "hidden = [23] }\nteacher = \"teacher\"\ninit",
        "`teacher` is another network than `papernot`",
    ),
    ("decay = 1e-6", "decay = -1", "`schedule.decay`"),
    ("\"one-cycle\"", "\"one-cycle\", pct_start = 1", "`schedule.pct_start`"),
    ("\"unscaled\"", "\"scaled\"", "unknown variant `scaled`"),
    ("n_steps = 4, n_queries", "n_steps = 0, n_queries", "`n_steps`"),
    ("n_steps = 4, n_queries", "steps = 4, n_queries", "unknown field `steps`"),
    (
        "[preset.quick]",
        "[preset.quick.plan.nobody]\nn_epochs = 1\nbatch_size = 1\nlearning_rate = 1",
        "there is no training `nobody`",
    ),
];

#[test]
fn bad_settings_and_references_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    settings_are_refused(at, SUITE, &BAD_SETTINGS);
    // Names in a preset are looked at where it is chosen.
    fs::write(at.join("suite.toml"), SUITE.replace("\"square\"]", "\"circle\"]")).unwrap();
    let ended = end(kd_run(at, "out").args(["--preset", "few"]));
    refused(&ended, 78, "`circle` is none of fgsm, pgd, square", "a preset's attack");
}
