//! How fast the images of a training came, which of them were bad, and what was not computed twice.

use kd_core::record::{BadImagesRecord, SoftTargetsRecord};
use serde::Serialize;

use crate::document::{Block, Cell, Column, Row, Section, Table};
use crate::format::{number_cell, percent_cell, thousands};
use crate::ordered::grouped;
use crate::run::{ModelRuns, Run};
use crate::stats::Stat;

/// Bad images that the report lists.
const N_SHOWN: usize = 20;

/// How the images of one training came, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Loading {
    /// Name of the training.
    pub training: String,
    /// Training images a second, evaluations not counted; mean over the epochs of a seed.
    pub images_per_second: Option<Stat>,
    /// Fraction of that time in which the students waited for batches or for their teacher.
    pub data_wait: Option<Stat>,
    /// Images that were left out or repaired; none where all were good.
    pub bad_images: Option<BadImages>,
    /// What a file of soft targets held and saved, by seed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub soft_targets: Vec<SoftTargetsRecord>,
}

/// Images that could not be decoded as they should.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BadImages {
    /// Their number: of the seed that met most.
    pub n: usize,
    /// Name and reason of each that was recorded, sorted.
    pub images: Vec<[String; 2]>,
}

/// What was recorded about the images of each training; nothing for trainings without a record.
pub(crate) fn loadings(run: &Run) -> Vec<Loading> {
    let trainings = grouped(&run.models, |model| model.id.training.clone());
    let loadings = trainings.iter().filter_map(|models| loading(run, models[0]));
    loadings.collect()
}

/// All students of a training see the same batches at the same time: one of them stands for all.
fn loading(run: &Run, model: &ModelRuns) -> Option<Loading> {
    let here = |training: &str| training == model.id.training;
    let bad = run.bad_images.values().filter(|bad| here(&bad.training) && bad.n > 0);
    let soft_targets = run.soft_targets.values().filter(|record| here(&record.training));
    let loading = Loading {
        training: model.id.training.clone(),
        images_per_second: over_epochs(model, |epoch| epoch.images_per_second),
        data_wait: over_epochs(model, |epoch| epoch.data_wait),
        bad_images: bad_images(&bad.collect::<Vec<_>>()),
        soft_targets: soft_targets.cloned().collect(),
    };
    let is_known = loading.images_per_second.is_some() || loading.bad_images.is_some();
    (is_known || !loading.soft_targets.is_empty()).then_some(loading)
}

/// The mean over the epochs of each seed.
fn over_epochs(
    model: &ModelRuns,
    value: fn(&kd_core::record::EpochRecord) -> Option<f64>,
) -> Option<Stat> {
    let known = model.epochs.iter().filter_map(|((seed, _), epoch)| Some((*seed, value(epoch)?)));
    let seeds = grouped(known, |(seed, _)| *seed);
    let mean = |epochs: &Vec<(u64, f64)>| {
        epochs.iter().map(|(_, value)| value).sum::<f64>() / epochs.len() as f64
    };
    Stat::of(seeds.iter().map(mean).collect())
}

fn bad_images(seeds: &[&BadImagesRecord]) -> Option<BadImages> {
    let n = seeds.iter().map(|seed| seed.n).max()?;
    let mut images: Vec<_> = seeds.iter().flat_map(|seed| seed.images.iter().cloned()).collect();
    images.sort();
    images.dedup();
    Some(BadImages { n, images })
}

/// The section about them.
pub(crate) fn section(loadings: &[Loading]) -> Option<Section> {
    let mut blocks: Vec<_> = speed(loadings).into_iter().collect();
    blocks.extend(soft_targets(loadings));
    blocks.extend(bad(loadings));
    Section::of("Loading the images", blocks)
}

fn speed(loadings: &[Loading]) -> Option<Block> {
    let row = |loading: &Loading| {
        let bad = loading.bad_images.as_ref().map_or(0, |bad| bad.n);
        Row::Cells(vec![
            Cell::Code(loading.training.clone()),
            loading.images_per_second.as_ref().map_or(Cell::Empty, |s| number_cell(s, 1.0, 1)),
            loading.data_wait.as_ref().map_or(Cell::Empty, percent_cell),
            Cell::number(thousands(bad)),
        ])
    };
    let rows: Vec<_> = loadings.iter().map(row).collect();
    let caption = "Training images a second, which pass through all students of the training; the \
                   share of the time, in percent, in which these waited for images or for \
                   their teacher; and images that were left out or repaired. Evaluations are not \
                   counted."
        .into();
    let columns = Column::plain(&["training", "images/s", "waiting, %", "bad images"]);
    (!rows.is_empty()).then_some(Block::Table(Table { caption, columns, rows }))
}

