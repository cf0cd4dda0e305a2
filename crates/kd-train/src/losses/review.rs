//! Knowledge review.

use candle_core::{D, DType, Tensor};
use kd_core::ops::{BatchNorm, Conv2d, Init};
use kd_core::{Mode, Params, Result, apply};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::maps::{begin, given, linear, map, own, resized};
use super::pair::Pair;
use super::rows::{check, warm, with_labels};
use super::{Loss, LossInput};

/// `hard CE + w weight sum over parts of d(f(s), t)`: from the deepest part to the shallowest, what a part of
/// the student says is projected, fused with what the deeper ones said, each place weighing the two (the
/// attention-based fusion), and compared with the teacher's part at several scales; w grows to 1 over
/// `warmup` epochs (Chen et al. 2021, arXiv:2104.09044, eq. 7 and figure 3).
///
/// The authors compare the teacher's parts before their last ReLU; here they are what the named nodes say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Review {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the distances.
    pub weight: f64,
    /// Epochs over which it grows.
    pub warmup: u64,
    /// The parts from the shallowest to the deepest, each `PART` or `STUDENT=TEACHER`.
    pub taps: Vec<Pair>,
}

impl Default for Review {
    fn default() -> Self {
        let taps = ["stage:1", "stage:2", "stage:3", "pooled"].map(Pair::from).into();
        Self { hard: 1.0, weight: 1.0, warmup: 20, taps }
    }
}

impl Loss for Review {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let mut distance = Tensor::zeros((), DType::F64, input.logits.device())?;
        let mut deeper: Option<Tensor> = None;
        for (i, pair) in self.taps.iter().enumerate().rev() {
            let [student, teacher] = pair.of(input)?;
            let (level, teacher) = (Level { input, i }, map(&teacher)?);
            let fused = level.fused(&map(&student)?, deeper.as_ref())?;
            distance = (distance + scales(&level.output(&fused, &teacher)?, &teacher)?)?;
            deeper = Some(fused);
        }
        let weight = self.weight * warm(input.epoch, self.warmup);
        with_labels(input, self.hard, (distance * weight)?)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn pairs(&self) -> &[Pair] {
        &self.taps
    }

    /// All levels are as wide as the student's deepest part, at most 512 channels.
    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        let mut params = Params::new();
        let parts = self.taps.iter().map(|pair| pair.of(first)).collect::<Result<Vec<_>>>()?;
        let width = |part: &Tensor| part.dim(D::Minus1);
        let middle = parts.last().map_or(Ok(0), |[own, _]| width(own))?.min(512);
        for (i, [own, theirs]) in parts.iter().enumerate() {
            let (n_in, n_out, like) = (width(own)?, width(theirs)?, (own, first.stream));
            let mut add = |name: &str, shape: &[usize], fan_in| {
                begin(&mut params, (&format!("{i}.{name}"), shape), fan_in, like)
            };
            add("in.weight", &[middle, n_in], n_in)?;
            add("out.weight", &[n_out, middle, 3, 3], 9 * middle)?;
            if i + 1 < parts.len() {
                add("attention.weight", &[2, 2 * middle], 2 * middle)?;
                add("attention.bias", &[2], 2 * middle)?;
            }
            for (name, n) in [("in", middle), ("out", n_out)] {
                let ones = Tensor::ones(n, DType::F32, own.device())?;
                params.insert(&format!("{i}.{name}.gamma"), &ones)?;
                params.insert(&format!("{i}.{name}.beta"), &ones.zeros_like()?)?;
            }
        }
        Ok(params)
    }

    fn check(&self) -> Result<()> {
        super::pair::check(&self.taps)?;
        check(&[("hard", self.hard), ("weight", self.weight)], &[])
    }
}

/// What belongs to one part.
struct Level<'a> {
    input: &'a LossInput<'a>,
    i: usize,
}

