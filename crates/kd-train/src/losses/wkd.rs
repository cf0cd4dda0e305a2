//! Wasserstein distillation.

use candle_core::{DType, Tensor, Var};
use kd_core::{Error, Params, Result};
use serde::{Deserialize, Serialize};

use super::maps::{normalized, pooled};
use super::rows::{at, check, log_softmax, one_hot, student, teacher, with_labels, without};
use super::{Loss, LossInput};

/// Added to what Sinkhorn's iterations divide by, as in the authors' code.
const EPS: f64 = 1e-8;

/// `hard CE - q_y log p_y + soft W(p', q')`: W is the price of moving the student's probabilities among the
/// classes that are not the label's, at T, to where the teacher has them, by Sinkhorn's iterations (Lv et
/// al. 2024, arXiv:2412.08139, eq. 4 and 5). From class a to class b costs `1 - exp(-sharpness (1 - cos))`,
/// cos being that of the means of the teacher's features of both classes over all images seen so far.
///
/// The paper compares classes by CKA, computed before the training over all images; the cosine is another of
/// its ways, and needs no pass over the data. Its weight falls in half a cosine from epoch `decay_from` to
/// epoch `decay_to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wkd {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the distance.
    pub soft: f64,
    /// T > 0 of the distance.
    pub temperature: f64,
    /// Sinkhorn's regularization, above 0.
    pub regularization: f64,
    /// Sinkhorn's iterations.
    pub n_iterations: u64,
    /// How fast the costs grow.
    pub sharpness: f64,
    /// The teacher's part by which classes are compared.
    pub teacher_tap: String,
    /// The last epoch, counted from 0, of the full weight.
    pub decay_from: u64,
    /// The epoch at which nothing is left.
    pub decay_to: u64,
}

impl Default for Wkd {
    /// For a ResNet-32x4 that teaches a ResNet-8x4 on CIFAR-100.
    fn default() -> Self {
        Self {
            hard: 1.0,
            soft: 600.0,
            temperature: 8.0,
            regularization: 0.05,
            n_iterations: 10,
            sharpness: 1.0,
            teacher_tap: "pooled".into(),
            decay_from: 150,
            decay_to: 240,
        }
    }
}

impl Loss for Wkd {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let target = one_hot(input.labels, input.logits)?;
        let (own, theirs) = (student(input)?, teacher(input)?);
        let known = at(&log_softmax(&theirs)?.exp()?, &target)?;
        let of_target = (known * at(&log_softmax(&own)?, &target)?)?.mean_all()?.neg()?;
        let among = |z: &Tensor| {
            let others = (without(z, &target)? / self.temperature)?;
            Result::Ok(log_softmax(&others)?.exp()?)
        };
        let cost = self.cost(input, &target)?;
        let distance = self.distance([&among(&own)?, &among(&theirs)?], &cost, &target)?;
        with_labels(input, self.hard, (of_target + (distance * self.weight(input.epoch))?)?)
    }

    fn needs_teacher(&self) -> bool {
        true
    }

    fn teacher_taps(&self) -> Vec<String> {
        vec![self.teacher_tap.clone()]
    }

    /// Sums of the teacher's features of each class, and their numbers in a last column.
    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        let features = pooled(first.teacher_tap(&self.teacher_tap)?)?;
        let shape = (first.logits.dims()[1], features.dims()[1] + 1);
        let mut params = Params::new();
        params.insert_buffer(SUMS, &Tensor::zeros(shape, DType::F32, features.device())?)?;
        Ok(params)
    }

    fn check(&self) -> Result<()> {
        let weights = [("hard", self.hard), ("soft", self.soft), ("sharpness", self.sharpness)];
        check(&weights, &[self.temperature, self.regularization])
    }
}

/// The buffer of the classes' features.
const SUMS: &str = "sums";

impl Wkd {
    fn weight(&self, epoch: u64) -> f64 {
        let past = epoch.saturating_sub(self.decay_from) as f64;
        let share = past / self.decay_to.saturating_sub(self.decay_from).max(1) as f64;
        0.5 * self.soft * (1.0 + (std::f64::consts::PI * share.min(1.0)).cos())
    }

    /// `(K, K)`, after this batch's features are counted.
    fn cost(&self, input: &LossInput<'_>, target: &Tensor) -> Result<Tensor> {
        let reason = "the objective has no such buffer; make it by `own_params`";
        let sums = input.own.buffer(SUMS).ok_or_else(|| Error::config(SUMS, reason))?;
        let features = pooled(input.teacher_tap(&self.teacher_tap)?)?.detach();
        let counted = Tensor::cat(&[&features, &features.ones_like()?.narrow(1, 0, 1)?], 1)?;
        add(sums, &target.to_dtype(DType::F32)?.t()?.matmul(&counted)?)?;
        let width = features.dims()[1];
        let sums = sums.as_detached_tensor().to_dtype(DType::F64)?;
        let numbers = sums.narrow(1, width, 1)?.clamp(1.0, f64::MAX)?;
        let means = normalized(&sums.narrow(1, 0, width)?.broadcast_div(&numbers)?)?;
        let distance = (1.0 - means.matmul(&means.t()?)?)?.relu()?;
        Ok((1.0 - (distance * -self.sharpness)?.exp()?)?)
    }

    /// The mean price over the images. Sinkhorn's scalings start equal for all classes but the label.
    fn distance(&self, [p, q]: [&Tensor; 2], cost: &Tensor, target: &Tensor) -> Result<Tensor> {
        let cost = (cost + EPS)?;
        let kernel = (&cost / -self.regularization)?.exp()?;
        let n_others = target.dims()[1].saturating_sub(1).max(1) as f64;
        let (mut u, mut v) = (((1.0 - target)? / n_others)?, q.clone());
        for _ in 0..self.n_iterations {
            v = (q / (u.matmul(&kernel)? + EPS)?)?;
            u = (p / (v.matmul(&kernel.t()?)? + EPS)?)?;
        }
        let prices = v.matmul(&(kernel * cost)?.t()?)?;
        Ok((u * prices)?.sum(1)?.mean_all()?)
    }
}

fn add(sums: &Var, more: &Tensor) -> Result<()> {
    Ok(sums.set(&(sums.as_detached_tensor() + more)?)?)
}
