//! What the paper leaves open, and what was chosen here.

use kd_core::ops::Reduction;
use kd_core::record::ObjectiveKind;

use crate::document::{Block, Section};
use crate::run::ModelRuns;

use super::Curves;

/// How strongly the distilled students weigh their teacher: alpha and T together decide it.
pub(super) fn weights(models: &[ModelRuns]) -> Option<String> {
    let weights: Vec<String> = models.iter().filter_map(weight).collect();
    (!weights.is_empty()).then(|| {
        format!(
            "Equation 3 weighs the teacher's term by αT² and the labels by 1 − α. Chosen here: {}.",
            weights.join(", ")
        )
    })
}

/// Of a student with the equation's own scaling.
fn weight(model: &ModelRuns) -> Option<String> {
    let loss = &model.finals.values().next()?.how.loss;
    let plain = loss.reduction.unwrap_or_default() == Reduction::BatchMean;
    let (alpha, t) = loss.alpha.zip(loss.temperature)?;
    let number = |value: f64| ((1e4 * value).round() / 1e4).to_string();
    (plain && loss.kind == ObjectiveKind::Distill).then(|| {
        let (soft, hard) = (number(alpha * t * t), number(1.0 - alpha));
        format!("`{}` {soft} to {hard} (α {alpha}, T {t})", model.id)
    })
}

pub(super) fn section(curves: &Curves) -> Option<Section> {
    let remarks = curves.remarks.iter().map(|remark| Block::Text(remark.clone()));
    Section::of("What the paper leaves open", remarks.collect())
}