impl Level<'_> {
    fn param(&self, name: &str) -> Result<&Tensor> {
        own(self.input.own, &format!("{}.{name}", self.i))
    }

    /// The student's map, projected, with what the deeper parts said, `(N, H, W, M)`.
    fn fused(&self, student: &Tensor, deeper: Option<&Tensor>) -> Result<Tensor> {
        let x = self.normalized(&linear(student, self.param("in.weight")?)?, "in")?;
        let Some(deeper) = deeper else { return Ok(x) };
        let y = resized(deeper, [x.dims()[1], x.dims()[2]])?;
        let weights = self.param("attention.weight")?;
        let half = weights.dims()[1] / 2;
        let part = |map: &Tensor, i: usize| linear(map, &weights.narrow(1, i * half, half)?);
        let both = (part(&x, 0)? + part(&y, 1)?)?.broadcast_add(self.param("attention.bias")?)?;
        let weights = (both.neg()?.exp()? + 1.0)?.recip()?;
        let weight = |i: usize| weights.narrow(3, i, 1)?.contiguous();
        Ok((x.broadcast_mul(&weight(0)?)? + y.broadcast_mul(&weight(1)?)?)?)
    }

    /// Of the size of the teacher's map.
    fn output(&self, fused: &Tensor, teacher: &Tensor) -> Result<Tensor> {
        let x = resized(fused, [teacher.dims()[1], teacher.dims()[2]])?.contiguous()?;
        let conv = Conv2d::new(teacher.dims()[3], 3).padding(1).init(Init::Pytorch);
        let x = apply(conv, &[&x], &[self.param("out.weight")?], self.mode())?;
        self.normalized(&x, "out")
    }

    /// Batch norm by the batch's own statistics.
    fn normalized(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let gamma = self.param(&format!("{name}.gamma"))?;
        let beta = self.param(&format!("{name}.beta"))?;
        // Nobody asks for the running ones.
        let (mean, variance) = (beta.detach().zeros_like()?, gamma.detach().ones_like()?);
        let params = [gamma, beta, &mean, &variance];
        apply(BatchNorm::default(), &[&x.contiguous()?], &params, self.mode())
    }

    fn mode(&self) -> Mode {
        Mode::Train(self.input.stream)
    }
}

/// The mean squared distance at full size, and with half the weight for each further one at sizes of 4, 2
/// and 1, divided by the sum of the weights; sizes that do not divide the map are left out.
fn scales(own: &Tensor, theirs: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = own.dims4()?;
    let fits = |size: &usize| [h, w].iter().all(|side| size < side && side.is_multiple_of(*size));
    let sizes = [4, 2, 1].into_iter().filter(fits).map(|size| [size; 2]);
    let sizes: Vec<[usize; 2]> = [[h, w]].into_iter().chain(sizes).collect();
    let total: f64 = (0..sizes.len()).map(|i| 0.5f64.powi(i as i32)).sum();
    let apart = (own.detach() - theirs)?.flatten_all()?.to_vec1::<f32>()?;
    let images = apart.par_chunks(h * w * c).map(|apart| {
        let (mut value, mut grad) = (0.0, vec![0.0; apart.len()]);
        for (i, size) in sizes.iter().enumerate() {
            let weight = 0.5f64.powi(i as i32) / total / (n * size[0] * size[1] * c) as f64;
            value += weight * squared(apart, [h, w, c], *size, (weight, &mut grad));
        }
        (value, grad)
    });
    let images: Vec<(f64, Vec<f32>)> = images.collect();
    let value = images.iter().map(|(value, _)| value).sum();
    given(own, value, images.into_iter().flat_map(|(_, grad)| grad).collect())
}

/// The sum of the squares of the means of so many windows of one image's map; adds their gradient.
fn squared(
    map: &[f32],
    [h, w, c]: [usize; 3],
    [rows, columns]: [usize; 2],
    (weight, grad): (f64, &mut [f32]),
) -> f64 {
    let n_places = (h / rows * (w / columns)) as f64;
    let window = |i: usize| {
        let (row, column) = (i / c / w, i / c % w);
        (row * rows / h * columns + column * columns / w) * c + i % c
    };
    let mut means = vec![0.0; rows * columns * c];
    map.iter().enumerate().for_each(|(i, x)| means[window(i)] += f64::from(*x) / n_places);
    for (i, grad) in grad.iter_mut().enumerate() {
        *grad += (2.0 * weight * means[window(i)] / n_places) as f32;
    }
    means.iter().map(|mean| mean * mean).sum()
}
