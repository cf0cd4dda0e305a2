//! Choices by held-out images; the images that judge the result are never asked.

use kd_core::record::FinalRecord;
use kd_train::accuracy_error;

/// The model that held-out images like best. Of those whose accuracy is within one standard error of the
/// best one, the one whose calibrated probabilities say most (least negative log-likelihood): with few
/// images accuracies are steps of a percent or more.
pub(crate) fn best<'a>(
    models: impl IntoIterator<Item = &'a FinalRecord>,
    n_held_out: usize,
) -> Option<&'a FinalRecord> {
    let models: Vec<&FinalRecord> = models.into_iter().collect();
    let top1 = |model: &FinalRecord| model.holdout_top1.unwrap_or(0.0);
    let highest = models.iter().map(|model| top1(model)).fold(0.0, f64::max);
    let near = highest - accuracy_error(highest, n_held_out);
    let nll = |model: &FinalRecord| model.holdout_nll.unwrap_or(f64::INFINITY);
    let mut good = models.into_iter().filter(|model| top1(model) >= near);
    let first = good.next()?;
    Some(good.fold(first, |best, model| if nll(model) < nll(best) { model } else { best }))
}

#[cfg(test)]
mod tests {
    use kd_core::record::ModelId;

    use super::*;

    fn model(name: &str, top1: f64, nll: f64) -> FinalRecord {
        FinalRecord {
            id: ModelId::new("t", name),
            holdout_top1: Some(top1),
            holdout_nll: Some(nll),
            ..FinalRecord::default()
        }
    }

    #[test]
    fn near_equals_are_told_apart_by_their_probabilities() {
        let models = [model("a", 0.90, 0.5), model("b", 0.88, 0.3), model("c", 0.60, 0.1)];
        // One standard error at 0.9 of 50 images is 4.2 points.
        assert_eq!(best(&models, 50).unwrap().id.model, "b");
        assert_eq!(best(&models, 5000).unwrap().id.model, "a");
        assert!(best(&[], 50).is_none());
    }
}
