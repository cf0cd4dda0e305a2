//! Models on other images than those of the test set.

use kd_core::record::{Evaluation, ModelId};
use serde::Serialize;

use crate::document::{Cell, Column, Row, Section, Table};
use crate::evaluation::EvaluationSummary;
use crate::format::{counted, number_cell, percent_cell};
use crate::ordered::grouped;
use crate::run::Run;
use crate::stats::{Stat, over};

/// One evaluation of one model over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherImages {
    /// Name of the evaluation.
    pub name: String,
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Fraction classified correctly.
    pub top1: Stat,
    /// The other figures.
    #[serde(flatten)]
    pub evaluation: EvaluationSummary,
}

/// All evaluations of the run, by name.
pub(crate) fn of(run: &Run) -> Vec<OtherImages> {
    let all = run.models.iter().flat_map(|model| {
        let own = grouped(&model.evaluations, |((name, _), _)| name.clone());
        own.into_iter().filter_map(|group| {
            let seeds = group.iter().map(|(_, evaluation)| *evaluation);
            summary(group.first()?.0.0.clone(), &model.id, seeds)
        })
    });
    grouped(all, |one: &OtherImages| one.name.clone()).into_iter().flatten().collect()
}

fn summary<'a>(
    name: String,
    id: &ModelId,
    seeds: impl Iterator<Item = &'a Evaluation> + Clone,
) -> Option<OtherImages> {
    let top1 = over(seeds.clone(), &|e: &Evaluation| e.top1)?;
    Some(OtherImages { name, id: id.clone(), top1, evaluation: EvaluationSummary::of(seeds)? })
}

/// A table of all of them.
pub(crate) fn section(all: &[OtherImages]) -> Option<Section> {
    let row = |one: &OtherImages| {
        let figures = &one.evaluation;
        Row::Cells(vec![
            Cell::Code(one.id.to_string()),
            percent_cell(&one.top1),
            number_cell(&figures.nll, 1.0, 4),
            percent_cell(&figures.ece),
        ])
    };
    let groups = grouped(all, |one| one.name.clone());
    let rows = groups.iter().flat_map(|group| {
        let images = counted(group[0].evaluation.total, "image");
        let heading = Row::Heading(format!("{}: {images}", group[0].name));
        std::iter::once(heading).chain(group.iter().map(|one| row(one)))
    });
    let caption =
        "After the last epoch. Accuracies and ECE (15 bins) in percent, NLL in nats.".into();
    let columns = Column::plain(&["model", "top-1", "NLL", "ECE"]);
    Section::of_table("On other images", Table { caption, columns, rows: rows.collect() })
}

#[cfg(test)]
mod tests {
    use kd_core::record::{EvaluationRecord, Record, RunRecord};

    use super::*;

    fn record(name: &str, model: &str, seed: u64, correct: usize) -> Record {
        let evaluation =
            Evaluation { total: 10, correct, top1: correct as f64 / 10.0, ..Evaluation::default() };
        let (id, name) = (ModelId::new("t", model), name.into());
        Record::Evaluation(EvaluationRecord { seed, id, name, evaluation })
    }

    #[test]
    fn evaluations_are_grouped_by_name_and_averaged_over_seeds() {
        let run = Run::group(vec![
            Record::Run(RunRecord::default()),
            record("noisy", "a", 0, 4),
            record("noisy", "b", 0, 7),
            record("seen", "a", 0, 9),
            record("noisy", "a", 1, 6),
        ]);
        let all = of(&run.unwrap());
        let names: Vec<_> = all.iter().map(|one| (&*one.name, &*one.id.model)).collect();
        assert_eq!(names, [("noisy", "a"), ("noisy", "b"), ("seen", "a")]);
        assert_eq!((all[0].top1.mean, all[0].top1.n), (0.5, 2));
        assert!((all[0].evaluation.errors.mean - 5.0).abs() < 1e-12);
    }
}
