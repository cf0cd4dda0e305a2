//! The tables of a card.

use kd_core::record::Evaluation;
use kd_core::wilson;

use super::{Card, Shipped};
use crate::document::{Cell, Column, Row, Table};
use crate::format::{counted, percent};
use crate::stats::Stat;

/// `95.2 % (93.7-96.4)`: the share and its 95 % interval, Wilson's.
pub(super) fn share_words(evaluation: &Evaluation) -> String {
    share(evaluation.correct, evaluation.total)
}

fn share(correct: usize, total: usize) -> String {
    let [low, high] = wilson(correct, total).map(|end| 100.0 * end);
    let mean = 100.0 * correct as f64 / total.max(1) as f64;
    format!("{mean:.1}\u{a0}% ({low:.1}\u{2013}{high:.1})")
}

fn number(value: f64, decimals: usize) -> Cell {
    Cell::number(format!("{value:.decimals$}"))
}

fn table(caption: &str, columns: &[&str], rows: Vec<Row>) -> Table {
    Table { caption: caption.into(), columns: Column::plain(columns), rows }
}

pub(super) fn networks(card: &Card) -> Table {
    let row = |what: &str, network: &Shipped| {
        let (temperature, calibrated) = &network.calibrated;
        let agreement = network.evaluation.agreement;
        Row::Cells(vec![
            Cell::Words(format!("{what}, {}", network.name)),
            Cell::number(share_words(&network.evaluation)),
            agreement.map_or(Cell::Empty, |share| Cell::number(percent(share))),
            number(*temperature, 2),
            number(calibrated.nll, 3),
            number(100.0 * calibrated.ece, 1),
            number(network.multiply_adds as f64 / 1e6, 1),
            number(network.n_parameters as f64 / 1e6, 2),
        ])
    };
    let mut rows = vec![row("teacher", &card.teacher), row("student", &card.student)];
    let int8 = &card.int8;
    rows.push(Row::Cells(vec![
        Cell::Words(format!(
            "student in 8-bit integers, {:.2} times smaller{}",
            int8.smaller,
            match int8.kept {
                true => String::new(),
                false => format!(
                    "; not among the files, since it loses {:.1} points on the images to choose by",
                    100.0 * int8.lost_held_out
                ),
            }
        )),
        Cell::number(share_words(&int8.evaluation)),
        Cell::Empty,
        Cell::Empty,
        Cell::Empty,
        Cell::Empty,
        Cell::Empty,
        Cell::Empty,
    ]));
    let caption = format!(
        "On {} that nothing was learned from or chosen by; in brackets Wilson's 95 % interval. \
         Temperature: what the logits are divided by before the softmax, found on the images to choose by; \
         nll (nats) and ece (15 bins, percent) are those of the probabilities at it. In 8-bit integers the \
         student says the same on {} % of these images.",
        counted(card.student.evaluation.total, "image"),
        percent(card.int8.same)
    );
    let columns = [
        "network",
        "accuracy",
        "agrees with the teacher, %",
        "temperature",
        "nll",
        "ece",
        "million multiply-adds",
        "million parameters",
    ];
    table(&caption, &columns, rows)
}

pub(super) fn seeds(card: &Card) -> Table {
    let cell = |top1: Option<f64>| top1.map_or(Cell::Empty, |top1| Cell::number(percent(top1)));
    let row = |name: String, values: [Option<f64>; 3]| {
        Row::Cells([Cell::Words(name)].into_iter().chain(values.map(cell)).collect())
    };
    let of = |seed: &super::Seed| [seed.teacher, Some(seed.distilled), Some(seed.labels)];
    let mut rows: Vec<Row> =
        card.seeds.iter().map(|seed| row(format!("seed {}", seed.seed), of(seed))).collect();
    let stats =
        [0, 1, 2].map(|i| Stat::of(card.seeds.iter().filter_map(|seed| of(seed)[i]).collect()));
    if card.seeds.len() > 1 {
        rows.push(row("mean".into(), stats.each_ref().map(|stat| stat.as_ref().map(|s| s.mean))));
        rows.push(row("standard deviation".into(), stats.map(|stat| stat.and_then(|s| s.std))));
    }
    let caption = "Accuracy on the images that judge, in percent. The teacher's are those of all its own trainings, \
                   the best of which on the images to choose by taught all students.";
    table(caption, &["", "teacher", "distilled student", "student on labels alone"], rows)
}

