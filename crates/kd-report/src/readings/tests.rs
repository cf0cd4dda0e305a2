use std::collections::BTreeMap;

use kd_core::Stream;
use kd_core::record::{
    AxisRecord, EpochRecord, Evaluation, FinalRecord, ModelId, ReadingRecord, ReadingsRecord,
    Record, RunRecord, Setting,
};

use super::{Readings, of};
use crate::claims::Claims;
use crate::document::Block;
use crate::run::Run;

const CELLS: [&str; 3] = ["baseline", "alpha0.1-t5", "alpha0.9-t5"];
/// The paper's accuracies of these.
const PAPER: [f64; 3] = [0.9750, 0.9767, 0.9752];

/// Four readings of two axes. The first axis shifts all accuracies by a point, the second the last one by two; seeds
/// shift all of them together and each a little.
fn run(n_seeds: u64, accuracy: impl Fn(usize, usize) -> f64) -> Run {
    let axis = |name: &str| AxisRecord {
        name: name.into(),
        values: vec![Setting::Count(0), Setting::Count(1)],
    };
    let id = |reading: usize, cell: &str| ModelId::new(format!("t-{reading}"), cell);
    let reading = |i: usize| ReadingRecord {
        values: vec![i / 2, i % 2],
        last: false,
        cells: BTreeMap::from(CELLS.map(|c| (format!("mnist/student30/{c}"), id(i, c)))),
    };
    let readings = ReadingsRecord {
        pattern_only: false,
        axes: vec![axis("level"), axis("slope")],
        readings: (0..4).map(reading).collect(),
    };
    let run = RunRecord { seeds: n_seeds, ..RunRecord::default() };
    let mut records = vec![Record::Run(run), Record::Readings(readings)];
    for seed in 0..n_seeds {
        let mut rng = Stream::new(seed).at("seeds").rng();
        for i in 0..4 {
            let common = 0.001 * f64::from(rng.normal());
            for (k, cell) in CELLS.iter().enumerate() {
                let top1 = accuracy(i, k) + common + 0.0015 * f64::from(rng.normal());
                let last = Evaluation { total: 10_000, top1, ..Evaluation::default() };
                let (id, best_top1) = (id(i, cell), top1);
                let last = FinalRecord { seed, id, last, best_top1, ..FinalRecord::default() };
                records.push(Record::Final(Box::new(last)));
            }
        }
    }
    Run::group(records).unwrap()
}

fn readings(n_seeds: u64, accuracy: impl Fn(usize, usize) -> f64) -> Readings {
    of(&run(n_seeds, accuracy), &Claims::load().unwrap(), true).unwrap()
}

fn shifted(i: usize, k: usize) -> f64 {
    PAPER[k] - 0.01 * (i / 2) as f64 - 0.02 * (i % 2) as f64 * (k == 2) as usize as f64
}

#[test]
fn the_reading_that_makes_the_table_is_found() {
    let found = readings(3, shifted);
    let best = &found.readings[0];
    assert_eq!(best.values, ["0", "0"]);
    assert!(best.posterior > 0.99 && best.distance < 12.0, "{best:?}");
    assert!(found.p.unwrap() > 0.05, "{:?}", found.p);
    assert!((found.readings.iter().map(|r| r.posterior).sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(found.axes.iter().all(|axis| (0.95..=1.0).contains(&axis.bits)), "{:?}", found.axes);
    assert!(found.axes[0].choices[1].behind > 20.0);
    let made_up = found.made_up.unwrap();
    assert_eq!((made_up.n, made_up.drawn.len()), (12, 10));
    assert!(made_up.first > 0.9 && made_up.first_three > 0.99 && made_up.in_set > 0.9);
}

#[test]
fn a_table_that_no_reading_makes_is_told() {
    let found = readings(3, |i, k| shifted(i, k) - 0.02);
    assert!(found.p.unwrap() < 0.001);
    let document = super::section(&found);
    let Block::Text(lead) = &document.blocks[0] else { panic!("no text") };
    assert!(lead.contains("no reading explains the paper's table"), "{lead}");
}

/// Readings that are alike share the probability, and an axis without an effect tells nothing.
#[test]
fn an_axis_without_an_effect_has_no_bits() {
    let found = readings(40, |i, k| shifted(i / 2 * 2, k));
    let slope = &found.axes[1];
    assert!(slope.bits < 0.1, "{slope:?}");
    assert!(found.axes[0].bits > 0.95);
}

#[test]
fn without_the_papers_images_nothing_is_said_of_its_table() {
    let found = of(&run(2, shifted), &Claims::load().unwrap(), false).unwrap();
    assert!(found.p.is_none() && found.axes.is_empty() && found.made_up.is_some());
    let document = super::section(&found);
    assert_eq!(document.blocks.len(), 4, "two texts, the tables, and what is made of made-up ones");
}

#[test]
fn one_seed_and_an_unfinished_reading() {
    let one = readings(1, shifted);
    assert!(one.made_up.is_none() && one.n_seeds == 1 && one.p.is_some());
    let warned = |all: &Readings| {
        let warns = |block: &Block| matches!(block, Block::Text(text) if text.contains("too sure"));
        super::section(all).blocks.iter().any(warns)
    };
    assert!(warned(&one) && !warned(&readings(2, shifted)));
    let mut open = run(1, shifted);
    open.models.pop();
    assert!(of(&open, &Claims::load().unwrap(), true).is_none());
}

/// Three seeds, of which all learn in the paper's order in the first reading, none in the second, and the third
/// has equal epochs: 4, 1 and 2.5 of 5.
#[test]
fn the_order_of_epochs_counts_seeds() {
    let cells = ["mnist/student300/distilled", "mnist/student300/baseline"];
    let id = |reading: usize, cell: &str| ModelId::new(format!("t-{reading}"), cell);
    let reading = |i: usize| ReadingRecord {
        values: vec![i],
        last: false,
        cells: BTreeMap::from(cells.map(|cell| (cell.to_owned(), id(i, cell)))),
    };
    let values = vec![Setting::Count(0), Setting::Count(1), Setting::Count(2)];
    let readings = ReadingsRecord {
        pattern_only: false,
        axes: vec![AxisRecord { name: "a".into(), values }],
        readings: (0..3).map(reading).collect(),
    };
    let mut records = vec![Record::Run(RunRecord { seeds: 3, ..RunRecord::default() })];
    for (seed, i) in (0..3).flat_map(|seed| (0..3).map(move |i| (seed, i))) {
        for (k, cell) in cells.iter().enumerate() {
            let reached = [[2, 3], [3, 2], [2, 2]][i][k];
            for epoch in 1..=3 {
                let test_top1 = Some(if epoch < reached { 0.9 } else { 0.99 });
                let rest = EpochRecord::default();
                let id = id(i, cell);
                records.push(Record::Epoch(EpochRecord { seed, id, epoch, test_top1, ..rest }));
            }
            let (id, last) = (id(i, cell), Evaluation { total: 10_000, ..Evaluation::default() });
            records.push(Record::Final(Box::new(FinalRecord {
                seed,
                id,
                last,
                ..FinalRecord::default()
            })));
        }
    }
    let run = Run::group(records).unwrap();
    let data = super::data::Data::of(&run, &readings, &Claims::load().unwrap()).unwrap();
    for (got, want) in data.orders.iter().zip([4.0, 1.0, 2.5]) {
        assert!((got - (want / 5.0_f64).ln()).abs() < 1e-12, "{got}");
    }
}
