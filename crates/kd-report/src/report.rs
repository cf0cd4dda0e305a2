//! The report as data: what `report.json` holds, and what the tables and charts are made from.

use kd_core::Result;
use kd_core::ops::Reduction;
use kd_core::record::{
    CandidateRecord, CorrectionMethod, EpochRecord, FinalRecord, ModelId, Objective, ObjectiveKind,
    RunRecord, Trained,
};
use serde::Serialize;

use crate::adversarial::Adversarial;
use crate::claims::Claims;
use crate::comparison::ClaimResult;
use crate::curves::Curves;
use crate::effects::{self, EffectResult};
use crate::evaluation::EvaluationSummary;
use crate::evaluations::{self, OtherImages};
use crate::format::settings;
use crate::judge::results;
use crate::loading::{Loading, loadings};
use crate::methods::{self, Methods};
use crate::readings::{self, Readings};
use crate::run::{EPOCHS_TO, ModelRuns, Run};
use crate::stats::{Difference, Stat, over, over_some};

/// Everything that a run shows, beside the paper's numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name of the suite.
    pub suite: String,
    /// Name of the preset.
    pub preset: String,
    /// True when the images were generated.
    pub synthetic: bool,
    /// True when all data files are the official ones; without that there is no verdict.
    pub official_data: bool,
    /// Number of seeds.
    pub seeds: u64,
    /// `cpu` or `cuda:0`.
    pub device: String,
    /// Wall time; `None` while the run is not complete.
    pub wall_seconds: Option<f64>,
    /// The paper's time for this suite, hours of GPU time, where it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paper_gpu_hours: Option<f64>,
    /// Trainings that have begun and not ended.
    pub unfinished: Vec<String>,
    /// The paper's numbers that were measured, in the paper's order.
    pub claims: Vec<ClaimResult>,
    /// What distillation changes, in the paper and here, over the seeds of this run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<EffectResult>,
    /// Every model that ended its training, in order of appearance.
    pub models: Vec<ModelSummary>,
    /// Models on other images than those of the test set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<OtherImages>,
    /// Models under attack; none in a run without attacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adversarial: Option<Adversarial>,
    /// Errors in the course of trainings; none in a run that did not record them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curves: Option<Curves>,
    /// Readings of the paper, beside its numbers; none in a run that reads it in one way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readings: Option<Readings>,
    /// Methods of distillation beside each other, by training; none in a run that compares none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Methods>,
    /// The objectives that students could have had, on held-out images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CandidateRecord>,
    /// How the images of each training came; none for a run that did not record it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loading: Vec<Loading>,
    /// What ran where.
    pub provenance: RunRecord,
}

/// One model over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelSummary {
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// What it is, and how it was trained.
    #[serde(flatten)]
    pub how: Trained,
    /// Seeds that ended.
    pub seeds: Vec<u64>,
    /// The epoch whose weights were kept, where held-out images chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen_epoch: Option<Stat>,
    /// Accuracy after the last epoch, or after the chosen one.
    pub last: Stat,
    /// Best accuracy over the epochs, chosen on the test set.
    pub best: Stat,
    /// The epoch of the best accuracy.
    pub best_epoch: Stat,
    /// Accuracy on held-out training images, after the last epoch.
    pub holdout: Option<Stat>,
    /// The last epoch's evaluation on the test set.
    #[serde(flatten)]
    pub evaluation: EvaluationSummary,
    /// Corrections of the bias of a class that was never seen.
    pub corrections: Vec<CorrectionSummary>,
    /// First epoch at which the test accuracy reaches each of [`EPOCHS_TO`].
    pub epochs_to: Vec<EpochsTo>,
    /// Wall time of the training, for the whole cohort, seconds.
    pub seconds: Stat,
    /// Accuracy after the last epoch minus that of the same training's model without a teacher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain: Option<Difference>,
    /// Test accuracy by epoch, for the charts.
    #[serde(skip)]
    pub curve: Vec<(u64, Stat)>,
    /// Mean of the objective by epoch, for the charts.
    #[serde(skip)]
    pub losses: Vec<(u64, Stat)>,
    /// Learning rate by epoch, for the charts.
    #[serde(skip)]
    pub rates: Vec<(u64, Stat)>,
}