fn soft_targets(loadings: &[Loading]) -> Option<Block> {
    let rows: Vec<_> = loadings.iter().flat_map(|r| r.soft_targets.iter().map(saved)).collect();
    let columns = Column::plain(&[
        "training",
        "seed",
        "classes kept",
        "bits",
        "versions of an image",
        "file, MB",
        "rows needed",
        "computed",
        "saved, %",
    ]);
    let caption = "The teacher's largest logits, kept in a file for each stored version (crop and \
                   flip) of an image: what was in it was not computed again."
        .into();
    (!rows.is_empty()).then_some(Block::Table(Table { caption, columns, rows }))
}

fn saved(record: &SoftTargetsRecord) -> Row {
    let computed = record.computed.min(record.asked);
    let share = (record.asked - computed) as f64 / record.asked.max(1) as f64;
    Row::Cells(vec![
        Cell::Code(record.training.clone()),
        Cell::number(record.seed.to_string()),
        Cell::number(thousands(record.top_k)),
        Cell::number(record.bits.to_string()),
        Cell::number(thousands(record.n_views)),
        Cell::number(format!("{:.1}", record.bytes as f64 / 1e6)),
        Cell::number(thousands(record.asked as usize)),
        Cell::number(thousands(record.computed as usize)),
        Cell::number(format!("{:.1}", 100.0 * share)),
    ])
}

/// The bad images of all trainings, each once.
fn bad(loadings: &[Loading]) -> Option<Block> {
    let bad = loadings.iter().filter_map(|loading| loading.bad_images.as_ref());
    let mut images: Vec<_> = bad.flat_map(|bad| &bad.images).collect();
    images.sort();
    images.dedup();
    let row = |[name, reason]: &[String; 2]| {
        Row::Cells(vec![Cell::Code(name.clone()), Cell::Words(reason.clone())])
    };
    let rows: Vec<_> = images.iter().take(N_SHOWN).copied().map(row).collect();
    let more = match images.len().saturating_sub(N_SHOWN) {
        0 => String::new(),
        n => format!(" The first {N_SHOWN}; report.json names {n} more."),
    };
    let caption = format!("Images that were left out or repaired, and why.{more}");
    let columns = Column::plain(&["image", "what was wrong"]);
    (!rows.is_empty()).then_some(Block::Table(Table { caption, columns, rows }))
}

#[cfg(test)]
mod tests {
    use kd_core::record::{EpochRecord, ModelId, Record, RunRecord};

    use super::*;

    fn epoch(seed: u64, epoch: u64, images_per_second: Option<f64>) -> Record {
        let id = ModelId::new("t", "");
        let data_wait = images_per_second.map(|_| 0.25);
        let rest = EpochRecord::default();
        Record::Epoch(EpochRecord { seed, id, epoch, images_per_second, data_wait, ..rest })
    }

    fn bad(seed: u64, names: &[&str]) -> Record {
        let image = |name: &&str| [(*name).to_owned(), "cut off".to_owned()];
        let images: Vec<_> = names.iter().map(image).collect();
        Record::BadImages(BadImagesRecord { seed, training: "t".into(), n: images.len(), images })
    }

    fn of(mut records: Vec<Record>) -> Vec<Loading> {
        records.insert(0, Record::Run(RunRecord::default()));
        loadings(&Run::group(records).unwrap())
    }

    #[test]
    fn speeds_are_means_over_epochs_then_seeds() {
        let all = of(vec![
            epoch(1, 1, Some(100.0)),
            epoch(1, 2, Some(300.0)),
            epoch(2, 1, Some(400.0)),
            epoch(2, 2, None),
        ]);
        let speed = all[0].images_per_second.as_ref().unwrap();
        assert!((speed.values[0] - 200.0).abs() < 1e-9 && (speed.mean - 300.0).abs() < 1e-9);
        assert!((all[0].data_wait.as_ref().unwrap().mean - 0.25).abs() < 1e-12);
        assert!(of(vec![epoch(1, 1, None)]).is_empty(), "older runs did not record it");
    }

    #[test]
    fn bad_images_are_counted_once_and_20_shown() {
        let names: Vec<String> = (10..35).map(|i| format!("{i}.JPEG")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let all = of(vec![epoch(1, 1, None), bad(1, &names), bad(2, &names[..3])]);
        let found = all[0].bad_images.as_ref().unwrap();
        assert_eq!((found.n, found.images.len()), (25, 25));
        let Some(Block::Table(table)) = super::bad(&all) else { panic!("no table") };
        assert!(table.rows.len() == 20 && table.caption.ends_with("names 5 more."));
        assert!(of(vec![epoch(1, 1, None), bad(1, &[])]).is_empty());
    }

    #[test]
    fn a_cache_saves_what_it_did_not_compute() {
        let record = SoftTargetsRecord { asked: 400, computed: 100, ..Default::default() };
        let Row::Cells(cells) = saved(&record) else { panic!("a heading") };
        let last = Cell::number("75.0".into());
        assert_eq!(cells.last(), Some(&last));
        saved(&SoftTargetsRecord { asked: 0, computed: 7, ..record });
    }
}
