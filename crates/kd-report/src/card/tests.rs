use super::*;

fn evaluation(confusion: [[usize; 2]; 2]) -> Evaluation {
    let total = confusion.iter().flatten().sum();
    let correct = confusion[0][0] + confusion[1][1];
    let confusion = confusion.map(|row| row.to_vec()).to_vec();
    Evaluation { total, correct, confusion, ..Evaluation::default() }
}

fn shipped(name: &str, confusion: [[usize; 2]; 2], multiply_adds: u64) -> Shipped {
    let evaluation = evaluation(confusion);
    Shipped {
        name: name.into(),
        calibrated: (1.5, evaluation.clone()),
        evaluation,
        multiply_adds,
        n_parameters: 1_500_000,
        latency: vec![Latency { threads: 1, p50: 0.0125, p99: 0.02 }],
    }
}

fn card() -> Card {
    Card {
        name: "fruit".into(),
        class_names: vec!["apple".into(), "pear".into()],
        facts: vec![("images", "fruit".into())],
        notices: Vec::new(),
        teacher: shipped("big", [[9, 1], [0, 10]], 4_000_000),
        student: shipped("small", [[8, 2], [1, 9]], 1_000_000),
        int8: Int8 { smaller: 3.7, same: 0.95, lost_held_out: 0.01, ..Int8::default() },
        seeds: vec![
            Seed { seed: 0, teacher: Some(0.92), distilled: 0.85, labels: 0.80 },
            Seed { seed: 1, teacher: Some(0.98), distilled: 0.90, labels: 0.83 },
        ],
        tried: vec![Tried {
            network: "small".into(),
            objective: "alpha0.5-t2".into(),
            multiply_adds: 1_000_000,
            top1: 0.8,
            nll: 0.4,
            chosen: true,
        }],
        stressed: vec![Stressed { what: "blur, sigma 1".into(), right: vec![15, 12], total: 20 }],
        lost: vec![Lost { place: 3, label: 0, prediction: 1, png: b"\x89PNG".to_vec() }],
        files: vec![("model.onnx".into(), "the network".into())],
    }
}

#[test]
fn the_card_says_how_good_it_is_what_it_lost_and_how_fast_it_is() {
    let folder = tempfile::tempdir().unwrap();
    card().write(folder.path()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("card.md")).unwrap();
    for words in [
        "85.0\u{a0}% (64.0\u{2013}94.8)",
        "25 % of the teacher's multiply-adds",
        "apple, taken for pear",
        "lost/00003.png",
        "75.0\u{a0}%",
        "12.50",
        "3.70 times smaller; not among the files, since it loses 1.0 points",
        "| mean | 95.00 | 87.50 | 81.50 |",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(html.contains("data:image/png;base64,iVBORw==") && html.contains("alpha0.5-t2"));
    assert_eq!(std::fs::read(folder.path().join("lost/00003.png")).unwrap(), b"\x89PNG");
}

/// Gains of 5 and 7 points: mean 6, standard deviation 1.414, error 1, and t is 12.706 with one degree of
/// freedom.
#[test]
fn the_gain_is_paired_by_seed() {
    let words = card().gain();
    assert!(words.contains("+6.00 points") && words.contains("-6.71 to +18.71"), "{words}");
    let one = Card { seeds: card().seeds[..1].to_vec(), ..card() };
    assert!(one.gain().contains("+5.00 points (one seed: no interval"), "{}", one.gain());
}

/// 0.875 of 0.95 is 92.105 %. Relative standard errors 0.025 / 0.875 and 0.03 / 0.95: together 0.04258, and
/// 12.706 of them are 54.11 % of the ratio.
#[test]
fn what_is_kept_has_the_uncertainty_of_both_means() {
    let words = card().kept().unwrap();
    assert!(words.contains("92.1\u{a0}%") && words.contains("42.3 to 141.9, 2 seeds"), "{words}");
}
