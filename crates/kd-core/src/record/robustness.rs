//! What attacks and audits write.

use serde::{Deserialize, Serialize};

use super::{AttackSettings, ModelId};
use crate::Norm;

/// One attack on one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AttackRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Name of the attack in the suite, such as `pgd`; `worst-case` joins all attacks of one norm
    /// and radius: an image counts as robust when none of them succeeds.
    pub attack: String,
    /// Its settings; none for `worst-case`.
    pub settings: Option<AttackSettings>,
    /// The distance that it bounds or makes small.
    pub norm: Norm,
    /// Radius in units of `[0, 1]` pixels; none for attacks that look for the nearest image.
    pub eps: Option<f64>,
    /// Number of images.
    pub total: usize,
    /// Number that the model classifies correctly before the attack.
    pub correct: usize,
    /// Number that it classifies correctly before and after.
    pub robust: usize,
    /// As `robust`, with the adversarial pixels rounded to 8 bits.
    pub robust_rounded: usize,
    /// Mean distance of the successful images, in the attack's norm; none without success.
    pub mean_distance: Option<f64>,
    /// Median of the same.
    pub median_distance: Option<f64>,
    /// What other models make of the same images.
    pub transfer: Vec<TransferRecord>,
    /// Wall time.
    pub seconds: f64,
}

/// One model on images that were made against another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TransferRecord {
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Number of images that it classifies correctly before the attack.
    pub correct: usize,
    /// Number that it classifies correctly before and after: over `correct`, what it defends.
    pub robust: usize,
    /// Number that both models classify correctly before and the attacked one wrongly after.
    pub fooled_source: usize,
    /// Number of those that this model, too, classifies wrongly: over `fooled_source`, the
    /// transfer rate.
    pub fooled_both: usize,
}

/// How large a model's logits and pixel gradients are, on clean images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CensusRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Number of images.
    pub total: usize,
    /// Number whose gradient of the cross entropy, computed in f32, is exactly zero in every pixel.
    pub zero_gradients: usize,
    /// Number with a value in that gradient that is not finite.
    pub non_finite_gradients: usize,
    /// Fraction of all values of that gradient that are exactly zero.
    pub zero_fraction: f64,
    /// Mean L2 norm of that gradient.
    pub mean_gradient_norm: f64,
    /// Mean L2 norm of the logits.
    pub mean_logit_norm: f64,
    /// Mean difference of the largest and second largest logit.
    pub mean_logit_gap: f64,
}

/// The verdict on a model's robustness.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// The checks, in order.
    pub checks: Vec<CheckRecord>,
    /// What the checks say together.
    pub verdict: AuditVerdict,
    /// Number of images that they are over; not in the records of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_images: Option<usize>,
    /// The verdict in words, with its figures.
    pub words: String,
}

impl AuditRecord {
    /// Images that an audit needs: fewer decide nothing.
    pub const FEWEST_IMAGES: usize = 30;
}

/// What the checks of an audit say together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditVerdict {
    /// Too few images to tell.
    #[default]
    TooFewImages,
    /// No check fails, and at least half of the images withstand every attack.
    Sound,
    /// Gradients hide what other attacks find.
    Masked,
    /// No check fails, and fewer than half of the images withstand the attacks.
    NotRobust,
}

/// One check of an audit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// Short name, such as `iterative-beats-one-step`.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// The figures that decided, in words.
    pub figures: String,
}

/// A file of pictures of one attack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PicturesRecord {
    /// Seed of this repetition.
    pub seed: u64,
    /// The model.
    #[serde(flatten)]
    pub id: ModelId,
    /// Name of the attack in the suite.
    pub attack: String,
    /// PNG file, relative to the run's folder: one row an image, clean, change times 10,
    /// adversarial.
    pub file: String,
    /// For each row of the picture, the label and the prediction after the attack.
    pub labels: Vec<[u32; 2]>,
}
