//! Methods beside each other, through the program: settings chosen on held-out images, then every seed.

use std::fs;

use serde_json::Value;

use crate::support::{
    METHODS, end, finals, folder_of, kd_run, records, refused, settings_are_refused, succeed,
};

#[test]
fn settings_are_chosen_once_and_the_methods_compared_over_seeds() {
    let folder = folder_of(METHODS);
    let out = folder.path().join("out");
    let ended = succeed(kd_run(folder.path(), "out").args(["--seeds", "3", "--json"]));
    let candidates = records(&out, "candidate");
    let of = |name: &str| -> Vec<&Value> {
        candidates.iter().filter(|candidate| candidate["model"] == name).collect()
    };
    assert_eq!((candidates.len(), of("kd").len(), of("dkd").len()), (4, 2, 2));
    let ended_with = finals(&out);
    for name in ["kd", "dkd"] {
        let chosen: Vec<_> = of(name).into_iter().filter(|c| c["chosen"] == true).collect();
        let own: Vec<_> = ended_with.iter().filter(|last| last["model"] == name).collect();
        assert_eq!((chosen.len(), own.len()), (1, 3));
        assert!(own.iter().all(|last| last["loss"] == chosen[0]["loss"]), "{name}");
    }
    // 480 images in three epochs, and as many of the teacher; labels ask for none.
    let cost = |name: &str, what: &str| {
        let last = ended_with.iter().find(|last| last["model"] == name).unwrap();
        last[what].as_u64().unwrap()
    };
    assert_eq!((cost("dist", "student_passes"), cost("dist", "teacher_asked")), (1440, 1440));
    assert_eq!((cost("labels", "student_passes"), cost("labels", "teacher_asked")), (1440, 0));

    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let methods = &report["methods"][0];
    assert_eq!((&methods["labels"], &methods["kd"]), (&"labels".into(), &"kd".into()));
    assert_eq!(methods["methods"].as_array().unwrap().len(), 4);
    assert!(report["unfinished"].as_array().unwrap().is_empty());
    for file in ["report.html", "report.md"] {
        let text = fs::read_to_string(out.join(file)).unwrap();
        for words in
            ["Methods of distillation beside each other", "Of 2 methods", "\u{2713} chosen"]
        {
            assert!(text.contains(words), "{file}: {words}");
        }
    }
}

#[test]
fn a_choice_that_cannot_be_made_is_refused_at_once() {
    let folder = folder_of(METHODS);
    let choose = "choose = { n_epochs = 2, n_candidates = 2 }\n";
    settings_are_refused(
        folder.path(),
        METHODS,
        &[
            ("holdout = 120\n", "", "candidates are compared on held-out images"),
            (choose, "", "say how one is chosen"),
            ("n_candidates = 2", "n_candidates = 1", "more than n_candidates = 1"),
        ],
    );
    fs::write(folder.path().join("suite.toml"), METHODS).unwrap();
    let mut without = kd_run(folder.path(), "out");
    refused(&end(without.args(["--holdout", "0"])), 78, "give `holdout`", "no held-out images");
}
