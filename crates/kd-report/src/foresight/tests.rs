//! Grids that are made up, and those of the made-up run.

use kd_core::Stream;

use super::grid::Cell;
use super::judge::{Judged, Rule, judge};
use super::*;
use crate::fixture;

/// Eight trainings of two seeds, whose cells end with `end` of their gain after the first epoch and alpha.
fn grids(end: impl Fn(f64, f64) -> f64) -> Vec<Grid> {
    let mut rng = Stream::new(3).rng();
    let mut grid = |i: usize| {
        let mut cells = Vec::new();
        for (alpha, temperature) in [(0.1, 1.0), (0.1, 4.0), (0.9, 1.0), (0.9, 4.0)] {
            let first = f64::from(rng.uniform_in(-0.02, 0.02));
            let ln_t = f64::ln(temperature);
            let known = [first, 0.0, 0.03, 0.1, alpha, ln_t, alpha * ln_t];
            cells.push(Cell { alpha, temperature, known, gain: end(first, alpha) });
        }
        Grid { training: format!("run: {}", i / 2), cells }
    };
    (0..16).map(&mut grid).collect()
}

fn of(rule: Rule, judged: &[Judged]) -> Judged {
    *judged.iter().find(|one| one.rule == rule).unwrap()
}

#[test]
fn a_first_epoch_that_tells_all_is_believed() {
    let judged = judge(&grids(|first, _| 2.0 * first));
    let (foresight, first) = (of(Rule::Foresight, &judged), of(Rule::FirstEpoch, &judged));
    assert!(foresight.right > 0.9 && foresight.lost < 1e-3, "{judged:?}");
    assert!(foresight.error < 2e-3 && first.error > 5e-3, "{judged:?}");
    assert!((first.right - 1.0).abs() < 1e-12 && first.lost.abs() < 1e-12);
    assert!(of(Rule::Usual, &judged).lost > 5e-3);
}

#[test]
fn a_first_epoch_that_lies_is_seen_through() {
    let judged = judge(&grids(|first, alpha| 0.01 * alpha - first));
    let (foresight, first) = (of(Rule::Foresight, &judged), of(Rule::FirstEpoch, &judged));
    assert!(foresight.lost < 2e-3 && first.lost > 1e-2, "{judged:?}");
}

/// Of cells that gain and lose the same everywhere, the usual one is best; gains and losses by hand.
#[test]
fn what_is_usual_is_judged() {
    let judged = judge(&grids(|_, alpha| if alpha > 0.5 { 0.01 } else { -0.01 }));
    let usual = of(Rule::Usual, &judged);
    let pairs = [(usual.right, 1.0), (usual.gain, 0.01), (usual.lost, 0.0), (usual.error, 0.0)];
    for (got, want) in pairs {
        assert!((got - want).abs() < 1e-12, "{usual:?}");
    }
}

#[test]
fn labels_alone_lose_nothing_where_nothing_helps() {
    let judged = judge(&grids(|_, _| -0.01));
    for one in judged.iter().filter(|one| one.rule != Rule::FirstEpoch) {
        assert!(one.gain.abs() < 1e-12 && one.lost.abs() < 1e-12 && one.right > 0.99, "{one:?}");
    }
}

/// The made-up run of the MNIST suite, with a spec that says who teaches.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let lines = fixture::records(3, 4, false)
        .into_iter()
        .map(|record| serde_json::to_string(&record).unwrap());
    let text = lines.collect::<Vec<_>>().join("\n") + "\n";
    std::fs::write(folder.path().join("metrics.jsonl"), text).unwrap();
    let training = |name: &str| {
        let plan = "plan = { n_epochs = 4, batch_size = 8, learning_rate = 0.1 }";
        format!(
            "[[training]]\nname = \"{name}\"\nmodel = \"mlp\"\nteacher = {{ training = \"teacher\" }}\n{plan}\n"
        )
    };
    let spec = ["student30", "student300", "omit3"].map(training).concat();
    std::fs::write(folder.path().join("spec.toml"), spec).unwrap();
    folder
}

#[test]
fn runs_are_read_and_a_suggestion_is_made() {
    let folder = folder();
    let known = [folder.path().to_owned()];
    let foresight = Foresight::read(&known, folder.path()).unwrap();
    assert_eq!((foresight.n_grids, foresight.n_trainings), (6, 2));
    assert_eq!(foresight.suggestions.len(), 2);
    let text = foresight.to_markdown();
    assert!(text.contains("6 grids of 2 trainings") && text.contains(": student300"), "{text}");
    assert!(!text.contains(": omit3"), "labels leave out a class: {text}");
}

#[test]
fn a_run_without_grids_is_refused() {
    let folder = folder();
    let none = |known: &[PathBuf]| Foresight::read(known, folder.path()).unwrap_err().to_string();
    assert!(none(&[]).contains("fewer than two trainings"));
    let known = [folder.path().to_owned()];
    std::fs::remove_file(folder.path().join("spec.toml")).unwrap();
    assert!(none(&known).contains("a teacher"), "nobody says who taught");
}