/// A bias correction over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CorrectionSummary {
    /// Where the bias comes from.
    pub method: CorrectionMethod,
    /// The class whose bias was changed.
    pub class: u32,
    /// What was added to its logit.
    pub bias: Stat,
    /// Accuracy after it.
    pub top1: Stat,
    /// The evaluation after it.
    #[serde(flatten)]
    pub evaluation: EvaluationSummary,
}

/// How fast a model learns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EpochsTo {
    /// Test accuracy to reach, a fraction.
    pub accuracy: f64,
    /// The first measured epoch that reaches it, by seed; `None` where none does.
    pub epochs: Vec<Option<u64>>,
}

impl Report {
    /// Summarizes `run` and sets it beside `claims`.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`] when a model names a claim that does not exist.
    pub(crate) fn new(run: Run, claims: &Claims) -> Result<Self> {
        let official = !run.provenance.synthetic && claims.are_official(&run.provenance.data);
        let ended: Vec<_> = run.models.iter().filter(|model| !model.finals.is_empty()).collect();
        let mut adversarial = Adversarial::of(&run.models);
        let results = results(&ended, adversarial.as_ref(), claims, official)?;
        adversarial.iter_mut().for_each(|adversarial| adversarial.conclude(&results));
        Ok(Self {
            suite: run.provenance.suite.clone(),
            preset: run.provenance.preset.clone(),
            synthetic: run.provenance.synthetic,
            official_data: official,
            seeds: run.provenance.seeds,
            device: run.provenance.device.clone(),
            wall_seconds: run.wall_seconds,
            paper_gpu_hours: claims.gpu_hours(&run.provenance.suite),
            unfinished: run.unfinished(),
            effects: effects::of(&results),
            claims: results,
            models: with_gains(ended.iter().filter_map(|model| summary(model)).collect()),
            evaluations: evaluations::of(&run),
            adversarial,
            curves: Curves::of(&run, claims),
            methods: methods::of(&run),
            readings: readings::of(&run, claims, official),
            loading: loadings(&run),
            candidates: run.candidates,
            provenance: run.provenance,
        })
    }
}

impl Report {
    /// Whether anything of the run answers a number or an order of the paper.
    pub(crate) fn is_beside_the_paper(&self) -> bool {
        !self.claims.is_empty() || self.curves.as_ref().is_some_and(Curves::is_beside_the_paper)
    }
}

impl ModelSummary {
    /// Whether all test images are of one class.
    pub(crate) fn is_tested_on_one_class(&self) -> bool {
        self.evaluation.images.iter().filter(|images| **images > 0).count() == 1
    }

    /// Whether it learned from labels alone.
    pub fn is_baseline(&self) -> bool {
        self.how.loss.kind == ObjectiveKind::Labels
    }

    /// Whether it learned from a teacher.
    pub fn is_distilled(&self) -> bool {
        self.how.is_distilled()
    }

    /// Alpha and temperature of a distilled model.
    pub fn cell(&self) -> Option<(f64, f64)> {
        self.how.cell()
    }

