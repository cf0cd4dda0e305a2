//! Two runs side by side, paired by seed.

use std::path::Path;

use kd_core::record::{FinalRecord, ModelId};
use kd_core::{Error, Result, record};
use serde::Serialize;

use crate::document::{Cell, Column, Row, Table};
use crate::format::{counted, effect_cells, percent_cell, signed};
use crate::markdown;
use crate::paired::{Effect, Paired, known_effects};
use crate::run::{ModelRuns, Run};
use crate::stats::Stat;

/// What two runs made of the same models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Models of both runs, in the order of the first.
    pub models: Vec<ComparedModel>,
    /// Models that only one of the two has.
    pub only: [Vec<ModelId>; 2],
    /// Whether both were tested on the same files, to the bit.
    pub same_data: bool,
}

/// One model of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedModel {
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Accuracy after the last epoch in the first and in the second run, over the seeds that ended in both.
    pub last: [Stat; 2],
    /// The second minus the first, paired by seed and corrected for the number of models; nothing for fewer than
    /// two seeds, or where the test images are not the same.
    pub effect: Option<Effect>,
}

impl Compared {
    /// Sets the run of the folder `second` beside that of `first`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Parse`] for a folder without a run; [`Error::Config`] for runs that share
    /// no model with a seed.
    pub fn read(first: &Path, second: &Path) -> Result<Self> {
        let read = |dir: &Path| Run::group(record::read(&dir.join("metrics.jsonl"))?);
        let compared = Self::of(&read(first)?, &read(second)?);
        match compared.models.is_empty() {
            false => Ok(compared),
            true => Err(Error::config(
                "compare",
                format!(
                    "{} and {} have no model of the same name that ended with the same seed",
                    first.display(),
                    second.display()
                ),
            )),
        }
    }

    fn of(first: &Run, second: &Run) -> Self {
        let data = |run: &Run| {
            run.provenance.data.iter().map(|file| file.sha256.clone()).collect::<Vec<_>>()
        };
        let same_data = data(first) == data(second)
            && first.provenance.synthetic == second.provenance.synthetic;
        let in_run = |run: &Run, id: &ModelId| run.models.iter().any(|model| model.id == *id);
        let missing = |run: &Run, other: &Run| {
            let alone = run.models.iter().filter(|model| !in_run(other, &model.id));
            alone.map(|model| model.id.clone()).collect()
        };
        Self {
            models: models(first, second, same_data),
            only: [missing(first, second), missing(second, first)],
            same_data,
        }
    }

    /// As a table in Markdown, with what it means below.
    pub fn to_markdown(&self) -> String {
        let mut columns = Column::plain(&["model"]);
        columns.extend(Column::grouped("test, last epoch", &["first", "second"]));
        columns.extend(Column::grouped("second \u{2212} first", &["points", "p", "verdict"]));
        let rows = self.models.iter().map(ComparedModel::row).collect();
        let table = Table { caption: self.caption(), columns, rows };
        markdown::table(&table)
    }

    fn caption(&self) -> String {
        let mut text = "Accuracies in percent over the seeds of both runs, differences in points with the 95 percent \
            interval of Student's paired test; p-values and verdicts are corrected for the number of models \
            (Holm)."
            .to_owned();
        if !self.same_data {
            text += " The two runs are of other data: nothing is paired.";
        }
        for (place, only) in ["first", "second"].iter().zip(&self.only) {
            if !only.is_empty() {
                let n = counted(only.len(), "model");
                text += &format!(" Only in the {place}: {n}, such as {}.", only[0]);
            }
        }
        text
    }
}

impl ComparedModel {
    fn row(&self) -> Row {
        let [first, second] = &self.last;
        let mut cells =
            vec![Cell::Code(self.id.to_string()), percent_cell(first), percent_cell(second)];
        cells.extend(match self.effect {
            Some(effect) => effect_cells(effect),
            None => {
                let points = signed(100.0 * (second.mean - first.mean), 2);
                [Cell::number(points), Cell::Empty, Cell::Empty]
            }
        });
        Row::Cells(cells)
    }
}

