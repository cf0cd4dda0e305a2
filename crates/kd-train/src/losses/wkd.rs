//! Wasserstein distillation.

use candle_core::{DType, Tensor, Var};
use kd_core::{Params, Result, vectorized};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::maps::{buffer, given, normalized, pooled, products, values};
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
        let (p, q) = (among(&own)?, among(&theirs)?);
        let distance = self.distance(&p, &q, &self.cost(input, &target)?)?;
        with_labels(input, self.hard, (of_target + (distance * self.weight(input.epoch))?)?)
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
        let sums = buffer(input.own, SUMS)?;
        let features = pooled(input.teacher_tap(&self.teacher_tap)?)?.detach();
        let counted = Tensor::cat(&[&features, &features.ones_like()?.narrow(1, 0, 1)?], 1)?;
        add(sums, &products(&target.t()?, &counted.t()?)?)?;
        let width = features.dims()[1];
        let sums = sums.as_detached_tensor().to_dtype(DType::F64)?;
        let numbers = sums.narrow(1, width, 1)?.clamp(1.0, f64::MAX)?;
        let means = normalized(&sums.narrow(1, 0, width)?.broadcast_div(&numbers)?)?;
        let distance = (1.0 - means.matmul(&means.t()?)?)?.relu()?;
        Ok((1.0 - (distance * -self.sharpness)?.exp()?)?)
    }

    /// The mean price over the images of moving rows of p to rows of q, with its gradient for p.
    fn distance(&self, p: &Tensor, q: &Tensor, cost: &Tensor) -> Result<Tensor> {
        let n_classes = cost.dims()[0];
        let cost: Vec<f64> = values(cost)?.into_iter().map(|price| price + EPS).collect();
        let kernel: Vec<f64> = cost.iter().map(|c| (-c / self.regularization).exp()).collect();
        let prices = kernel.iter().zip(&cost).map(|(k, c)| k * c).collect();
        let transport = Transport { kernel, prices, n_iterations: self.n_iterations };
        let (own, theirs) = (values(p)?, values(q)?);
        let rows = own.par_chunks(n_classes).zip(theirs.par_chunks(n_classes));
        let images: Vec<(f64, Vec<f64>)> = rows
            .map(|(p, q)| {
                vectorized(
                    #[inline(always)]
                    || transport.price(p, q),
                )
            })
            .collect();
        let n = images.len() as f64;
        let value = images.iter().map(|(price, _)| price).sum::<f64>() / n;
        let grad = images.into_iter().flat_map(|(_, grad)| grad).map(|g| (g / n) as f32);
        given(p, value, grad.collect())
    }
}

/// Sinkhorn's iterations: `v = q / K u`, `u = p / K v`, with symmetric matrices, row by row.
struct Transport {
    kernel: Vec<f64>,
    /// The kernel times the costs.
    prices: Vec<f64>,
    n_iterations: u64,
}

impl Transport {
    /// `u' (K C) v` in the end, and its gradient for p. Classes of which p has nothing, the label, take no
    /// part: u is equal for all others at first.
    #[inline(always)]
    fn price(&self, p: &[f64], q: &[f64]) -> (f64, Vec<f64>) {
        let takes_part: Vec<f64> = p.iter().map(|p| f64::from(u8::from(*p > 0.0))).collect();
        let n = takes_part.iter().sum::<f64>().max(1.0);
        let mut u: Vec<f64> = takes_part.iter().map(|one| one / n).collect();
        let mut steps = Vec::new();
        for _ in 0..self.n_iterations {
            let below_q = plus(times(&self.kernel, &u));
            let v = over(q, &below_q);
            let below_p = plus(times(&self.kernel, &v));
            u = over(p, &below_p);
            steps.push((below_q, v, below_p, u.clone()));
        }
        let Some((_, v, _, u)) = steps.last() else { return (0.0, vec![0.0; p.len()]) };
        let (mut of_u, mut of_v) = (times(&self.prices, v), times(&self.prices, u));
        let price = u.iter().zip(&of_u).map(|(u, price)| u * price).sum();
        let mut of_p = vec![0.0; p.len()];
        for (below_q, v, below_p, u) in steps.iter().rev() {
            let of_quotient = over(&of_u, below_p);
            of_p.iter_mut().zip(&of_quotient).for_each(|(g, more)| *g += more);
            let of_below = of_quotient.iter().zip(u).map(|(g, u)| -g * u).collect::<Vec<_>>();
            let more = times(&self.kernel, &of_below);
            of_v.iter_mut().zip(more).for_each(|(g, more)| *g += more);
            let of_below =
                over(&of_v, below_q).iter().zip(v).map(|(g, v)| -g * v).collect::<Vec<_>>();
            of_u = times(&self.kernel, &of_below);
            of_v.fill(0.0);
        }
        (price, of_p)
    }
}

/// `m x` for a symmetric m.
#[inline(always)]
fn times(m: &[f64], x: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; x.len()];
    for (row, x) in m.chunks_exact(x.len()).zip(x) {
        sum.iter_mut().zip(row).for_each(|(sum, m)| *sum += m * x);
    }
    sum
}

#[inline(always)]
fn plus(mut x: Vec<f64>) -> Vec<f64> {
    x.iter_mut().for_each(|x| *x += EPS);
    x
}

#[inline(always)]
fn over(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a / b).collect()
}

fn add(sums: &Var, more: &Tensor) -> Result<()> {
    Ok(sums.set(&(sums.as_detached_tensor() + more)?)?)
}