    /// The objective in a few words, without what is usual.
    pub fn objective(&self) -> String {
        let attack = self.how.perturb.as_ref();
        let attack = attack.map(|attack| format!("on images of {}", attack.kind.name()));
        let chosen = self.chosen_epoch.as_ref();
        let chosen = chosen.map(|at| format!("epoch {} by held-out images", at.mean));
        objective(&self.how.loss)
            .into_iter()
            .chain(attack)
            .chain(chosen)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The parts of an objective that are to be told, in a few words each.
pub(crate) fn objective(loss: &Objective) -> Vec<String> {
    let kind = match &loss.kind {
        ObjectiveKind::Labels => Some("labels".to_owned()),
        ObjectiveKind::Distill => None,
        ObjectiveKind::Other(name) => Some(name.clone()),
    };
    let usual = |t: f64| kind.is_some() && t.total_cmp(&1.0).is_eq();
    let alpha = loss.alpha.map(|alpha| format!("α {alpha}"));
    let temperature = loss.temperature.filter(|t| !usual(*t)).map(|t| format!("T {t}"));
    let reduction = match loss.reduction {
        None | Some(Reduction::BatchMean) => None,
        Some(Reduction::Li2018) => Some("reduction li2018".to_owned()),
        Some(Reduction::Li2018Mnist) => Some("reduction li2018-mnist".to_owned()),
        Some(Reduction::Unscaled) => Some("without T²".to_owned()),
    };
    let others = Some(settings(&loss.others)).filter(|others| !others.is_empty());
    [kind, alpha, temperature, reduction, others].into_iter().flatten().collect()
}

fn summary(model: &ModelRuns) -> Option<ModelSummary> {
    let first = model.finals.values().next()?;
    let stat = |value: &dyn Fn(&FinalRecord) -> f64| over(model.finals.values(), value);
    Some(ModelSummary {
        id: model.id.clone(),
        how: first.how.clone(),
        seeds: model.finals.keys().copied().collect(),
        chosen_epoch: over_some(model.finals.values().map(|f| f.chosen_epoch.map(|e| e as f64))),
        last: stat(&|f| f.last.top1)?,
        best: stat(&|f| f.best_top1)?,
        best_epoch: stat(&|f| f.best_epoch as f64)?,
        holdout: over_some(model.finals.values().map(|f| f.holdout_top1)),
        evaluation: EvaluationSummary::of(model.finals.values().map(|f| &f.last))?,
        corrections: corrections(model),
        epochs_to: EPOCHS_TO.map(|accuracy| epochs_to(model, accuracy)).into(),
        seconds: stat(&|f| f.seconds)?,
        gain: None,
        curve: course(model, |epoch| epoch.test_top1.filter(|top1| (0.0..=1.0).contains(top1))),
        losses: course(model, |epoch| Some(epoch.train_loss).filter(|loss| loss.abs() < 1e9)),
        rates: course(model, |epoch| Some(epoch.learning_rate)),
    })
}

/// Sets every model beside the one of its training that learned from labels alone.
fn with_gains(mut models: Vec<ModelSummary>) -> Vec<ModelSummary> {
    let baselines: Vec<_> = models.iter().filter(|model| model.is_baseline()).collect();
    let gain = |model: &ModelSummary| {
        let baseline = baselines.iter().find(|b| b.id.training == model.id.training)?;
        let n_test = model.evaluation.total;
        let other = baseline.id != model.id && n_test > 0;
        other.then(|| Difference::between(&model.last, &baseline.last, n_test))
    };
    let gains: Vec<_> = models.iter().map(gain).collect();
    models.iter_mut().zip(gains).for_each(|(model, gain)| model.gain = gain);
    models
}

fn corrections(model: &ModelRuns) -> Vec<CorrectionSummary> {
    let mut kinds: Vec<_> =
        model.corrections.keys().map(|(method, class, _)| (*method, *class)).collect();
    kinds.dedup();
    kinds.into_iter().filter_map(|(method, class)| correction(model, method, class)).collect()
}

fn correction(
    model: &ModelRuns,
    method: CorrectionMethod,
    class: u32,
) -> Option<CorrectionSummary> {
    let all = model.corrections.values();
    let these = all.filter(|c| c.method == method && c.class == class);
    Some(CorrectionSummary {
        method,
        class,
        bias: Stat::of(these.clone().map(|c| c.bias).collect())?,
        top1: Stat::of(these.clone().map(|c| c.evaluation.top1).collect())?,
        evaluation: EvaluationSummary::of(these.map(|c| &c.evaluation))?,
    })
}

fn epochs_to(model: &ModelRuns, accuracy: f64) -> EpochsTo {
    let reached = |seed: &u64| model.epochs_to(*seed, accuracy);
    EpochsTo { accuracy, epochs: model.finals.keys().map(reached).collect() }
}

/// A number by epoch, over all seeds that ended.
fn course(model: &ModelRuns, value: fn(&EpochRecord) -> Option<f64>) -> Vec<(u64, Stat)> {
    let mut epochs: Vec<u64> = model.epochs.keys().map(|(_, epoch)| *epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    let of = |seed: &u64, epoch| model.epochs.get(&(*seed, epoch)).and_then(value);
    let at = |epoch| over_some(model.finals.keys().map(|seed| of(seed, epoch)));
    epochs.into_iter().filter_map(|epoch| Some((epoch, at(epoch)?))).collect()
}
