//! Grids of alpha and temperature: what is known of them after their first epoch, and how they end.

use kd_core::ops::Reduction;
use kd_core::record::{Evaluation, Objective, ObjectiveKind};

use crate::ordered::grouped;
use crate::run::{ModelRuns, Run};
use crate::spec::Spec;

/// Numbers that are known of a cell.
pub(super) const N_KNOWN: usize = 7;

/// The grid of one training with one seed.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// Run and training, whose seeds belong together.
    pub(super) training: String,
    pub(super) cells: Vec<Cell>,
}

/// A student of a grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) alpha: f64,
    pub(super) temperature: f64,
    /// After the first epoch: its gain over labels alone, the mean gain of the grid; the teacher's accuracy less
    /// that of labels alone, and its negative log-likelihood; alpha, ln T, and their product.
    pub(super) known: [f64; N_KNOWN],
    /// Its accuracy less that of labels alone in the end.
    pub(super) gain: f64,
}

impl Cell {
    /// Its gain after the first epoch.
    pub(super) fn first_gain(&self) -> f64 {
        self.known[0]
    }

    pub(super) fn is_at(&self, other: &Self) -> bool {
        let at = |cell: &Self| [cell.alpha, cell.temperature].map(f64::to_bits);
        at(self) == at(other)
    }
}

/// The grids of a run that have a student of labels alone and a teacher whose figures are known. Where labels leave out a
/// class, what a teacher says of that class decides: nothing is to be foreseen.
pub(super) fn of_run(name: &str, run: &Run, spec: &Spec) -> Vec<Grid> {
    let trainings = grouped(&run.models, |model| model.id.training.clone());
    let grids = trainings.iter().flat_map(|models| {
        let seeds = models[0].finals.keys();
        seeds.filter_map(|seed| grid(name, models, *seed, teacher(run, spec, models[0], *seed)?))
    });
    grids.collect()
}

/// What the teacher of a model's training is worth on the test images.
fn teacher<'r>(run: &'r Run, spec: &Spec, model: &ModelRuns, seed: u64) -> Option<&'r Evaluation> {
    let training = &model.id.training;
    if let Some(teacher) = run.teachers.get(&(training.clone(), seed)) {
        return Some(&teacher.last);
    }
    let name = spec.teacher_of(training)?;
    let teacher = run.models.iter().find(|model| model.id.training == name)?;
    Some(&teacher.finals.get(&seed)?.last)
}

fn grid(name: &str, models: &[&ModelRuns], seed: u64, teacher: &Evaluation) -> Option<Grid> {
    let of_kind =
        |kind| move |m: &&&ModelRuns| m.finals.get(&seed).is_some_and(|f| f.how.loss.kind == kind);
    let knows_all = |m: &&&ModelRuns| m.finals[&seed].how.omitted_class.is_none();
    let labels = models.iter().find(of_kind(ObjectiveKind::Labels)).filter(knows_all)?;
    let (first_labels, last_labels) = (first(labels, seed)?, labels.finals[&seed].last.top1);
    let cell = |model: &&ModelRuns| {
        let last = model.finals.get(&seed)?;
        let (alpha, temperature) = last.how.cell().filter(|_| is_plain(&last.how.loss))?;
        let first_gain = first(model, seed)? - first_labels;
        let lead = teacher.top1 - first_labels;
        let ln_t = temperature.ln();
        let known = [first_gain, 0.0, lead, teacher.nll, alpha, ln_t, alpha * ln_t];
        Some(Cell { alpha, temperature, known, gain: last.last.top1 - last_labels })
    };
    let mut cells: Vec<Cell> = models.iter().filter_map(cell).collect();
    if cells.len() < 2 {
        return None;
    }
    let mean = cells.iter().map(Cell::first_gain).sum::<f64>() / cells.len() as f64;
    cells.iter_mut().for_each(|cell| cell.known[1] = mean);
    Some(Grid { training: format!("{name}: {}", models[0].id.training), cells })
}

/// Whether alpha and temperature mean what they mean in other grids.
fn is_plain(loss: &Objective) -> bool {
    matches!(loss.reduction, None | Some(Reduction::BatchMean))
}

/// The accuracy that was measured first: of held-out images, where there are any.
fn first(model: &ModelRuns, seed: u64) -> Option<f64> {
    let mut epochs = model.epochs.range((seed, 0)..=(seed, u64::MAX));
    epochs.find_map(|(_, epoch)| epoch.holdout_top1.or(epoch.test_top1))
}