/// The models of both, their effects corrected together.
fn models(first: &Run, second: &Run, same_data: bool) -> Vec<ComparedModel> {
    let both = first.models.iter().filter_map(|model| {
        Some((model, second.models.iter().find(|other| other.id == model.id)?))
    });
    let mut models: Vec<_> = both.filter_map(|(a, b)| compared(a, b)).collect();
    let step = |model: &ModelRuns| {
        1.0 / model.finals.values().next().map_or(1.0, |last| last.last.total.max(1) as f64)
    };
    let paired = |model: &ComparedModel| {
        let of = first.models.iter().find(|other| other.id == model.id)?;
        let [a, b] = &model.last;
        Paired::of(&b.values, &a.values, step(of)).filter(|_| same_data)
    };
    let paired: Vec<Option<Paired>> = models.iter().map(paired).collect();
    for (model, effect) in models.iter_mut().zip(known_effects(&paired)) {
        model.effect = effect;
    }
    models
}

/// A model over the seeds that ended in both runs.
fn compared(first: &ModelRuns, second: &ModelRuns) -> Option<ComparedModel> {
    let seeds: Vec<u64> =
        first.finals.keys().filter(|seed| second.finals.contains_key(seed)).copied().collect();
    let top1 = |last: &FinalRecord| last.last.top1;
    let of = |model: &ModelRuns| {
        Stat::of(seeds.iter().filter_map(|seed| model.finals.get(seed).map(top1)).collect())
    };
    Some(ComparedModel { id: first.id.clone(), last: [of(first)?, of(second)?], effect: None })
}

#[cfg(test)]
mod tests {
    use kd_core::record::Record;

    use super::*;
    use crate::fixture;

    fn run(records: Vec<Record>) -> Run {
        Run::group(records).unwrap()
    }

    /// The second run is better by 0.01 and a little that differs between the seeds.
    fn better() -> Run {
        let mut records = fixture::records(3, 2, false);
        for record in &mut records {
            if let Record::Final(last) = record {
                last.last.top1 += 0.01 + 0.0001 * last.seed as f64;
            }
        }
        run(records)
    }

    #[test]
    fn the_same_seeds_make_pairs() {
        let compared = Compared::of(&run(fixture::records(3, 2, false)), &better());
        assert!(compared.same_data && compared.only.iter().all(Vec::is_empty));
        for model in &compared.models {
            let effect = model.effect.unwrap();
            assert!((effect.paired.mean - 0.0102).abs() < 1e-9, "0.01 and the mean of 1, 2, 3");
            assert_eq!((effect.paired.n, effect.told), (3, crate::Told::Better));
        }
        assert!(compared.to_markdown().contains("+1.02"));
    }

    #[test]
    fn only_seeds_of_both_count_and_other_data_are_not_paired() {
        let two = run(fixture::records(2, 2, false));
        let compared = Compared::of(&two, &better());
        assert!(compared.models.iter().all(|model| model.last[1].n == 2));
        let synthetic = run(fixture::records(3, 2, true));
        let compared = Compared::of(&synthetic, &better());
        assert!(compared.models.iter().all(|model| model.effect.is_none()));
        assert!(compared.to_markdown().contains("nothing is paired"));
    }

    #[test]
    fn models_of_one_run_alone_are_named() {
        let mut records = fixture::records(2, 2, false);
        records.retain(|record| match record {
            Record::Final(last) => last.id.training != "omit3",
            Record::Epoch(epoch) => epoch.id.training != "omit3",
            Record::Correction(_) => false,
            _ => true,
        });
        let compared = Compared::of(&run(records), &better());
        assert!(compared.only[0].is_empty() && compared.only[1].len() == 7);
        assert!(compared.to_markdown().contains("Only in the second: 7 models"));
    }
}