pub(super) fn classes(card: &Card) -> Table {
    let cell = |network: &Shipped, class: usize| {
        let (total, wrong) =
            (network.evaluation.images_of(class), network.evaluation.errors_on(class));
        Cell::number(share(total - wrong, total))
    };
    let row = |class: usize| {
        Row::Cells(vec![
            Cell::Code(card.class(class as u32)),
            Cell::number(card.student.evaluation.images_of(class).to_string()),
            cell(&card.teacher, class),
            cell(&card.student, class),
        ])
    };
    let rows = (0..card.student.evaluation.n_classes()).map(row).collect();
    table(
        "Share of each class's images that is right; in brackets Wilson's 95 % interval.",
        &["class", "images", "teacher", "student"],
        rows,
    )
}

pub(super) fn lost(card: &Card) -> Table {
    let mut counts = std::collections::BTreeMap::new();
    for lost in &card.lost {
        *counts.entry((lost.label, lost.prediction)).or_insert(0) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let row = |((label, prediction), n): ((u32, u32), i32)| {
        let names = [label, prediction].map(|class| Cell::Code(card.class(class)));
        Row::Cells(names.into_iter().chain([Cell::number(n.to_string())]).collect())
    };
    let rows = counts.into_iter().map(row).collect();
    table("Images that the teacher has right.", &["class", "taken for", "images"], rows)
}

pub(super) fn stressed(card: &Card) -> Table {
    let row = |stressed: &super::Stressed| {
        let shares = stressed.right.iter().map(|right| Cell::number(share(*right, stressed.total)));
        Row::Cells([Cell::Words(stressed.what.clone())].into_iter().chain(shares).collect())
    };
    table(
        "Share that is right. Blur, noise and JPEG are those of ImageNet-C at its first and third severity; \
         FGSM changes each value by so much against the network itself.",
        &["images", "teacher", "student"],
        card.stressed.iter().map(row).collect(),
    )
}

pub(super) fn latency(card: &Card) -> Table {
    let mut rows = Vec::new();
    for (what, network) in [("teacher", &card.teacher), ("student", &card.student)] {
        rows.extend(network.latency.iter().map(|latency| {
            Row::Cells(vec![
                Cell::Words(what.into()),
                Cell::number(latency.threads.to_string()),
                number(1e3 * latency.p50, 2),
                number(1e3 * latency.p99, 2),
            ])
        }));
    }
    table(
        "Milliseconds of one image in kd itself, f32, on the machine that made this card: half of the images \
         are faster than p50, 99 of 100 than p99, in the fastest fifth of a thousand, 25 at a time.",
        &["network", "threads", "p50", "p99"],
        rows,
    )
}

pub(super) fn tried(card: &Card) -> Table {
    let row = |tried: &super::Tried| {
        Row::Cells(vec![
            Cell::Code(tried.network.clone()),
            Cell::Code(tried.objective.clone()),
            number(tried.multiply_adds as f64 / 1e6, 1),
            number(100.0 * tried.top1, 1),
            number(tried.nll, 3),
            Cell::Text(if tried.chosen { "chosen".into() } else { String::new() }),
        ])
    };
    table(
        "A short training each, on the images to choose by. Of those whose accuracy is within a standard error \
         of the best the one of least nll is chosen.",
        &["network", "objective", "million multiply-adds", "accuracy, %", "nll", ""],
        card.tried.iter().map(row).collect(),
    )
}

pub(super) fn files(card: &Card) -> Table {
    let row = |(name, what): &(String, String)| {
        Row::Cells(vec![Cell::Code(name.clone()), Cell::Words(what.clone())])
    };
    table("", &["file", "what it is"], card.files.iter().map(row).collect())
}
