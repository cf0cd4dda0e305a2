//! Methods of distillation beside each other.
//!
//! Key decision: the students of a training share images, crops, first weights and steps with each seed,
//! so that two of them are compared seed by seed, and what only one seed has cancels out; what noise is left,
//! all of them tell together ([`Blocks`]).

mod chart;
mod chosen;
mod rank;
mod section;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use kd_core::record::{CandidateRecord, Compute, FinalRecord, ObjectiveKind};
use serde::Serialize;

use crate::blocks::Blocks;
use crate::ordered::grouped;
use crate::paired::{Effect, Paired, known_effects};
use crate::run::{ModelRuns, Run};
use crate::stats::{Stat, over, over_some};

pub(crate) use chosen::section as chosen;
pub use rank::Rank;
pub(crate) use section::section;

/// The methods of one training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Methods {
    /// Whether any method beats tuned distillation, by how much, and how sure that is.
    pub summary: String,
    /// Name of the training.
    pub training: String,
    /// The student that learned from labels alone.
    pub labels: String,
    /// Tuned distillation: the student of labels and soft targets (`distill`) that held-out images like
    /// best.
    pub kd: Option<String>,
    /// Every student, the most accurate first.
    pub methods: Vec<Method>,
    /// The least difference of accuracies from tuned distillation that could certainly have been told.
    pub least_told: Option<f64>,
}

/// One student over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Method {
    /// Name of the student.
    pub name: String,
    /// What kind of objective it learned from.
    pub kind: ObjectiveKind,
    /// Whether a teacher is a part of that.
    pub taught: bool,
    /// Number of objectives that its own was chosen from.
    pub n_candidates: usize,
    /// Accuracy after the last epoch.
    pub top1: Stat,
    /// Its accuracy minus that of tuned distillation.
    pub over_kd: Option<Effect>,
    /// Its accuracy minus that of the student of labels alone.
    pub over_labels: Option<Effect>,
    /// Its place by accuracy.
    pub rank: Rank,
    /// What one seed cost.
    pub compute: Option<Compute>,
    /// Images through the student, relative to tuned distillation.
    pub cost: Option<f64>,
}

impl Method {
    /// Whether it is another method than plain distillation, and has a teacher.
    pub(crate) fn is_rival(&self) -> bool {
        self.taught && self.kind != ObjectiveKind::Distill
    }

    /// Whether it cost as much as tuned distillation, as far as that is known.
    pub(crate) fn is_equal_in_cost(&self) -> bool {
        self.cost.is_none_or(|cost| (cost - 1.0).abs() < 0.01)
    }
}

/// Those of every training with a student of labels alone and two different objectives with a teacher,
/// which ended with at least two seeds.
pub(crate) fn of(run: &Run) -> Vec<Methods> {
    let trainings = grouped(&run.models, |model| model.id.training.clone());
    trainings.iter().filter_map(|models| of_training(models, &run.candidates)).collect()
}

fn of_training(models: &[&ModelRuns], candidates: &[CandidateRecord]) -> Option<Methods> {
    let ended: Vec<Ended<'_>> = models.iter().filter_map(|model| Ended::of(model)).collect();
    let labels = ended.iter().find(|one| one.kind() == &ObjectiveKind::Labels)?;
    let seeds = |one: &Ended<'_>| one.model.finals.keys().copied().collect::<Vec<_>>();
    let of_all = seeds(labels);
    let mut all: Vec<&Ended<'_>> = ended.iter().filter(|one| seeds(one) == of_all).collect();
    all.sort_by(|a, b| b.top1.mean.total_cmp(&a.top1.mean));
    let taught = || all.iter().filter(|one| one.first.how.is_distilled()).map(|one| one.kind());
    let first = taught().next()?;
    if of_all.len() < 2 || taught().all(|kind| kind == first) {
        return None;
    }
    let kd = tuned(ended.iter().filter(|one| seeds(one) == of_all));
    let values: Vec<&[f64]> = all.iter().map(|one| &one.top1.values[..]).collect();
    let blocks = Blocks::of(&values, 1.0 / labels.first.last.total.max(1) as f64)?;
    let over = |base| over_one(&all, base, &blocks);
    let (over_kd, over_labels) = (over(kd), over(Some(labels)));
    let ranks = rank::ranks(&values);
    let passes = |one: &Ended<'_>| one.first.compute.map(|compute| compute.student_passes as f64);
    let cost = |one: &Ended<'_>| Some(passes(one)? / passes(kd.unwrap_or(labels))?);
    let method = |(i, one): (usize, &&Ended<'_>)| Method {
        name: one.name().into(),
        kind: one.kind().clone(),
        taught: one.first.how.is_distilled(),
        n_candidates: candidates.iter().filter(|c| c.id == one.model.id).count().max(1),
        top1: one.top1.clone(),
        over_kd: over_kd[i],
        over_labels: over_labels[i],
        rank: ranks[i],
        compute: one.first.compute,
        cost: cost(one),
    };
    let methods = Methods {
        summary: String::new(),
        training: labels.model.id.training.clone(),
        labels: labels.name().into(),
        kd: kd.map(|kd| kd.name().into()),
        methods: all.iter().enumerate().map(method).collect(),
        least_told: kd.and_then(|_| blocks.least_told(all.len() - 1)),
    };
    Some(Methods { summary: summary::of(&methods), ..methods })
}

/// A student that ended with at least one seed.
struct Ended<'a> {
    model: &'a ModelRuns,
    /// Its record of the first seed.
    first: &'a FinalRecord,
    top1: Stat,
}

impl<'a> Ended<'a> {
    fn of(model: &'a ModelRuns) -> Option<Self> {
        let top1 = over(model.finals.values(), &|last: &FinalRecord| last.last.top1)?;
        Some(Self { model, first: model.finals.values().next()?, top1 })
    }

    fn name(&self) -> &str {
        &self.model.id.model
    }

    fn kind(&self) -> &ObjectiveKind {
        &self.first.how.loss.kind
    }

    /// Accuracy on held-out images, and the negative log-likelihood of these with its sign turned.
    fn held_out(&self) -> [f64; 2] {
        let mean = |value: fn(&FinalRecord) -> Option<f64>| {
            over_some(self.model.finals.values().map(value)).map_or(f64::NEG_INFINITY, |s| s.mean)
        };
        [mean(|last| last.holdout_top1), mean(|last| last.holdout_nll.map(|nll| -nll))]
    }
}

/// The student of labels and soft targets that is best on held-out images; of equals the first.
fn tuned<'e, 'a: 'e>(all: impl Iterator<Item = &'e Ended<'a>>) -> Option<&'e Ended<'a>> {
    let kd = all.filter(|one| one.kind() == &ObjectiveKind::Distill);
    let is_better = |one: &Ended<'_>, other: &Ended<'_>| {
        let ([top1, nll], [other_top1, other_nll]) = (one.held_out(), other.held_out());
        top1.total_cmp(&other_top1).then(nll.total_cmp(&other_nll)).is_gt()
    };
    kd.reduce(|best, one| if is_better(one, best) { one } else { best })
}

/// The effect of each method over `base`; none of that itself.
fn over_one(all: &[&Ended<'_>], base: Option<&Ended<'_>>, blocks: &Blocks) -> Vec<Option<Effect>> {
    let Some(base) = base else { return vec![None; all.len()] };
    let paired = |one: &&Ended<'_>| match one.name() == base.name() {
        true => None,
        false => blocks.difference(&one.top1.values, &base.top1.values),
    };
    let paired: Vec<Option<Paired>> = all.iter().map(paired).collect();
    known_effects(&paired)
}
