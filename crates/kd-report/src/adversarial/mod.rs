//! Models under attack: what `report.json` says of them, and the sections made from it.

mod audit;
mod census;
mod conclusion;
mod curves;
#[cfg(test)]
mod fixture;
mod pictures;
mod readings;
mod runs;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod transfer;
mod yardstick;

use kd_core::Norm;
use kd_core::Result;
use kd_core::record::{AttackSettings, AuditRecord, ModelId, PicturesRecord};
use serde::Serialize;

use crate::claims::Claims;
use crate::comparison::ClaimResult;
use crate::document::Section;
use crate::report::Report;
use crate::run::ModelRuns;
use crate::share::Share;
use crate::stats::Stat;

pub use conclusion::{Comparison, Conclusion};
pub(crate) use pictures::Gallery;
pub use readings::{DefendedReading, How};
pub(crate) use runs::AttackRuns;

/// Models under attack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Adversarial {
    /// What the figures say of defensive distillation: of each distilled model of the highest
    /// temperature.
    pub conclusions: Vec<Conclusion>,
    /// Ways to read the paper's share of images that are defended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<DefendedReading>,
    /// Every model that was attacked, counted or audited, in order of appearance.
    pub models: Vec<AttackedModel>,
}

/// One model under attack, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttackedModel {
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// How the text calls it: `model`, or `training/model` where another has that name.
    pub name: String,
    /// Whether it learned from a teacher.
    pub distilled: bool,
    /// Temperature of its objective; 1 where that has none.
    pub temperature: f64,
    /// Attack that its training batches went through.
    pub perturb: Option<AttackSettings>,
    /// Each attack at each radius.
    pub attacks: Vec<AttackSummary>,
    /// Logits and gradients on clean images.
    pub census: Option<CensusSummary>,
    /// The audits, by seed.
    pub audits: Vec<AuditRecord>,
    /// Files of pictures.
    pub pictures: Vec<PicturesRecord>,
    /// Id of the paper's number that it answers.
    #[serde(skip)]
    claim: Option<String>,
}

/// One attack on one model at one radius, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttackSummary {
    /// Name of the attack in the suite; `worst-case` for all of one norm and radius.
    pub attack: String,
    /// Its settings; none for `worst-case`.
    pub settings: Option<AttackSettings>,
    /// The distance that it bounds or makes small.
    pub norm: Norm,
    /// Radius in units of `[0, 1]` pixels; `None` for attacks that look for the nearest image.
    pub eps: Option<f64>,
    /// False for a radius that is only a point of the curve of accuracy against radius.
    pub main: bool,
    /// Seeds that were attacked.
    pub seeds: Vec<u64>,
    /// Number of images; the smallest over seeds.
    pub n_images: usize,
    /// Fraction of the images classified correctly before the attack.
    pub clean_accuracy: Share,
    /// Fraction of the images classified correctly before and after.
    pub robust_accuracy: Share,
    /// The same with the adversarial pixels rounded to 8 bits.
    pub robust_accuracy_rounded: Share,
    /// Fraction that is wrong after the attack, of those that were right before.
    pub success: Option<Share>,
    /// Mean distance of the successful images, in the attack's norm.
    pub mean_distance: Option<Stat>,
    /// Median of the same.
    pub median_distance: Option<Stat>,
    /// What other models make of the same images.
    pub transfer: Vec<TransferSummary>,
    /// Wall time, seconds.
    pub seconds: Stat,
}

/// One model on images that were made against another, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransferSummary {
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// How the text calls it.
    pub name: String,
    /// What the paper calls defended: right before and after, of those right before.
    pub defended: Option<Share>,
    /// The transfer rate: wrong too, of those that both had right and that fool the attacked one.
    pub transfer_rate: Option<Share>,
    /// Id of the paper's number that it answers.
    #[serde(skip)]
    claim: Option<String>,
    /// Whether it learned from labels, on images that were not attacked.
    #[serde(skip)]
    plain: bool,
}

/// How large a model's logits and pixel gradients are, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CensusSummary {
    /// Fraction of the images whose gradient of the cross entropy is exactly 0 in every pixel.
    pub zero_gradients: Share,
    /// Fraction of the images with a value in that gradient that is not finite.
    pub non_finite_gradients: Share,
    /// Fraction of all values of that gradient that are exactly 0.
    pub zero_fraction: Stat,
    /// Mean L2 norm of that gradient.
    pub gradient_norm: Stat,
    /// Mean L2 norm of the logits.
    pub logit_norm: Stat,
    /// Mean difference of the largest and second largest logit.
    pub logit_gap: Stat,
}

impl Adversarial {
    /// Summarizes what was recorded of models under attack; `None` when that is nothing.
    pub(crate) fn of(models: &[ModelRuns]) -> Option<Self> {
        let attacked = summary::models(models);
        (!attacked.is_empty()).then(|| Self {
            conclusions: Vec::new(),
            readings: Vec::new(),
            models: attacked,
        })
    }

    /// The paper's numbers that were measured.
    pub(crate) fn claims(&self, claims: &Claims, official: bool) -> Vec<ClaimResult> {
        transfer::claims(self, claims, official)
    }

    /// Draws the conclusions, in sight of the paper's numbers.
    pub(crate) fn conclude(&mut self, claims: &[ClaimResult]) {
        self.conclusions = conclusion::of(self, claims);
        self.readings = readings::of(self, claims);
    }
}

/// The sections of a report with models under attack; none for others.
///
/// # Errors
/// When a chart cannot be drawn.
pub(crate) fn sections(report: &Report, gallery: &Gallery) -> Result<Vec<Section>> {
    let Some(adversarial) = &report.adversarial else { return Ok(Vec::new()) };
    let sections = [
        conclusion::section(adversarial),
        table::section(adversarial),
        transfer::section(adversarial, &report.claims),
        readings::section(&adversarial.readings, &report.claims),
        curves::section(adversarial)?,
        census::section(adversarial)?,
        audit::section(adversarial),
        pictures::section(adversarial, gallery, &report.provenance),
    ];
    Ok(sections.into_iter().flatten().collect())
}
