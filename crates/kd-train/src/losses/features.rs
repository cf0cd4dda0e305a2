//! Distillation from a teacher's logits and from what one of its parts makes of the images.

use candle_core::Tensor;
use kd_core::{Error, Result, not_negative};
use serde::{Deserialize, Serialize};

use super::pair::Pair;
use super::{Distill, Loss, LossInput};

/// `distill + beta |s - t|^2 / |t|^2`, with `s` and `t` the outputs of a part of the student and of the
/// teacher for a whole batch: a hint (FitNets, Romero et al. 2015, arXiv:1412.6550, eq. 3) beside soft
/// targets.
///
/// Differs from FitNets: both terms are trained together, not one after the other; the squared distance
/// counts relative to the teacher's squared length, so that `beta` means the same for all networks; and
/// there is no regressor between the two, so that the parts must be of one shape, as those of a student that
/// is cut from its teacher are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// The parts: `PART` or `STUDENT=TEACHER`.
    pub tap: Pair,
    /// Weight of the distance, at least 0.
    pub beta: f64,
    /// Weight of the teacher's soft targets, in `[0, 1]`, as in [`Distill`].
    pub alpha: f64,
    /// T > 0 of the soft targets.
    pub temperature: f64,
}

impl Default for Features {
    /// What the head reads, which counts as much as the soft targets.
    fn default() -> Self {
        let Distill { alpha, temperature, .. } = Distill::default();
        Self { tap: "pooled".into(), beta: 1.0, alpha, temperature }
    }
}

impl Features {
    fn distill(&self) -> Distill {
        Distill { alpha: self.alpha, temperature: self.temperature, ..Distill::default() }
    }
}

impl Loss for Features {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let [own, theirs] = self.tap.of(input)?;
        let distance = relative_distance(&own, &theirs, &self.tap.student)?;
        Ok((self.distill().loss(input)? + (distance * self.beta)?)?)
    }

    fn temperature(&self) -> Option<f64> {
        Some(self.temperature)
    }

    fn needs_labels(&self) -> bool {
        self.distill().needs_labels()
    }

    fn pairs(&self) -> &[Pair] {
        std::slice::from_ref(&self.tap)
    }

    fn check(&self) -> Result<()> {
        not_negative("beta", self.beta)?;
        self.distill().check()
    }
}

/// `|own - theirs|^2 / |theirs|^2`.
fn relative_distance(own: &Tensor, theirs: &Tensor, tap: &str) -> Result<Tensor> {
    if own.dims() != theirs.dims() {
        let expected = format!("{:?}, as the teacher's part", theirs.dims());
        return Err(Error::shape(tap, expected, own.dims()));
    }
    let length = theirs.sqr()?.sum_all()?.to_scalar::<f32>()?.max(f32::MIN_POSITIVE);
    Ok(((own - theirs)?.sqr()?.sum_all()? / f64::from(length))?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::{Device, Var};

    use super::*;

    fn tap(values: &[[f32; 2]; 2]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn the_distance_counts_beside_the_soft_targets() {
        let logits = Var::from_tensor(&tap(&[[1.0, 0.0], [0.5, 2.0]])).unwrap();
        let own = Var::from_tensor(&tap(&[[1.0, 2.0], [0.0, 0.0]])).unwrap();
        let (teacher, labels) =
            (tap(&[[2.0, 0.0], [0.0, 1.0]]), Tensor::new(&[0u32, 1], &Device::Cpu));
        let labels = labels.unwrap();
        let taps = BTreeMap::from([("pool".to_owned(), own.as_tensor().clone())]);
        let theirs = BTreeMap::from([("mean".to_owned(), tap(&[[3.0, 0.0], [0.0, -1.0]]))]);
        let input = LossInput {
            teacher_logits: Some(&teacher),
            taps: &taps,
            teacher_taps: &theirs,
            ..LossInput::new(&logits, &labels)
        };
        let features = Features { tap: "pool=mean".into(), beta: 3.0, ..Features::default() };
        let loss = features.loss(&input).unwrap();
        let soft = features.distill().loss(&input).unwrap().to_scalar::<f32>().unwrap();
        // (4 + 4 + 0 + 1) / (9 + 1), three times.
        assert!((loss.to_scalar::<f32>().unwrap() - soft - 2.7).abs() < 1e-6);
        let grads = loss.backward().unwrap();
        // 3 * 2 (s - t) / 10.
        let grad: Vec<Vec<f32>> = grads.get(&own).unwrap().to_vec2().unwrap();
        for (got, want) in grad.concat().iter().zip([-1.2, 1.2, 0.0, 0.6]) {
            assert!((got - want).abs() < 1e-6, "{grad:?}");
        }
    }

    #[test]
    fn parts_of_other_shapes_and_negative_weights_are_refused() {
        let error = relative_distance(&tap(&[[0.0; 2]; 2]), &tap(&[[0.0; 2]; 2]).t().unwrap(), "a");
        assert!(error.unwrap().to_scalar::<f32>().unwrap().abs() < 1e-9);
        let other = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let error = relative_distance(&tap(&[[0.0; 2]; 2]), &other, "pool").unwrap_err();
        assert!(error.to_string().contains("as the teacher's part"), "{error}");
        assert!(Features { beta: -1.0, ..Features::default() }.check().is_err());
        assert!(Features { alpha: 2.0, ..Features::default() }.check().is_err());
    }
}
